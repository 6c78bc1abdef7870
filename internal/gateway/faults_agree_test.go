package gateway_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
)

// rows are all rows of the ledger, the newest first.
func (g *running) rows() []admin.Request {
	g.t.Helper()
	var all []admin.Request
	for path := "/api/admin/requests?limit=500"; path != ""; {
		var page []admin.Request
		a := g.get(path, &page)
		all = append(all, page...)
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	return all
}

// counted are the families that say what the ledger says.
var counted = []string{
	"gateway_requests_total", "gateway_client_requests_total", "gateway_client_response_seconds_count", "gateway_attempts_total", "gateway_client_attempts_total", "gateway_failovers_total",
	"gateway_tokens_total", "gateway_client_tokens_total", "gateway_cost_total", "gateway_client_cost_total", "gateway_pools_exhausted_total", "gateway_emergency_total",
	"gateway_queue_rejected_total", "gateway_queue_wait_seconds_count", "gateway_ttfb_seconds_count",
}

// sums adds up what metrics must say, by series.
type sums map[string]float64

func (x sums) add(n float64, name string, kv ...string) {
	if n != 0 {
		x[series(name, kv...)] += n
	}
}

// disagreements are where the metrics, or the sums that the ledger keeps, do not say
// what its rows say; and what no row may say.
func (s *scene) disagreements(now map[string]float64) (wrong []string) {
	s.Helper()
	want, total := sums{}, sums{}
	for _, r := range s.rows() {
		total.take(r)
		if s.earlier[r.ID] || r.Status == "pending" || r.Status == "streaming" {
			continue
		}
		want.request(r)
		var row admin.Timeline
		s.get("/api/admin/requests/"+r.ID, &row)
		want.attempts(row)
		if r.DurationMS < 0 || r.QueuedMS < 0 || r.Cost < 0 || min(r.Tokens.Input, r.Tokens.Output, r.Tokens.CacheRead, r.Tokens.CacheWrite) < 0 || row.TotalLatencyMS < 0 {
			wrong = append(wrong, fmt.Sprintf("less than nothing: %+v", r))
		}
	}
	for name, value := range now {
		family, _, _ := strings.Cut(name, "{")
		if slices.Contains(counted, family) && value != 0 && !same(want[name], value) {
			wrong = append(wrong, fmt.Sprintf("%s is %g, by the rows %g", name, value, want[name]))
		}
	}
	for name, value := range want {
		if !same(now[name], value) {
			wrong = append(wrong, fmt.Sprintf("%s is %g, by the rows %g", name, now[name], value))
		}
	}
	return append(append(wrong, s.rollups(total)...), s.cooldowns()...)
}

// request adds what the row alone says.
func (x sums) request(r admin.Request) {
	label, tier := r.Model, r.Pool
	if r.Model != model || r.Code == "model_not_found" || r.Code == "invalid_request" && r.AttemptCount == 0 {
		label = "other"
	}
	if tier == "" {
		tier = "none"
	}
	x.add(1, "gateway_requests_total", "model", label, "pool", tier, "outcome", string(r.Status))
	x.add(1, "gateway_client_requests_total", "client", r.Client, "outcome", string(r.Status))
	x.add(1, "gateway_client_response_seconds_count", "client", r.Client)
	for kind, n := range map[string]int64{"input": r.Tokens.Input, "output": r.Tokens.Output, "cache_read": r.Tokens.CacheRead, "cache_write": r.Tokens.CacheWrite, "reasoning": r.Tokens.Reasoning} {
		x.add(float64(n), "gateway_tokens_total", "backend", r.Backend, "model", label, "kind", kind)
		x.add(float64(n), "gateway_client_tokens_total", "client", r.Client, "kind", kind)
	}
	x.add(r.Cost, "gateway_cost_total", "backend", r.Backend, "model", label, "currency", "USD")
	x.add(r.Cost, "gateway_client_cost_total", "client", r.Client, "currency", "USD")
	switch r.Code {
	case "all_pools_exhausted", "upstream_auth":
		x.add(1, "gateway_pools_exhausted_total", "model", label)
	case "queue_full", "queue_timeout":
		x.add(1, "gateway_queue_rejected_total", "reason", r.Code)
	}
	if r.QueuedMS > 0 {
		x.add(1, "gateway_queue_wait_seconds_count")
	}
}

// attempts adds what its timeline says.
func (x sums) attempts(row admin.Timeline) {
	failed := ""
	for _, a := range row.Attempts {
		x.add(1, "gateway_attempts_total", "backend", a.Backend, "model", row.Model, "outcome", string(a.Outcome))
		if a.Outcome == "skipped" {
			continue
		}
		x.add(1, "gateway_client_attempts_total", "client", row.Client, "outcome", string(a.Outcome), "class", string(a.Class))
		if a.TTFBMS != nil { // of a plain answer the whole of it is the first that means something
			x.add(1, "gateway_ttfb_seconds_count", "backend", a.Backend, "model", row.Model)
		}
		if a.Emergency {
			x.add(1, "gateway_emergency_total")
		}
		if failed != "" {
			x.add(1, "gateway_failovers_total", "model", row.Model, "class", failed)
		}
		failed = string(a.Class)
	}
}

// take adds a row to what the sums of the ledger must be.
func (x sums) take(r admin.Request) {
	if r.Status == "pending" || r.Status == "streaming" {
		return
	}
	x.add(1, "requests")
	if r.Status == "failed" || r.Status == "interrupted" {
		x.add(1, "errors")
	}
	x.add(float64(r.Tokens.Total), "tokens")
	x.add(r.Cost, "cost")
}

// rollups compares the sums by hour, by day and of all time with those of the rows.
func (s *scene) rollups(rows sums) (wrong []string) {
	s.Helper()
	var all admin.Total
	var hours []admin.Hour
	var days []admin.Day
	s.get("/api/admin/stats/total", &all)
	s.get("/api/admin/stats/hourly?hours=9000&limit=500", &hours)
	s.get("/api/admin/stats/daily?days=365&limit=365", &days)
	byHour, byDay := sums{}, sums{}
	for _, h := range hours {
		byHour.line(h.Requests, h.Errors, h.Tokens.Total, h.Cost)
	}
	for _, d := range days {
		byDay.line(d.Requests, d.Errors, d.Tokens.Total, d.Cost)
	}
	ever := sums{}
	ever.line(all.Requests, all.Errors, all.Tokens, all.Cost)
	for name, got := range map[string]sums{"hours": byHour, "days": byDay, "total": ever} {
		if !maps.EqualFunc(got, rows, same) {
			wrong = append(wrong, fmt.Sprintf("the sums of %s are %v, those of the rows %v", name, got, rows))
		}
	}
	return wrong
}

func (x sums) line(requests, errors, tokens int64, cost float64) {
	x.add(float64(requests), "requests")
	x.add(float64(errors), "errors")
	x.add(float64(tokens), "tokens")
	x.add(cost, "cost")
}

// cooldowns looks for events that end before they began.
func (s *scene) cooldowns() (wrong []string) {
	s.Helper()
	var events []admin.Cooldown
	s.get("/api/admin/stats/cooldown?days=365", &events)
	for _, e := range events {
		if e.Seconds < 0 || e.EndedAt != nil && e.EndedAt.Before(e.StartedAt) {
			wrong = append(wrong, fmt.Sprintf("a cooldown that ends before it begins: %+v", e))
		}
	}
	return wrong
}
