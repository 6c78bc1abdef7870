package collector

import (
	"github.com/prometheus/client_golang/prometheus"
)

var (
	requestsTotal = desc("agent_requests_total", "Requests of the agent's client key to the gateway, by outcome.", "outcome")
	errorsTotal   = desc("agent_errors_total", "Failed attempts on behalf of the agent's client key, by failure class.", "reason")
	limitedTotal  = desc("agent_rate_limited_total", "Attempts on behalf of the agent's client key that a backend answered 429.")
	limitedRatio  = desc("agent_rate_limited_ratio", "Share of the attempts in the window that a backend answered 429; absent without attempts.")
	limitedCount  = desc("agent_429_error_rate", "Number of 429s in the window (5 min by default).")
	responseTime  = desc("agent_response_time_seconds", "Median response time in the window; absent without responses.")
	responses     = desc("agent_response_duration_seconds", "Response time of the gateway to the agent's client key.")
)

// traffic shows what the gateway saw of the agent's client key. A client of
// which it has seen nothing has no series: none is invented.
func (s series) traffic(t *ClientTraffic) {
	if t == nil {
		return
	}
	for outcome, n := range t.Requests {
		s.counter(requestsTotal, n, outcome)
	}
	for class, n := range t.Errors {
		s.counter(errorsTotal, n, class)
	}
	s.counter(limitedTotal, t.RateLimited)
	s.ch <- prometheus.MustNewConstHistogram(responses, t.Response.Count, t.Response.Sum, t.Response.Buckets, s.labels...)
	s.time(activity, t.LastRequest, "gateway")
	w := t.Window
	if w == nil {
		return
	}
	s.gauge(limitedCount, w.RateLimited)
	if w.Attempts > 0 {
		s.gauge(limitedRatio, w.RateLimited/w.Attempts)
	}
	if median, ok := w.Response.Median(); ok {
		s.gauge(responseTime, median)
	}
}

func (s series) counter(d *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, append(s.labels[:2:2], labels...)...)
}
