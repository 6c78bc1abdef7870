package gateway_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// TestFourThousandStreams: so many are held at the same time, none is cut, and each
// ends whole and is in the ledger.
func TestFourThousandStreams(t *testing.T) {
	streams := 4000
	if testing.Short() {
		streams = 400 // with the race detector, where each takes ten times as much
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(min(files.Cur, 1<<20)) / 5; streams > most { // each is four files of this process
		t.Logf("only %d streams: this machine allows %d open files", most, files.Cur)
		streams = most
	}
	p := newProviders(t, provider.Options{})
	text := "one two"
	if err := p.AddAnswer(provider.Answer{Text: &text, Pace: 5}); err != nil {
		t.Fatal(err)
	}
	g := start(t, writeConfig(t, settings{providers: p.url}))
	var group sync.WaitGroup
	var mu sync.Mutex
	ends := map[string]int{}
	for range streams {
		group.Go(func() {
			end := "failed"
			if response, err := g.stream(t.Context()); err == nil {
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				end = wireChat.ending(t, answer{response.StatusCode, response.Header, string(body), err}, true)
			}
			mu.Lock()
			ends[end]++
			mu.Unlock()
		})
	}
	eventually(t, "all are open at the same time", func() bool { return p.Inflight("primary-1") == streams })
	group.Wait()
	if ends[endWhole] != streams || len(ends) != 1 {
		t.Errorf("endings %v", ends)
	}
	var total struct {
		Requests int `json:"total_requests"`
		Errors   int `json:"total_errors"`
	}
	g.get("/api/admin/stats/total", &total)
	if total.Requests != streams || total.Errors != 0 {
		t.Errorf("the ledger has %+v", total)
	}
}

// TestFortyRateLimitsAtOnce: many failures in flight are one cooldown.
func TestFortyRateLimitsAtOnce(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, cooldown: "base: 30s, jitter: 0"}))
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Delay: 0.5})
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			if a := g.post(chat(i%2 == 0)); a.status != http.StatusOK || ending(t, a, i%2 == 0) != endWhole {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	group.Wait()
	b := g.backend("primary-1")
	if b.Status != "cooling" || b.CooldownLevel != 1 || time.Until(*b.CooldownUntil) > 30*time.Second {
		t.Errorf("the primary is %+v", b)
	}
}

// TestALateSuccess of a call from before the cooldown does not end it.
func TestALateSuccess(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	p.fault(t, provider.Fault{Kind: provider.Slow, Backend: "primary-1", Delay: 0.7, Times: 1})
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Times: 1})
	var group sync.WaitGroup
	var late answer
	group.Go(func() { late = g.post(chat(false)) })
	eventually(t, "the slow call is under way", func() bool { return p.Inflight("primary-1") == 1 })
	g.post(chat(false))
	group.Wait()
	if late.status != http.StatusOK || late.header.Get("X-Gateway-Backend") != "primary-1" {
		t.Errorf("%d from %s", late.status, late.header.Get("X-Gateway-Backend"))
	}
	if b := g.backend("primary-1"); b.Status != "cooling" || b.CooldownLevel != 1 {
		t.Errorf("the primary is %+v", b)
	}
}

// TestLongThinking: a model that thinks first has more time for its first byte, and
// thoughts that come slowly are no silence.
func TestLongThinking(t *testing.T) {
	for _, w := range []wire{wireChat, wireMess, wireResp} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := newProviders(t, provider.Options{})
			thought, text := "a b c d", "so"
			if err := p.AddAnswer(provider.Answer{Thinking: &thought, Text: &text, Pace: 0.3}); err != nil {
				t.Fatal(err)
			}
			g := start(t, writeConfig(t, settings{
				providers: p.url, backend: "api: [openai, anthropic]", model: "reasoning: true",
				routing: "first_byte_timeout: 400ms, first_byte_timeout_reasoning: 20s, idle_timeout: 1s",
			}))
			p.fault(t, provider.Fault{Kind: provider.Slow, Delay: 1})
			a := g.ask(w, true)
			if got := w.ending(t, a, true); got != endWhole || a.header.Get("X-Gateway-Backend") != "primary-1" {
				t.Errorf("%s from %s", got, a.header.Get("X-Gateway-Backend"))
			}
		})
	}
}

// TestHostileClients: what a client may cost is bounded, refused in words, and counted.
func TestHostileClients(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, server: "max_body: 64KiB, max_buffered: 128KiB, body_timeout: 2s"}))
	raw := func(text string) string {
		t.Helper()
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.Addr())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			return "closed"
		}
		line, err := bufio.NewReader(c).ReadString('\n')
		if err != nil {
			return "closed"
		}
		return strings.TrimSpace(line)
	}
	head := "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + clientKey + "\r\n"
	if got := raw(head + "X-Bomb: " + strings.Repeat("x", 200<<10) + "\r\n\r\n"); !strings.Contains(got, "431") && got != "closed" {
		t.Errorf("200 KB of headers: %s", got)
	}
	if got := raw(head + "Content-Length: 999999999\r\n\r\n"); !strings.Contains(got, "413") {
		t.Errorf("a body that is announced too large: %s", got)
	}
	if got := raw(head + "Content-Length: 50\r\nContent-Length: 60\r\n\r\n" + chat(false)); !strings.Contains(got, "400") {
		t.Errorf("two lengths: %s", got)
	}
	if got := raw(head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n", 40) + "0\r\n\r\n"); !strings.Contains(got, "413") {
		t.Errorf("a body that grows too large: %s", got)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(bytes.Repeat([]byte(" "), 32<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if a := g.post(packed.String(), "Content-Encoding", "gzip"); a.status != http.StatusUnsupportedMediaType || !strings.Contains(a.body, "gzip") {
		t.Errorf("a packed body: %d %s", a.status, a.body)
	}
	if a := g.post(strings.Repeat(`{"model":`, 3000)); a.status != http.StatusBadRequest || !strings.Contains(a.body, "deep") {
		t.Errorf("a deep body: %d %s", a.status, a.body)
	}
	if got := raw(head + "Content-Length: 50\r\n\r\n{"); !strings.Contains(got, "408") {
		t.Errorf("a body that does not come: %s", got)
	}
	// Slow bodies: two hold what may be held; others are told so at once.
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var group sync.WaitGroup
	defer group.Wait()
	defer end()
	for range 2 {
		reader, writer := io.Pipe()
		group.Go(func() {
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.Addr()+"/v1/chat/completions", reader)
			if err != nil {
				t.Error(err)
				return
			}
			r.ContentLength = 60 << 10
			r.Header.Set("Authorization", "Bearer "+clientKey)
			if response, err := http.DefaultTransport.RoundTrip(r); err == nil {
				_ = response.Body.Close()
			}
		})
		if _, err := io.WriteString(writer, "{"); err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
	}
	var refused answer
	eventually(t, "a third is refused", func() bool {
		refused = g.post(fmt.Sprintf(`{"model":%q,"x":%q}`, model, strings.Repeat("x", 30<<10)))
		return refused.status == http.StatusServiceUnavailable
	})
	if !strings.Contains(refused.body, "overloaded") {
		t.Errorf("%d %s", refused.status, refused.body)
	}
	if n := len(p.Requests()); n > 3 {
		t.Errorf("the providers were asked %d times", n)
	}
	var rows []admin.Request
	g.get("/api/admin/requests?status=failed", &rows)
	codes := map[string]bool{}
	for _, r := range rows {
		codes[r.Code] = true
	}
	for _, want := range []string{"body_too_large", "unsupported_encoding", "invalid_request", "overloaded", "body_timeout"} {
		if !codes[want] {
			t.Errorf("the ledger has %v, not %s", codes, want)
		}
	}
}
