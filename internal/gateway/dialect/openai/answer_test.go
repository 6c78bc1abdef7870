package openai

import (
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

func TestAnswer(t *testing.T) {
	for _, c := range []struct {
		name, body string
		usage      llm.Usage
		class      llm.Class
	}{
		{"usage", `{"choices":[{}],"usage":{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":30},"completion_tokens_details":{"reasoning_tokens":5}}}`,
			llm.Usage{Input: 70, Output: 20, CacheRead: 30, Reasoning: 5, Source: llm.Reported}, ""},
		{"deepseek", `{"choices":[],"usage":{"prompt_tokens":100,"completion_tokens":20,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}}`,
			llm.Usage{Input: 36, Output: 20, CacheRead: 64, Source: llm.Reported}, ""},
		{"present zero wins", `{"choices":[],"usage":{"prompt_tokens":10,"prompt_cache_hit_tokens":9,"prompt_tokens_details":{"cached_tokens":0}}}`, llm.Usage{Input: 10, Source: llm.Reported}, ""},
		{"missing", `{"choices":[]}`, llm.Usage{Source: llm.Missing}, ""},
		{"null", `{"choices":[],"usage":null}`, llm.Usage{Source: llm.Missing}, ""},
		{"thinking beyond the completion", `{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":20,"completion_tokens_details":{"reasoning_tokens":7}}}`, llm.Usage{Input: 10, Output: 10, Reasoning: 7, Source: llm.Reported}, ""},
		{"a total alone", `{"choices":[],"usage":{"total_tokens":20}}`, llm.Usage{Input: 20, Source: llm.Reported}, ""},
		{"a total that is too small", `{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":1}}`, llm.Usage{Input: 10, Output: 3, Source: llm.Reported}, ""},
		{"nonsense counts", `{"choices":[],"usage":{"prompt_tokens":-3,"completion_tokens":1e3,"prompt_tokens_details":{"cached_tokens":99}}}`, llm.Usage{Output: 1000, Source: llm.Reported}, ""},
		{"error with status 200", `{"error":{"message":"slow down","type":"rate_limit_error"}}`, llm.Usage{Source: llm.Missing}, llm.RateLimit},
		{"error null", `{"error":null,"choices":[]}`, llm.Usage{Source: llm.Missing}, ""},
		{"html", `<html>`, llm.Usage{Source: llm.Missing}, llm.Malformed},
		{"another object", `{"ok":true}`, llm.Usage{Source: llm.Missing}, llm.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, fault := answer("choices")([]byte(c.body))
			usage := got.Usage
			var class llm.Class
			if fault != nil {
				class = fault.Class
			}
			if usage != c.usage || class != c.class {
				t.Errorf("got %+v and %q, want %+v and %q", usage, class, c.usage, c.class)
			}
		})
	}
}

func TestFault(t *testing.T) {
	for _, c := range []struct {
		status   int
		body     string
		class    llm.Class
		namesKey bool
	}{
		{429, `{"error":{"message":"slow","code":"rate_limit_exceeded"}}`, llm.RateLimit, false},
		{429, `{"error":{"message":"pay","type":"insufficient_quota","code":"insufficient_quota"}}`, llm.Quota, false},
		{402, `{}`, llm.Quota, false},
		{401, `{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}`, llm.Auth, true},
		{400, `{"error":{"message":"bad","code":"invalid_api_key"}}`, llm.Auth, true},
		{403, `{"error":{"message":"no access to the model"}}`, llm.Auth, false},
		{404, `{"error":{"message":"x","code":"model_not_found"}}`, llm.ModelUnavailable, false},
		{400, `{"error":{"message":"x","code":"model_not_found"}}`, llm.ModelUnavailable, false},
		{404, `404 page not found`, llm.Malformed, false},
		{400, `{"error":{"message":"x","code":"content_filter"}}`, llm.ContentPolicy, false},
		{400, `{"error":{"message":"max_tokens is too large","code":400}}`, llm.InvalidRequest, false},
		{413, ``, llm.InvalidRequest, false},
		{422, `{"error":"text"}`, llm.InvalidRequest, false},
		{500, ``, llm.ServerError, false},
		{502, `<html>`, llm.ServerError, false},
		{529, `{"error":{"message":"overloaded"}}`, llm.ServerError, false},
		{302, ``, llm.Malformed, false},
		{418, ``, llm.Malformed, false},
	} {
		f := Fault(c.status, []byte(c.body))
		if f.Class != c.class || f.NamesKey != c.namesKey || f.Status != c.status || f.Message == "" {
			t.Errorf("Fault(%d, %s) = %+v, want class %s", c.status, c.body, f, c.class)
		}
	}
	if m := Fault(500, []byte(`{"error":{"message":"`+strings.Repeat("世", 400)+`"}}`)).Message; len(m) > wire.MaxMessage+len("…") || !strings.HasSuffix(m, "世…") {
		t.Errorf("a long message is kept as %d bytes", len(m))
	}
}

// steps feeds frames and words what each was.
func steps(s dialect.Stream, data ...string) string {
	var out []string
	for _, d := range data {
		f := sse.Frame{Data: []byte(d)}
		if d == "" {
			f.Data = nil
		}
		step, fault := s.Frame(f)
		switch {
		case fault != nil:
			out = append(out, string(fault.Class))
		case step.Drop:
			out = append(out, "drop")
		case step.End:
			out = append(out, "end")
		case step.Content > 0:
			out = append(out, "content")
		default:
			out = append(out, "-")
		}
	}
	return strings.Join(out, " ")
}

func TestStream(t *testing.T) {
	const (
		role   = `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`
		word   = `{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}],"usage":null}`
		think  = `{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}`
		tool   = `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0}]}}]}`
		finish = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`
		usage  = `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}`
		both   = `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}`
		second = `{"choices":[{"index":1,"delta":{"content":"x"}}]}`
	)
	for _, c := range []struct {
		name     string
		added    bool
		data     []string
		want     string
		complete bool
		source   llm.UsageSource
	}{
		{"whole", false, []string{role, word, finish, usage, "[DONE]"}, "- content - - end", true, llm.Reported},
		{"usage not asked for", true, []string{role, word, finish, usage, "[DONE]"}, "- content - drop end", true, llm.Reported},
		{"usage beside the end", true, []string{word, both}, "content -", true, llm.Reported},
		{"reasoning and tools", false, []string{think, tool}, "content content", false, llm.Missing},
		{"completion", false, []string{`{"choices":[{"index":0,"text":"","finish_reason":null}]}`, `{"choices":[{"index":0,"text":"hi","finish_reason":null}]}`, `{"choices":[{"index":0,"text":"","finish_reason":"stop"}]}`}, "- content -", true, llm.Missing},
		{"comment", false, []string{"", role}, "- -", false, llm.Missing},
		{"no end", false, []string{role, word}, "- content", false, llm.Missing},
		{"two choices, one ended", false, []string{word, second, finish}, "content content -", false, llm.Missing},
		{"done without an answer", false, []string{"[DONE]"}, "end", false, llm.Missing},
		{"error", false, []string{role, `{"error":{"message":"boom"}}`}, "- server_error", false, llm.Missing},
		{"rate limit", false, []string{`{"error":{"message":"slow","code":429}}`}, "rate_limit", false, llm.Missing},
		{"not JSON", false, []string{`{"choices":`}, "malformed", false, llm.Missing},
		{"other shape", false, []string{`{"choices":[1]}`}, "malformed", false, llm.Missing},
		{"filter results first", true, []string{`{"choices":[],"prompt_filter_results":[]}`, word}, "- content", false, llm.Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(c.added)
			if got := steps(s, c.data...); got != c.want || s.Complete() != c.complete || s.Answer().Usage.Source != c.source {
				t.Errorf("got %q, complete %t, usage %s", got, s.Complete(), s.Answer().Usage.Source)
			}
		})
	}
}

func TestFailureForms(t *testing.T) {
	f := llm.Failure{Status: 404, Code: "model_not_found", Param: "model", Message: `no "x"`}
	want := `{"error":{"message":"no \"x\"","type":"invalid_request_error","param":"model","code":"model_not_found","request_id":"r"}}`
	if got := string(Errors{}.Body(f, "r")); got != want {
		t.Errorf("got %s", got)
	}
	if got := string(Errors{}.Frame(llm.Failure{Status: 503, Message: "m"}, "r")); got != `data: {"error":{"message":"m","type":"server_error","param":null,"code":null,"request_id":"r"}}`+"\n\n" {
		t.Errorf("got %s", got)
	}
}

func BenchmarkStreamFrame(b *testing.B) {
	s := newStream(true)
	f := sse.Frame{Data: []byte(`{"id":"chatcmpl-AbCdEf123","object":"chat.completion.chunk","created":1764000000,"model":"deepseek-ai/deepseek-v4-pro","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}`)}
	b.ReportAllocs()
	for b.Loop() {
		if step, fault := s.Frame(f); fault != nil || step.Content == 0 {
			b.Fatal(fault)
		}
	}
}
