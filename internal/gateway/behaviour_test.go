package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	if !testtool.Eventually(t, condition) {
		t.Fatalf("waited in vain: %s", what)
	}
}

// TestRefusals: who is not known, and what is not served, is answered in the dialect's
// form; no backend is asked, and nothing is recorded.
func TestRefusals(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, clients: "    - {name: expired, key: key-of-expired, expires: 2020-01-01}\n"}))
	for _, c := range []struct {
		name, method, path, body string
		header                   []string
		status                   int
		code, says               string
	}{
		{"no key", "POST", "/v1/chat/completions", chat(false), []string{"Authorization", ""}, 401, "invalid_api_key", "client key"},
		{"wrong key", "POST", "/v1/chat/completions", chat(false), []string{"Authorization", "Bearer wrong-key-value"}, 401, "invalid_api_key", "client key"},
		{"wrong key for models", "GET", "/v1/models", "", []string{"Authorization", "Bearer wrong-key-value"}, 401, "invalid_api_key", "client key"},
		{"expired key", "POST", "/v1/chat/completions", chat(false), []string{"Authorization", "Bearer key-of-expired"}, 401, "invalid_api_key", "client key"},
		{"unknown path", "POST", "/v1/files", "", nil, 404, "not_found", "/v1/models"},
		{"another path", "GET", "/etc/passwd", "", nil, 404, "not_found", ""},
		{"admin", "GET", "/api/admin/backends", "", nil, 404, "not_found", "operations listener, 127.0.0.1:"},
		{"wrong method", "GET", "/v1/chat/completions", "", nil, 405, "method_not_allowed", "POST"},
		{"unknown model by id", "GET", "/v1/models/gpt-none", "", nil, 404, "model_not_found", "gpt-none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+g.Addr()+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+clientKey)
			for i := 0; i+1 < len(c.header); i += 2 {
				r.Header.Set(c.header[i], c.header[i+1])
			}
			a := g.do(r)
			if a.status != c.status || ending(t, a, false) != endError || !strings.Contains(a.body, `"code":"`+c.code+`"`) || !strings.Contains(a.body, c.says) {
				t.Errorf("%d %s", a.status, a.body)
			}
			if strings.Contains(a.body, "wrong-key-value") || !strings.HasPrefix(a.header.Get("X-Request-Id"), "req_") {
				t.Errorf("%s %v", a.body, a.header)
			}
			if id := a.header.Get("X-Gateway-Request"); id != "" {
				t.Errorf("x-gateway-request is %q", id)
			}
		})
	}
	if rows := g.rows(); len(rows) != 0 {
		t.Errorf("rows %+v", rows)
	}
	if n := len(p.Requests()); n != 0 {
		t.Errorf("backends were asked %d times", n)
	}
	if strings.Contains(g.logs.String(), "wrong-key-value") || strings.Contains(g.logs.String(), clientKey) {
		t.Error("a key is in the log")
	}
}

func TestModels(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	client := g.sdk()
	list, err := client.Models.List(t.Context())
	if err != nil || len(list.Data) != 1 || list.Data[0].ID != model {
		t.Errorf("models %+v, %v", list, err)
	}
	if one, err := client.Models.Get(t.Context(), model); err != nil || one.ID != model {
		t.Errorf("model %+v, %v", one, err)
	}
}

// TestBytesPass: unknown fields and the text itself reach the backend as they were
// sent, and of the headers only those of the list.
func TestBytesPass(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, backend: `headers: {X-Team: "fleet"}`}))
	body := "{ \"x_new_field\" : [1.0, 1e3] ,\"model\":\"" + model + "\",\n\"messages\":[{\"role\":\"user\",\"content\":\"\\u4e16 界\"}]}"
	g.post(body, "Cookie", "a=b", "X-Api-Key", clientKey, "X-Other", "y", "User-Agent", "agent/1", "Accept", "application/json", "Proxy-Authorization", "z", "Te", "trailers")
	r := p.Requests()[0]
	if want := strings.Replace(body, model, native, 1); string(r.Body) != want {
		t.Errorf("the backend got %s\nwant %s", r.Body, want)
	}
	for _, name := range []string{"Cookie", "X-Api-Key", "X-Other", "Proxy-Authorization", "Te", "X-Forwarded-For"} {
		if v := r.Header.Get(name); v != "" {
			t.Errorf("the backend got %s: %s", name, v)
		}
	}
	if r.Header.Get("User-Agent") != "agent/1" || r.Header.Get("X-Team") != "fleet" || r.Header.Get("Accept-Encoding") != "identity" {
		t.Errorf("headers %v", r.Header)
	}
}

// TestAllPoolsExhausted: 503 with the soonest recovery; recovery by itself.
func TestAllPoolsExhausted(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, cooldown: "base: 1s, jitter: 0"}))
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "2")})
	first, second := g.post(chat(false)), g.post(chat(true))
	for _, a := range []answer{first, second} {
		wait, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || wait < 1 || wait > 2 || a.status != 503 || ending(t, a, false) != endError || !strings.Contains(a.body, "all_pools_exhausted") || a.header.Get("X-Should-Retry") != "" {
			t.Errorf("%d %s, Retry-After %s", a.status, a.body, a.header.Get("Retry-After"))
		}
	}
	if row := g.timeline(first.header.Get("X-Request-Id")); row.FailedAttempts != 2 || row.RequestProblem != "rate_limit" || row.Code != "all_pools_exhausted" {
		t.Errorf("first %+v", row)
	}
	if row := g.timeline(second.header.Get("X-Request-Id")); row.FailedAttempts != 0 || len(row.Attempts) != 2 || row.Attempts[1].SkipReason != "cooling" {
		t.Errorf("second %+v", row)
	}
	if n := g.metric(`gateway_pools_exhausted_total{model="deepseek-v4-pro"}`); n != "2" {
		t.Errorf("gateway_pools_exhausted_total is %s", n)
	}
	var pools []admin.Pool
	g.get("/api/admin/pools", &pools)
	if len(pools) != 2 || pools[0].Name != "primary" || pools[0].Cooling != 1 || pools[0].SoonestRecovery == nil {
		t.Errorf("pools %+v", pools)
	}
	p.ClearFaults("")
	eventually(t, "recovery", func() bool { return g.post(chat(false)).status == 200 })
	if b := g.backend("primary-1"); b.Status != "healthy" || b.CooldownLevel != 0 {
		t.Errorf("the primary is %+v", b)
	}
}

// TestRefusedKeys: after two refusals in a row a backend waits for a person. The client
// sees no 401 of a provider, and is told not to try again.
func TestRefusedKeys(t *testing.T) {
	p := newProviders(t, provider.Options{})
	config := settings{providers: p.url, dir: t.TempDir()}
	g := start(t, writeConfig(t, config))
	p.fault(t, provider.Fault{Kind: provider.Unauthorized, Message: "Incorrect key " + keyOf + "primary-1"})
	for i := range 3 {
		a := g.post(chat(false))
		if i == 2 { // both are in error by now, and skipped
			if a.status != 503 || a.header.Get("X-Should-Retry") != "false" {
				t.Errorf("%d %s %v", a.status, a.body, a.header)
			}
		} else if a.status != 502 || !strings.Contains(a.body, "upstream_auth") || a.header.Get("X-Should-Retry") != "false" {
			t.Errorf("%d %s %v", a.status, a.body, a.header)
		}
	}
	b := g.backend("primary-1")
	if b.Status != "error" || b.Reason != "auth" || strings.Contains(b.Detail, keyOf) {
		t.Errorf("the primary is %+v", b)
	}
	if v := g.metric(`gateway_backend_error{backend="primary-1",reason="auth"}`); v != "1" {
		t.Errorf("gateway_backend_error is %q", v)
	}
	p.ClearFaults("")
	if a := g.admin(http.MethodPost, "/api/admin/backends/primary-1/reset", readKey, nil); a.status != 401 {
		t.Errorf("the read token resets: %d", a.status)
	}
	var after admin.Backend
	g.admin(http.MethodPost, "/api/admin/backends/primary-1/reset", adminKey, &after)
	if after.Status != "healthy" || g.post(chat(false)).header.Get("X-Gateway-Backend") != "primary-1" {
		t.Errorf("after the reset: %+v", after)
	}
}

// TestHalfOpen: after a cooldown one trial at a time is let through, a failing one
// doubles the next cooldown, and the count is cleared by a success only.
func TestHalfOpen(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, cooldown: "base: 200ms, max: 10m, jitter: 0", routing: "idle_timeout: 20s"}))
	status := func(want string) func() bool {
		return func() bool { return string(g.backend("primary-1").Status) == want }
	}
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Times: 2})
	for level := 1; level <= 2; level++ {
		g.post(chat(false))
		if b := g.backend("primary-1"); b.CooldownLevel != level {
			t.Fatalf("after cooldown %d: %+v", level, b)
		}
		eventually(t, "half open", status("half_open"))
		// That a cooldown ran out is no evidence that the backend is well.
		if n := g.metric(`gateway_model_available_backends{model="deepseek-v4-pro",pool="primary"}`); n != "0" {
			t.Errorf("a half open backend counts as available: %s", n)
		}
	}
	p.fault(t, provider.Fault{Kind: provider.Silence, Backend: "primary-1", Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var trial sync.WaitGroup
	trial.Go(func() {
		r, _ := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.Addr()+"/v1/chat/completions", strings.NewReader(chat(true)))
		r.Header.Set("Authorization", "Bearer "+clientKey)
		if response, err := http.DefaultTransport.RoundTrip(r); err == nil {
			response.Body.Close()
		}
	})
	eventually(t, "the trial", func() bool { return p.Inflight("primary-1") == 1 })
	a := g.post(chat(false))
	if row := g.timeline(a.header.Get("X-Request-Id")); row.Backend != "fallback-1" || row.Attempts[0].SkipReason != "half_open" {
		t.Errorf("beside the trial: %+v", row)
	}
	cancel() // a cancelled trial frees its place, and says nothing about the backend
	trial.Wait()
	eventually(t, "the next trial", func() bool { return g.post(chat(false)).header.Get("X-Gateway-Backend") == "primary-1" })
	if b := g.backend("primary-1"); b.Status != "healthy" || b.CooldownLevel != 0 {
		t.Errorf("after a success: %+v", b)
	}
	if n := g.metric(`gateway_model_available_backends{model="deepseek-v4-pro",pool="primary"}`); n != "1" {
		t.Errorf("available after a success: %s", n)
	}
}

// stream opens a stream and returns its response once the first frame has come.
func (g *running) stream(ctx context.Context) (*http.Response, error) {
	return g.streams(ctx, wireChat)
}

func (g *running) streams(ctx context.Context, w wire) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(g.request(ctx, w, true))
}

// TestOpenRequestsHaveRows: a request that lasts is in the ledger before its end, and
// what a kill left open is interrupted.
func TestOpenRequestsHaveRows(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	p.fault(t, provider.Fault{Kind: provider.Stall, Chunks: 4, Times: 1})
	response, err := g.stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var list []admin.Request
	eventually(t, "the open row", func() bool {
		g.get("/api/admin/requests?status=streaming", &list)
		return len(list) == 1
	})
	if r := list[0]; r.ID != response.Header.Get("X-Gateway-Request") || r.Backend != "primary-1" || r.Model != model {
		t.Errorf("row %+v", r)
	}
}

// TestLimitsOfABackend: beyond its own limits it is left out, not asked.
func TestLimitsOfABackend(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, backend: "rpm_limit: 2"}))
	var backends []string
	for range 4 {
		backends = append(backends, g.post(chat(false)).header.Get("X-Gateway-Backend"))
	}
	if fmt.Sprint(backends) != "[primary-1 primary-1 fallback-1 fallback-1]" {
		t.Errorf("answered by %v", backends)
	}
	a := g.post(chat(false))
	if a.status != 429 || !strings.Contains(a.body, "rate_limited") || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if v := g.metric(`gateway_backend_rpm_utilization_ratio{backend="primary-1"}`); v == "" || v == "0" {
		t.Errorf("gateway_backend_rpm_utilization_ratio is %q", v)
	}
}

// TestRequestsAPI: filters and pages.
func TestRequestsAPI(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	for range 3 {
		g.post(chat(false), "X-Request-Id", "same-id")
	}
	p.fault(t, provider.Fault{Kind: provider.ServerError, Backend: "primary-1", Times: 1})
	g.post(chat(false))
	for query, want := range map[string]int{
		"": 4, "?failed_over=true": 1, "?backend=fallback-1": 1, "?client=coo": 4, "?client=x": 0, "?status=completed": 4, "?class=timeout": 0,
		"?model=" + model: 4, "?since=2020-01-01T00:00:00Z": 4, "?since=2100-01-01T00:00:00Z": 0, "?limit=2": 2,
	} {
		var list []admin.Request
		g.get("/api/admin/requests"+query, &list)
		if len(list) != want {
			t.Errorf("%q: %d rows, want %d", query, len(list), want)
		}
	}
	for _, query := range []string{"?status=x", "?class=x", "?failed_over=x", "?limit=0", "?since=x", "?before=x"} {
		if a := g.get("/api/admin/requests"+query, nil); a.status != 400 {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
	seen, path := map[string]bool{}, "/api/admin/requests?limit=3"
	for path != "" {
		var list []admin.Request
		a := g.get(path, &list)
		for _, r := range list {
			seen[r.ID] = true
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(a.header.Get("Link"), "<"), ">")
	}
	if len(seen) != 4 {
		t.Errorf("%d rows over the pages", len(seen))
	}
	if row := g.timeline("same-id"); row.RequestID != "same-id" {
		t.Errorf("row %+v", row)
	}
	for _, path := range []string{"/api/admin/requests/none", "/api/admin/backends/none"} {
		if a := g.get(path, nil); a.status != 404 {
			t.Errorf("%s: %d", path, a.status)
		}
		if a := g.admin(http.MethodGet, path, "wrong", nil); a.status != 401 {
			t.Errorf("%s with a wrong token: %d", path, a.status)
		}
	}
}

// TestTheRequestsOwnLimit: what takes longer than a request may says nothing about a
// backend, and ends in the form that fits how far it had come.
func TestTheRequestsOwnLimit(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, routing: "request_timeout: 300ms", cooldown: "failures_before_error: 1"}))
	p.fault(t, provider.Fault{Kind: provider.Hang, Times: 1})
	if a := g.post(chat(true)); a.status != 504 || !strings.Contains(a.body, "request_timeout") {
		t.Errorf("%d %s", a.status, a.body)
	}
	p.fault(t, provider.Fault{Kind: provider.Stall, Chunks: 3, Times: 1})
	a := g.post(chat(true))
	if got := ending(t, a, true); got != endCut {
		t.Errorf("a stream ended %s", got)
	}
	if row := g.timeline(a.header.Get("X-Request-Id")); row.Class != "timeout" || row.Status != "failed" {
		t.Errorf("row %+v", row)
	}
	if b := g.backend("primary-1"); b.Status != "healthy" {
		t.Errorf("the primary is %+v", b)
	}
}

// TestOneAddressForBoth: the data plane and the operations API can share a listener.
func TestOneAddressForBoth(t *testing.T) {
	p := newProviders(t, provider.Options{})
	address := testtool.FreeAddress(t)
	config := writeConfig(t, settings{providers: p.url, server: "shutdown_grace: 200ms"})
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "127.0.0.1:0", address)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, config)
	if g.Addr() != address || g.AdminAddr() != address {
		t.Fatalf("listens on %s and %s", g.Addr(), g.AdminAddr())
	}
	for _, stream := range []bool{false, true} {
		if got := ending(t, g.post(chat(stream)), stream); got != endWhole {
			t.Errorf("ended %s", got)
		}
	}
	if b := g.backend("primary-1"); b.Status != "healthy" {
		t.Errorf("the primary is %+v", b)
	}
	if a := g.post(`{"model":`); a.status != 400 || ending(t, a, false) != endError {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Stopping keeps its promises here too.
	p.fault(t, provider.Fault{Kind: provider.Stall, Chunks: 3})
	response, err := g.stream(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	cut := make(chan answer, 1)
	go func() {
		body, err := io.ReadAll(response.Body)
		cut <- answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}
	}()
	g.stop()
	if got := ending(t, <-cut, true); got != endCut {
		t.Errorf("a stream that was open at the stop ended %s", got)
	}
	if row := start(t, config).timeline(response.Header.Get("X-Gateway-Request")); row.Status != "interrupted" {
		t.Errorf("row %+v", row.Request)
	}
}

// TestAddressLimit: an address that calls too often is refused before anything else.
func TestAddressLimit(t *testing.T) {
	p := newProviders(t, provider.Options{})
	config := writeConfig(t, settings{providers: p.url, server: "shutdown_grace: 200ms"})
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(text), "max_requests: 0", "max_requests: 2", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, config)
	for i, want := range []int{200, 200, 429, 429} {
		if a := g.post(chat(false)); a.status != want || want == 429 && a.header.Get("Retry-After") == "" {
			t.Errorf("request %d: %d %s", i, a.status, a.body)
		}
	}
	if v := g.metric(`gateway_rate_limited_total{route="/v1/chat/completions",service="data"}`); v != "2" {
		t.Errorf("gateway_rate_limited_total is %s", v)
	}
}

// TestListsAreStrict: what a query does not mean, it does not say.
func TestListsAreStrict(t *testing.T) {
	g := start(t, writeConfig(t, settings{providers: "http://127.0.0.1:1"}))
	for _, query := range []string{"foo=1", "since=2300-01-01T00:00:00Z", "since=yesterday", "limit=0", "status=odd", "class=odd", "failed_over=maybe", "before=x", "limit=1&limit=2"} {
		if a := g.get("/api/admin/requests?"+query, nil); a.status != http.StatusBadRequest || !strings.Contains(a.body, strings.SplitN(query, "=", 2)[0]) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
}

// TestDaysStayAsTheyAre: a reload with another timezone frees no budget; it says that a
// restart is needed.
func TestDaysStayAsTheyAre(t *testing.T) {
	dir := t.TempDir()
	of := func(zone string) settings {
		return settings{providers: "http://127.0.0.1:1", dir: dir, extra: "timezone: " + zone + "\n"}
	}
	g := start(t, writeConfig(t, of("UTC")))
	writeConfig(t, of("Asia/Shanghai"))
	if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != http.StatusOK {
		t.Fatalf("reload: %s", a.body)
	}
	if !strings.Contains(g.logs.String(), `"key":"timezone"`) || g.Timezone() != "UTC" {
		t.Errorf("the timezone in force is %s", g.Timezone())
	}
}
