package run

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
)

type entry int

const (
	entryOpen entry = iota
	entryRefused
	entryQueued
)

func (e *Executor) gate(id string) *gate {
	g := e.gates[id]
	if g == nil {
		g = &gate{active: map[string]*active{}, foreign: map[string]bool{}}
		e.gates[id] = g
	}
	return g
}

// enter lets a slot in, or says why not; a demand (zero time) is never queued.
func (e *Executor) enter(j job.Job, at time.Time) entry {
	e.mu.Lock()
	g := e.gate(j.ID)
	if g.open+len(g.foreign) == 0 || j.Overlap == job.OverlapAllow {
		g.open++
		e.mu.Unlock()
		return entryOpen
	}
	if j.Overlap != job.OverlapQueueLatest || at.IsZero() {
		e.mu.Unlock()
		return entryRefused
	}
	superseded := g.queued
	if superseded.After(at) {
		superseded, at = at, superseded
	}
	g.queued = at
	e.mu.Unlock()
	if !superseded.IsZero() {
		e.skip(j.ID, superseded, ReasonSuperseded, "a later slot took its place", 1)
	}
	return entryQueued
}

// leave ends a stay. If a slot is queued it stays in its place: more is true.
func (e *Executor) leave(id string) (next time.Time, more bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gate(id)
	if !g.queued.IsZero() && !e.stopping {
		next, g.queued = g.queued, time.Time{}
		return next, true
	}
	g.open--
	return time.Time{}, false
}

// InProgress returns how many runs of a job are open in this process, and when
// the last of them must have ended, zero for no limit or none.
func (e *Executor) InProgress(id string) (open int, deadline time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gates[id]
	if g == nil {
		return 0, time.Time{}
	}
	for _, a := range g.active {
		if a.deadline.After(deadline) {
			deadline = a.deadline
		}
	}
	return g.open, deadline
}

// Extend gives the open runs of a job their full time again, from now, and
// reports whether there was one.
func (e *Executor) Extend(id string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	g := e.gates[id]
	if g == nil {
		return false
	}
	for _, a := range g.active {
		// A timer that has fired already must not be armed again.
		if a.timer != nil && a.timer.Stop() {
			a.timer.Reset(a.timeout)
			a.deadline = time.Now().Add(a.timeout)
		}
	}
	return len(g.active) > 0
}
