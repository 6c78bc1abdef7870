// Package verdict decides, from independent signals, what state an agent is in.
//
// It never says healthy without evidence: ok needs a fresh beat and no signal
// against it, and what is not known is unknown. The decision is a pure
// function, so that every rule of it is a row of a table test.
package verdict

import (
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

// State is what agent_heartbeat_state tells. The set is closed.
type State string

// The states of an agent.
const (
	OK      State = "ok"
	Late    State = "late"
	Down    State = "down"
	Paused  State = "paused"
	Unknown State = "unknown"
)

// States returns every state.
func States() []State { return []State{OK, Late, Down, Paused, Unknown} }

// The reasons that the exporter adds to heartbeat's own.
const (
	ReasonSourceDown  = "heartbeat_unreachable" // unknown: heartbeat does not answer
	ReasonNotListed   = "not_in_heartbeat"      // unknown: heartbeat's roster lacks the agent
	ReasonSignalDown  = "_down"                 // down: suffix to the signal's name, process_down
	ReasonStaleAnswer = "missed"                // down: due + grace passed since heartbeat's answer
	ReasonAllFailed   = "all_requests_failed"   // down: the gateway saw requests in the window and none succeeded
	ReasonTaskStalled = "task_stalled"          // down: it beats, and a task in progress is confirmed to make no progress
)

// Signal is one liveness sign besides the beat. Known false means that it could
// not be read; Up is then meaningless.
type Signal struct {
	Name   string // process, port, unit, container
	Known  bool
	Up     bool
	Detail string // for a person: the pid looked at, the error
}

// Signals is all that is known of an agent at one moment.
type Signals struct {
	// HeartbeatKnown tells whether heartbeat answered within the time that its
	// answer may be used.
	HeartbeatKnown bool
	Beat           *beat.Agent // nil where heartbeat does not list the agent
	Now            time.Time   // by heartbeat's clock
	Watches        []Signal
	// AllFailed: the gateway saw requests of the agent in the window, and every
	// one failed.
	AllFailed bool
}

// Verdict is the outcome.
type Verdict struct {
	State    State
	Reason   string   // one word; heartbeat's reason, or one of those above
	Conflict bool     // two sources disagree
	Why      []string // sentences for a person, in the order they were weighed
}

// Healthy returns the kept gauge agent_heartbeat_status and whether it is
// there: unknown and paused agents have none.
func (v Verdict) Healthy() (healthy, known bool) {
	switch v.State {
	case OK, Late: // late is inside the grace: the beat is still fresh
		return true, true
	case Down:
		return false, true
	default:
		return false, false
	}
}

// Of decides.
func Of(s Signals) Verdict {
	v := ofBeat(s)
	for _, w := range s.Watches {
		switch {
		case !w.Known:
			v.say("%s: not known (%s)", w.Name, w.Detail)
		case w.Up:
			v.say("%s: up (%s)", w.Name, w.Detail)
			v.Conflict = v.Conflict || v.State == Down && s.Beat != nil
		default:
			v.say("%s: down (%s)", w.Name, w.Detail)
			v.Conflict = v.Conflict || v.State == OK
			if v.State != Paused && v.State != Down {
				v.State, v.Reason = Down, w.Name+ReasonSignalDown
			}
		}
	}
	if s.AllFailed {
		v.say("gateway: every request in the window failed")
		v.Conflict = v.Conflict || v.State == OK
		if v.State == OK || v.State == Late {
			v.State, v.Reason = Down, ReasonAllFailed
		}
	}
	v.weighTasks(s.Beat)
	v.say("verdict: %s, because of %s", v.State, v.Reason)
	return v
}

// weighTasks takes in what heartbeat knows of the agent's tasks. A confirmed stall
// speaks against a fresh beat; what is not known speaks neither way.
func (v *Verdict) weighTasks(b *beat.Agent) {
	if b == nil {
		return
	}
	known := map[string]bool{}
	for _, source := range b.Sources {
		known[source.Name] = source.State == beat.SourceOK
		if !known[source.Name] {
			v.say("tasks: %s is not known (%s)", source.Name, source.Detail)
		}
	}
	for _, task := range b.Tasks {
		switch {
		case !known[task.Source]:
		case task.Stalled:
			v.say("tasks: %s of %s is stalled, last progress %s", task.ID, task.Source, task.LastProgress.UTC().Format(time.RFC3339))
			v.Conflict = v.Conflict || v.State == OK
			if v.State == OK || v.State == Late {
				v.State, v.Reason = Down, ReasonTaskStalled
			}
		case task.StallSuspected:
			v.say("tasks: %s of %s may be stalled, last progress %s", task.ID, task.Source, task.LastProgress.UTC().Format(time.RFC3339))
		case task.Paused:
			v.say("tasks: %s of %s is paused after %d rounds", task.ID, task.Source, task.Rounds)
		}
	}
}

func ofBeat(s Signals) Verdict {
	v := Verdict{State: Unknown}
	switch {
	case !s.HeartbeatKnown:
		v.Reason = ReasonSourceDown
		v.say("heartbeat: no answer that may still be used")
		return v
	case s.Beat == nil:
		v.Reason = ReasonNotListed
		v.say("heartbeat: does not list this agent")
		return v
	}
	b := s.Beat
	v.State, v.Reason = stateOf(b.State), string(b.Reason)
	v.say("heartbeat: %s, %s; last beat %s", b.State, b.Reason, age(b.LastBeat, s.Now))
	grace := time.Duration(b.GraceSeconds * float64(time.Second))
	if b.State == beat.StateUp || b.State == beat.StateLate {
		switch {
		case b.LastBeat.IsZero():
			v.State, v.Reason = Unknown, string(beat.ReasonNeverHeard)
			v.say("heartbeat: says %s without a beat: not believed", b.State)
		case !b.NextDue.IsZero() && s.Now.After(b.NextDue.Add(grace)):
			v.State, v.Reason = Down, ReasonStaleAnswer
			v.say("heartbeat: since that answer due + grace has passed")
		case !b.NextDue.IsZero() && s.Now.After(b.NextDue):
			v.State, v.Reason = Late, string(beat.ReasonOverdue)
		}
	}
	return v
}

// stateOf maps heartbeat's states; one that this program does not know is
// unknown.
func stateOf(s beat.State) State {
	switch s {
	case beat.StateUp, beat.StateStarted:
		return OK
	case beat.StateLate:
		return Late
	case beat.StateDown:
		return Down
	case beat.StatePaused:
		return Paused
	default:
		return Unknown
	}
}

func (v *Verdict) say(format string, args ...any) {
	v.Why = append(v.Why, fmt.Sprintf(format, args...))
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return now.Sub(t).Round(time.Second).String() + " ago"
}
