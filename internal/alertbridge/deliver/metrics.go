package deliver

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
)

// Metrics are the counters of deliveries.
type Metrics struct {
	deliveries  *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	rateLimited *prometheus.CounterVec
	digests     *prometheus.CounterVec
	up          prometheus.Gauge
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		deliveries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_deliveries_total",
			Help: "Calls to Feishu by receiver, kind (create, patch, reply, bot, openclaw) and result: ok, or the class of Feishu's code.",
		}, []string{"receiver", "kind", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "alertbridge_delivery_seconds",
			Help:    "Time from accepting a change to its acceptance by Feishu.",
			Buckets: []float64{0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200},
		}, []string{"receiver"}),
		rateLimited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_rate_limited_total",
			Help: "Calls that Feishu refused for a rate limit.",
		}, []string{"receiver"}),
		digests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_digests_total",
			Help: "Digests that were opened because a receiver got more cards than storm.per_receiver_per_minute.",
		}, []string{"receiver"}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "alertbridge_feishu_up",
			Help: "Whether Feishu answered the last call (1) or could not be reached (0).",
		}),
	}
	r.MustRegister(m.deliveries, m.seconds, m.rateLimited, m.digests, m.up)
	return m
}

// announce makes a receiver's counters exist before the first call, since a
// rate misses the first increment of a counter that appears with it.
func (m *Metrics) announce(receiver string, kinds []string) {
	m.rateLimited.WithLabelValues(receiver)
	m.digests.WithLabelValues(receiver)
	m.seconds.WithLabelValues(receiver)
	for _, kind := range kinds {
		m.deliveries.WithLabelValues(receiver, kind, resultOK)
		for _, class := range feishu.Classes() {
			m.deliveries.WithLabelValues(receiver, kind, string(class))
		}
	}
}

const resultOK = "ok"
