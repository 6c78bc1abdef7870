package gateway_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fleetwatch/fleetwatch/internal/gateway/setclock"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the console (empty: none)")

// TestTheDataPlaneLeadsToTheConsole, and to nothing else.
func TestTheDataPlaneLeadsToTheConsole(t *testing.T) {
	g := start(t, writeConfig(t, settings{providers: newProviders(t, provider.Options{}).url}))
	ask := func(method, path, host string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+g.Addr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = path
		r.Host = host
		client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}
	}
	operations := "http://" + g.AdminAddr()
	for path, want := range map[string]string{
		"/dashboard": "/dashboard", "/dashboard/requests?status=failed&model=a%26b": "/dashboard/requests?status=failed&model=a%26b", "/dashboard//evil.example": "/dashboard//evil.example",
	} {
		a := ask(http.MethodGet, path, "agents.example:9190")
		if a.status != http.StatusFound || a.header.Get("Location") != operations+want || !strings.HasPrefix(a.header.Get("X-Request-Id"), "req_") {
			t.Errorf("%s: %d to %q, want %s", path, a.status, a.header.Get("Location"), operations+want)
		}
	}
	for path, status := range map[string]int{"/dashboards": 404, "/api/admin/backends": 404, "/": 404} {
		if a := ask(http.MethodGet, path, ""); a.status != status || a.header.Get("Location") != "" {
			t.Errorf("%s: %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	if a := ask(http.MethodPost, "/dashboard/login", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a form for the console: %d", a.status)
	}
	response, err := http.Get("http://" + g.Addr() + "/dashboard/usage") // and there the login is
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.Request.URL.Host != g.AdminAddr() || response.Request.URL.Path != "/dashboard/login" {
		t.Errorf("%d at %s", response.StatusCode, response.Request.URL)
	}
}

// TestConsoleEndsWithTheProgram: an open page does not hold the stop up, also where both
// planes share an address.
func TestConsoleEndsWithTheProgram(t *testing.T) {
	for _, together := range []bool{false, true} {
		t.Run(fmt.Sprintf("together %v", together), func(t *testing.T) {
			config := writeConfig(t, settings{providers: newProviders(t, provider.Options{}).url, server: "shutdown_grace: 40s"})
			if together {
				text, err := os.ReadFile(config)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "127.0.0.1:0", testtool.FreeAddress(t))), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			g := start(t, config)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.AdminAddr()+"/dashboard/sse", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+readKey)
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			lines := bufio.NewScanner(response.Body)
			if !lines.Scan() || !strings.Contains(lines.Text(), `"name":"primary-1"`) {
				t.Fatalf("%d %q", response.StatusCode, lines.Text())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			stopped := make(chan struct{})
			go func() { g.stop(); close(stopped) }()
			select {
			case <-stopped:
			case <-ctx.Done():
				t.Error("the stop waits for a page")
			}
			for lines.Scan() {
			}
		})
	}
}

// lived is a gateway that has seen a day of traffic of the sandbox provider, during which
// its primary failed, and fails again at the end.
func lived(t *testing.T) (*running, *providers) {
	t.Helper()
	p := newProviders(t, provider.Options{Models: []string{native}, Pace: 2 * time.Millisecond})
	var clock setclock.Clock
	clock.Set(-23 * time.Hour)
	g := startAt(t, writeConfig(t, settings{providers: p.url, backend: "rpm_limit: 400, label: sandbox", cooldown: "base: 10m, max: 1h", clients: "    - {name: opengineer, key: key-of-opengineer}\n"}), clock.Now)
	for hour := range 24 {
		clock.Set(time.Duration(hour-23) * time.Hour)
		if hour%6 == 4 {
			p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Times: 1})
		}
		for i := range 2 + (hour*7)%11 {
			key := clientKey
			if i%3 == 1 {
				key = "key-of-opengineer"
			}
			if a := g.post(chat(i%2 == 0), "Authorization", "Bearer "+key); a.status != 200 {
				t.Fatalf("hour %d: %d %s", hour, a.status, a.body)
			}
		}
		if a := g.admin(http.MethodPost, "/api/admin/backends/primary-1/reset", adminKey, nil); a.status != 200 {
			t.Fatalf("hour %d: %d %s", hour, a.status, a.body)
		}
	}
	p.fault(t, provider.Fault{Kind: provider.BadRequest, Times: 1})
	g.post(chat(false))
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1"})
	for range 2 {
		if a := g.post(chat(true)); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	return g, p
}

// see waits until the page shows what a selector names.
func see(t *testing.T, ctx context.Context, selector string) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(selector))); err != nil {
		t.Fatalf("%s is not shown: %v", selector, err)
	}
}

// visit opens a page and asks that it is not wider than the window.
func visit(t *testing.T, ctx context.Context, url, selector string) {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	see(t, ctx, selector)
	wide, err := chromedp.Run(ctx, chromedp.Evaluate[string](`[...document.querySelectorAll("main *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.nodeName + "." + e.className).slice(0, 3).join(" ")`))
	if err != nil || wide != "" {
		t.Errorf("%s: wider than the window: %s, %v", url, wide, err)
	}
}

// enter logs in by the form.
func enter(t *testing.T, ctx context.Context, base, page string) {
	t.Helper()
	err := chromedp.Do(ctx, chromedp.Navigate(base+page), chromedp.WaitVisible(chromedp.CSS(`input[name="token"]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name="token"]`), readKey+"\r"), chromedp.WaitVisible(chromedp.CSS(`.tabs form button`)))
	if err != nil {
		t.Fatal(err)
	}
}

func evaluate[T any](t *testing.T, ctx context.Context, script string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestConsoleInChromium: somebody logs in, watches the overview follow the traffic, finds
// the request that failed over, and logs out.
func TestConsoleInChromium(t *testing.T) {
	g, p := lived(t)
	base := "http://" + g.AdminAddr()
	ctx := browsertest.Open(t, browsertest.View{Width: 1280, Height: 1000})
	enter(t, ctx, base, "/dashboard/requests?failed_over=true")
	see(t, ctx, `.chip.badge`)
	if at := evaluate[string](t, ctx, `location.pathname + location.search`); at != "/dashboard/requests?failed_over=true" {
		t.Errorf("the login leads to %s", at)
	}
	visit(t, ctx, base+"/dashboard", `[data-live-state][data-state="on"]`)
	see(t, ctx, `.notice strong`)
	evaluate[bool](t, ctx, `window.stayed = true`)
	before := evaluate[string](t, ctx, `document.querySelector('[data-figure="requests"]').firstChild.data`)
	browsertest.Screenshot(t, ctx, *screenshots, "console-overview")
	if a := g.post(chat(false)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector('[data-figure="requests"]').firstChild.data !== `+fmt.Sprintf("%q", before), chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Errorf("the page does not follow: %v", err)
	}
	if !evaluate[bool](t, ctx, `window.stayed === true`) {
		t.Error("the page was loaded anew")
	}
	said := evaluate[string](t, ctx, `const bars = document.querySelectorAll('[data-key="chart-requests"] [data-label]');
		bars[bars.length - 1].firstChild.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
		document.querySelector('[data-key="chart-requests"] [data-readout]').textContent`)
	if !strings.Contains(said, " · ") || !strings.Contains(said, "其中错误 1") {
		t.Errorf("a bar says %q", said)
	}
	visit(t, ctx, base+"/dashboard/backends", `[data-backend="primary-1"][data-state="cooling"]`)
	left := evaluate[string](t, ctx, `document.querySelector("time.countdown").textContent`)
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](`document.querySelector("time.countdown").textContent < `+fmt.Sprintf("%q", left), chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		t.Errorf("nothing is counted down from %s: %v", left, err)
	}
	browsertest.Screenshot(t, ctx, *screenshots, "console-backends")
	p.ClearFaults("")
	visit(t, ctx, base+"/dashboard/requests?failed_over=true", `.chip.badge`)
	browsertest.Screenshot(t, ctx, *screenshots, "console-requests")
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`tbody td a`))); err != nil {
		t.Fatal(err)
	}
	see(t, ctx, `[data-outcome="failed"]`)
	see(t, ctx, `[data-outcome="succeeded"]`)
	browsertest.Screenshot(t, ctx, *screenshots, "console-request")
	for _, page := range []string{"reliability", "usage?by=day", "cooldowns"} {
		name, _, _ := strings.Cut(page, "?")
		visit(t, ctx, base+"/dashboard/"+page, `main table`)
		browsertest.Screenshot(t, ctx, *screenshots, "console-"+name)
	}
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`.tabs button`))); err != nil {
		t.Fatal(err)
	}
	see(t, ctx, `input[name="token"]`)
	browsertest.Screenshot(t, ctx, *screenshots, "console-login")
	// A page that is live goes back to the login by itself once its session is over.
	enter(t, ctx, base, "/dashboard")
	see(t, ctx, `[data-live-state][data-state="on"]`)
	evaluate[bool](t, ctx, `fetch("/dashboard/logout", { method: "POST" }); true`)
	see(t, ctx, `input[name="token"]`)
	phones(t, base)
}

// phones looks at all pages on a phone, dark and light, in both languages.
func phones(t *testing.T, base string) {
	for name, view := range map[string]browsertest.View{
		"phone-dark": {Width: 390, Height: 844, Dark: true}, "phone-en": {Width: 390, Height: 844, Language: "en"},
		"dark-en": {Width: 1280, Height: 1000, Dark: true, Language: "en"},
	} {
		ctx := browsertest.Open(t, view)
		enter(t, ctx, base, "/dashboard")
		for _, page := range []string{"", "backends", "requests", "reliability", "usage", "cooldowns"} {
			visit(t, ctx, base+strings.TrimSuffix("/dashboard/"+page, "/"), `main h1`)
			browsertest.Screenshot(t, ctx, *screenshots, strings.TrimSuffix("console-"+name+"-"+page, "-"))
		}
	}
}
