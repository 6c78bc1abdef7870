package reconcile

import "github.com/prometheus/client_golang/prometheus"

// collector tells when cards were last compared. There is no such time, and no
// series, where no Alertmanager is set: a 0 would look like one that never answers.
type collector struct{ x *Reconciler }

// Describe implements [prometheus.Collector].
func (c collector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc() }

// Collect implements [prometheus.Collector].
func (c collector) Collect(ch chan<- prometheus.Metric) {
	if c.x.config.Load().am != nil {
		ch <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, float64(c.x.success.Load())/1000)
	}
}

func (c collector) desc() *prometheus.Desc {
	return prometheus.NewDesc("alertbridge_reconcile_last_success_timestamp_seconds",
		"When open cards were last compared with Alertmanager, in Unix seconds; 0 before the first time, absent where no Alertmanager is set.", nil, nil)
}
