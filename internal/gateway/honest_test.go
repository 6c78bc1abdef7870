package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// handled is a provider that answers as the handler does.
func handled(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.URL
}

// TestErrorsWithStatus200: an error that a provider tells in an answer of status 200 is
// an error to the client, in every dialect; official clients would find an answer in it.
func TestErrorsWithStatus200(t *testing.T) {
	for _, w := range []wire{wireChat, wireMess, wireResp, wireText} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			url := handled(t, func(rw http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					return
				}
				failure := `{"type":"error","error":{"type":"invalid_request_error","message":"no such tool"}}`
				if strings.Contains(string(body), `"stream":true`) {
					rw.Header().Set("Content-Type", "text/event-stream")
					_, _ = io.WriteString(rw, "event: error\ndata: "+failure+"\n\n")
					return
				}
				rw.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(rw, failure)
			})
			g := start(t, writeConfig(t, settings{providers: url, backend: "api: [openai, anthropic]"}))
			for _, stream := range []bool{false, true} {
				a := g.ask(w, stream)
				if a.status != http.StatusBadRequest || w.ending(t, a, stream) != endError || !strings.Contains(a.body, "no such tool") {
					t.Errorf("stream %t: %d %s", stream, a.status, a.body)
				}
				if row := g.timeline(a.header.Get("X-Gateway-Request")); row.Status != "failed" || row.Class != "invalid_request" || row.HTTPStatus != http.StatusBadRequest {
					t.Errorf("row %+v", row.Request)
				}
			}
			if w.name != wireChat.name {
				return
			}
			client := g.sdk()
			if c, err := client.Chat.Completions.New(t.Context(), params()); err == nil {
				t.Errorf("the official client is told %+v", c)
			}
			stream := client.Chat.Completions.NewStreaming(t.Context(), params())
			for stream.Next() {
				t.Errorf("the official client is told %+v", stream.Current())
			}
			if stream.Err() == nil {
				t.Error("the official client finds no error in the stream")
			}
		})
	}
}

// TestOddStreams are whole, or are not, by what they say and not by how.
func TestOddStreams(t *testing.T) {
	chunk := func(rest string) string { return `data: {"choices":` + rest + "}\n\n" }
	word := chunk(`[{"index":0,"delta":{"content":"hi"},"finish_reason":""}]`)
	stop := chunk(`[{"index":0,"delta":{},"finish_reason":"stop"}]`)
	for _, c := range []struct {
		name, stream, want, usage string
		output                    int64
	}{
		{"no reason to finish", word + word, endCut, "estimated", 0},
		{"no choices", word + chunk("null") + stop + "data: [DONE]\n\n", endWhole, "estimated", 0},
		{"an event without data", "data:\n\n" + word + "data\n\n" + stop + "data: [DONE]\n\n", endWhole, "estimated", 0},
		{"nothing reported", word + stop + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":null,\"completion_tokens\":null}}\n\ndata: [DONE]\n\n", endWhole, "estimated", 0},
		{"broken numbers", word + stop + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10.0,\"completion_tokens\":2e1}}\n\ndata: [DONE]\n\n", endWhole, "reported", 20},
		{"a report, then nothing", word + stop + "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":6}}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\ndata: [DONE]\n\n", endWhole, "reported", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			url := handled(t, func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				rw.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(rw, c.stream)
			})
			g := start(t, writeConfig(t, settings{providers: url}))
			a := g.post(chat(true))
			if got := ending(t, a, true); got != c.want {
				t.Fatalf("the client saw %s", got)
			}
			row := g.timeline(a.header.Get("X-Gateway-Request"))
			if string(row.UsageSource) != c.usage || c.output > 0 && row.Tokens.Output != c.output || row.Tokens.Output == 0 {
				t.Errorf("%s, %+v", row.UsageSource, row.Tokens)
			}
		})
	}
}

// TestAClientThatReadsSlowly holds up itself, and no backend is blamed for it.
func TestAClientThatReadsSlowly(t *testing.T) {
	frame := fmt.Sprintf("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", strings.Repeat("x", 60_000))
	url := handled(t, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "text/event-stream")
		for range 600 {
			if _, err := io.WriteString(rw, frame); err != nil {
				return
			}
		}
		_, _ = io.WriteString(rw, "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	})
	g := start(t, writeConfig(t, settings{providers: url, routing: "idle_timeout: 500ms"}))
	response, err := g.stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	pause := time.NewTimer(2 * time.Second) // four times what a silent backend may take
	<-pause.C
	body, err := io.ReadAll(response.Body)
	if got := ending(t, answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}, true); got != endWhole {
		t.Errorf("the client saw %.300s", got)
	}
	if b := g.backend("primary-1"); b.Status != "healthy" || b.Health != "healthy" {
		t.Errorf("the backend is %s, %s: %s", b.Status, b.Health, b.Detail)
	}
}

// TestNobodyWaitsForNothing: a request that could be served is, whoever waits.
func TestNobodyWaitsForNothing(t *testing.T) {
	const patient = "queue: {timeout: 8s, max_depth: 50}, emergency_rpm_fraction: 0"
	t.Run("behind one that has tried", func(t *testing.T) {
		t.Parallel()
		p := newProviders(t, provider.Options{})
		g := start(t, writeConfig(t, settings{providers: p.url, waiting: patient, cooldown: "base: 6s"}))
		p.fault(t, provider.Fault{Backend: "fallback-1", Kind: provider.RateLimit, Times: 1, Headers: header("Retry-After", "6")})
		p.fault(t, provider.Fault{Backend: "primary-1", Kind: provider.ServerError, Times: 1})
		var group sync.WaitGroup
		group.Go(func() { g.post(chat(false)) })
		eventually(t, "one waits", func() bool { return g.metric("gateway_queue_depth") == "1" })
		a := g.post(chat(false))
		if row := g.timeline(a.header.Get("X-Gateway-Request")); a.status != http.StatusOK || row.Backend != "primary-1" || row.QueuedMS != 0 {
			t.Errorf("%d, row %+v", a.status, row.Request)
		}
		group.Wait()
	})
	t.Run("behind those of an older configuration", func(t *testing.T) {
		t.Parallel()
		old, dir := newProviders(t, provider.Options{}), t.TempDir()
		old.fault(t, provider.Fault{Kind: provider.Hang})
		g := start(t, writeConfig(t, settings{providers: old.url, dir: dir, waiting: patient, backend: "max_inflight: 1"}))
		ctx, end := context.WithCancel(t.Context())
		var group sync.WaitGroup
		defer group.Wait()
		defer end()
		for range 3 {
			group.Go(func() {
				if response, err := g.streams(ctx, wireChat); err == nil {
					_ = response.Body.Close()
				}
			})
		}
		eventually(t, "one waits", func() bool { return g.metric("gateway_queue_depth") == "1" })
		more := newProviders(t, provider.Options{})
		extra := fmt.Sprintf("  - {name: primary-2, pool: primary, base_url: %s/primary-1, api_key: %sprimary-1, models: {%s: {native_id: %s}}}\n", more.url, keyOf, model, native)
		writeConfig(t, settings{providers: old.url, dir: dir, waiting: patient, backend: "max_inflight: 1", backends: extra})
		if a := g.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != http.StatusOK {
			t.Fatalf("reload: %s", a.body)
		}
		a := g.post(chat(false))
		if row := g.timeline(a.header.Get("X-Gateway-Request")); a.status != http.StatusOK || row.Backend != "primary-2" || row.QueuedMS != 0 {
			t.Errorf("%d, row %+v", a.status, row.Request)
		}
	})
}

// TestLinesAreByBackends: words of a request that change nothing about who can serve it
// give it no line of its own.
func TestLinesAreByBackends(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, waiting: queued, backend: "api: [openai, anthropic], max_inflight: 1"}))
	p.fault(t, provider.Fault{Kind: provider.Slow, Delay: 0.1})
	var group sync.WaitGroup
	first := make(chan string, 8)
	post := func(name string, header ...string) {
		group.Go(func() {
			if a := g.ask(wireMess, false, header...); a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
			first <- name
		})
	}
	for range 6 {
		post("patient")
	}
	eventually(t, "four wait", func() bool { return g.metric("gateway_queue_depth") == "4" })
	post("pushing", "Anthropic-Beta", "jump-the-queue", "X-Require-Capability", "")
	group.Wait()
	close(first)
	var order []string
	for name := range first {
		order = append(order, name)
	}
	if place := strings.Join(order[:4], " "); strings.Contains(place, "pushing") {
		t.Errorf("served in the order %v", order)
	}
}

// TestBodiesThatDoNotCome are given up also where the request is refused without them.
func TestBodiesThatDoNotCome(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, server: "max_body: 1MiB, max_buffered: 2MiB, body_timeout: 300ms"}))
	for name, head := range map[string]string{
		"without a key": "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"no such path":  "POST /v1/nothing HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"packed":        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + clientKey + "\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", g.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(c, head); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("the connection is kept: %v", err)
			}
		})
	}
}

// TestSmallBodiesOfUnknownLength hold what they hold, not what they might.
func TestSmallBodiesOfUnknownLength(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, server: "max_body: 1MiB, max_buffered: 2MiB"}))
	p.fault(t, provider.Fault{Kind: provider.Slow, Delay: 0.5})
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+g.Addr()+"/v1/chat/completions", io.MultiReader(strings.NewReader(chat(false))))
			if err != nil {
				t.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer "+clientKey)
			for { // two may arrive in the same instant, before either is read
				if a := g.do(r); a.status == http.StatusOK {
					return
				}
				r.Body = io.NopCloser(strings.NewReader(chat(false)))
			}
		})
		eventually(t, "the next is under way", func() bool { return p.Inflight("primary-1") > 0 })
	}
	if a := g.post(chat(false)); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	group.Wait()
}
