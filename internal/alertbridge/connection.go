package alertbridge

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
)

// connection tells whether pressed buttons are heard of. Where cards have none there
// is no series: a 0 would look like a connection that was lost.
type connection struct{ callbacks *feishu.Callbacks }

// Describe implements [prometheus.Collector].
func (c connection) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc() }

// Collect implements [prometheus.Collector].
func (c connection) Collect(ch chan<- prometheus.Metric) {
	connected, wanted := c.callbacks.Connected()
	if !wanted {
		return
	}
	value := 0.0
	if connected {
		value = 1
	}
	ch <- prometheus.MustNewConstMetric(c.desc(), prometheus.GaugeValue, value)
}

func (c connection) desc() *prometheus.Desc {
	return prometheus.NewDesc("alertbridge_callback_connected",
		"Whether the long connection is there on which Feishu tells of pressed buttons (1) or it is not (0); absent where cards have no buttons.", nil, nil)
}
