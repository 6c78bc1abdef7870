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
	if _, ok := s.Emergency(ask, start); ok {
		t.Error("beyond max_inflight")
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
