package backend

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

var start = time.Date(2026, 11, 22, 20, 0, 0, 0, time.FixedZone("CST", 8*3600))

func newTest(t *testing.T) *State {
	t.Helper()
	s := NewState(func() {}, func() {})
	s.Configure(Policy{Base: 30 * time.Second, Max: 10 * time.Minute, FailuresBeforeError: 3, EmergencyFraction: 0.1, Zone: start.Location()}, &Config{})
	return s
}

// acquire gets leave, or ends the test.
func acquire(t *testing.T, s *State, at time.Duration) Permit {
	t.Helper()
	p, skip, _ := s.Acquire(Ask{Model: "m"}, start.Add(at))
	if skip != "" {
		t.Fatalf("at %s: skipped, %s", at, skip)
	}
	return p
}

// fail is one attempt that fails.
func fail(t *testing.T, s *State, at time.Duration, f llm.Fault) {
	t.Helper()
	p := acquire(t, s, at)
	p.Failed(&f, start.Add(at))
	p.Release()
}

func expect(t *testing.T, s *State, at time.Duration, status Status, left time.Duration) {
	t.Helper()
	got := s.Snapshot(start.Add(at))
	if got.Status != status || (status == Cooling || status == Error && left > 0) && got.Until.Sub(start.Add(at)) != left {
		t.Errorf("at %s: %s until %s, want %s for %s", at, got.Status, got.Until.Sub(start.Add(at)), status, left)
	}
}

func TestCooldownsDoubleUntilASuccess(t *testing.T) {
	s := newTest(t)
	at := time.Duration(0)
	for _, seconds := range []int{30, 60, 120, 240, 480, 600, 600} {
		want := time.Duration(seconds) * time.Second
		fail(t, s, at, llm.Fault{Class: llm.RateLimit})
		expect(t, s, at, Cooling, want)
		if _, skip, wait := s.Acquire(Ask{Model: "m"}, start.Add(at)); skip != SkipCooling || wait != want {
			t.Fatalf("skip %q for %s", skip, wait)
		}
		at += want + time.Hour // its passing clears nothing
		expect(t, s, at, HalfOpen, 0)
	}
	p := acquire(t, s, at)
	if _, skip, _ := s.Acquire(Ask{Model: "m"}, start.Add(at)); skip != SkipTrial {
		t.Errorf("a second trial: %q", skip)
	}
	p.Succeeded(time.Second, start)
	p.Release()
	expect(t, s, at, Healthy, 0)
	fail(t, s, at, llm.Fault{Class: llm.RateLimit})
	expect(t, s, at, Cooling, 30*time.Second)
}

// TestGenerations: of many failures in flight at once one counts; what began before a
// cooldown says nothing about it, but for a later deadline of the provider's own.
func TestGenerations(t *testing.T) {
	s := newTest(t)
	var flight []Permit
	for range 40 {
		flight = append(flight, acquire(t, s, 0))
	}
	late := acquire(t, s, 0)
	for i := range flight {
		flight[i].Failed(&llm.Fault{Class: llm.RateLimit}, start)
		flight[i].Release()
	}
	if got := s.Snapshot(start); got.Level != 1 || got.Until != start.Add(30*time.Second) {
		t.Fatalf("after 40 failures: %+v", got)
	}
	late.Succeeded(time.Second, start)
	expect(t, s, 0, Cooling, 30*time.Second)
	late.Failed(&llm.Fault{Class: llm.RateLimit, Wait: 10 * time.Second}, start) // an earlier deadline
	expect(t, s, 0, Cooling, 30*time.Second)
	late.Failed(&llm.Fault{Class: llm.RateLimit, Wait: time.Hour}, start)
	expect(t, s, 0, Cooling, time.Hour)
	if got := s.Snapshot(start); got.Level != 1 {
		t.Errorf("the count has grown: %+v", got)
	}
	late.Release()
}

func TestClasses(t *testing.T) {
	midnight := 4 * time.Hour
	for _, c := range []struct {
		name   string
		faults []llm.Fault
		status Status
		left   time.Duration
		reason llm.Class
		block  bool
	}{
		{"a provider's wait wins", []llm.Fault{{Class: llm.RateLimit, Wait: time.Hour}}, Cooling, time.Hour, llm.RateLimit, false},
		{"but not a shorter one", []llm.Fault{{Class: llm.RateLimit, Wait: time.Second}}, Cooling, 30 * time.Second, llm.RateLimit, false},
		{"two server errors", []llm.Fault{{Class: llm.ServerError}, {Class: llm.Timeout}}, Healthy, 0, "", false},
		{"three of a kind", []llm.Fault{{Class: llm.ServerError}, {Class: llm.Timeout}, {Class: llm.Malformed}}, Cooling, 30 * time.Second, llm.Malformed, false},
		{"quota until the day ends", []llm.Fault{{Class: llm.Quota}}, Error, midnight, llm.Quota, false},
		{"quota until its reset", []llm.Fault{{Class: llm.Quota, Wait: time.Hour}}, Error, time.Hour, llm.Quota, false},
		{"one refusal", []llm.Fault{{Class: llm.Auth, Status: 401}}, Healthy, 0, "", false},
		{"two refusals", []llm.Fault{{Class: llm.Auth, Status: 401}, {Class: llm.Auth, Status: 401}}, Error, 0, llm.Auth, false},
		{"a model forbidden", []llm.Fault{{Class: llm.Auth, Status: 403}}, Healthy, 0, "", true},
		{"a key forbidden", []llm.Fault{{Class: llm.Auth, Status: 403, NamesKey: true}}, Error, 0, llm.Auth, false},
		{"a model unknown", []llm.Fault{{Class: llm.ModelUnavailable}}, Healthy, 0, "", true},
		{"the request's own fault", []llm.Fault{{Class: llm.InvalidRequest}, {Class: llm.ContentPolicy}, {Class: llm.ClientCancelled}, {Class: llm.InvalidRequest}}, Healthy, 0, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTest(t)
			for _, f := range c.faults {
				fail(t, s, 0, f)
			}
			expect(t, s, 0, c.status, c.left)
			got := s.Snapshot(start)
			if got.Reason != c.reason || (len(got.Blocked(start)) == 1) != c.block || s.Available("m", start) != (c.status == Healthy && !c.block) || s.Available("n", start) != (c.status == Healthy) {
				t.Errorf("%+v", got)
			}
			s.Reset()
			expect(t, s, 0, Healthy, 0)
			if !s.Available("m", start) {
				t.Error("a model is kept from it after a reset")
			}
		})
	}
}

func TestASuccessBetweenFailuresCounts(t *testing.T) {
	s := newTest(t)
	for range 5 {
		fail(t, s, 0, llm.Fault{Class: llm.ServerError})
		fail(t, s, 0, llm.Fault{Class: llm.ServerError})
		p := acquire(t, s, 0)
		p.Succeeded(time.Millisecond, start)
		p.Release()
	}
	expect(t, s, 0, Healthy, 0)
}

func TestAFailedTrialCoolsAtOnce(t *testing.T) {
	s := newTest(t)
	fail(t, s, 0, llm.Fault{Class: llm.Quota, Wait: time.Minute})
	fail(t, s, 2*time.Minute, llm.Fault{Class: llm.ServerError})
	expect(t, s, 2*time.Minute, Cooling, 30*time.Second)
	p := acquire(t, s, time.Hour) // cancelled: the next may try
	p.Release()
	expect(t, s, time.Hour, HalfOpen, 0)
	acquire(t, s, time.Hour)
}

func TestKeptOverARestart(t *testing.T) {
	for _, c := range []struct {
		name   string
		faults []llm.Fault
		after  time.Duration
		status Status
		left   time.Duration
	}{
		{"cooling", []llm.Fault{{Class: llm.RateLimit}}, 10 * time.Second, Cooling, 20 * time.Second},
		{"half open", []llm.Fault{{Class: llm.RateLimit}}, time.Hour, HalfOpen, 0},
		{"clock set back", []llm.Fault{{Class: llm.RateLimit}}, -time.Hour, Cooling, 30 * time.Second},
		{"error", []llm.Fault{{Class: llm.Auth, Status: 401}, {Class: llm.Auth, Status: 401}}, time.Hour, Error, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newTest(t)
			for _, f := range c.faults {
				fail(t, s, 0, f)
			}
			raw, err := json.Marshal(s.Keep())
			if err != nil {
				t.Fatal(err)
			}
			var k Kept
			if err := json.Unmarshal(raw, &k); err != nil {
				t.Fatal(err)
			}
			restored := newTest(t)
			restored.Restore(k, start.Add(c.after))
			expect(t, restored, c.after, c.status, c.left)
			if restored.Snapshot(start).Level != s.Snapshot(start).Level {
				t.Error("the count is lost")
			}
		})
	}
}

func TestLimits(t *testing.T) {
	s := newTest(t)
	s.Configure(s.policy, &Config{RPM: 2, TPM: 1000})
	ask := Ask{Model: "m", MaxInflight: 1, Tokens: 600}
	p, _, _ := s.Acquire(ask, start)
	if _, skip, _ := s.Acquire(ask, start); skip != SkipFull {
		t.Errorf("beyond max_inflight: %q", skip)
	}
	ask.MaxInflight = 0
	if _, skip, wait := s.Acquire(ask, start); skip != SkipTPM || wait < time.Minute || !skip.Limits() {
		t.Errorf("beyond tpm_limit: %q, %s", skip, wait)
	}
	p.Settle(100, start) // less than it might have been
	p.Release()
	if _, skip, _ := s.Acquire(ask, start.Add(time.Second)); skip != "" {
		t.Errorf("after settling: %q", skip)
	}
	if _, skip, wait := s.Acquire(Ask{Model: "m"}, start.Add(2*time.Second)); skip != SkipRPM || wait < 58*time.Second || wait > 59*time.Second {
		t.Errorf("beyond rpm_limit: %q, %s", skip, wait)
	}
	if load := s.Load(start.Add(2 * time.Second)); load.Used != 1 || load.Inflight != 1 {
		t.Errorf("load %+v", load)
	}
	acquire(t, s, 61*time.Second)
	s.Configure(s.policy, &Config{RPM: 2, Disabled: true})
	if _, skip, _ := s.Acquire(Ask{Model: "m"}, start.Add(time.Hour)); skip != SkipDisabled {
		t.Errorf("disabled: %q", skip)
	}
}

// TestEmergency: a few calls a minute to a backend that is cooling, never before the
// end of a wait that the provider asked for, never where it is in error or disabled.
func TestEmergency(t *testing.T) {
	ask := Ask{Model: "m"}
	rateLimit := llm.Fault{Class: llm.RateLimit}
	asked := llm.Fault{Class: llm.RateLimit, Wait: 45 * time.Second}
	cooling := func(f llm.Fault) *State {
		s := newTest(t)
		s.Configure(s.policy, &Config{RPM: 30})
		fail(t, s, 0, f)
		return s
	}
	s := cooling(rateLimit)
	for i := range 4 {
		p, ok := s.Emergency(ask, start.Add(time.Second))
		if ok != (i < 3) {
			t.Fatalf("call %d: %t", i, ok)
		}
		if ok {
			p.Failed(&rateLimit, start.Add(time.Second))
			p.Release()
		}
	}
	expect(t, s, time.Second, Cooling, 29*time.Second) // nothing that was not known
	p, ok := cooling(rateLimit).Emergency(ask, start)
	if !ok {
		t.Fatal("no leave")
	}
	p.Succeeded(time.Second, start)
	p.Release()
	expect(t, p.state, 0, Healthy, 0)

	s = cooling(rateLimit)
	if p, ok = s.Emergency(ask, start); !ok {
		t.Fatal("no leave")
	}
	p.Failed(&asked, start)
	p.Release()
	expect(t, s, 0, Cooling, 45*time.Second)
	if _, ok := s.Emergency(ask, start.Add(44*time.Second)); ok {
		t.Error("called before the provider's own deadline")
	}
	if _, ok := cooling(asked).Emergency(ask, start.Add(44*time.Second)); ok {
		t.Error("called before the provider's own deadline")
	}
	s = cooling(asked)
	kept := newTest(t)
	kept.Restore(s.Keep(), start)
	if _, ok := kept.Emergency(ask, start.Add(44*time.Second)); ok {
		t.Error("a restart forgets the provider's own deadline")
	}
	s = newTest(t)
	fail(t, s, 0, llm.Fault{Class: llm.Quota, Status: 402})
	if _, ok := s.Emergency(ask, start); ok {
		t.Error("called in error")
	}
	if _, ok := newTest(t).Emergency(ask, start); ok {
		t.Error("an emergency at a healthy backend")
	}
	s = cooling(rateLimit)
	s.Configure(s.policy, &Config{Disabled: true})
	if _, ok := s.Emergency(ask, start); ok {
		t.Error("called though disabled")
	}
}

func TestHealth(t *testing.T) {
	s := newTest(t)
	s.Configure(Policy{Base: time.Millisecond, Max: time.Millisecond, FailuresBeforeError: 1000, Zone: start.Location()}, &Config{})
	note := func(good, bad int, at time.Duration) {
		for range good {
			p := acquire(t, s, at)
			p.Succeeded(time.Millisecond, start.Add(at))
			p.Release()
		}
		for range bad {
			fail(t, s, at, llm.Fault{Class: llm.ServerError})
		}
		fail(t, s, at, llm.Fault{Class: llm.InvalidRequest}) // says nothing about the backend
	}
	is := func(at time.Duration, want Health) {
		t.Helper()
		if got := s.Load(start.Add(at)).Health; got != want {
			t.Errorf("at %s: %s, want %s", at, got, want)
		}
	}
	note(0, 4, 0)
	is(0, Well) // too few to say
	note(8, 0, time.Minute)
	is(time.Minute, Degraded) // 4 of 12
	note(30, 0, 2*time.Minute)
	is(2*time.Minute, Well)
	note(0, 20, 9*time.Minute)
	is(9*time.Minute, Down)
	is(15*time.Minute, Well) // long ago
	s.Probed(ProbeFailed, start.Add(16*time.Minute))
	is(16*time.Minute, Down)
	is(22*time.Minute, Well)
	s.Probed(ProbeFailed, start.Add(22*time.Minute))
	note(1, 0, 22*time.Minute)
	is(22*time.Minute, Well)
}

// TestProbe: a probe that succeeds gives a refused key one trial, and undoes nothing else.
func TestProbe(t *testing.T) {
	for _, c := range []struct {
		fault  llm.Fault
		before Status
		after  Status
	}{
		{llm.Fault{Class: llm.Auth, Status: 403, NamesKey: true}, Error, HalfOpen},
		{llm.Fault{Class: llm.Quota, Status: 402}, Error, Error},
		{llm.Fault{Class: llm.RateLimit}, Cooling, Cooling},
	} {
		s := newTest(t)
		fail(t, s, 0, c.fault)
		for _, p := range []Probe{ProbeFailed, ProbeSilent} {
			s.Probed(p, start)
			if got := s.Snapshot(start).Status; got != c.before {
				t.Errorf("%s: %s after a probe that is %s, want %s", c.fault.Class, got, p, c.before)
			}
		}
		s.Probed(ProbeTaken, start)
		if got := s.Snapshot(start).Status; got != c.after {
			t.Errorf("%s: %s after a probe, want %s", c.fault.Class, got, c.after)
		}
	}
}
