package gateway_test

import (
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

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
