// Package metrics makes the registry that every program serves at /metrics,
// and the metrics that all of them share.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/fleetwatch/fleetwatch/internal/buildinfo"
)

// NewRegistry returns a registry with the Go runtime, process and build
// collectors of program.
func NewRegistry(program string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildinfo.Collector(program))
	return r
}

// Reload tells whether the configuration in force is the one on disk:
// PREFIX_config_last_reload_successful (1 or 0) and
// PREFIX_config_last_reload_success_timestamp_seconds (Unix seconds).
type Reload struct {
	successful prometheus.Gauge
	timestamp  prometheus.Gauge
}

// NewReload registers the two gauges under prefix.
func NewReload(r prometheus.Registerer, prefix string) *Reload {
	m := &Reload{
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "_config_last_reload_successful",
			Help: "Whether the last load of the configuration succeeded (1) or the earlier one is still in force (0).",
		}),
		timestamp: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: prefix + "_config_last_reload_success_timestamp_seconds",
			Help: "When the configuration in force was loaded, in Unix seconds.",
		}),
	}
	r.MustRegister(m.successful, m.timestamp)
	return m
}

// Observe records the outcome of a load; nil is success.
func (m *Reload) Observe(err error) {
	if err != nil {
		m.successful.Set(0)
		return
	}
	m.successful.Set(1)
	m.timestamp.SetToCurrentTime()
}
