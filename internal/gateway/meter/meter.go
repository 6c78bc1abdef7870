// Package meter holds the gateway's counters and histograms. What is a state, such as
// that of a backend, is read at scrape time elsewhere.
//
// Labels are bounded: models that the configuration does not name are "other",
// classes and outcomes are closed sets.
package meter

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
)

// OtherModel stands for models that no backend maps.
const OtherModel = "other"

// Services of the HTTP metrics.
const (
	ServiceData       = "data"
	ServiceOperations = "operations"
)

// Metrics are the gateway's counters.
type Metrics struct {
	currency string

	httpRequests *prometheus.CounterVec
	httpSeconds  *prometheus.HistogramVec
	limited      *prometheus.CounterVec
	requests     *prometheus.CounterVec
	attempts     *prometheus.CounterVec
	failovers    *prometheus.CounterVec
	ttfb         *prometheus.HistogramVec
	tokens       *prometheus.CounterVec
	cost         *prometheus.CounterVec
	exhausted    *prometheus.CounterVec
	emergency    prometheus.Counter
	queueWait    prometheus.Histogram
	queueRefused *prometheus.CounterVec

	clientRequests *prometheus.CounterVec
	clientAttempts *prometheus.CounterVec
	clientTokens   *prometheus.CounterVec
	clientCost     *prometheus.CounterVec
	clientSeconds  *prometheus.HistogramVec
	clientLast     *prometheus.GaugeVec
	clientLimited  *prometheus.CounterVec

	ledgerCommit   prometheus.Histogram
	ledgerFailures prometheus.Counter
}

// New registers the metrics. Costs are in currency.
func New(r prometheus.Registerer, currency string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	answer := []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600}
	m := &Metrics{
		currency:     currency,
		httpRequests: counter("gateway_http_requests_total", "HTTP requests by service (data, operations), method, route and status.", "service", "method", "route", "status"),
		httpSeconds:  histogram("gateway_http_request_duration_seconds", "Time to the end of HTTP requests by method and route.", []float64{0.005, 0.025, 0.1, 0.5, 1, 5, 30, 120, 600}, "method", "route"),
		limited:      counter("gateway_rate_limited_total", "Requests refused because their address called too often.", "service", "route"),
		requests:     counter("gateway_requests_total", "Requests for a model by the pool that answered (none: no pool did) and outcome.", "model", "pool", "outcome"),
		attempts:     counter("gateway_attempts_total", "Calls to backends by outcome (succeeded, failed, skipped: left out without a call).", "backend", "model", "outcome"),
		failovers:    counter("gateway_failovers_total", "Failed calls after which another backend was called, by class of the failure.", "model", "class"),
		ttfb:         histogram("gateway_ttfb_seconds", "Time from a call to a backend to its first meaningful byte.", answer, "backend", "model"),
		tokens:       counter("gateway_tokens_total", "Tokens by kind (input, output, cache_read, cache_write: disjoint; reasoning: a part of output).", "backend", "model", "kind"),
		cost:         counter("gateway_cost_total", "Cost of answers, in units of the currency.", "backend", "model", "currency"),
		exhausted:    counter("gateway_pools_exhausted_total", "Requests that no backend of any pool could answer.", "model"),
		emergency:    prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_emergency_total", Help: "Calls to backends that were cooling, because nothing else was left."}),
		queueWait:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "gateway_queue_wait_seconds", Help: "How long requests waited for a backend that were not served at once.", Buckets: []float64{0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60}}),
		queueRefused: counter("gateway_queue_rejected_total", "Requests that the queue refused, by reason (queue_full, queue_timeout).", "reason"),

		clientLimited:  counter("gateway_client_rate_limited_total", "Requests refused because their client has reached a limit of its own (rpm, tpm, daily_budget, monthly_budget).", "client", "by"),
		clientRequests: counter("gateway_client_requests_total", "Requests by client and outcome (completed, failed, cancelled, interrupted).", "client", "outcome"),
		clientAttempts: counter("gateway_client_attempts_total", "Calls to backends on behalf of a client by outcome (succeeded, failed) and class of the failure.", "client", "outcome", "class"),
		clientTokens:   counter("gateway_client_tokens_total", "Tokens by client and kind (input, output, cache_read, cache_write: disjoint; reasoning: a part of output).", "client", "kind"),
		clientCost:     counter("gateway_client_cost_total", "Cost of answers by client, in units of the currency.", "client", "currency"),
		clientSeconds:  histogram("gateway_client_response_seconds", "Time from a request to the end of its answer, by client.", answer, "client"),
		clientLast:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gateway_client_last_request_timestamp_seconds", Help: "When the client's last request came, in Unix seconds."}, []string{"client"}),

		ledgerCommit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gateway_ledger_commit_seconds", Help: "Time of one commit of the ledger.", Buckets: []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5},
		}),
		ledgerFailures: prometheus.NewCounter(prometheus.CounterOpts{Name: "gateway_ledger_failures_total", Help: "Requests whose row was not durable when they were answered, or that were refused for it."}),
	}
	r.MustRegister(m.httpRequests, m.httpSeconds, m.limited, m.requests, m.attempts, m.failovers, m.ttfb, m.tokens, m.cost, m.exhausted,
		m.clientRequests, m.clientAttempts, m.clientTokens, m.clientCost, m.clientSeconds, m.clientLast, m.ledgerCommit, m.ledgerFailures, m.emergency, m.queueWait, m.queueRefused, m.clientLimited)
	for _, reason := range []string{"queue_full", "queue_timeout"} {
		m.queueRefused.WithLabelValues(reason)
	}
	return m
}

// ends are the outcomes of requests.
func ends() []ledger.Status {
	return []ledger.Status{ledger.Completed, ledger.Failed, ledger.Cancelled, ledger.Interrupted}
}

// Announce makes the series of what the configuration names, so that the first event
// of each is seen as an increase.
func (m *Metrics) Announce(models, clients []string) {
	for _, model := range append([]string{OtherModel}, models...) {
		m.exhausted.WithLabelValues(model)
		for _, class := range llm.Classes() {
			if class.MovesOn() {
				m.failovers.WithLabelValues(model, string(class))
			}
		}
	}
	for _, c := range clients {
		for _, end := range ends() {
			m.clientRequests.WithLabelValues(c, string(end))
		}
		m.clientAttempts.WithLabelValues(c, string(ledger.OutcomeSucceeded), "")
		for _, class := range llm.Classes() {
			m.clientAttempts.WithLabelValues(c, string(ledger.OutcomeFailed), string(class))
		}
		m.clientSeconds.WithLabelValues(c)
		for _, by := range limit.Bys() {
			m.clientLimited.WithLabelValues(c, string(by))
		}
	}
}

// HTTP counts a finished HTTP request.
func (m *Metrics) HTTP(service, method, route string, status int, took time.Duration) {
	m.httpRequests.WithLabelValues(service, methodOf(method), route, strconv.Itoa(status)).Inc()
	m.httpSeconds.WithLabelValues(methodOf(method), route).Observe(took.Seconds())
}

// Refused counts what the HTTP server answered by itself, since it was no request.
func (m *Metrics) Refused(service string, status int) {
	m.httpRequests.WithLabelValues(service, methodOf(""), "none", strconv.Itoa(status)).Inc()
}

// RateLimited counts a request refused because its address called too often.
func (m *Metrics) RateLimited(service, route string) {
	m.limited.WithLabelValues(service, route).Inc()
}

// methodOf bounds the label: clients may send any word.
func methodOf(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	default:
		return "other"
	}
}

// Attempt counts an attempt, or a skip, when it ends.
func (m *Metrics) Attempt(client, model string, c *pool.Candidate, a *ledger.Attempt) {
	m.attempts.WithLabelValues(c.Name, model, string(a.Outcome)).Inc()
	if a.Outcome == ledger.OutcomeSkipped {
		return
	}
	if a.Emergency {
		m.emergency.Inc()
	}
	m.clientAttempts.WithLabelValues(client, string(a.Outcome), string(a.Class)).Inc()
	if a.TTFB > 0 {
		m.ttfb.WithLabelValues(c.Name, model).Observe(a.TTFB.Seconds())
	}
}

// Failover counts a failed call that another followed.
func (m *Metrics) Failover(model string, class llm.Class) {
	m.failovers.WithLabelValues(model, string(class)).Inc()
}

// Exhausted counts a request that no backend could answer.
func (m *Metrics) Exhausted(model string) { m.exhausted.WithLabelValues(model).Inc() }

// Queued observes how long a request waited for a backend.
func (m *Metrics) Queued(took time.Duration) { m.queueWait.Observe(took.Seconds()) }

// QueueRejected counts a request that the queue refused.
func (m *Metrics) QueueRejected(reason string) { m.queueRefused.WithLabelValues(reason).Inc() }

// ClientLimited counts a request refused because its client has reached a limit.
func (m *Metrics) ClientLimited(client string, by limit.By) {
	m.clientLimited.WithLabelValues(client, string(by)).Inc()
}

// Came notes that a client's request came.
func (m *Metrics) Came(client string, at time.Time) {
	m.clientLast.WithLabelValues(client).Set(float64(at.UnixMilli()) / 1000)
}

// Request counts a finished request, with the model's name as a label may have it.
func (m *Metrics) Request(model string, r *ledger.Row) {
	tier := r.Pool
	if tier == "" {
		tier = "none"
	}
	m.requests.WithLabelValues(model, tier, string(r.Status)).Inc()
	m.clientRequests.WithLabelValues(r.Client, string(r.Status)).Inc()
	m.clientSeconds.WithLabelValues(r.Client).Observe(r.Duration.Seconds())
	if r.Usage.Total() > 0 {
		for _, x := range [...]struct {
			kind string
			n    int64
		}{{"input", r.Usage.Input}, {"output", r.Usage.Output}, {"cache_read", r.Usage.CacheRead}, {"cache_write", r.Usage.CacheWrite}, {"reasoning", r.Usage.Reasoning}} {
			if x.n > 0 {
				m.tokens.WithLabelValues(r.Backend, model, x.kind).Add(float64(x.n))
				m.clientTokens.WithLabelValues(r.Client, x.kind).Add(float64(x.n))
			}
		}
	}
	if r.Cost > 0 {
		amount := float64(r.Cost) / llm.NanoPerUnit
		m.cost.WithLabelValues(r.Backend, model, m.currency).Add(amount)
		m.clientCost.WithLabelValues(r.Client, m.currency).Add(amount)
	}
}

// Commit observes a commit of the ledger.
func (m *Metrics) Commit(took time.Duration) { m.ledgerCommit.Observe(took.Seconds()) }

// LedgerFailed counts a request whose row is not durable.
func (m *Metrics) LedgerFailed() { m.ledgerFailures.Inc() }
