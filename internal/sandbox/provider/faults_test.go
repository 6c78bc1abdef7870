package provider_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

type reply struct {
	status int
	header http.Header
	body   string
	err    error // of the connection
}

// errOpen is that of an answer that had not ended when it was let go.
var errOpen = errors.New("the answer has not ended")

// send asks, and reads the answer to its end; of one that is known not to end, until it
// says enough.
func send(t *testing.T, method, url, body string, header map[string]string, enough ...string) reply {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	transport := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	if slices.Contains(enough, nothing) {
		transport.ResponseHeaderTimeout = 50 * time.Millisecond
	}
	response, err := transport.RoundTrip(r)
	if err != nil {
		return reply{err: err}
	}
	defer response.Body.Close()
	out := reply{status: response.StatusCode, header: response.Header}
	buffer := make([]byte, 1<<16)
	for out.err == nil && len(out.body) < 1<<20 {
		if slices.ContainsFunc(enough, func(text string) bool { return strings.Contains(out.body, text) }) {
			out.err = errOpen
			break
		}
		var n int
		n, out.err = response.Body.Read(buffer)
		out.body += string(buffer[:n])
	}
	if errors.Is(out.err, io.EOF) {
		out.err = nil
	}
	return out
}

// nothing is said by an answer that never comes.
const nothing = "\x00"

// enough is what is read of an answer that does not end, or not soon.
func enough(kind provider.Kind, at surface) []string {
	switch {
	case kind == provider.Hang:
		return []string{nothing}
	case kind == provider.Silence, kind == provider.GzipBomb, at.marker == "" && (kind == provider.Stall || kind == provider.Drip):
		return []string{""}
	case kind == provider.Stall, kind == provider.Drip:
		return []string{"word"}
	case kind == provider.HangAfterDone && at.marker != "":
		return []string{at.marker}
	default:
		return nil
	}
}

// surface is one endpoint, streamed or not, with the end marker of its streams.
type surface struct {
	path, body, marker, failure string
}

func surfaces() []surface {
	return []surface{
		{"/v1/chat/completions", `{"model":"m","stream":false}`, "", `{"error":{`},
		{"/v1/chat/completions", `{"model":"m","stream":true,"stream_options":{"include_usage":true}}`, "[DONE]", `data: {"error":{`},
		{"/v1/completions", `{"model":"m","prompt":"x"}`, "", `{"error":{`},
		{"/v1/completions", `{"model":"m","prompt":"x","stream":true,"stream_options":{"include_usage":true}}`, "[DONE]", `data: {"error":{`},
		{"/v1/embeddings", `{"model":"m","input":"x"}`, "", `{"error":{`},
		{"/v1/responses", `{"model":"m","input":"x"}`, "", `{"error":{`},
		{"/v1/responses", `{"model":"m","input":"x","stream":true}`, "event: response.completed", "event: "},
		{"/v1/messages", `{"model":"m","max_tokens":9}`, "", `{"error":{`},
		{"/v1/messages", `{"model":"m","max_tokens":9,"stream":true}`, "event: message_stop", "event: error"},
		{"/v1/messages/count_tokens", `{"model":"m"}`, "", `{"error":{`},
		{"/v1/models", "", "", `{"error":{`},
	}
}

// TestEveryFaultEverywhere: each kind is the same misfortune at every endpoint.
func TestEveryFaultEverywhere(t *testing.T) {
	for _, kind := range append(provider.Kinds(), "") {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			s, url := start(t, provider.Options{Words: 6})
			for _, at := range surfaces() {
				s.ClearFaults("")
				if kind != "" {
					if err := s.AddFault(provider.Fault{Kind: kind, Path: at.path, Chunks: 3, Delay: map[provider.Kind]float64{provider.Drip: 0.02}[kind]}); err != nil {
						t.Fatal(err)
					}
				}
				method := http.MethodPost
				if at.body == "" {
					method = http.MethodGet
				}
				r := send(t, method, url+"/primary-1"+at.path, at.body, map[string]string{"Authorization": "Bearer k", "X-Api-Key": "k", "Anthropic-Version": "2023-06-01"}, enough(kind, at)...)
				if problem := misfortune(kind, at, r); problem != "" {
					t.Errorf("%s %s: %s: %d %v %.300s", at.path, at.body, problem, r.status, r.err, r.body)
				}
			}
		})
	}
}

// misfortune says what is not as the fault wants it.
func misfortune(kind provider.Kind, at surface, r reply) string {
	stream := at.marker != ""
	whole := r.err == nil && r.status == 200 && (stream && strings.Contains(r.body, at.marker) || !stream && json.Valid([]byte(r.body)))
	fails := func(wrong bool, want string) string {
		if wrong {
			return want
		}
		return ""
	}
	switch kind {
	case "", provider.Slow:
		return fails(!whole, "want a whole answer")
	case provider.NoUsage:
		return fails(!whole || strings.Contains(r.body, `"usage":{`), "want a whole answer without usage")
	case provider.HangAfterDone, provider.NoDone:
		if !stream {
			return fails(!whole, "want a whole answer")
		}
		return fails(strings.Contains(r.body, at.marker) != (kind == provider.HangAfterDone) || (r.err != nil) != (kind == provider.HangAfterDone), "want all but the end")
	case provider.Drop, provider.Hang:
		return fails(r.status != 0 || r.err == nil, "want no answer")
	case provider.Silence:
		return fails(r.status != 200 || r.err == nil || r.body != "", "want headers alone")
	case provider.Cut, provider.Stall, provider.Drip:
		return fails(r.status != 200 || r.err == nil || stream && !strings.Contains(r.body, "data: "), "want a part and no end")
	case provider.NoEnd:
		return fails(r.status != 200 || r.err != nil || whole || r.body == "", "want a part that ends cleanly")
	case provider.BadJSON:
		return fails(r.status != 200 || json.Valid([]byte(r.body)), "want half an object")
	case provider.GzipBomb:
		return fails(r.status != 200 || r.header.Get("Content-Encoding") != "gzip", "want gzip")
	case provider.EarlyError, provider.ErrorFrame, provider.Failed, provider.BadFrame:
		if stream {
			early := strings.Contains(r.body, "word")
			if kind == provider.BadFrame {
				return fails(!strings.HasSuffix(r.body, "data: {\"id\":\"x\",\n\n") || !early, "want half a frame at the end")
			}
			return fails(r.status != 200 || r.err != nil || whole || early == (kind == provider.EarlyError) || !strings.Contains(r.body, at.failure), "want an error frame at the end")
		}
		return fails(r.status != 200 || !strings.Contains(r.body, `"error":{`), "want an error of status 200")
	case provider.HTML502:
		return fails(r.status != 502 || !strings.Contains(r.body, "<html>"), "want a page")
	case provider.Redirect:
		return fails(r.status != 302, "want a redirect")
	default:
		return fails(r.status < 400 || !strings.Contains(r.body, `"message":`), "want an error")
	}
}

// TestAim: faults and answers meet the requests that they are meant for.
func TestAim(t *testing.T) {
	s, url := start(t, provider.Options{Words: 1})
	ask := func(path string) reply {
		t.Helper()
		return send(t, http.MethodPost, url+"/primary-1"+path, `{"model":"m","max_tokens":1}`, map[string]string{"Authorization": "Bearer k", "X-Api-Key": "k", "Anthropic-Version": "1"})
	}
	if err := s.AddFault(provider.Fault{Kind: provider.ServerError, Path: "/v1/messages", Times: 1}); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{`{"path":"/v1/nothing"}`, `{"tools":[{"name":"","arguments":{}}]}`, `{"pace":-1}`, `{"usage":{}}`, `{"backend":"nobody"}`} {
		if code, text := call(t, http.MethodPost, url+"/sandbox/answers", bad); code != 400 || !strings.Contains(text, "bad_answer") {
			t.Errorf("%s: %d %s", bad, code, text)
		}
	}
	if code, text := call(t, http.MethodPost, url+"/sandbox/answers", `{"path":"/v1/chat/completions","text":"hello there","times":1}`); code != 201 {
		t.Fatal(text)
	}
	if r := ask("/v1/completions"); r.status != 200 || strings.Contains(r.body, "hello there") {
		t.Errorf("%+v", r)
	}
	if r := ask("/v1/chat/completions"); r.status != 200 || !strings.Contains(r.body, "hello there") {
		t.Errorf("%+v", r)
	}
	for i, want := range []int{500, 200} {
		if r := ask("/v1/messages"); r.status != want {
			t.Errorf("request %d: %+v", i, r)
		}
	}
	if _, text := call(t, http.MethodGet, url+"/sandbox/answers", ""); text != "[]" {
		t.Errorf("left %s", text)
	}
	if err := s.AddAnswer(provider.Answer{Text: new("again")}); err != nil {
		t.Fatal(err)
	}
	if _, text := call(t, http.MethodDelete, url+"/sandbox/answers", ""); text != "[]" {
		t.Errorf("left %s", text)
	}
}
