package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Endings as a client sees them.
const (
	endWhole = "whole" // an answer, streamed to its end marker where it is streamed
	endCut   = "cut"   // a stream with content, one error frame, and no end marker
	endError = "error" // an error in the dialect's form
	endLeft  = "left"  // none: the client went away
	endBare  = "bare"  // an error of the HTTP server, in no dialect's form
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
	if a.left {
		return endLeft
	}
	if a.err != nil {
		t.Errorf("the connection broke: %v", a.err)
	}
	if a.status != http.StatusOK || !stream {
		if a.status == http.StatusOK && json.Valid([]byte(a.body)) && strings.Contains(a.body, w.plain) {
			return endWhole
		}
		if a.header.Get("X-Request-Id") == "" {
			return endBare
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

// request makes a request of a wire.
func (g *running) request(ctx context.Context, w wire, stream bool) *http.Request {
	g.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+g.Addr()+w.path, strings.NewReader(w.body(stream)))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	for i := 0; i+1 < len(w.header); i += 2 {
		r.Header.Set(w.header[i], w.header[i+1])
	}
	return r
}
