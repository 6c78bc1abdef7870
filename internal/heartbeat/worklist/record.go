// Package worklist remembers, over time, what an agent has to do: which of its
// tasks make progress, which are stuck, and how many calls were spent on each.
//
// It promises: what cannot be read changes nothing that is remembered and is
// never "no work"; a task at its round limit is in no agenda until a person
// releases it; the recovery of a stall is due once, and again only after progress;
// everything that a call rests on is committed before the call.
package worklist

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Stall says whether a task in progress is stuck. The set is closed.
type Stall string

// The stalls, in their order.
const (
	NotStalled Stall = ""
	// Suspected: at a beat, no progress for the task timeout.
	Suspected Stall = "suspected"
	// Confirmed: still none at a later beat; the recovery is due.
	Confirmed Stall = "confirmed"
	// Recovering: confirmed, and the recovery was called.
	Recovering Stall = "recovering"
)

// Record is what is remembered of one open task.
type Record struct {
	Agent, Source, ID string

	Mark       string // fingerprint when it was last read
	State      tasksource.State
	StartedAt  time.Time // when the work began, as far as was seen; zero = not begun
	ProgressAt time.Time // when Mark last changed, or the task was first seen
	Stall      Stall
	Rounds     int       // calls that were spent on it
	PausedAt   time.Time // zero while not paused
	SeenAt     time.Time // when its source last told of it, to the hour
}

// seenEvery is how exact SeenAt is kept, so that reading alone writes little.
const seenEvery = time.Hour

// Seen returns the record after its source told of the task. A record that was
// not known is the zero record with its names.
//
// Progress is a change of the mark. It has happened at the latest when the source
// was touched, where that is newer than the progress before, else just now. A task
// seen for the first time made its progress when its source was last touched.
func (r Record) Seen(t tasksource.Task, now time.Time) Record {
	before := r
	touched := t.Touched
	if touched.IsZero() || touched.After(now) {
		touched = now
	}
	switch {
	case before.SeenAt.IsZero():
		r.ProgressAt = touched
	case before.Mark != t.Mark && touched.After(before.ProgressAt):
		r.ProgressAt, r.Stall = touched, NotStalled
	case before.Mark != t.Mark:
		r.ProgressAt, r.Stall = now, NotStalled
	}
	r.Mark, r.State = t.Mark, t.State
	switch {
	case t.State != tasksource.InProgress:
		r.Stall = NotStalled
	case !t.StartedAt.IsZero():
		r.StartedAt = t.StartedAt
	case before.State != tasksource.InProgress:
		r.StartedAt = r.ProgressAt
	}
	if now.Sub(r.SeenAt) >= seenEvery || now.Before(r.SeenAt) {
		r.SeenAt = now
	}
	return r
}

// Beaten returns the record at a beat: a task in progress without progress for
// the timeout is suspected, and at a later beat confirmed. A timeout of 0 turns
// that off.
func (r Record) Beaten(timeout time.Duration, now time.Time) Record {
	switch {
	case r.State != tasksource.InProgress || timeout <= 0 || now.Sub(r.ProgressAt) < timeout:
		r.Stall = NotStalled
	case r.Stall == NotStalled:
		r.Stall = Suspected
	case r.Stall == Suspected:
		r.Stall = Confirmed
	}
	return r
}

// Spent returns the record after one more call was spent on the task; at the limit
// it is paused. A limit of 0 is none.
func (r Record) Spent(limit int, now time.Time) Record {
	r.Rounds++
	if limit > 0 && r.Rounds >= limit && r.PausedAt.IsZero() {
		r.PausedAt = now
	}
	return r
}

// Paused reports whether the task is left out: a person or its limit paused it, or
// a limit that was lowered since is reached.
func (r Record) Paused(limit int) bool {
	return !r.PausedAt.IsZero() || limit > 0 && r.Rounds >= limit
}

// Stalled reports whether the task is certainly stuck.
func (r Record) Stalled() bool { return r.Stall == Confirmed || r.Stall == Recovering }
