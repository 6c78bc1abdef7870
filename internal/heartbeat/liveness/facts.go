package liveness

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

// Facts is everything that was seen of one agent and that its verdict rests on.
// The zero time means "never". Facts is a value: its methods return the facts
// as they are after one more thing was seen.
type Facts struct {
	FirstSeen time.Time `json:"first_seen,omitzero"` // when the agent came into the roster
	Paused    time.Time `json:"paused,omitzero"`     // zero while not paused

	Beat        time.Time `json:"beat,omitzero"`          // last evidence of a beat
	BeatByAgent bool      `json:"beat_by_agent,omitzero"` // that beat came from the agent itself, not from a run of ours
	Sign        time.Time `json:"sign,omitzero"`          // last sign of life of any kind, failures included
	Start       time.Time `json:"start,omitzero"`
	Success     time.Time `json:"success,omitzero"`
	Failure     time.Time `json:"failure,omitzero"`
	// FailureReason is failed or timeout; the failure counts until a beat.
	FailureReason beat.Reason `json:"failure_reason,omitzero"`

	Run        time.Time    `json:"run,omitzero"` // end of the last run
	RunOutcome beat.Outcome `json:"run_outcome,omitzero"`
	// ProbeNegative is when the agent's probe last said, with certainty, that
	// it is gone; zero again as soon as anything shows life.
	ProbeNegative time.Time `json:"probe_negative,omitzero"`

	// OpenRun is the run that is open, "" if none or if the agent named none.
	OpenRun string `json:"open_run,omitzero"`
	// OpenSince is the start of the earliest run not ended; a start that
	// follows a start without an end does not move it.
	OpenSince time.Time `json:"open_since,omitzero"`
	// OpenDeadline is when that run must have ended; zero = no limit.
	OpenDeadline time.Time `json:"open_deadline,omitzero"`

	// OffFrom and OffTo bound heartbeat's own last absence: nothing could be
	// seen in between.
	OffFrom time.Time `json:"off_from,omitzero"`
	OffTo   time.Time `json:"off_to,omitzero"`
}

// Kind is the kind of a ping. The set is closed.
type Kind string

// The kinds of pings.
const (
	PingSuccess  Kind = "success"
	PingStart    Kind = "start"
	PingFail     Kind = "fail"
	PingLog      Kind = "log"
	PingProgress Kind = "progress"
)

// Kinds lists the kinds of pings.
func Kinds() []Kind { return []Kind{PingSuccess, PingStart, PingFail, PingLog, PingProgress} }

// Ping is a ping of the agent. Run is its rid, may be empty.
type Ping struct {
	Kind Kind
	At   time.Time
	Run  string
}

// Pinged returns the facts after a ping. Every ping is a sign of life. timeout
// is how long a run may take; 0 = no limit.
func (f Facts) Pinged(p Ping, timeout time.Duration) Facts {
	f.Sign, f.ProbeNegative = p.At, time.Time{}
	switch p.Kind {
	case PingSuccess:
		f = f.beaten(p.At, true).ended(p.Run)
	case PingFail:
		f.Failure, f.FailureReason = p.At, beat.ReasonFailed
		f = f.ended(p.Run)
	case PingStart:
		f.Start = p.At
		if f.OpenSince.IsZero() || f.superseded() {
			f = f.opened(p.Run, p.At, deadline(p.At, timeout))
		}
	case PingProgress:
		if !f.OpenSince.IsZero() && (p.Run == "" || f.OpenRun == "" || p.Run == f.OpenRun) {
			f.OpenDeadline = deadline(p.At, timeout)
		}
	case PingLog:
	}
	return f
}

// Began returns the facts after a run of ours was claimed.
func (f Facts) Began(run string, at time.Time, timeout time.Duration) Facts {
	f.Start = at
	return f.opened(run, at, deadline(at, timeout))
}

// Finished is the end of a run of ours.
type Finished struct {
	Run     string
	At      time.Time
	Outcome beat.Outcome
	// Sign is when a free sign of life was seen during the run or inside
	// interval + grace before its end; zero = none.
	Sign time.Time
	// Gone says that the probe answered, and answered no.
	Gone bool
}

// Ended returns the facts after a run of ours. A run that was skipped or
// interrupted says nothing about the agent.
func (f Facts) Ended(r Finished) Facts {
	f.Run, f.RunOutcome = r.At, r.Outcome
	if r.Sign.After(f.Sign) {
		f.Sign, f.ProbeNegative = r.Sign, time.Time{}
	}
	if r.Gone {
		f.ProbeNegative = r.At
	}
	switch r.Outcome {
	case beat.OutcomeOK:
		f = f.beaten(r.At, false)
		f.ProbeNegative = time.Time{}
	case beat.OutcomeIdle:
		if !r.Sign.IsZero() && r.Sign.After(f.Beat) {
			f.Beat, f.BeatByAgent = r.Sign, false
		}
	case beat.OutcomeFailed:
		f.Failure, f.FailureReason = r.At, beat.ReasonFailed
	case beat.OutcomeTimeout:
		f.Failure, f.FailureReason = r.At, beat.ReasonTimeout
	case beat.OutcomeUnverified, beat.OutcomeSkipped, beat.OutcomeInterrupted:
	}
	if r.Run == f.OpenRun {
		f = f.ended(r.Run)
	}
	return f
}

func (f Facts) beaten(at time.Time, byAgent bool) Facts {
	f.Beat, f.BeatByAgent, f.Success = at, byAgent, at
	return f
}

func (f Facts) opened(run string, at, deadline time.Time) Facts {
	f.OpenRun, f.OpenSince, f.OpenDeadline = run, at, deadline
	return f
}

// ended closes the open run unless it is another one than the one named.
func (f Facts) ended(run string) Facts {
	if run == "" || f.OpenRun == "" || run == f.OpenRun {
		f.OpenRun, f.OpenSince, f.OpenDeadline = "", time.Time{}, time.Time{}
	}
	return f
}

// superseded reports whether a success came after the start of the open run:
// the run was given up, and its silence no longer counts against the agent.
func (f Facts) superseded() bool { return f.Success.After(f.OpenSince) }

func deadline(at time.Time, timeout time.Duration) time.Time {
	if timeout <= 0 {
		return time.Time{}
	}
	return at.Add(timeout)
}
