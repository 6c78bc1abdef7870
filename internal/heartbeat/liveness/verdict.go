// Package liveness decides whether an agent lives, from what was seen of it.
//
// The rule, in the order in which it is asked:
//
//  1. Paused: paused.
//  2. A failure newer than the last beat: down. A fail ping is a sign of life
//     and a failure; only a beat ends it.
//  3. A run that outlived its deadline, with no success since it began: down.
//  4. A beat that lies in the future (the clock was set back): unknown, since
//     its age cannot be told.
//  5. An open run with a sign of life of the agent not older than one interval
//     and the grace: started. That heartbeat itself started a driver is no sign
//     of life, so an agent never heard of is not started, and a driver that
//     hangs does not keep its agent green.
//  6. A beat not older than due, or due + grace: up, or late.
//  7. Past that, an agent is down only by evidence: it used to beat by itself
//     and stopped, or its driver no longer gets through, or its probe answered
//     that it is gone. Where only idle, unverified, skipped or interrupted runs
//     happened since, nothing was learned: unknown.
//  8. Never heard of: new until the first due time + grace, then unknown.
//
// A beat is a success ping, an ok run, or an idle run with a free sign of life
// inside interval + grace; an idle beat carries the time of the sign, not of
// the run, so a runner that is healthy never makes an agent look younger than
// its last sign. It follows, and a table test checks: an agent that hangs or is
// gone while the runner is healthy is not up, late or started later than one
// interval + grace after its last sign of life.
//
// While heartbeat itself was off (stopped, suspended, or its clock jumped) no
// ping could arrive. An agent that rule 3 or 7 would call down for silence, and
// that was not down already when heartbeat went off, is unknown instead until
// heartbeat has been back for one interval + grace. It is never kept up: what
// counts as fresh is not extended by the absence.
package liveness

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

// clockTolerance is how far in the future a beat may lie.
const clockTolerance = 5 * time.Second

// Rule is how one agent is judged.
type Rule struct {
	// Due returns when the next beat is expected after a beat.
	Due func(beat time.Time) time.Time
	// Grace is how long past due a beat is late, not missed.
	Grace time.Duration
	// PingsIn says that only the agent itself beats (driver none).
	PingsIn bool
}

// Verdict is the answer.
type Verdict struct {
	State  beat.State
	Reason beat.Reason
	// Due is when the next beat is expected; zero if that cannot be told.
	Due time.Time
}

// Judge returns the verdict on the facts at a time.
func (r Rule) Judge(f Facts, now time.Time) Verdict {
	v := r.plain(f, now)
	if v.State != beat.StateDown || f.OffTo.IsZero() || !silence(v.Reason) {
		return v
	}
	if last := latest(f.Beat, f.Sign); last.After(f.OffTo) {
		return v
	}
	if now.After(r.Due(f.OffTo).Add(r.Grace)) || r.plain(f, f.OffFrom).State == beat.StateDown {
		return v
	}
	return Verdict{beat.StateUnknown, beat.ReasonWasOff, v.Due}
}

// Off returns the facts after an absence of heartbeat itself. Absences with
// nothing heard in between count as one.
func (r Rule) Off(f Facts, from, to time.Time) Facts {
	if r.Judge(f, from).Reason != beat.ReasonWasOff {
		f.OffFrom = from
	}
	f.OffTo = to
	return f
}

func silence(reason beat.Reason) bool {
	return reason == beat.ReasonMissed || reason == beat.ReasonTimeout
}

func (r Rule) plain(f Facts, now time.Time) Verdict {
	reference := f.Beat
	if reference.IsZero() {
		reference = f.FirstSeen
	}
	due := r.Due(reference)
	answer := func(state beat.State, reason beat.Reason) Verdict { return Verdict{state, reason, due} }
	open := !f.OpenSince.IsZero() && !f.superseded()
	switch {
	case !f.Paused.IsZero():
		return answer(beat.StatePaused, beat.ReasonPaused)
	case !f.Failure.IsZero() && !f.Beat.After(f.Failure):
		return answer(beat.StateDown, f.FailureReason)
	case open && !f.OpenDeadline.IsZero() && now.After(f.OpenDeadline):
		return answer(beat.StateDown, beat.ReasonTimeout)
	case f.Beat.After(now.Add(clockTolerance)):
		return answer(beat.StateUnknown, beat.ReasonClock)
	case open && r.Fresh(latest(f.Beat, f.Sign), now):
		return answer(beat.StateStarted, beat.ReasonRunning)
	case !now.After(due) && !f.Beat.IsZero():
		return answer(beat.StateUp, beat.ReasonBeating)
	case !now.After(due.Add(r.Grace)) && !f.Beat.IsZero():
		return answer(beat.StateLate, beat.ReasonOverdue)
	case !now.After(due.Add(r.Grace)):
		return answer(beat.StateNew, beat.ReasonAwaited)
	}
	state, reason := r.overdue(f, open)
	return answer(state, reason)
}

// overdue tells down from unknown past due + grace.
func (r Rule) overdue(f Facts, open bool) (beat.State, beat.Reason) {
	switch {
	case f.ProbeNegative.After(f.Beat):
		return beat.StateDown, beat.ReasonProbe
	case open:
		return beat.StateUnknown, beat.ReasonUnheard
	case r.PingsIn && f.BeatByAgent:
		return beat.StateDown, beat.ReasonMissed
	case f.RunOutcome == beat.OutcomeUnverified:
		return beat.StateUnknown, beat.ReasonUnverified
	case f.RunOutcome == beat.OutcomeInterrupted:
		return beat.StateUnknown, beat.ReasonInterrupted
	case f.Beat.IsZero():
		return beat.StateUnknown, beat.ReasonNeverHeard
	case f.Run.After(f.Beat) && f.RunOutcome != beat.OutcomeOK:
		return beat.StateUnknown, beat.ReasonNoSign
	}
	return beat.StateDown, beat.ReasonMissed
}

// Fresh reports whether a sign of life is not older than interval + grace, so
// that it may stand for an idle agent.
func (r Rule) Fresh(sign, now time.Time) bool {
	return !sign.IsZero() && !now.After(r.Due(sign).Add(r.Grace)) && !sign.After(now.Add(clockTolerance))
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
