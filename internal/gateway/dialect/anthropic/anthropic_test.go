package anthropic

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

func TestFault(t *testing.T) {
	said := func(kind, message string) string {
		return `{"type":"error","error":{"type":"` + kind + `","message":"` + message + `"},"request_id":"req_1"}`
	}
	for _, c := range []struct {
		status   int
		body     string
		class    llm.Class
		namesKey bool
	}{
		{429, said("rate_limit_error", "slow down"), llm.RateLimit, false},
		{529, said("overloaded_error", "Overloaded"), llm.ServerError, false},
		{500, said("api_error", "Internal server error"), llm.ServerError, false},
		{504, said("timeout_error", "timed out"), llm.ServerError, false},
		{502, `<html>`, llm.ServerError, false},
		{402, said("billing_error", "pay"), llm.Quota, false},
		{400, said("invalid_request_error", "Your credit balance is too low to access the Anthropic API."), llm.Quota, false},
		{400, said("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01."), llm.Quota, false},
		{403, said("billing_error", "pay"), llm.Quota, false},
		{429, `{"error":{"message":"x","code":"insufficient_quota"}}`, llm.Quota, false},
		{400, said("invalid_request_error", "tools.0.name: billing plan"), llm.InvalidRequest, false},
		{401, said("authentication_error", "invalid x-api-key"), llm.Auth, true},
		{403, said("permission_error", "no access to this model"), llm.Auth, false},
		{403, said("permission_error", "Your API key does not have permission"), llm.Auth, true},
		{400, said("invalid_request_error", "This organization has been disabled."), llm.Auth, true},
		{404, said("not_found_error", "model: claude-x"), llm.ModelUnavailable, false},
		{404, said("not_found_error", "File not found: file_1"), llm.InvalidRequest, false},
		{404, said("not_found_error", "Not found"), llm.Malformed, false},
		{404, `404 page not found`, llm.Malformed, false},
		{400, said("invalid_request_error", "Output blocked by content filtering policy"), llm.ContentPolicy, false},
		{400, said("invalid_request_error", "max_tokens: Field required"), llm.InvalidRequest, false},
		{413, said("request_too_large", "too large"), llm.InvalidRequest, false},
		{422, ``, llm.InvalidRequest, false},
		{409, ``, llm.ServerError, false},
		{302, ``, llm.Malformed, false},
	} {
		f := Fault(c.status, []byte(c.body))
		if f.Class != c.class || f.NamesKey != c.namesKey || f.Status != c.status || f.Message == "" {
			t.Errorf("Fault(%d, %s) = %+v, want class %s", c.status, c.body, f, c.class)
		}
	}
}

func TestFailureForms(t *testing.T) {
	want := `{"type":"error","error":{"type":"rate_limit_error","message":"no \"x\"","code":"queue_full"},"request_id":"r"}`
	if got := string(Errors{}.Body(llm.Failure{Status: 429, Code: "queue_full", Message: `no "x"`}, "r")); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(Errors{}.Frame(llm.Failure{Status: 502, Message: "m"}, "r")); got != "event: error\ndata: "+`{"type":"error","error":{"type":"api_error","message":"m"},"request_id":"r"}`+"\n\n" {
		t.Errorf("got %s", got)
	}
	for _, status := range []int{400, 401, 402, 403, 404, 413, 429, 500, 504, 529} {
		if got := statusOf(typeOf(status)); got != status {
			t.Errorf("%d is said as %s, which means %d", status, typeOf(status), got)
		}
	}
}

func TestAuthorize(t *testing.T) {
	h := http.Header{}
	authorize(h, redact.Secret("k"))
	if h.Get("X-Api-Key") != "k" || h.Get("Anthropic-Version") != version || h.Get("Authorization") != "" {
		t.Errorf("%v", h)
	}
	h = http.Header{"Anthropic-Version": {"2030-01-01"}}
	if authorize(h, "k"); h.Get("Anthropic-Version") != "2030-01-01" {
		t.Errorf("%v", h)
	}
}

// Frames of a stream.
const (
	start   = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}`
	text    = `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`
	word    = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi there"}}`
	nothing = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`
	ping    = `{"type":"ping"}`
	stop    = `{"type":"content_block_stop","index":0}`
	last    = `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":7}}`
	end     = `{"type":"message_stop"}`
)

func block(of string) string {
	return `{"content_block":` + of + `,"index":0,"type":"content_block_start"}` // the type may come last
}

func delta(of string) string {
	return `{"type":"content_block_delta","index":0,"delta":` + of + `}`
}

func TestStream(t *testing.T) {
	reported, estimated, missing := llm.Reported, llm.Estimated, llm.Missing
	for _, c := range []struct {
		name     string
		data     []string
		want     string
		complete bool
		source   llm.UsageSource
	}{
		{"whole", []string{start, text, ping, word, stop, last, end}, "- - - content - - end", true, reported},
		{"without any content", []string{start, last, end}, "- - end", true, reported},
		{"no stop", []string{start, text, word, stop, last}, "- - content - -", false, reported},
		{"cut before the last report", []string{start, text, word}, "- - content", false, estimated},
		{"no last report", []string{start, text, word, stop, `{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`, end}, "- - content - - end", true, estimated},
		{"no report at all", []string{`{"type":"message_start","message":{"usage":null}}`, word, `{"type":"message_delta","delta":{},"usage":null}`, end}, "- content - end", true, missing},
		{"content behind a report", []string{start, word, last, word, end}, "- content - content end", true, estimated},
		{"empty deltas", []string{start, text, nothing, delta(`{"type":"input_json_delta","partial_json":""}`)}, "- - - -", false, reported},
		{"thinking", []string{block(`{"type":"thinking","thinking":"","signature":""}`), delta(`{"type":"thinking_delta","thinking":"hm"}`), delta(`{"type":"signature_delta","signature":"x"}`)}, "- content content", false, missing},
		{"calls", []string{block(`{"type":"tool_use","id":"t","name":"n","input":{}}`), block(`{"type":"server_tool_use","id":"t","name":"n","input":{}}`), delta(`{"type":"input_json_delta","partial_json":"{"}`)}, "content content content", false, missing},
		{"citation", []string{delta(`{"type":"citations_delta","citation":{"type":"char_location"}}`)}, "content", false, missing},
		{"what comes as a whole", []string{block(`{"type":"redacted_thinking","data":"x"}`), block(`{"type":"web_search_tool_result","content":[]}`), block(`{"type":"text","text":"hi"}`)}, "content content content", false, missing},
		{"comment", []string{"", start}, "- -", false, reported},
		{"another marker", []string{start, word, "[DONE]"}, "- content end", false, estimated},
		{"a stop without a start", []string{end}, "end", false, missing},
		{"overloaded", []string{start, `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`}, "- server_error", false, reported},
		{"rate limit", []string{`{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}`}, "rate_limit", false, missing},
		{"key refused", []string{`{"type":"error","error":{"type":"authentication_error","message":"x"}}`}, "auth", false, missing},
		{"an error of another dialect", []string{`{"error":{"message":"boom","code":"x"}}`}, "server_error", false, missing},
		{"an error of no form", []string{`{"type":"error"}`}, "server_error", false, missing},
		{"not JSON", []string{`{"type":`}, "malformed", false, missing},
		{"other shape", []string{`{"type":"content_block_delta","delta":1}`}, "malformed", false, missing},
		{"an event to come", []string{`{"type":"message_thought","x":1}`}, "-", false, missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(true)
			var out []string
			for _, d := range c.data {
				f := sse.Frame{Data: []byte(d)}
				if d == "" {
					f.Data = nil
				}
				step, fault := s.Frame(f)
				switch {
				case fault != nil && fault.Status == http.StatusOK && fault.Message != "":
					out = append(out, string(fault.Class))
				case step.End:
					out = append(out, "end")
				case step.Content > 0:
					out = append(out, "content")
				default:
					out = append(out, "-")
				}
			}
			if got := strings.Join(out, " "); got != c.want || s.Complete() != c.complete || s.Answer().Usage.Source != c.source {
				t.Errorf("got %q, complete %t, usage %+v", got, s.Complete(), s.Answer().Usage)
			}
		})
	}
}

// TestWhatIsEstimated: what breaks off costs the input that was told, and a guess at
// the output that was seen.
func TestWhatIsEstimated(t *testing.T) {
	s := newStream(false)
	for _, d := range []string{start, word} {
		if _, fault := s.Frame(sse.Frame{Data: []byte(d)}); fault != nil {
			t.Fatal(fault)
		}
	}
	seen := llm.EstimateTokens(int64(len(`"hi there"`)))
	if u := s.Answer().Usage; u != (llm.Usage{Input: 9, CacheRead: 4, Output: 1 + seen, Source: llm.Estimated}) {
		t.Errorf("%+v", u)
	}
}

// FuzzStream: no stream makes counts that cannot be, and none is complete without its marker.
func FuzzStream(f *testing.F) {
	f.Add([]byte("event: message_start\ndata: " + start + "\n\ndata: " + word + "\n\ndata: " + last + "\n\ndata: " + end + "\n\n"))
	f.Add([]byte("data: " + block(`{"type":"tool_use"}`) + "\n\ndata: " + `{"type":"message_delta","usage":{"cache_creation":{"ephemeral_1h_input_tokens":5},"output_tokens":null}}` + "\r\n\r\ndata: [DONE]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, frames := newStream(false), sse.NewReader(strings.NewReader(string(raw)), 1<<16)
		for {
			frame, err := frames.Next()
			if err != nil {
				break
			}
			step, fault := s.Frame(frame)
			if step.Content < 0 || fault != nil && (fault.Class == "" || fault.Message == "") {
				t.Fatalf("%q: %+v, %v", frame.Raw, step, fault)
			}
		}
		u := s.Answer().Usage
		if u.Input < 0 || u.Output < 0 || u.CacheRead < 0 || u.CacheWrite < 0 || u.CacheWrite1h > u.CacheWrite || u.Reasoning > u.Output || u.Source == llm.Missing && u.Total() != 0 {
			t.Fatalf("%q: %+v", raw, u)
		}
		if s.Complete() && !strings.Contains(string(raw), "stop") && !strings.Contains(string(raw), `\u`) {
			t.Fatalf("%q is complete", raw)
		}
	})
}

// FuzzFault: any answer has a class and a message.
func FuzzFault(f *testing.F) {
	f.Add(400, []byte(`{"type":"error","error":{"type":"invalid_request_error","message":"x"}}`))
	f.Add(429, []byte(`{"error":"text"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if fault := Fault(status, body); fault.Class == "" || fault.Message == "" || len(fault.Message) > 600 {
			t.Fatalf("Fault(%d, %q) = %+v", status, body, fault)
		}
	})
}

func BenchmarkStreamFrame(b *testing.B) {
	s := newStream(true)
	f := sse.Frame{Event: "content_block_delta", Data: []byte(word)}
	b.ReportAllocs()
	for b.Loop() {
		if step, fault := s.Frame(f); fault != nil || step.Content == 0 {
			b.Fatal(fault)
		}
	}
}
