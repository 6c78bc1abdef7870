package run

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
)

// Metrics counts runs.
type Metrics struct {
	runs    *prometheus.CounterVec
	skips   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	delay   prometheus.Histogram
}

// NewMetrics registers the metrics of runs.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heartbeat_runs_total", Help: "Runs that ended, by agent and outcome.",
		}, []string{"agent", "outcome"}),
		skips: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heartbeat_skips_total", Help: "Slots that were not run, by agent and reason.",
		}, []string{"agent", "reason"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "heartbeat_run_seconds", Help: "How long runs took, from claim to end.",
			Buckets: []float64{0.1, 1, 5, 15, 60, 180, 600, 1800},
		}, []string{"agent"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "heartbeat_schedule_delay_seconds", Help: "From the due time of a slot to its committed start.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300, 3600},
		}),
	}
	r.MustRegister(m.runs, m.skips, m.seconds, m.delay)
	return m
}

// claimed counts a run that ended with its claim.
func (m *Metrics) claimed(r ledger.Run) {
	if !r.Open() {
		m.finished(r)
	}
}

func (m *Metrics) finished(r ledger.Run) {
	m.runs.WithLabelValues(r.Job, string(r.Outcome)).Inc()
	if r.Outcome == beat.OutcomeSkipped {
		m.skips.WithLabelValues(r.Job, r.Reason).Inc()
		return
	}
	m.seconds.WithLabelValues(r.Job).Observe(r.FinishedAt.Sub(r.StartedAt).Seconds())
}
