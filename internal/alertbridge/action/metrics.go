package action

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
)

// Metrics are the counters of actions.
type Metrics struct{ actions *prometheus.CounterVec }

// kindUnknown stands for what a forged value claims.
const kindUnknown = render.ActionKind("unknown")

// NewMetrics registers the metrics. Further results may be counted for silences
// and their ends: what became of them in Alertmanager.
func NewMetrics(r prometheus.Registerer, further ...Result) *Metrics {
	m := &Metrics{actions: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "alertbridge_actions_total",
		Help: "Buttons pressed, by action (acknowledge, silence, end_silence, unknown) and result: accepted, or why not; done and failed: what became of it in Alertmanager.",
	}, []string{"action", "result"})}
	r.MustRegister(m.actions)
	for _, kind := range render.ActionKinds() {
		for _, result := range Results() {
			m.actions.WithLabelValues(string(kind), string(result))
		}
	}
	for _, result := range []Result{Forged, StoreFailed} {
		m.actions.WithLabelValues(string(kindUnknown), string(result))
	}
	for _, kind := range []render.ActionKind{render.Silence, render.EndSilence} {
		for _, result := range further {
			m.actions.WithLabelValues(string(kind), string(result))
		}
	}
	return m
}

// Count counts one result.
func (m *Metrics) Count(kind render.ActionKind, r Result) {
	m.actions.WithLabelValues(string(kind), string(r)).Inc()
}
