package collector_test

import (
	"math"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
)

// gateway serves the series about clients as the gateway does.
type gateway struct {
	url                string
	requests, attempts *prometheus.CounterVec
	response           *prometheus.HistogramVec
	last               *prometheus.GaugeVec
}

func startGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gateway_client_requests_total", Help: "As the gateway has it."}, []string{"client", "outcome"}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gateway_client_attempts_total", Help: "As the gateway has it."}, []string{"client", "outcome", "class"}),
		response: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "gateway_client_response_seconds", Help: "As the gateway has it.", Buckets: []float64{1, 2, 4}}, []string{"client"}),
		last:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gateway_client_last_request_timestamp_seconds", Help: "As the gateway has it."}, []string{"client"}),
	}
	registry := metrics.NewRegistry("gateway")
	registry.MustRegister(g.requests, g.attempts, g.response, g.last)
	server := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

func (g *gateway) failed(client, class string) {
	g.requests.WithLabelValues(client, "failed").Inc()
	g.attempts.WithLabelValues(client, "failed", class).Inc()
}

func (g *gateway) completed(client string, seconds float64) {
	g.requests.WithLabelValues(client, "completed").Inc()
	g.attempts.WithLabelValues(client, "succeeded", "").Inc()
	g.response.WithLabelValues(client).Observe(seconds)
	g.last.WithLabelValues(client).Set(1.7e9)
}

func TestGatewayReader(t *testing.T) {
	g := startGateway(t)
	reader := collector.NewGatewayReader(g.url, time.Hour)
	g.completed("ops", 3)
	g.failed("ops", "rate_limit")
	g.attempts.WithLabelValues("ops", "skipped", "cooling").Inc()
	first, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ops := first["ops"]
	if ops.Window != nil || ops.Requests["completed"] != 1 || ops.Attempts != 2 || ops.RateLimited != 1 || ops.Errors["rate_limit"] != 1 || ops.LastRequest.Unix() != 1.7e9 || ops.AllFailed() {
		t.Errorf("first read: %+v", ops)
	}
	g.failed("ops", "rate_limit")
	g.failed("ops", "server_error")
	second, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w := second["ops"].Window; w.Attempts != 2 || w.RateLimited != 1 || w.Errors["server_error"] != 1 || !second["ops"].AllFailed() {
		t.Errorf("the window: %+v, all failed %v", w, second["ops"].AllFailed())
	}
	g.completed("ops", 1.5)
	third, err := reader.Read(t.Context())
	if err != nil || third["ops"].AllFailed() {
		t.Errorf("after a success: %+v, %v", third["ops"].Window, err)
	}
	if median, ok := third["ops"].Window.Response.Median(); !ok || median != 1.5 {
		t.Errorf("median of one response between 1 s and 2 s = %g, %v, want 1.5", median, ok)
	}
	// A restart of the gateway resets its counters.
	g.requests.Reset()
	g.attempts.Reset()
	g.response.Reset()
	g.failed("ops", "auth")
	fourth, err := reader.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if w := fourth["ops"].Window; w.Attempts != 1 || w.Errors["auth"] != 1 {
		t.Errorf("after a reset: %+v", w)
	}
}

func TestGatewayReaderRefusesWhatIsNoGateway(t *testing.T) {
	var body atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if *body.Load() == "" {
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = w.Write([]byte(*body.Load()))
	}))
	defer server.Close()
	for _, text := range []string{"", "<html>", "up 1\n", "gateway_client_requests_total{client="} {
		body.Store(&text)
		if _, err := collector.NewGatewayReader(server.URL, time.Hour).Read(t.Context()); err == nil {
			t.Errorf("%q was read as a gateway's metrics", text)
		}
	}
}

func TestMedian(t *testing.T) {
	inf := math.Inf(1)
	for name, c := range map[string]struct {
		h    collector.Histogram
		want float64
		ok   bool
	}{
		"none":         {collector.Histogram{Buckets: map[float64]uint64{1: 0, inf: 0}}, 0, false},
		"no buckets":   {collector.Histogram{Count: 3}, 0, false},
		"first bucket": {collector.Histogram{Count: 4, Buckets: map[float64]uint64{1: 4, 2: 4}}, 0.5, true},
		"second":       {collector.Histogram{Count: 4, Buckets: map[float64]uint64{1: 1, 3: 3, 4: 4}}, 2, true},
		"beyond all":   {collector.Histogram{Count: 4, Buckets: map[float64]uint64{1: 0, 2: 1, inf: 4}}, 2, true},
		"no +Inf":      {collector.Histogram{Count: 4, Buckets: map[float64]uint64{1: 0, 2: 1}}, 2, true},
	} {
		if got, ok := c.h.Median(); got != c.want || ok != c.ok {
			t.Errorf("%s: %g, %v, want %g, %v", name, got, ok, c.want, c.ok)
		}
	}
}
