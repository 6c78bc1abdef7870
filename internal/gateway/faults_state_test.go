package gateway_test

import (
	"net/http"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// times are faults of a backend, "" = of all, that meet so many requests; 0 = all.
func (s *scene) times(kind provider.Kind, backend string, times int, headers ...string) {
	s.Helper()
	s.p.fault(s.T, provider.Fault{Kind: kind, Backend: backend, Times: times, Headers: header(headers...)})
}

// cooling is the state of a backend in its first cooldown.
func cooling(seconds float64) state {
	return state{status: "cooling", reason: "rate_limit", left: seconds, level: 1}
}

// moved is what must come of a request that the fallback answers.
func moved(why string, primary state) outcome {
	return outcome{
		ending: endWhole, row: "completed", attempts: []string{"primary-1 " + why, "fallback-1 succeeded"}, states: map[string]state{"primary-1": primary},
		metrics: map[string]string{series("gateway_model_available_backends", "model", model, "pool", "fallback"): "1"},
	}
}

// exhausted is what must come of a request that no backend answers.
func exhausted(code, class string, retry int, attempts []string, states map[string]state) outcome {
	o := outcome{ending: endError, status: 503, code: code, retry: retry, row: "failed " + class, attempts: attempts, states: states, metrics: map[string]string{}}
	if class == "" {
		o.row = "failed"
	}
	return o
}

// counts adds series that must have a value.
func (o outcome) counts(kv ...string) outcome {
	if o.metrics == nil {
		o.metrics = map[string]string{}
	}
	for i := 0; i+1 < len(kv); i += 2 {
		o.metrics[kv[i]] = kv[i+1]
	}
	return o
}

// stateCells are the faults whose point is what is learnt of backends.
func stateCells() []cell {
	exhaustedTotal := series("gateway_pools_exhausted_total", "model", model)
	rateLimits := series("gateway_client_attempts_total", "class", "rate_limit", "client", "coo", "outcome", "failed")
	return append([]cell{
		{
			name: "forty rate limits at once", wires: both(), play: forty,
			want: moved("failed rate_limit", cooling(30)).counts(rateLimits, "40", series("gateway_failovers_total", "class", "rate_limit", "model", model), "40"),
		},
		{
			name: "late success", wires: both(), play: late(func(*scene) {}),
			want: outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}, states: map[string]state{"primary-1": cooling(30)}}.counts(rateLimits, "1"),
		},
		{
			name: "late failure", wires: both(), play: late(func(s *scene) { s.times(provider.RateLimit, "primary-1", 1) }),
			want: moved("failed rate_limit", cooling(30)).counts(rateLimits, "2"),
		},
		{
			name: "late failure with a later deadline", wires: both(),
			play: late(func(s *scene) { s.times(provider.RateLimit, "primary-1", 1, "Retry-After", "3600") }),
			want: moved("failed rate_limit", cooling(3600)).counts(rateLimits, "2"),
		},
		{
			name: "retry-after date", want: moved("failed rate_limit", cooling(200)).counts(rateLimits, "1"),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1, "Retry-After", time.Now().Add(200*time.Second).UTC().Format(http.TimeFormat))
				return s.ask()
			},
		},
		{
			name: "unauthorized twice", want: moved("failed auth", state{status: "error", reason: "auth"}).counts(series("gateway_backend_error", "backend", "primary-1", "reason", "auth"), "1"),
			play: func(s *scene) answer {
				s.times(provider.Unauthorized, "primary-1", 2)
				s.before()
				return s.ask()
			},
		},
		{
			name: "unauthorized everywhere",
			want: func() outcome {
				o := exhausted("upstream_auth", "auth", 0, []string{"primary-1 failed auth", "fallback-1 failed auth"}, nil)
				o.status = 502
				return o.counts(exhaustedTotal, "1")
			}(),
			play: func(s *scene) answer {
				s.times(provider.Unauthorized, "", 2)
				a := s.ask()
				if a.header.Get("X-Should-Retry") != "false" {
					s.Error("the client is not told that trying again is no use")
				}
				return a
			},
		},
		{
			name: "long thinking", wires: []wire{wireChat, wireMess, wireResp},
			settings: settings{model: "reasoning: true, price_per_mtok: {input: 1, output: 4}", routing: "first_byte_timeout: 200ms, first_byte_timeout_reasoning: 20s, idle_timeout: 1s"},
			play: func(s *scene) answer {
				thought, text := "a b c d", "so"
				if err := s.p.AddAnswer(provider.Answer{Thinking: &thought, Text: &text, Pace: 0.15}); err != nil {
					s.Fatal(err)
				}
				s.p.fault(s.T, provider.Fault{Kind: provider.Slow, Delay: 0.6})
				return s.ask()
			},
			want: outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}}.counts(series("gateway_ttfb_seconds_count", "backend", "primary-1", "model", model), "1"),
		},
	}, exhaustedCells()...)
}

// forty has forty requests be refused at the same time.
func forty(s *scene) answer {
	const many = 40
	h := s.p.hold(s.T, "primary-1", many)
	s.times(provider.RateLimit, "primary-1", many)
	var group sync.WaitGroup
	for range many - 1 {
		group.Go(func() {
			if a := s.before(); s.w.ending(s.T, a, s.stream) != endWhole {
				s.Errorf("another one: %d %s", a.status, a.body)
			}
		})
	}
	var a answer
	group.Go(func() { a = s.ask() })
	eventually(s.T, "all are under way", func() bool { return h.came.Load() == many })
	h.release()
	group.Wait()
	return a
}

// late has the request under test be answered after another one, of later, has begun a
// cooldown.
func late(how func(*scene)) func(*scene) answer {
	return func(s *scene) answer {
		h := s.p.hold(s.T, "primary-1", 1)
		done := make(chan answer, 1)
		go func() { done <- s.ask() }()
		eventually(s.T, "the late call is under way", func() bool { return h.came.Load() == 1 })
		s.times(provider.RateLimit, "primary-1", 1)
		s.before()
		how(s)
		h.release()
		return <-done
	}
}

// exhaustedCells are about what happens where no backend is left.
func exhaustedCells() []cell {
	exhaustedTotal := series("gateway_pools_exhausted_total", "model", model)
	failed := []string{"primary-1 failed rate_limit", "fallback-1 failed rate_limit"}
	skipped := []string{"primary-1 skipped cooling", "fallback-1 skipped cooling"}
	quota := state{status: "error", reason: "quota", left: anyTime}
	// alone has the primary cool for a reason of ours or the provider's, and the fallback
	// be in error.
	alone := func(times int, headers ...string) func(*scene) answer {
		return func(s *scene) answer {
			s.times(provider.RateLimit, "primary-1", times, headers...)
			s.times(provider.Payment, "fallback-1", 1)
			s.before()
			return s.ask()
		}
	}
	lone := settings{waiting: emergency, cooldown: "base: 10m, jitter: 0"}
	return []cell{
		{
			name: "all pools fail", want: exhausted("all_pools_exhausted", "rate_limit", 40, failed, map[string]state{"primary-1": cooling(40), "fallback-1": cooling(40)}).counts(exhaustedTotal, "1"),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "", 2, "Retry-After", "40")
				return s.ask()
			},
		},
		{
			name: "all pools cooling", want: exhausted("all_pools_exhausted", "", 40, skipped, map[string]state{"primary-1": cooling(40), "fallback-1": cooling(60)}).counts(exhaustedTotal, "2"),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1, "Retry-After", "40")
				s.times(provider.RateLimit, "fallback-1", 1, "Retry-After", "60")
				s.before()
				return s.ask()
			},
		},
		{
			name: "recovery", settings: settings{cooldown: "base: 100ms, jitter: 0"},
			want: outcome{
				ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}, states: map[string]state{"fallback-1": {status: "half_open", level: 1}},
			}.counts(exhaustedTotal, "1"),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "", 2)
				s.before()
				for _, name := range []string{"primary-1", "fallback-1"} {
					eventually(s.T, "half open", func() bool { return s.backend(name).Status == "half_open" })
				}
				return s.ask()
			},
		},
		{
			name: "emergency", settings: lone, play: alone(1),
			want: outcome{
				ending: endWhole, row: "completed", attempts: []string{"primary-1 skipped cooling", "fallback-1 skipped error", "primary-1 succeeded"}, states: map[string]state{"fallback-1": quota},
			}.counts("gateway_emergency_total", "1"),
		},
		{
			name: "emergency that fails", settings: lone, play: alone(2),
			want: exhausted("all_pools_exhausted", "rate_limit", 600, []string{"primary-1 skipped cooling", "fallback-1 skipped error", "primary-1 failed rate_limit"},
				map[string]state{"primary-1": cooling(600), "fallback-1": quota}).counts("gateway_emergency_total", "1"),
		},
		{
			name: "no emergency before the provider's time", settings: lone, play: alone(1, "Retry-After", "700"),
			want: exhausted("all_pools_exhausted", "", 700, []string{"primary-1 skipped cooling", "fallback-1 skipped error"},
				map[string]state{"primary-1": cooling(700), "fallback-1": quota}).counts("gateway_emergency_total", "0"),
		},
	}
}
