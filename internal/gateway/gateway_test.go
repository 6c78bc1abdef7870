package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

const (
	clientKey = "client-key-of-coo"
	adminKey  = "admin-token-of-tests"
	readKey   = "read-token-of-tests"
	model     = "deepseek-v4-pro"
	native    = "deepseek-ai/deepseek-v4-pro"
	keyOf     = "provider-key-of-"
)

// providers is the stand-in with a primary and a fallback backend.
type providers struct {
	*provider.Server
	url  string
	held atomic.Pointer[hold]
}

// hold keeps requests from a backend that has been sent them already.
type hold struct {
	backend string
	most    int64 // that are kept, 0 = all
	came    atomic.Int64
	let     chan struct{}
}

// hold keeps the next requests to a backend, most of them, until they are let go.
func (p *providers) hold(t testing.TB, backend string, most int64) *hold {
	h := &hold{backend: backend, most: most, let: make(chan struct{})}
	p.held.Store(h)
	t.Cleanup(h.release)
	return h
}

// release lets them go, and keeps none that follow.
func (h *hold) release() {
	select {
	case <-h.let:
	default:
		close(h.let)
	}
}

// stop keeps a request where it is to be kept.
func (h *hold) stop(r *http.Request) {
	if h == nil || !strings.HasPrefix(r.URL.Path, "/"+h.backend+"/") || h.most > 0 && h.came.Load() >= h.most {
		return
	}
	h.came.Add(1)
	<-h.let
}

func newProviders(t testing.TB, o provider.Options) *providers {
	t.Helper()
	o.Backends = []string{"primary-1", "fallback-1"}
	o.Keys = map[string]string{"primary-1": keyOf + "primary-1", "fallback-1": keyOf + "fallback-1"}
	o.Log = slog.New(slog.DiscardHandler)
	s, err := provider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	p := &providers{Server: s}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.held.Load().stop(r)
		s.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	p.url = server.URL
	return p
}

func (p *providers) fault(t testing.TB, f provider.Fault) {
	t.Helper()
	if err := p.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// settings make a configuration file.
type settings struct {
	providers string
	dir       string // "" = a new one
	routing   string // keys of routing
	waiting   string // keys of routing about what happens where no backend can be called; "" = nothing does
	health    string // keys of health; "" = no probes
	cooldown  string // keys of cooldown
	server    string // keys of server
	backend   string // keys of each backend
	model     string // keys of each model
	clients   string // more declared clients
	backends  string // more backends
	extra     string // more top-level keys
}

// writeConfig writes gateway.yaml and returns its path.
func writeConfig(t testing.TB, s settings) string {
	t.Helper()
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	if s.waiting == "" {
		s.waiting = "queue: {timeout: 0}, emergency_rpm_fraction: 0"
	}
	if s.routing != "" {
		s.routing += ", "
	}
	if s.health == "" {
		s.health = "interval: 0"
	}
	if s.cooldown == "" {
		s.cooldown = "base: 30s"
	}
	if s.model == "" {
		s.model = "price_per_mtok: {input: 1, output: 4, cache_read: 0.1}"
	}
	if s.server == "" {
		s.server = "max_body: 1MiB"
	}
	if s.backend == "" {
		s.backend = "weight: 1"
	}
	backends := ""
	for _, b := range []string{"primary-1", "fallback-1"} {
		pool, _, _ := strings.Cut(b, "-")
		backends += fmt.Sprintf("  - {name: %s, pool: %s, base_url: %s/%s, api_key: %s%s, %s, models: {%s: {native_id: %s, %s}}}\n", b, pool, s.providers, b, keyOf, b, s.backend, model, native, s.model)
	}
	backends += s.backends
	text := fmt.Sprintf(`
server: {listen: "127.0.0.1:0", %s}
admin: {listen: "127.0.0.1:0", token: %s, read_token: %s}
store: {url: "sqlite:gateway.db", encryption_keys: ["%s"]}
ip_rate_limit: {max_requests: 0}
clients:
  declared:
    - {name: coo, key: %s}
%s
routing: {%s%s}
health: {%s}
cooldown: {%s}
%s
backends:
%s`, s.server, adminKey, readKey, strings.Repeat("ab", 32), clientKey, s.clients, s.routing, s.waiting, s.health, s.cooldown, s.extra, backends)
	path := filepath.Join(s.dir, "gateway.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// running is a gateway in this process, or in one of its own.
type running struct {
	*gateway.App
	t     testing.TB
	logs  *bytes.Buffer
	stop  func()
	child *child // nil = in this process
}

// Addr is the address of the data plane.
func (g *running) Addr() string {
	if g.child != nil {
		return g.child.data
	}
	return g.App.Addr()
}

// AdminAddr is the address of the operations listener.
func (g *running) AdminAddr() string {
	if g.child != nil {
		return g.child.admin
	}
	return g.App.AdminAddr()
}

func start(t testing.TB, config string) *running {
	t.Helper()
	return startAt(t, config, nil)
}

// startAt starts a gateway by a clock; nil is the system's.
func startAt(t testing.TB, config string, now func() time.Time) *running {
	t.Helper()
	logs := &bytes.Buffer{}
	a, err := gateway.New(t.Context(), gateway.Options{ConfigFile: config, Log: slog.New(slog.NewJSONHandler(&lockedWriter{to: logs}, nil)), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	g := &running{App: a, t: t, logs: logs}
	stopped := false
	g.stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := a.Stop(context.Background()); err != nil {
			t.Errorf("stopping: %v", err)
		}
	}
	t.Cleanup(g.stop)
	return g
}

// answer is what a client saw.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body: the connection broke
	left   bool  // the client did not wait for it
}

// post sends a chat completion.
func (g *running) post(body string, header ...string) answer {
	g.t.Helper()
	return g.send("/v1/chat/completions", body, header...)
}

func (g *running) send(path, body string, header ...string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), http.MethodPost, "http://"+g.Addr()+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return g.do(r)
}

func (g *running) do(r *http.Request) answer {
	g.t.Helper()
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}
}

// chat is the body of a request.
func chat(stream bool) string {
	return fmt.Sprintf(`{"model":%q,"stream":%t,"messages":[{"role":"user","content":"hello"}]}`, model, stream)
}

// get asks the operations API.
func (g *running) get(path string, into any) answer {
	g.t.Helper()
	return g.admin(http.MethodGet, path, readKey, into)
}

func (g *running) admin(method, path, token string, into any) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+g.AdminAddr()+path, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	a := g.do(r)
	if into != nil {
		if a.status != http.StatusOK {
			g.t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
		if err := json.Unmarshal([]byte(a.body), into); err != nil {
			g.t.Fatalf("%s: %v in %s", path, err, a.body)
		}
	}
	return a
}

// timeline returns what the ledger says of a request, waiting for its row where the
// client did not wait for it.
func (g *running) timeline(id string) admin.Timeline {
	g.t.Helper()
	var out admin.Timeline
	if !testtool.Eventually(g.t, func() bool {
		a := g.get("/api/admin/requests/"+id, nil)
		return a.status == http.StatusOK && json.Unmarshal([]byte(a.body), &out) == nil && out.Status != "pending" && out.Status != "streaming"
	}) {
		g.t.Fatalf("the ledger has no row %s", id)
	}
	return out
}

func (g *running) backend(name string) admin.Backend {
	g.t.Helper()
	var b admin.Backend
	g.get("/api/admin/backends/"+name, &b)
	return b
}

// metric returns the sample that begins with the text, "" where there is none.
func (g *running) metric(series string) string {
	g.t.Helper()
	for line := range strings.Lines(g.get("/metrics", nil).body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func (g *running) sdk(options ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{option.WithBaseURL("http://" + g.Addr() + "/v1"), option.WithAPIKey(clientKey), option.WithMaxRetries(0)}, options...)...)
}

func params() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}}
}

// TestOfficialClientThroughAFailingPrimary: clients see successes only; the ledger has
// the failed attempt chained to its request.
func TestOfficialClientThroughAFailingPrimary(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1", Headers: map[string]string{"Retry-After": "60"}})
	client := g.sdk()
	var raw *http.Response
	completion, err := client.Chat.Completions.New(t.Context(), params(), option.WithHeader("x-request-id", "my-request-1"), option.WithResponseInto(&raw))
	if err != nil {
		t.Fatal(err)
	}
	if text := completion.Choices[0].Message.Content; !strings.HasPrefix(text, "word word") || completion.Usage.TotalTokens == 0 {
		t.Errorf("answered %q, usage %+v", text, completion.Usage)
	}
	for name, want := range map[string]string{"x-request-id": "my-request-1", "x-gateway-backend": "fallback-1", "x-gateway-attempts": "2"} {
		if got := raw.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	row := g.timeline("my-request-1")
	if row.ID != raw.Header.Get("x-gateway-request") || row.FailedAttempts != 1 || len(row.Attempts) != 2 {
		t.Fatalf("row %+v", row)
	}
	failed, primary := row.Attempts[0], row.Attempts[1]
	if failed.Outcome != "failed" || failed.Class != "rate_limit" || failed.HTTPStatus != 429 || failed.Backend != "primary-1" || failed.PrimaryRequestID != row.ID || failed.Remedy == "" {
		t.Errorf("failed attempt %+v", failed)
	}
	if primary.Outcome != "succeeded" || primary.Backend != "fallback-1" || primary.NativeID != native {
		t.Errorf("answering attempt %+v", primary)
	}
	// Streamed, with the primary left alone.
	for range 3 {
		stream := client.Chat.Completions.NewStreaming(t.Context(), params(), option.WithResponseInto(&raw))
		acc, chunks := openai.ChatCompletionAccumulator{}, 0
		for stream.Next() {
			chunk := stream.Current()
			if len(chunk.Choices) == 0 {
				t.Error("the usage report that nobody asked for was not taken out")
			}
			acc.AddChunk(chunk)
			chunks++
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if chunks < 10 || acc.Choices[0].FinishReason != "stop" {
			t.Errorf("%d chunks, finish reason %q", chunks, acc.Choices[0].FinishReason)
		}
		row := g.timeline(raw.Header.Get("x-request-id"))
		if row.Status != "completed" || row.UsageSource != "reported" || row.Tokens.Output != 12 || row.Attempts[0].SkipReason != "cooling" || row.Cost == 0 {
			t.Errorf("streamed row %+v", row)
		}
	}
	if b := g.backend("primary-1"); b.Status != "cooling" || b.CooldownLevel != 1 || time.Until(*b.CooldownUntil) < 55*time.Second {
		t.Errorf("primary is %+v", b)
	}
	for _, r := range p.Requests() {
		if r.Key != keyOf+r.Backend || r.Model != native || strings.Contains(fmt.Sprint(r.Header), clientKey) {
			t.Errorf("%s was asked for %q with key %q", r.Backend, r.Model, r.Key)
		}
	}
	for series, want := range map[string]string{
		`gateway_failovers_total{class="rate_limit",model="deepseek-v4-pro"}`:                                 "1",
		`gateway_attempts_total{backend="primary-1",model="deepseek-v4-pro",outcome="skipped"}`:               "3",
		`gateway_client_attempts_total{class="rate_limit",client="coo",outcome="failed"}`:                     "1",
		`gateway_client_attempts_total{class="",client="coo",outcome="succeeded"}`:                            "4",
		`gateway_requests_total{model="deepseek-v4-pro",outcome="completed",pool="fallback"}`:                 "4",
		`gateway_backend_state{backend="primary-1",pool="primary",state="cooling"}`:                           "1",
		`gateway_model_available_backends{model="deepseek-v4-pro",pool="primary"}`:                            "0",
		`gateway_model_available_backends{model="deepseek-v4-pro",pool="fallback"}`:                           "1",
		`gateway_pool_backends{pool="primary",state="cooling"}`:                                               "1",
		`gateway_pools_exhausted_total{model="deepseek-v4-pro"}`:                                              "0",
		`gateway_ledger_failures_total`:                                                                       "0",
		`gateway_http_requests_total{method="POST",route="/v1/chat/completions",service="data",status="200"}`: "4",
	} {
		if got := g.metric(series); got != want {
			t.Errorf("%s is %q, want %s", series, got, want)
		}
	}
}
