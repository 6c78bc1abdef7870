package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

const (
	queued    = "queue: {timeout: 20s, max_depth: 8}, emergency_rpm_fraction: 0"
	emergency = "queue: {timeout: 0}, emergency_rpm_fraction: 0.1"
)

// TestWaitingForABackend: a request that no backend can take now, but one soon, waits
// and is served; nobody polls the provider meanwhile.
func TestWaitingForABackend(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, waiting: queued, cooldown: "base: 1s, jitter: 0"}))
	p.fault(t, provider.Fault{Backend: "primary-1", Kind: provider.RateLimit, Times: 1})
	p.fault(t, provider.Fault{Backend: "fallback-1", Kind: provider.RateLimit, Times: 1, Headers: header("Retry-After", "3600")})
	for _, stream := range []bool{false, true} {
		a := g.post(chat(stream))
		if a.status != http.StatusOK || ending(t, a, stream) != endWhole || a.header.Get("X-Gateway-Backend") != "primary-1" {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if stream {
			continue
		}
		row := g.timeline(a.header.Get("X-Gateway-Request"))
		if row.QueuedMS < 900 || row.AttemptCount != 3 || row.FailedAttempts != 2 {
			t.Errorf("row %+v", row)
		}
	}
	if n := len(p.Requests()); n != 4 {
		t.Errorf("the providers were asked %d times", n)
	}
	if n := g.metric("gateway_queue_wait_seconds_count"); n != "1" {
		t.Errorf("gateway_queue_wait_seconds_count is %s", n)
	}
}

// TestTheQueueIsBounded: over its depth and its time requests are refused, and a client
// that leaves leaves the queue.
func TestTheQueueIsBounded(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, backend: "max_inflight: 1", waiting: "queue: {timeout: 1500ms, max_depth: 2}"}))
	p.fault(t, provider.Fault{Kind: provider.Hang})
	ctx, leave := context.WithCancel(t.Context())
	var group sync.WaitGroup
	post := func(ctx context.Context) {
		group.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.Addr()+"/v1/chat/completions", strings.NewReader(chat(false)))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+clientKey)
			if response, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_ = response.Body.Close()
			}
		})
	}
	hang, end := context.WithCancel(t.Context())
	defer group.Wait()
	defer end()
	for range 2 {
		post(hang)
	}
	eventually(t, "both backends are full", func() bool { return p.Inflight("primary-1")+p.Inflight("fallback-1") == 2 })
	for range 2 {
		post(ctx)
	}
	eventually(t, "two wait", func() bool { return g.metric("gateway_queue_depth") == "2" })
	full := g.post(chat(false))
	if full.status != http.StatusTooManyRequests || !strings.Contains(full.body, "queue_full") || full.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", full.status, full.body)
	}
	leave()
	eventually(t, "who leaves, leaves the queue", func() bool { return g.metric("gateway_queue_depth") == "0" })
	late := g.post(chat(true))
	if late.status != http.StatusTooManyRequests || !strings.Contains(late.body, "queue_timeout") || late.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", late.status, late.body)
	}
	for _, c := range []struct {
		a    answer
		code string
	}{{full, "queue_full"}, {late, "queue_timeout"}} {
		if row := g.timeline(c.a.header.Get("X-Gateway-Request")); row.Code != c.code || row.Status != "failed" || row.HTTPStatus != 429 || row.AttemptCount != 0 {
			t.Errorf("row %+v", row)
		}
		if n := g.metric(fmt.Sprintf("gateway_queue_rejected_total{reason=%q}", c.code)); n != "1" {
			t.Errorf("%s: counted %s times", c.code, n)
		}
	}
	var rows []struct{ Status, Class string }
	g.get("/api/admin/requests?status=cancelled", &rows)
	if len(rows) != 2 || rows[0].Class != "client_cancelled" {
		t.Errorf("rows of those who left: %+v", rows)
	}
}

// TestAFreePlaceIsTaken: a place that becomes free is given to who waits, at once.
func TestAFreePlaceIsTaken(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, backend: "max_inflight: 1", waiting: queued}))
	p.fault(t, provider.Fault{Kind: provider.Slow, Delay: 0.05})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if a := g.post(chat(true)); a.status != http.StatusOK || ending(t, a, true) != endWhole {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	group.Wait()
}

// TestEmergencyChannel: with every backend cooling for long, a few requests a minute
// reach those whose provider did not ask to be left alone.
func TestEmergencyChannel(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, waiting: emergency, cooldown: "base: 10m, jitter: 0"}))
	p.fault(t, provider.Fault{Backend: "primary-1", Kind: provider.RateLimit, Times: 2})
	p.fault(t, provider.Fault{Backend: "fallback-1", Kind: provider.RateLimit, Headers: header("Retry-After", "700")})
	if a := g.post(chat(false)); a.status != http.StatusServiceUnavailable || len(p.Requests()) != 2 {
		t.Fatalf("%d %s after %d calls: what has just failed is no emergency", a.status, a.body, len(p.Requests()))
	}
	a := g.post(chat(false))
	row := g.timeline(a.header.Get("X-Gateway-Request"))
	if a.status != http.StatusServiceUnavailable || row.AttemptCount != 1 || len(p.Requests()) != 3 {
		t.Errorf("%d %s, row %+v", a.status, a.body, row)
	}
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 590 || wait > 600 {
		t.Errorf("Retry-After %s", a.header.Get("Retry-After"))
	}
	if b := g.backend("primary-1"); b.Status != "cooling" || b.CooldownLevel != 1 {
		t.Errorf("an emergency call that fails changes the cooldown: %+v", b)
	}
	if a := g.post(chat(false)); a.status != http.StatusServiceUnavailable || len(p.Requests()) != 3 {
		t.Errorf("a second call in a minute: %d %s", a.status, a.body)
	}
	if n := g.metric("gateway_emergency_total"); n != "1" {
		t.Errorf("gateway_emergency_total is %s", n)
	}
	g.admin(http.MethodPost, "/api/admin/backends/primary-1/reset", adminKey, nil)
	p.fault(t, provider.Fault{Backend: "primary-1", Kind: provider.RateLimit, Times: 1})
	if a := g.post(chat(false)); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestLimitsOfAClient: a client key is kept within its own limits, whatever others do.
func TestLimitsOfAClient(t *testing.T) {
	p := newProviders(t, provider.Options{})
	dir := t.TempDir()
	config := writeConfig(t, settings{
		dir: dir, providers: p.url, model: "price_per_mtok: {input: 1000000, output: 1000000}",
		clients: "    - {name: slow, key: key-of-slow, rpm: 2}\n    - {name: short, key: key-of-short, tpm: 1200}\n    - {name: poor, key: key-of-poor, daily_budget: 30, monthly_budget: 500}\n",
	})
	g := start(t, config)
	refused := func(key, code, by string) answer {
		t.Helper()
		a := g.post(chat(false), "Authorization", "Bearer "+key)
		if a.status != http.StatusTooManyRequests || !strings.Contains(a.body, code) || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %d %s", key, a.status, a.body)
		}
		row := g.timeline(a.header.Get("X-Gateway-Request"))
		if row.Code != code || row.AttemptCount != 0 || row.Status != "failed" {
			t.Errorf("row %+v", row)
		}
		if n := g.metric(fmt.Sprintf(`gateway_client_rate_limited_total{by=%q,client=%q}`, by, strings.TrimPrefix(key, "key-of-"))); n != "1" {
			t.Errorf("%s: counted %s times", by, n)
		}
		return a
	}
	served := func(key string) {
		t.Helper()
		if a := g.post(chat(false), "Authorization", "Bearer "+key); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", key, a.status, a.body)
		}
	}
	served("key-of-slow")
	served("key-of-slow")
	refused("key-of-slow", "client_rate_limited", "rpm")
	served("key-of-short") // 1024 tokens and some are set aside, a few are used
	served("key-of-short")
	served(clientKey)
	served("key-of-poor")
	if left := g.metric(`gateway_budget_remaining_ratio{client="poor",period="day"}`); left == "" || left == "1" {
		t.Errorf("of the budget %s is left", left)
	}
	for range 30 {
		if a := g.post(chat(false), "Authorization", "Bearer key-of-poor"); a.status != http.StatusOK {
			break
		}
	}
	a := g.post(chat(false), "Authorization", "Bearer key-of-poor")
	if a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "budget_exhausted") || !strings.Contains(a.body, "daily budget") {
		t.Errorf("%d %s", a.status, a.body)
	}
	g.stop()
	g = start(t, config)
	if a := g.post(chat(false), "Authorization", "Bearer key-of-poor"); a.status != http.StatusTooManyRequests {
		t.Errorf("after a restart the budget is there again: %d %s", a.status, a.body)
	}
	if left := g.metric(`gateway_budget_remaining_ratio{client="poor",period="day"}`); left != "0" {
		t.Errorf("of the budget %s is left", left)
	}
}

// TestChoicesAreSetAside: a request that asks for many answers to its prompt sets all of
// them aside of a budget, since each is paid.
func TestChoicesAreSetAside(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{
		providers: p.url, model: "price_per_mtok: {input: 1000000, output: 1000000}", clients: "    - {name: poor, key: key-of-poor, daily_budget: 3000}\n",
	}))
	held := p.hold(t, "primary-1", 1)
	var group sync.WaitGroup
	post := func(n int) answer {
		body := fmt.Sprintf(`{"n":%d,"max_tokens":64,%s`, n, strings.TrimPrefix(chat(false), "{"))
		return g.post(body, "Authorization", "Bearer key-of-poor")
	}
	group.Go(func() { post(1) })
	eventually(t, "one is under way", func() bool { return held.came.Load() == 1 })
	if a := post(100); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "budget_exhausted") {
		t.Errorf("a hundred choices beside it: %d %s", a.status, a.body)
	}
	if a := post(2); a.status != http.StatusOK {
		t.Errorf("two choices beside it: %d %s", a.status, a.body)
	}
	held.release()
	group.Wait()
}

// TestCapabilities: a request goes only to backends that have what it needs.
func TestCapabilities(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{
		providers: p.url, model: "input_modalities: [text, image], capabilities: [tools]",
		clients: "    - {name: forced, key: key-of-forced, force_capabilities: [telepathy]}\n",
	}))
	image := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}`, model)
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		says       string
	}{
		{"image", image, nil, 200, ""},
		{"audio", strings.ReplaceAll(image, "image_url", "input_audio"), nil, 400, "audio input"},
		{"reasoning", strings.Replace(chat(false), "{", `{"reasoning_effort":"high",`, 1), nil, 400, "reasoning"},
		{"asked for and there", chat(false), []string{"X-Require-Capability", "tools, vision"}, 200, ""},
		{"asked for and not there", chat(false), []string{"X-Require-Capability", "tools,pdf"}, 400, "pdf"},
		{"forced", chat(false), []string{"Authorization", "Bearer key-of-forced"}, 400, "telepathy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := g.post(c.body, c.header...)
			if a.status != c.status || c.says != "" && (!strings.Contains(a.body, "no_capable_backend") || !strings.Contains(a.body, c.says)) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// TestFreeProbes: a backend whose key is refused is asked for its models now and then,
// at no cost, and gets a trial when the key is taken again; one that does not answer
// comes last.
func TestFreeProbes(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, health: "interval: 100ms, timeout: 100ms"}))
	p.fault(t, provider.Fault{Backend: "primary-1", Kind: provider.Unauthorized, Times: 2})
	g.post(chat(false))
	g.post(chat(false))
	if a := g.post(chat(false)); a.status != http.StatusOK || a.header.Get("X-Gateway-Backend") != "fallback-1" {
		t.Errorf("%d from %s", a.status, a.header.Get("X-Gateway-Backend"))
	}
	asked := len(p.Requests())
	eventually(t, "a trial", func() bool { return g.backend("primary-1").Status == "half_open" })
	if a := g.post(chat(false)); a.status != http.StatusOK || a.header.Get("X-Gateway-Backend") != "primary-1" {
		t.Errorf("%d from %s", a.status, a.header.Get("X-Gateway-Backend"))
	}
	if n := len(p.Requests()); n != asked+1 {
		t.Errorf("probes cost %d completions", n-asked-1)
	}
	eventually(t, "healthy", func() bool { return g.backend("primary-1").Health == "healthy" })
}
