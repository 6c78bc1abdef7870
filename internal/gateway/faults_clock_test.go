package gateway_test

import (
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

const (
	poorKey = "key-of-poor"
	poor    = "    - {name: poor, key: " + poorKey + ", daily_budget: 200}\n"
)

// clockCells set the clock while the gateway runs. What must hold: a wait is as long as
// it was meant to be; nobody is left aside for longer because the clock went back; no
// stream is cut; no row, event or sum says anything negative, and the sums are those of
// the rows; a budget is there once for each date.
func clockCells() []cell {
	out := []cell{
		{
			name: "clock back, a quota", want: moved("skipped error", state{status: "error", reason: "quota", left: anyTime}),
			play: func(s *scene) answer {
				s.clock.Set(72 * time.Hour)
				s.times(provider.Payment, "primary-1", 1)
				s.before()
				s.clock.Set(0)
				return s.ask()
			},
		},
		{
			name: "clock back and a restart", want: moved("skipped cooling", cooling(120)),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1, "Retry-After", "120")
				s.before()
				s.clock.Set(-2 * time.Hour)
				s.restart()
				return s.ask()
			},
		},
		{
			name: "clock back as a cooldown ends", settings: settings{cooldown: "base: 100ms, jitter: 0"},
			want: outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}},
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1)
				s.before()
				s.clock.Set(-2 * time.Hour)
				eventually(s.T, "half open", func() bool { return s.backend("primary-1").Status == "half_open" })
				return s.ask()
			},
		},
	}
	out = append(out, setCells("clock ahead", 2*time.Hour)...)
	out = append(out, setCells("clock back", -2*time.Hour)...)
	return append(out, budgetCells()...)
}

// setCells are those in which it is the same whether the clock is set ahead or back.
func setCells(name string, by time.Duration) []cell {
	return []cell{
		{
			name: name + " in a cooldown", want: moved("skipped cooling", cooling(120)),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1, "Retry-After", "120")
				s.before()
				s.clock.Set(by)
				return s.ask()
			},
		},
		{
			name: name + ", a provider's date", want: moved("failed rate_limit", cooling(300)),
			play: func(s *scene) answer {
				s.clock.Set(by)
				f := provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Times: 1, Reset: 300, ResetOf: "input-tokens"}
				if s.w.name != wireMess.name {
					f.Reset, f.Headers = 0, header("Retry-After", time.Now().Add(300*time.Second).UTC().Format(http.TimeFormat))
				}
				s.p.fault(s.T, f)
				return s.ask()
			},
		},
		{
			name: name + " in an answer", want: outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}},
			play: func(s *scene) answer { return s.meanwhile(func() { s.clock.Set(by) }) },
		},
		{
			name: name + " in a minute", settings: settings{backend: "rpm_limit: 1"},
			want: func() outcome {
				o := exhausted("rate_limited", "", 61, []string{"primary-1 skipped rpm_limit", "fallback-1 skipped rpm_limit"}, nil)
				o.status = http.StatusTooManyRequests
				return o.counts(series("gateway_backend_rpm_utilization_ratio", "backend", "primary-1"), "1")
			}(),
			play: func(s *scene) answer {
				s.before()
				s.before()
				s.clock.Set(by)
				return s.ask()
			},
		},
	}
}

// budgetCells are about a clock that is set to the next day, and back, once the budget
// of the day is spent.
func budgetCells() []cell {
	asPoor := []string{"Authorization", "Bearer " + poorKey}
	spent := func(s *scene) {
		for i := 0; s.before(asPoor...).status == http.StatusOK; i++ {
			if i > 100 {
				s.Fatal("the budget is never spent")
			}
		}
		s.clock.Set(24 * time.Hour)
		if a := s.before(asPoor...); a.status != http.StatusOK {
			s.Errorf("on the next day: %d %s", a.status, a.body)
		}
		s.clock.Set(0)
	}
	set := settings{clients: poor, model: "price_per_mtok: {input: 1000000, output: 1000000}"}
	refused := exhausted("budget_exhausted", "", anyTime, nil, nil)
	refused.status, refused.client = http.StatusTooManyRequests, "poor"
	served := outcome{ending: endWhole, row: "completed", client: "poor", attempts: []string{"primary-1 succeeded"}}
	limitedTotal := series("gateway_client_rate_limited_total", "by", "daily_budget", "client", "poor")
	left := series("gateway_budget_remaining_ratio", "client", "poor", "period", "day")
	return []cell{
		{
			name: "budget day come and gone", wires: both(), settings: set, want: refused.counts(limitedTotal, "2", left, "0"),
			play: func(s *scene) answer {
				spent(s)
				return s.ask(asPoor...)
			},
		},
		{
			name: "budget day come again", wires: both(), settings: set, want: served.counts(limitedTotal, "1", left, "some"),
			play: func(s *scene) answer {
				spent(s)
				s.clock.Set(24 * time.Hour)
				return s.ask(asPoor...)
			},
		},
	}
}
