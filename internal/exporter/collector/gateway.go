package collector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Names of the gateway's series about its clients.
const (
	clientRequests = "gateway_client_requests_total"
	clientAttempts = "gateway_client_attempts_total"
	clientResponse = "gateway_client_response_seconds"
	clientLast     = "gateway_client_last_request_timestamp_seconds"
)

// What the gateway calls outcomes and classes.
const (
	requestFailed    = "failed"
	requestCompleted = "completed"
	attemptSucceeded = "succeeded"
	attemptSkipped   = "skipped"
	classRateLimit   = "rate_limit"
)

// maxScrape bounds the gateway's answer.
const maxScrape = 64 << 20

// Traffic is what the gateway saw, by client key name.
type Traffic map[string]*ClientTraffic

// ClientTraffic is the traffic of one client since the gateway started, and over
// the window.
type ClientTraffic struct {
	Requests    map[string]float64 // by outcome
	Errors      map[string]float64 // failed attempts by class
	Attempts    float64            // that reached a backend
	RateLimited float64            // attempts answered 429
	Response    Histogram
	LastRequest time.Time // zero = none yet

	// Window is the change over the window; nil until two reads of it.
	Window *ClientTraffic
}

// Histogram is a classic histogram: cumulative counts by upper bound.
type Histogram struct {
	Count   uint64
	Sum     float64
	Buckets map[float64]uint64
}

// AllFailed reports whether there were requests in the window and every one of
// them failed.
func (t *ClientTraffic) AllFailed() bool {
	return t != nil && t.Window != nil && t.Window.Requests[requestFailed] > 0 && t.Window.Requests[requestCompleted] == 0
}

// Median returns the response time that half of the window's requests stayed
// under, by linear interpolation as PromQL does it, and whether there were any.
func (h Histogram) Median() (float64, bool) {
	bounds := slices.Sorted(maps.Keys(h.Buckets))
	if h.Count == 0 || len(bounds) == 0 {
		return 0, false
	}
	rank, lower, below := float64(h.Count)/2, 0.0, uint64(0)
	for _, upper := range bounds {
		in := h.Buckets[upper]
		if float64(in) >= rank && in > below {
			if math.IsInf(upper, 1) {
				return lower, true
			}
			return lower + (upper-lower)*(rank-float64(below))/float64(in-below), true
		}
		lower, below = upper, in
	}
	return lower, true
}

// GatewayReader reads the gateway's /metrics and remembers enough of the past
// for the window.
type GatewayReader struct {
	url    string
	window time.Duration

	mu      sync.Mutex
	history []moment
}

type moment struct {
	at      time.Time
	traffic Traffic
}

// NewGatewayReader makes a reader of the gateway whose operations address is
// url.
func NewGatewayReader(url string, window time.Duration) *GatewayReader {
	return &GatewayReader{url: url, window: window}
}

// Read reads once.
func (g *GatewayReader) Read(ctx context.Context) (Traffic, error) {
	families, err := scrape(ctx, g.url+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("reading the gateway: %w", err)
	}
	traffic, now := traffic(families), time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.history) > 0 && now.Sub(g.history[0].at) > g.window {
		g.history = g.history[1:]
	}
	if len(g.history) > 0 {
		for name, client := range traffic {
			client.Window = client.since(g.history[0].traffic[name])
		}
	}
	g.history = append(g.history, moment{now, traffic})
	return traffic, nil
}

func scrape(ctx context.Context, url string) (map[string]*dto.MetricFamily, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/plain; version=0.0.4")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", response.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(http.MaxBytesReader(nil, response.Body, maxScrape))
	if err != nil {
		return nil, fmt.Errorf("its metrics: %w", err)
	}
	if _, ok := families["fleetwatch_build_info"]; !ok {
		return nil, errors.New("it is no Fleetwatch program: fleetwatch_build_info is missing")
	}
	return families, nil
}

// traffic picks the series about clients.
func traffic(families map[string]*dto.MetricFamily) Traffic {
	all := Traffic{}
	each := func(family string, take func(*ClientTraffic, map[string]string, *dto.Metric)) {
		for _, m := range families[family].GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			client := labels["client"]
			if client == "" {
				continue
			}
			if all[client] == nil {
				all[client] = &ClientTraffic{Requests: map[string]float64{}, Errors: map[string]float64{}}
			}
			take(all[client], labels, m)
		}
	}
	each(clientRequests, func(c *ClientTraffic, labels map[string]string, m *dto.Metric) {
		c.Requests[labels["outcome"]] += m.GetCounter().GetValue()
	})
	each(clientAttempts, func(c *ClientTraffic, labels map[string]string, m *dto.Metric) {
		n := m.GetCounter().GetValue()
		switch labels["outcome"] {
		case attemptSkipped:
			return
		case attemptSucceeded:
		default:
			c.Errors[labels["class"]] += n
		}
		c.Attempts += n
		if labels["class"] == classRateLimit {
			c.RateLimited += n
		}
	})
	each(clientResponse, func(c *ClientTraffic, _ map[string]string, m *dto.Metric) {
		h := m.GetHistogram()
		c.Response = Histogram{Count: h.GetSampleCount(), Sum: h.GetSampleSum(), Buckets: map[float64]uint64{}}
		for _, b := range h.GetBucket() {
			c.Response.Buckets[b.GetUpperBound()] = b.GetCumulativeCount()
		}
	})
	each(clientLast, func(c *ClientTraffic, _ map[string]string, m *dto.Metric) {
		if seconds := m.GetGauge().GetValue(); seconds > 0 {
			c.LastRequest = time.UnixMilli(int64(seconds * 1000))
		}
	})
	return all
}

// since returns what came after before. Counters that went back were reset by a
// restart of the gateway: all they hold came after.
func (t *ClientTraffic) since(before *ClientTraffic) *ClientTraffic {
	if before == nil || t.Response.Count < before.Response.Count || t.Attempts < before.Attempts {
		before = &ClientTraffic{}
	}
	change := &ClientTraffic{Requests: map[string]float64{}, Errors: map[string]float64{},
		Attempts: t.Attempts - before.Attempts, RateLimited: t.RateLimited - before.RateLimited,
		Response: Histogram{Count: t.Response.Count - before.Response.Count, Sum: t.Response.Sum - before.Response.Sum, Buckets: map[float64]uint64{}}}
	for outcome, n := range t.Requests {
		change.Requests[outcome] = n - before.Requests[outcome]
	}
	for class, n := range t.Errors {
		change.Errors[class] = n - before.Errors[class]
	}
	for bound, n := range t.Response.Buckets {
		change.Response.Buckets[bound] = n - before.Response.Buckets[bound]
	}
	return change
}
