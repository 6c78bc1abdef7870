package heartbeat

import (
	"context"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
)

// agent returns what is known of one job, in the wire form.
func (a *App) agent(j job.Job, now time.Time) beat.Agent {
	f, _ := a.book.Facts(j.ID)
	v := run.Rule(j).Judge(f, now)
	picture := a.tasks.Picture(j.Agent)
	tasks, rounds := picture.Wire(j.Agent.MaxRounds)
	out := beat.Agent{
		ID: j.ID, Label: j.Agent.Label, Class: j.Agent.Class, Owner: j.Agent.Owner, Host: j.Agent.Host, Model: j.Agent.Model,
		Driver: j.Agent.Driver.Type, State: v.State, Reason: v.Reason, Since: a.states.since(j.ID, v),
		LastBeat: f.Beat, LastSign: f.Sign, LastStart: f.Start, LastSuccess: f.Success, LastFailure: f.Failure,
		LastRun: f.Run, LastOutcome: f.RunOutcome, NextDue: v.Due, NextRun: a.loop.Next(j.ID),
		IntervalSeconds: j.Interval.Seconds(), GraceSeconds: j.Grace.Seconds(),
		Tasks: tasks, Sources: picture.Sources, Rounds: rounds, RoundLimit: j.Agent.MaxRounds, RoundWarning: roundWarning(j.Agent),
	}
	if out.Sources == nil {
		out.Sources = []beat.Source{}
	}
	if !f.OpenSince.IsZero() {
		out.Running = &beat.Running{RunID: f.OpenRun, Since: f.OpenSince, Deadline: f.OpenDeadline}
	}
	return out
}

func (a *App) agents() []beat.Agent {
	now := time.Now().UTC()
	p := a.current()
	out := make([]beat.Agent, 0, len(p.jobs))
	for _, j := range p.jobs {
		if j.Kind == job.KindAgent {
			out = append(out, a.agent(j, now))
		}
	}
	return out
}

// states remembers since when each job is in its state, and tells when
// anything changed.
type states struct {
	mu      sync.Mutex
	last    map[string]seen
	changed chan struct{}
}

type seen struct {
	verdict liveness.Verdict
	since   time.Time
}

func newStates() *states {
	return &states{last: map[string]seen{}, changed: make(chan struct{})}
}

// changes returns a channel that is closed at the next change.
func (s *states) changes() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *states) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *states) since(id string, v liveness.Verdict) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got, ok := s.last[id]; ok && got.verdict.State == v.State {
		return got.since
	}
	return time.Time{}
}

// note remembers a verdict and reports whether it differs from the one before.
func (s *states) note(id string, v liveness.Verdict, now time.Time) (from beat.State, differs bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, known := s.last[id]
	if known && before.verdict.State == v.State {
		before.verdict = v
		s.last[id] = before
		return v.State, false
	}
	s.last[id] = seen{v, now}
	return before.verdict.State, known
}

// followEvery is how often states are looked at that time alone changes.
const followEvery = time.Second

// follow notices changes of state, whatever made them, and logs them.
func (a *App) follow(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		changed := false
		now := time.Now().UTC()
		for _, j := range a.current().jobs {
			f, _ := a.book.Facts(j.ID)
			v := run.Rule(j).Judge(f, now)
			if from, differs := a.states.note(j.ID, v, now); differs {
				changed = true
				a.log.Info("state changed", "job", j.ID, "from", string(from), "to", string(v.State), "reason", string(v.Reason))
			}
		}
		if changed {
			a.states.touch()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
