package liveness

import (
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

const (
	interval = 10 * time.Minute
	grace    = 5 * time.Minute
	timeout  = 8 * time.Minute
)

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time {
	return epoch.Add(time.Duration(minutes * float64(time.Minute)))
}

func rule(pingsIn bool) Rule {
	return Rule{Due: func(b time.Time) time.Time { return b.Add(interval) }, Grace: grace, PingsIn: pingsIn}
}

// story is what happens to an agent, minute by minute.
type story []func(Facts) Facts

func ping(kind Kind, minute float64, run ...string) func(Facts) Facts {
	return func(f Facts) Facts {
		p := Ping{Kind: kind, At: at(minute)}
		if len(run) > 0 {
			p.Run = run[0]
		}
		return f.Pinged(p, timeout)
	}
}

func began(minute float64) func(Facts) Facts {
	return func(f Facts) Facts { return f.Began("run", at(minute), timeout) }
}

func ended(outcome beat.Outcome, minute float64) func(Facts) Facts {
	return func(f Facts) Facts { return f.Ended(Finished{Run: "run", At: at(minute), Outcome: outcome}) }
}

func idleWithSign(minute, sign float64) func(Facts) Facts {
	return func(f Facts) Facts {
		return f.Ended(Finished{Run: "run", At: at(minute), Outcome: beat.OutcomeIdle, Sign: at(sign)})
	}
}

func gone(minute float64) func(Facts) Facts {
	return func(f Facts) Facts {
		return f.Ended(Finished{Run: "run", At: at(minute), Outcome: beat.OutcomeIdle, Gone: true})
	}
}

func off(from, to float64) func(Facts) Facts {
	return func(f Facts) Facts { return rule(true).Off(f, at(from), at(to)) }
}

func paused(minute float64) func(Facts) Facts {
	return func(f Facts) Facts { f.Paused = at(minute); return f }
}

func TestVerdict(t *testing.T) {
	tests := []struct {
		name    string
		pingsIn bool
		story   story
		now     float64
		state   beat.State
		reason  beat.Reason
	}{
		{"new until the first due + grace", true, nil, 15, beat.StateNew, beat.ReasonAwaited},
		{"never heard of is unknown, not down", true, nil, 15.1, beat.StateUnknown, beat.ReasonNeverHeard},
		{"only idle runs are no beats", true, story{ended(beat.OutcomeIdle, 10), ended(beat.OutcomeIdle, 20)}, 21, beat.StateUnknown, beat.ReasonNeverHeard},
		{"up until due", true, story{ping(PingSuccess, 3)}, 13, beat.StateUp, beat.ReasonBeating},
		{"late inside the grace", true, story{ping(PingSuccess, 3)}, 18, beat.StateLate, beat.ReasonOverdue},
		{"down after the grace", true, story{ping(PingSuccess, 3)}, 18.1, beat.StateDown, beat.ReasonMissed},
		{"idle runs do not hide that pings stopped", true, story{ping(PingSuccess, 3), ended(beat.OutcomeIdle, 10), ended(beat.OutcomeIdle, 20)}, 20.1, beat.StateDown, beat.ReasonMissed},
		{"fail is down at once", true, story{ping(PingSuccess, 3), ping(PingFail, 4)}, 4.1, beat.StateDown, beat.ReasonFailed},
		{"a beat ends a failure", true, story{ping(PingFail, 4), ping(PingSuccess, 5)}, 6, beat.StateUp, beat.ReasonBeating},
		{"a start does not end a failure", true, story{ping(PingFail, 4), ping(PingStart, 5)}, 6, beat.StateDown, beat.ReasonFailed},
		{"fail of an agent never heard of", true, story{ping(PingFail, 4)}, 40, beat.StateDown, beat.ReasonFailed},
		{"log and progress are no beats", true, story{ping(PingLog, 4), ping(PingProgress, 5)}, 16, beat.StateUnknown, beat.ReasonNeverHeard},
		{"paused wins", true, story{ping(PingFail, 4), paused(5)}, 60, beat.StatePaused, beat.ReasonPaused},

		{"start ping", true, story{ping(PingSuccess, 0), ping(PingStart, 10)}, 17.9, beat.StateStarted, beat.ReasonRunning},
		{"start ping of a new agent", true, story{ping(PingStart, 2)}, 3, beat.StateStarted, beat.ReasonRunning},
		{"a started run that never ends", true, story{ping(PingSuccess, 0), ping(PingStart, 2)}, 10.1, beat.StateDown, beat.ReasonTimeout},
		{"progress extends the run", true, story{ping(PingSuccess, 0), ping(PingStart, 2), ping(PingProgress, 9)}, 16.9, beat.StateStarted, beat.ReasonRunning},
		{"extended run that never ends", true, story{ping(PingSuccess, 0), ping(PingStart, 2), ping(PingProgress, 9)}, 17.1, beat.StateDown, beat.ReasonTimeout},
		{"restarting without ever ending is down", true, story{ping(PingSuccess, 0), ping(PingStart, 2), ping(PingStart, 6), ping(PingStart, 9)}, 10.1, beat.StateDown, beat.ReasonTimeout},
		{"success of another run supersedes", true, story{ping(PingStart, 1, "a"), ping(PingStart, 2, "b"), ping(PingSuccess, 3, "b")}, 10, beat.StateUp, beat.ReasonBeating},
		{"end of the same run", true, story{ping(PingStart, 1, "a"), ping(PingSuccess, 3, "a")}, 13, beat.StateUp, beat.ReasonBeating},
		{"start after a superseded run opens anew", true, story{ping(PingStart, 1, "a"), ping(PingSuccess, 3, "b"), ping(PingStart, 4, "c")}, 12.1, beat.StateDown, beat.ReasonTimeout},

		{"ok run is a beat", false, story{began(0), ended(beat.OutcomeOK, 2)}, 12, beat.StateUp, beat.ReasonBeating},
		{"failed run", false, story{began(0), ended(beat.OutcomeFailed, 2)}, 3, beat.StateDown, beat.ReasonFailed},
		{"timed out run", false, story{began(0), ended(beat.OutcomeTimeout, 2)}, 3, beat.StateDown, beat.ReasonTimeout},
		{"unverified run is not green", false, story{began(0), ended(beat.OutcomeUnverified, 2)}, 16, beat.StateUnknown, beat.ReasonUnverified},
		{"first run of ours is no sign of life", false, story{began(1)}, 2, beat.StateNew, beat.ReasonAwaited},
		{"run of ours, fresh beat", false, story{began(0), ended(beat.OutcomeOK, 1), began(10)}, 15.9, beat.StateStarted, beat.ReasonRunning},
		{"idle runs since an ok run: nothing learned", false, story{began(0), ended(beat.OutcomeOK, 1), ended(beat.OutcomeIdle, 10), ended(beat.OutcomeIdle, 20)}, 21, beat.StateUnknown, beat.ReasonNoSign},
		{"interrupted run says nothing", false, story{began(0), ended(beat.OutcomeOK, 1), began(10), ended(beat.OutcomeInterrupted, 12)}, 17, beat.StateUnknown, beat.ReasonInterrupted},
		{"runs stopped altogether", false, story{began(0), ended(beat.OutcomeOK, 1)}, 16.1, beat.StateDown, beat.ReasonMissed},
		{"idle with a fresh sign is a beat, as old as the sign", true, story{idleWithSign(10, 8)}, 18, beat.StateUp, beat.ReasonBeating},
		{"and late by the age of the sign", true, story{idleWithSign(10, 8)}, 18.1, beat.StateLate, beat.ReasonOverdue},
		{"fail is a sign of life but no beat through idle", true, story{ping(PingFail, 8), idleWithSign(10, 8)}, 11, beat.StateDown, beat.ReasonFailed},
		{"probe says gone", true, story{idleWithSign(0, 0), gone(10)}, 15.1, beat.StateDown, beat.ReasonProbe},
		{"a sign after the probe's no", true, story{idleWithSign(0, 0), gone(10), ping(PingSuccess, 12)}, 15.1, beat.StateUp, beat.ReasonBeating},

		{"beat in the future", true, story{ping(PingSuccess, 60)}, 1, beat.StateUnknown, beat.ReasonClock},

		{"heartbeat was off: not down for silence", true, story{ping(PingSuccess, 0), off(5, 60)}, 61, beat.StateUnknown, beat.ReasonWasOff},
		{"until it is back for interval + grace", true, story{ping(PingSuccess, 0), off(5, 60)}, 75.1, beat.StateDown, beat.ReasonMissed},
		{"a short absence does not extend freshness", true, story{ping(PingSuccess, 0), off(5, 6)}, 15.1, beat.StateUnknown, beat.ReasonWasOff},
		{"still up within its own interval", true, story{ping(PingSuccess, 0), off(5, 6)}, 10, beat.StateUp, beat.ReasonBeating},
		{"down before stays down", true, story{ping(PingSuccess, 0), off(20, 60)}, 61, beat.StateDown, beat.ReasonMissed},
		{"failed before stays down", true, story{ping(PingFail, 0), off(5, 60)}, 61, beat.StateDown, beat.ReasonFailed},
		{"heard after, then silent", true, story{ping(PingSuccess, 0), off(5, 60), ping(PingSuccess, 61)}, 76.1, beat.StateDown, beat.ReasonMissed},
		{"off again before anything could be heard", true, story{ping(PingSuccess, 0), off(5, 60), off(61, 62)}, 63, beat.StateUnknown, beat.ReasonWasOff},
		{"an idle run of ours does not end the agent's own run", true, story{ping(PingSuccess, 0), ping(PingStart, 2), ended(beat.OutcomeIdle, 5)}, 10.1, beat.StateDown, beat.ReasonTimeout},
		{"a run begun after the absence has no excuse", true, story{ping(PingSuccess, 0), off(5, 60), ping(PingStart, 61)}, 69.1, beat.StateDown, beat.ReasonTimeout},
		{"end of a started run may have been lost", true, story{ping(PingSuccess, 0), ping(PingStart, 4), off(5, 14)}, 14.5, beat.StateUnknown, beat.ReasonWasOff},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := Facts{FirstSeen: at(0)}
			for _, step := range test.story {
				f = step(f)
			}
			got := rule(test.pingsIn).Judge(f, at(test.now))
			if got.State != test.state || got.Reason != test.reason {
				t.Errorf("got %s (%s), want %s (%s)", got.State, got.Reason, test.state, test.reason)
			}
		})
	}
}

// TestAgentGoneRunnerHealthy is the guarantee of the liveness rule: whatever
// the healthy runner goes on doing, an agent whose last sign of life is at
// minute 10 is not up, late or started after interval + grace.
func TestAgentGoneRunnerHealthy(t *testing.T) {
	tests := []struct {
		name    string
		pingsIn bool
		before  story
		slot    func(minute float64) story
	}{
		{"pings stop, idle runs go on", true, story{ping(PingSuccess, 0), ping(PingSuccess, 10)},
			func(m float64) story { return story{began(m), ended(beat.OutcomeIdle, m+0.1)} }},
		{"never pinged, idle runs go on", true, nil,
			func(m float64) story { return story{began(m), ended(beat.OutcomeIdle, m+0.1)} }},
		{"driver hangs until its timeout", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{began(m), ended(beat.OutcomeTimeout, m+8)} }},
		{"driver hangs for ever", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{began(m)} }},
		{"driver says ok in 8 ms, no sign follows", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{began(m), ended(beat.OutcomeUnverified, m+0.01)} }},
		{"nothing to do, process gone", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{began(m), gone(m + 0.1)} }},
		{"nothing to do, no probe", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{began(m), ended(beat.OutcomeIdle, m+0.1)} }},
		{"every slot skipped", false, story{began(9), ended(beat.OutcomeOK, 10)},
			func(m float64) story { return story{ended(beat.OutcomeSkipped, m)} }},
		{"idle keeps citing the same old sign", true, story{idleWithSign(10, 10)},
			func(m float64) story { return story{began(m), idleWithSign(m+0.1, 10)} }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := Facts{FirstSeen: at(-60)}
			for _, step := range test.before {
				f = step(f)
			}
			var pending story
			for minute := 10.0; minute < 120; minute++ {
				if int(minute)%10 == 0 && minute > 10 {
					pending = test.slot(minute)
				}
				if len(pending) > 0 {
					f = pending[0](f)
					pending = pending[1:]
				}
				got := rule(test.pingsIn).Judge(f, at(minute+0.5))
				dead := got.State == beat.StateUnknown || got.State == beat.StateDown
				if minute+0.5 > 10+15 && !dead {
					t.Fatalf("minute %v: %s (%s)", minute+0.5, got.State, got.Reason)
				}
			}
		})
	}
}
