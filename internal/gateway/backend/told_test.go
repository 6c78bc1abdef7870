package backend

import (
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// TestChangesAreTold: whatever a restart must know is told of, and nothing else, since
// each telling is a write.
func TestChangesAreTold(t *testing.T) {
	changed, freed := 0, 0
	s := NewState(func() { changed++ }, func() { freed++ })
	s.Configure(Policy{Base: time.Minute, Max: time.Hour, FailuresBeforeError: 2, Zone: start.Location()}, &Config{})
	at := time.Duration(0)
	succeed := func() {
		p := acquire(t, s, at)
		p.Succeeded(time.Second, start.Add(at))
		p.Release()
	}
	step := func(name string, want int, do func()) {
		t.Helper()
		before, released := changed, freed
		do()
		if changed-before != want {
			t.Errorf("%s: told %d times, want %d", name, changed-before, want)
		}
		if freed == released {
			t.Errorf("%s: who waits is not told", name)
		}
	}
	step("a success as usual", 0, succeed)
	step("the first failure of several", 0, func() { fail(t, s, at, llm.Fault{Class: llm.ServerError}) })
	step("a cooldown", 1, func() { fail(t, s, at, llm.Fault{Class: llm.RateLimit}) })
	at = time.Hour
	step("its end", 1, succeed)
	step("a model is not there", 1, func() { fail(t, s, at, llm.Fault{Class: llm.ModelUnavailable}) })
	at += time.Hour
	step("it is there again", 1, succeed)
	step("an error", 1, func() { fail(t, s, at, llm.Fault{Class: llm.Quota}) })
	step("a reset", 1, s.Reset)
	step("a refused key", 1, func() { fail(t, s, at, llm.Fault{Class: llm.Auth, Status: 403, NamesKey: true}) })
	step("the key is taken again", 1, func() { s.Probed(ProbeTaken, start.Add(at)) })
	step("a trial", 1, succeed)
}

func TestAverageFirstByte(t *testing.T) {
	s := newTest(t)
	for _, c := range []struct{ took, want time.Duration }{{800 * time.Millisecond, 800 * time.Millisecond}, {0, 700 * time.Millisecond}} {
		p := acquire(t, s, 0)
		p.Succeeded(c.took, start)
		p.Release()
		if got := s.Load(start).TTFB; got != c.want {
			t.Errorf("average %s, want %s", got, c.want)
		}
	}
}

// TestModelsThatAreNotThere are left alone for longer each time, until one answers.
func TestModelsThatAreNotThere(t *testing.T) {
	s := newTest(t)
	at := time.Duration(0)
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute} {
		fail(t, s, at, llm.Fault{Class: llm.ModelUnavailable})
		if _, skip, wait := s.Acquire(Ask{Model: "m"}, start.Add(at)); skip != SkipModel || wait != want || s.Recovery("m", start.Add(at)) != want {
			t.Errorf("%q for %s, want %s", skip, wait, want)
		}
		if p, ok := s.Emergency(Ask{Model: "m"}, start.Add(at)); ok {
			p.Release()
			t.Error("an emergency call for a model that is not there")
		}
		at += want
	}
}

// TestJitter only ever adds, and no more than its share.
func TestJitter(t *testing.T) {
	longest := time.Duration(0)
	for range 200 {
		s := newTest(t)
		s.Configure(Policy{Base: 100 * time.Second, Max: time.Hour, Jitter: 0.5, FailuresBeforeError: 1, Zone: start.Location()}, &Config{})
		fail(t, s, 0, llm.Fault{Class: llm.RateLimit})
		left := s.Recovery("m", start)
		if left < 100*time.Second || left > 150*time.Second {
			t.Fatalf("cools for %s", left)
		}
		longest = max(longest, left)
	}
	if longest < 120*time.Second {
		t.Errorf("at most %s of 150 s", longest)
	}
}

// TestEmergencyKeepsLimits: an emergency does not go beyond max_inflight, and counts
// for the limits.
func TestEmergencyKeepsLimits(t *testing.T) {
	s := newTest(t)
	s.Configure(s.policy, &Config{RPM: 30, TPM: 1000})
	fail(t, s, 0, llm.Fault{Class: llm.RateLimit})
	ask := Ask{Model: "m", MaxInflight: 1, Tokens: 1000}
	p, ok := s.Emergency(ask, start)
	if !ok {
		t.Fatal("no leave")
	}
	if _, ok := s.Emergency(Ask{Model: "m", MaxInflight: 1}, start); ok {
		t.Error("beyond max_inflight")
	}
	if _, ok := s.Emergency(Ask{Model: "m", Tokens: 1}, start); ok {
		t.Error("beyond tpm_limit")
	}
	if got := s.Snapshot(start); got.TPMUsed != 1 || got.RPMUsed < 2./30-0.001 {
		t.Errorf("used %+v", got)
	}
	p.Settle(500, start)
	p.Release()
	if got := s.Snapshot(start); got.TPMUsed != 0.5 {
		t.Errorf("used %+v", got)
	}
}

// TestATrialIsOneTrial: what is left of an earlier one, from before a reset, frees no
// place of a later one.
func TestATrialIsOneTrial(t *testing.T) {
	s := newTest(t)
	half := func(at time.Duration) {
		fail(t, s, at, llm.Fault{Class: llm.RateLimit})
		expect(t, s, at+time.Hour, HalfOpen, 0)
	}
	half(0)
	first := acquire(t, s, time.Hour)
	s.Reset()
	half(2 * time.Hour)
	acquire(t, s, 3*time.Hour)
	first.Release()
	if _, skip, _ := s.Acquire(Ask{Model: "m"}, start.Add(3*time.Hour)); skip != SkipTrial {
		t.Errorf("a second trial beside the first: %q", skip)
	}
}

// TestANewKeyIsNotBlamed for what is under way with the old one.
func TestANewKeyIsNotBlamed(t *testing.T) {
	s := newTest(t)
	refused := llm.Fault{Class: llm.Auth, Status: 401}
	old := []Permit{acquire(t, s, 0), acquire(t, s, 0), acquire(t, s, 0)}
	s.KeyChanged()
	for i := range old {
		old[i].Failed(&refused, start)
		old[i].Release()
	}
	expect(t, s, 0, Healthy, 0)
	fail(t, s, 0, refused)
	fail(t, s, 0, refused)
	expect(t, s, 0, Error, 0)
	s.KeyChanged()
	expect(t, s, 0, Healthy, 0)
}

// TestKeptNonsense neither hangs nor cools for ever.
func TestKeptNonsense(t *testing.T) {
	s := newTest(t)
	s.Restore(Kept{Cooled: true, Level: -1, Failures: -5, Until: start.AddDate(8000, 0, 0), Blocks: map[string]Block{"m": {Until: start.AddDate(8000, 0, 0), Level: -3}}}, start)
	if left := s.Recovery("other", start); left > llm.MaxWait {
		t.Errorf("cools for %s", left)
	}
	s.Reset()
	fail(t, s, 0, llm.Fault{Class: llm.RateLimit})
	expect(t, s, 0, Cooling, 30*time.Second)
}

// TestBackoffNeverOverflows, whatever base and max are.
func TestBackoffNeverOverflows(t *testing.T) {
	s := newTest(t)
	s.Configure(Policy{Base: 24 * time.Hour, Max: 7 * 24 * time.Hour, FailuresBeforeError: 1, Zone: start.Location()}, &Config{})
	before := time.Duration(0)
	for level := range 100 {
		wait := s.backoff(level)
		if wait < before || wait > 7*24*time.Hour {
			t.Fatalf("level %d waits %s", level, wait)
		}
		before = wait
	}
}
