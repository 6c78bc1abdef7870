package gateway_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// Endings as a client sees them.
const (
	endWhole = "whole" // an answer, streamed to its end marker where it is streamed
	endCut   = "cut"   // a stream with content, one error frame, and no end marker
	endError = "error" // an error in the dialect's form
)

// wire is an endpoint as clients of it see it.
type wire struct {
	name, path string
	body       func(stream bool) string
	plain      string // a key that every whole answer has
	marker     string // what the last frame of a whole stream begins with
	header     []string
}

var (
	wireChat = wire{name: "chat", path: "/v1/chat/completions", body: chat, plain: `"choices"`, marker: "data: [DONE]"}
	wireText = wire{name: "completions", path: "/v1/completions", body: prompt("prompt", `"hello"`), plain: `"choices"`, marker: "data: [DONE]"}
	wireResp = wire{name: "responses", path: "/v1/responses", body: prompt("input", `"hello"`), plain: `"output"`, marker: "event: response.completed"}
	wireMess = wire{
		name: "messages", path: "/v1/messages", body: prompt("messages", `[{"role":"user","content":"hello"}]`), plain: `"content"`, marker: "event: message_stop",
		header: []string{"Anthropic-Version", "2023-06-01"},
	}
)

// prompt makes the bodies of an endpoint.
func prompt(key, value string) func(bool) string {
	return func(stream bool) string {
		return fmt.Sprintf(`{"model":%q,"max_tokens":64,"stream":%t,%q:%s}`, model, stream, key, value)
	}
}

// ask sends the request of a wire.
func (g *running) ask(w wire, stream bool, header ...string) answer {
	g.t.Helper()
	return g.send(w.path, w.body(stream), append(header, w.header...)...)
}

// failure is an error in any dialect's form.
type failure struct {
	Type      string
	RequestID string `json:"request_id"`
	Error     struct{ Message, Type string }
}

// told reports whether text is an error in the form of the dialect.
func (w wire) told(text string) bool {
	var e failure
	if json.Unmarshal([]byte(text), &e) != nil || e.Error.Message == "" || e.Error.Type == "" {
		return false
	}
	return w.name != wireMess.name || e.Type == "error" && e.RequestID != ""
}

// ending judges what came over the wire.
func (w wire) ending(t *testing.T, a answer, stream bool) string {
	t.Helper()
	if a.err != nil {
		t.Errorf("the connection broke: %v", a.err)
	}
	if a.status != http.StatusOK || !stream {
		if a.status == http.StatusOK && json.Valid([]byte(a.body)) && strings.Contains(a.body, w.plain) {
			return endWhole
		}
		if !w.told(a.body) {
			t.Errorf("%d, not in the dialect's form: %s", a.status, a.body)
		}
		return endError
	}
	frames := strings.Split(strings.TrimSuffix(a.body, "\n\n"), "\n\n")
	last := frames[len(frames)-1]
	_, data, _ := strings.Cut(last, "data: ")
	failed, whole := strings.Count(a.body, `"error":{`), strings.Count(a.body, w.marker)
	switch {
	case strings.HasPrefix(last, w.marker) && whole == 1 && failed == 0:
		return endWhole
	case failed == 1 && whole == 0 && len(frames) > 1 && w.told(data) && strings.Contains(data, a.header.Get("X-Request-Id")):
		return endCut
	default:
		return "neither whole nor cut: " + a.body
	}
}

// ending judges what a chat completion came to.
func ending(t *testing.T, a answer, stream bool) string {
	t.Helper()
	return wireChat.ending(t, a, stream)
}

type cell struct {
	fault  provider.Fault
	name   string // "" = the fault's kind
	plain  string // ending without a stream; "" = the cell is about streams only
	stream string // ending of a stream; "" = about plain answers only
	status int    // of errors
	class  string // of the primary's failed attempt; "" = it answers
	state  string // of the primary afterwards
	usage  string // "" = reported
	only   string // wires that it is about; "" = all
	tail   string // usage of an answer that broke off; "" = estimated
}

// header makes the headers of a fault.
func header(kv ...string) map[string]string {
	h := map[string]string{}
	for i := 0; i+1 < len(kv); i += 2 {
		h[kv[i]] = kv[i+1]
	}
	return h
}

func cells() []cell {
	return []cell{
		{fault: provider.Fault{}, name: "no fault", plain: endWhole, stream: endWhole, state: "healthy"},
		{fault: provider.Fault{Kind: provider.RateLimit}, plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling 30"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "120")}, name: "retry-after", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling 120"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "7")}, name: "short retry-after", plain: endWhole, class: "rate_limit", state: "cooling 30"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After-Ms", "90000", "Retry-After", "1")}, name: "retry-after-ms", plain: endWhole, class: "rate_limit", state: "cooling 90"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s")}, name: "reset header", stream: endWhole, class: "rate_limit", state: "cooling 360"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "7200")}, name: "longer than the cap", plain: endWhole, class: "rate_limit", state: "cooling 7200"},
		{fault: provider.Fault{Kind: provider.Quota}, plain: endWhole, stream: endWhole, class: "quota", state: "error"},
		{fault: provider.Fault{Kind: provider.Payment}, plain: endWhole, class: "quota", state: "error"},
		{fault: provider.Fault{Kind: provider.ServerError}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Overloaded}, plain: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.HTML502}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Unauthorized}, plain: endWhole, stream: endWhole, class: "auth", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Forbidden}, plain: endWhole, class: "auth", state: "healthy without the model"},
		{fault: provider.Fault{Kind: provider.NoModel}, plain: endWhole, stream: endWhole, class: "model_unavailable", state: "healthy without the model"},
		{fault: provider.Fault{Kind: provider.BadRequest}, plain: endError, stream: endError, status: 400, class: "invalid_request", state: "healthy"},
		{fault: provider.Fault{Kind: provider.ContentFilter}, plain: endError, stream: endError, status: 400, class: "content_policy", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Redirect, Headers: header("Location", "/fallback-1/v1/chat/completions")}, plain: endWhole, stream: endWhole, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.BadJSON}, plain: endWhole, stream: endWhole, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.GzipBomb}, plain: endWhole, stream: endWhole, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Drop}, plain: endWhole, stream: endWhole, class: "connection", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Hang}, plain: endWhole, stream: endWhole, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Silence}, plain: endWhole, stream: endWhole, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Drip, Delay: 0.02}, plain: endWhole, stream: endWhole, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.EarlyError}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.ErrorFrame}, name: "error before content", stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.ErrorFrame, Chunks: 3}, stream: endCut, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Cut}, name: "cut before content", plain: endWhole, stream: endWhole, class: "connection", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Cut, Chunks: 5}, stream: endCut, class: "connection", state: "healthy"},
		{fault: provider.Fault{Kind: provider.NoEnd}, name: "end before content", plain: endWhole, stream: endWhole, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.NoEnd, Chunks: 3}, stream: endCut, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Stall, Chunks: 3}, stream: endCut, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.NoUsage}, plain: endWhole, stream: endWhole, state: "healthy", usage: "estimated"},
		{fault: provider.Fault{Kind: provider.HangAfterDone}, stream: endWhole, state: "healthy"},
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 300, ResetOf: "input-tokens"}, name: "reset header", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling 300", only: "messages"},
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 400, ResetOf: "unified"}, name: "unified reset header", plain: endWhole, class: "rate_limit", state: "cooling 400", only: "messages"},
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 90, ResetOf: "requests"}, name: "reset header of requests", stream: endWhole, class: "rate_limit", state: "cooling 90"},
		{fault: provider.Fault{Kind: provider.Overloaded}, name: "overloaded before a stream", stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.TooLarge}, plain: endError, stream: endError, status: 413, class: "invalid_request", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Slow, Delay: 3}, name: "slow headers", plain: endWhole, stream: endWhole, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Drip, Chunks: 3, Delay: 0.02}, name: "drip after content", stream: endCut, class: "timeout", state: "healthy"},
		{fault: provider.Fault{Kind: provider.BadFrame}, name: "bad frame before content", stream: endWhole, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.BadFrame, Chunks: 3}, stream: endCut, class: "malformed", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Failed}, name: "response.failed before content", stream: endWhole, class: "server_error", state: "healthy", only: "responses"},
		{fault: provider.Fault{Kind: provider.Failed, Chunks: 3}, name: "response.failed", stream: endCut, class: "server_error", state: "healthy", only: "responses"},
		{fault: provider.Fault{Kind: provider.NoDone}, name: "no end marker", stream: endCut, class: "malformed", state: "healthy", only: "messages", tail: "reported"},
		{fault: provider.Fault{Kind: provider.NoDone}, name: "no end marker", stream: endCut, class: "malformed", state: "healthy", only: "responses"},
	}
}

// TestFaults is the fault table: whatever the primary does, once, is judged by what
// the client sees, the ledger's row, its attempts, the metrics and the primary's state.
func TestFaults(t *testing.T) {
	for _, c := range cells() {
		if c.name == "" {
			c.name = string(c.fault.Kind)
		}
		for _, w := range []wire{wireChat, wireMess, wireResp, wireText} {
			for mode, want := range map[string]string{"plain": c.plain, "stream": c.stream} {
				if want != "" && (c.only == "" || strings.Contains(c.only, w.name)) {
					t.Run(c.name+"/"+w.name+"/"+mode, func(t *testing.T) {
						t.Parallel()
						c.play(t, w, mode == "stream", want)
					})
				}
			}
		}
	}
}

func (c cell) play(t *testing.T, w wire, stream bool, want string) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{
		providers: p.url, routing: "first_byte_timeout: 1s, idle_timeout: 1s", backend: "api: [openai, anthropic], timeout: 1s", cooldown: "base: 30s, jitter: 0",
	}))
	if c.fault.Kind != "" {
		c.fault.Backend, c.fault.Times = "primary-1", 1
		p.fault(t, c.fault)
	}
	a := g.ask(w, stream, "X-Request-Id", "the-clients-own")
	if got := w.ending(t, a, stream); got != want {
		t.Fatalf("the client saw %s", got)
	}
	if c.status != 0 && a.status != c.status || c.status == 0 && a.status != http.StatusOK {
		t.Errorf("status %d", a.status)
	}
	if want == endWhole && stream && strings.Contains(a.body, `"prompt_tokens"`) {
		t.Errorf("the usage report was not taken out: %s", a.body)
	}
	row := g.timeline("the-clients-own")
	c.checkRow(t, row, a, want)
	c.checkAttempts(t, row, want)
	c.checkMetrics(t, g, want)
	c.checkState(t, g)
}

// moved reports whether another backend answered.
func (c cell) moved(want string) bool { return c.class != "" && want == endWhole }

func (c cell) checkRow(t *testing.T, row admin.Timeline, a answer, want string) {
	t.Helper()
	status, class, answered, usage := "completed", "", "primary-1", c.usage
	if want != endWhole {
		status, class = "failed", c.class
	}
	if c.moved(want) {
		answered = "fallback-1"
	}
	switch {
	case want == endCut && c.tail != "":
		usage = c.tail
	case want == endCut:
		usage = "estimated"
	case want == endError:
		usage = "missing"
	case usage == "":
		usage = "reported"
	}
	if string(row.Status) != status || string(row.Class) != class || row.Backend != answered || string(row.UsageSource) != usage || row.HTTPStatus != a.status ||
		row.ID != a.header.Get("X-Gateway-Request") || row.Client != "coo" || row.DurationMS <= 0 {
		t.Errorf("row %+v", row.Request)
	}
	if usage != "missing" && (row.Tokens.Output == 0 || row.Cost == 0) || usage == "missing" && row.Tokens.Total != 0 {
		t.Errorf("tokens %+v, cost %g", row.Tokens, row.Cost)
	}
	if got := a.header.Get("X-Gateway-Backend"); got != answered {
		t.Errorf("x-gateway-backend is %q, want %q", got, answered)
	}
	if got := a.header.Get("X-Gateway-Attempts"); got != fmt.Sprint(row.AttemptCount) {
		t.Errorf("x-gateway-attempts is %q, the row has %d", got, row.AttemptCount)
	}
}

func (c cell) checkAttempts(t *testing.T, row admin.Timeline, want string) {
	t.Helper()
	var got []string
	for _, x := range row.Attempts {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", x.Backend, x.Outcome, x.Class)))
	}
	expected := []string{"primary-1 succeeded"}
	if c.class != "" {
		expected = []string{"primary-1 failed " + c.class}
	}
	if c.moved(want) {
		expected = append(expected, "fallback-1 succeeded")
	}
	if !slices.Equal(got, expected) {
		t.Errorf("attempts %q, want %q", got, expected)
	}
}

func (c cell) checkMetrics(t *testing.T, g *running, want string) {
	t.Helper()
	outcome, pool := "completed", "primary"
	if c.moved(want) {
		pool = "fallback"
	}
	if want != endWhole {
		outcome = "failed"
	}
	series := map[string]string{
		fmt.Sprintf(`gateway_requests_total{model=%q,outcome=%q,pool=%q}`, model, outcome, pool): "1",
		fmt.Sprintf(`gateway_client_requests_total{client="coo",outcome=%q}`, outcome):           "1",
		`gateway_client_response_seconds_count{client="coo"}`:                                    "1",
		fmt.Sprintf(`gateway_pools_exhausted_total{model=%q}`, model):                            "0",
	}
	if c.class != "" {
		series[fmt.Sprintf(`gateway_client_attempts_total{class=%q,client="coo",outcome="failed"}`, c.class)] = "1"
		series[fmt.Sprintf(`gateway_attempts_total{backend="primary-1",model=%q,outcome="failed"}`, model)] = "1"
	}
	if c.moved(want) {
		series[fmt.Sprintf(`gateway_failovers_total{class=%q,model=%q}`, c.class, model)] = "1"
	}
	for name, value := range series {
		if got := g.metric(name); got != value {
			t.Errorf("%s is %q, want %s", name, got, value)
		}
	}
}

func (c cell) checkState(t *testing.T, g *running) {
	t.Helper()
	b := g.backend("primary-1")
	status, rest, _ := strings.Cut(c.state, " ")
	if string(b.Status) != status {
		t.Errorf("the primary is %s, want %s", b.Status, c.state)
	}
	var seconds int
	if _, err := fmt.Sscan(rest, &seconds); err == nil {
		if left := time.Until(*b.CooldownUntil).Seconds(); left > float64(seconds) || left < float64(seconds)-20 {
			t.Errorf("the primary cools for %.0f s more, want about %d", left, seconds)
		}
	}
	if blocked := b.Models[model].UnavailableUntil != nil; blocked != (rest == "without the model") {
		t.Errorf("the model is kept from the primary: %t, want %q", blocked, c.state)
	}
	if strings.Contains(fmt.Sprintf("%+v", b), keyOf+"primary-1") {
		t.Error("the API shows the provider's key")
	}
}
