package backend

import (
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/setclock"
)

// TestWaitsOutliveTheClock: whatever the clock is set to, a wait is as long as it was
// meant to be, and people are shown when it ends by the clock that they have.
func TestWaitsOutliveTheClock(t *testing.T) {
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour, 48 * time.Hour, -48 * time.Hour} {
		for name, c := range map[string]struct {
			fault  llm.Fault
			status Status
			most   time.Duration
		}{
			"cooldown":            {llm.Fault{Class: llm.RateLimit}, Cooling, 30 * time.Second},
			"the provider's wait": {llm.Fault{Class: llm.RateLimit, Wait: time.Hour}, Cooling, time.Hour},
			"quota":               {llm.Fault{Class: llm.Quota}, Error, 24 * time.Hour},
		} {
			s, now := newTest(t), time.Now()
			p, _, _ := s.Acquire(Ask{Model: "m"}, now)
			p.Failed(&c.fault, now)
			p.Release()
			whole := s.Recovery("m", now)
			if whole <= 0 || whole > c.most {
				t.Errorf("%s: %s, want at most %s", name, whole, c.most)
			}
			later := setclock.Shift(now, by)
			got := s.Snapshot(later)
			if got.Status != c.status || s.Recovery("m", later) != whole || got.Until.Round(0).Sub(later.Round(0)) != whole {
				t.Errorf("%s, clock set by %s: %s for %s, shown until %s of %s", name, by, got.Status, s.Recovery("m", later), got.Until, later)
			}
			if over := s.Snapshot(later.Add(whole)); over.Status != HalfOpen {
				t.Errorf("%s, clock set by %s: %s when it is over", name, by, over.Status)
			}
		}
	}
}

// TestHealthOutlivesTheClock: failures count for five minutes, by whatever clock.
func TestHealthOutlivesTheClock(t *testing.T) {
	s, now := newTest(t), time.Now()
	s.Configure(Policy{Base: time.Second, Max: time.Second, FailuresBeforeError: 1000, Zone: time.UTC}, &Config{})
	for range 20 {
		p, _, _ := s.Acquire(Ask{Model: "m"}, now)
		p.Failed(&llm.Fault{Class: llm.ServerError}, now)
		p.Release()
	}
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		for after, want := range map[time.Duration]Health{time.Minute: Down, 6 * time.Minute: Well} {
			if got := s.Load(setclock.Shift(now.Add(after), by)).Health; got != want {
				t.Errorf("clock set by %s, %s later: %s, want %s", by, after, got, want)
			}
		}
	}
}

// TestKeptWaitsOutliveTheClock: what is kept says how long a wait is, also where the
// clock was set in the midst of it.
func TestKeptWaitsOutliveTheClock(t *testing.T) {
	for _, by := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		s, now := newTest(t), time.Now()
		late := llm.Fault{Class: llm.RateLimit, Wait: time.Hour}
		first, _, _ := s.Acquire(Ask{Model: "m"}, now)
		second, _, _ := s.Acquire(Ask{Model: "m"}, now)
		first.Failed(&llm.Fault{Class: llm.RateLimit}, now)
		now = setclock.Shift(now.Add(10*time.Second), by)
		second.Failed(&late, now) // of before the cooldown, with a deadline of its own that is later
		kept := s.Keep()
		if kept.Length != time.Hour+10*time.Second {
			t.Errorf("clock set by %s: the cooldown lasts %s", by, kept.Length)
		}
		restored := newTest(t)
		restored.Restore(kept, now.Round(0).Add(time.Minute))
		if left := restored.Recovery("m", now.Round(0).Add(time.Minute)); left != 59*time.Minute {
			t.Errorf("clock set by %s: %s is left after a restart", by, left)
		}
		if _, ok := restored.Emergency(Ask{Model: "m"}, now.Round(0).Add(time.Minute)); ok {
			t.Errorf("clock set by %s: called before the provider's own deadline", by)
		}
	}
}

// TestKeptModels: a model that a provider keeps away for longer than our own cap stays
// away over a restart, and no longer than that.
func TestKeptModels(t *testing.T) {
	s := newTest(t)
	fail(t, s, 0, llm.Fault{Class: llm.ModelUnavailable, Wait: 5 * time.Hour})
	for after, want := range map[time.Duration]time.Duration{time.Hour: 4 * time.Hour, -3 * time.Hour: 5 * time.Hour} {
		restored := newTest(t)
		restored.Restore(s.Keep(), start.Add(after))
		if left := restored.Recovery("m", start.Add(after)); left != want {
			t.Errorf("restarted %s later: away for %s, want %s", after, left, want)
		}
	}
}
