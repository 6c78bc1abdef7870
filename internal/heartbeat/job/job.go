// Package job says what is to be beaten and when: the definition of one job
// (an agent of the roster, or a job of heartbeat's own configuration) and its
// schedule.
//
// It promises that the due times of a job depend on its definition alone, never
// on when a process started, so that every process that looks at the same job
// names the same slots.
package job

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

// Kind tells an agent of the roster from a job of one's own.
type Kind string

// The kinds.
const (
	KindAgent Kind = "agent"
	KindJob   Kind = "job"
)

// Overlap says what happens to a slot that comes due while a run of the same
// job is still open.
type Overlap string

// The overlap policies.
const (
	OverlapSkip        Overlap = "skip"
	OverlapQueueLatest Overlap = "queue_latest"
	OverlapAllow       Overlap = "allow"
)

// Overlaps lists the policies.
func Overlaps() []Overlap { return []Overlap{OverlapSkip, OverlapQueueLatest, OverlapAllow} }

// Job is one thing to beat. It is immutable after it is built.
type Job struct {
	ID    string
	Kind  Kind
	Agent fleet.Agent // with only ID, Label, Owner, Driver and Timeout for KindJob

	Schedule Schedule
	// Interval is the time between two beats; for a cron schedule the gap
	// between the two due times after Epoch of the definition.
	Interval time.Duration
	Grace    time.Duration
	Overlap  Overlap
	// AlwaysRun calls the driver although nothing is pending.
	AlwaysRun bool
	// Message begins what the driver tells the agent; Recovery does where tasks are
	// stuck.
	Message, Recovery string
}

// PingsIn reports whether nothing but the agent's own pings can beat it.
func (j Job) PingsIn() bool { return j.Agent.Driver.Type == "none" }

// Due returns when the next beat is expected after a beat: an interval later,
// or at the first cron time after it.
func (j Job) Due(beat time.Time) time.Time {
	if _, isCron := j.Schedule.(Cron); isCron {
		return j.Schedule.Next(beat)
	}
	return beat.Add(j.Interval)
}

// Gap returns the time between the two due times that follow the given one, or
// 0 if there are none.
func Gap(schedule Schedule, after time.Time) time.Duration {
	first := schedule.Next(after)
	if first.IsZero() {
		return 0
	}
	second := schedule.Next(first)
	if second.IsZero() {
		return 0
	}
	return second.Sub(first)
}
