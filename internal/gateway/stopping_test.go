package gateway_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// TestStateSurvivesARestart: cooldown, count and error are as before.
func TestStateSurvivesARestart(t *testing.T) {
	p := newProviders(t, provider.Options{})
	dir := t.TempDir()
	config := writeConfig(t, settings{providers: p.url, dir: dir})
	g := start(t, config)
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Headers: header("Retry-After", "300")})
	p.fault(t, provider.Fault{Kind: provider.Payment, Backend: "fallback-1"})
	g.post(chat(false))
	before := g.backend("primary-1")
	g.stop()
	g = start(t, config)
	after := g.backend("primary-1")
	if after.Status != "cooling" || after.CooldownLevel != 1 || after.CooldownUntil.Sub(*before.CooldownUntil).Abs() > time.Second {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if b := g.backend("fallback-1"); b.Status != "error" || b.Reason != "quota" {
		t.Errorf("the fallback is %+v", b)
	}
	if a := g.post(chat(false)); a.status != 503 || len(p.Requests()) != 2 {
		t.Errorf("%d, backends were asked %d times", a.status, len(p.Requests()))
	}
	// A new key ends what the old one caused.
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte(strings.Replace(string(text), "api_key: "+keyOf+"fallback-1", "api_key: a-new-key-of-fallback", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != 200 {
		t.Fatalf("reload: %s", a.body)
	}
	if b := g.backend("fallback-1"); b.Status != "healthy" {
		t.Errorf("with a new key: %+v", b)
	}
}

// TestAClientThatLeaves: the backend's call ends, and the row says what was spent.
func TestAClientThatLeaves(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	p.fault(t, provider.Fault{Kind: provider.Stall, Chunks: 4, Times: 1})
	ctx, cancel := context.WithCancel(t.Context())
	response, err := g.stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	id := response.Header.Get("X-Gateway-Request")
	if _, err := io.ReadFull(response.Body, make([]byte, 200)); err != nil {
		t.Fatal(err)
	}
	cancel()
	response.Body.Close()
	eventually(t, "the backend's call to end", func() bool { return p.Inflight("primary-1") == 0 })
	row := g.timeline(id)
	if row.Status != "cancelled" || row.Class != "client_cancelled" || row.UsageSource != "estimated" || row.Tokens.Output == 0 || len(row.Attempts) != 1 {
		t.Errorf("row %+v", row)
	}
	// Before any byte, nothing is known to have been spent.
	p.fault(t, provider.Fault{Kind: provider.Hang, Times: 1})
	ctx, cancel = context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _, _ = g.stream(ctx) }()
	eventually(t, "the call", func() bool { return p.Inflight("primary-1") == 1 })
	cancel()
	<-done
	eventually(t, "the row", func() bool { return g.metric(`gateway_client_requests_total{client="coo",outcome="cancelled"}`) == "2" })
	var list []admin.Request
	g.get("/api/admin/requests?status=cancelled", &list)
	if len(list) != 2 || list[0].UsageSource != "missing" || list[0].HTTPStatus != 499 {
		t.Errorf("rows %+v", list)
	}
	if b := g.backend("primary-1"); b.Status != "healthy" || b.Inflight != 0 {
		t.Errorf("the primary is %+v", b)
	}
}

// TestAReloadDropsNoStream, nor does a bad file change anything.
func TestAReloadDropsNoStream(t *testing.T) {
	p := newProviders(t, provider.Options{Pace: 30 * time.Millisecond})
	dir := t.TempDir()
	config := writeConfig(t, settings{providers: p.url, dir: dir})
	g := start(t, config)
	response, err := g.stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := os.WriteFile(config, []byte("backends: [{name: x}]\nnonsense: 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != 422 || !strings.Contains(a.body, "nonsense") {
		t.Errorf("a bad file: %d %s", a.status, a.body)
	}
	if v := g.metric("gateway_config_last_reload_successful"); v != "0" {
		t.Errorf("gateway_config_last_reload_successful is %s", v)
	}
	writeConfig(t, settings{providers: "http://127.0.0.1:1", dir: dir, model: "context_window: 5"})
	if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != 200 {
		t.Fatalf("reload: %s", a.body)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasSuffix(string(body), "data: [DONE]\n\n") {
		t.Errorf("the stream ended with %v: %s", err, body)
	}
	if a := g.post(chat(false)); a.status != 503 {
		t.Errorf("the new configuration is not in force: %d", a.status)
	}
}

// TestStopping: a hundred open streams survive a reload, end whole within the grace,
// and are told so beyond it.
func TestStopping(t *testing.T) {
	for _, c := range []struct {
		name, grace, want, status string
		pace                      time.Duration
	}{
		{"drained", "20s", endWhole, "completed", 20 * time.Millisecond},
		{"cut short", "100ms", endCut, "interrupted", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newProviders(t, provider.Options{Pace: c.pace})
			config := writeConfig(t, settings{providers: p.url, backend: "api: [openai, anthropic]", server: "shutdown_grace: " + c.grace})
			g := start(t, config)
			const streams = 100
			answers := make(chan answer, streams)
			begun := make(chan string, streams)
			for i := range streams {
				go func() {
					response, err := g.streams(context.Background(), []wire{wireChat, wireMess}[i%2])
					if err != nil {
						answers <- answer{err: err}
						return
					}
					defer response.Body.Close()
					begun <- response.Header.Get("X-Gateway-Request")
					body, err := io.ReadAll(response.Body)
					answers <- answer{response.StatusCode, response.Header, string(body), err}
				}()
			}
			var ids []string
			for range streams {
				ids = append(ids, <-begun)
			}
			// The backends that they come from are gone from the configuration meanwhile.
			writeConfig(t, settings{providers: "http://127.0.0.1:1", dir: filepath.Dir(config), server: "shutdown_grace: " + c.grace})
			if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != http.StatusOK {
				t.Fatalf("reload: %d %s", a.status, a.body)
			}
			g.stop()
			for range streams {
				a := <-answers
				w := wireChat
				if a.header.Get("Request-Id") != "" {
					w = wireMess
				}
				if got := w.ending(t, a, true); got != c.want {
					t.Errorf("a stream ended %s, want %s", got, c.want)
				}
			}
			g = start(t, config)
			for _, id := range ids {
				if row := g.timeline(id); string(row.Status) != c.status {
					t.Errorf("row %+v", row.Request)
				}
			}
		})
	}
}

// TestInterruptedByAKill: what was open for long at a kill is interrupted afterwards.
func TestInterruptedByAKill(t *testing.T) {
	p := newProviders(t, provider.Options{})
	config := writeConfig(t, settings{providers: p.url})
	c := startChild(t, config)
	g := &running{t: t}
	p.fault(t, provider.Fault{Kind: provider.Stall, Chunks: 4, Times: 1})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+c.data+"/v1/chat/completions", strings.NewReader(chat(true)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	eventually(t, "the open row", func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.admin+"/api/admin/requests?status=streaming", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+readKey)
		return strings.Contains(g.do(r).body, response.Header.Get("X-Gateway-Request"))
	})
	c.kill()
	if row := start(t, config).timeline(response.Header.Get("X-Gateway-Request")); row.Status != "interrupted" || row.Backend != "primary-1" {
		t.Errorf("row %+v", row)
	}
}
