package openai

import (
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

func TestResponse(t *testing.T) {
	const usage = `{"input_tokens":100,"input_tokens_details":{"cached_tokens":30},"output_tokens":20,"output_tokens_details":{"reasoning_tokens":5},"total_tokens":120}`
	counted := llm.Usage{Input: 70, Output: 20, CacheRead: 30, Reasoning: 5, Source: llm.Reported}
	none := llm.Usage{Source: llm.Missing}
	for _, c := range []struct {
		name, body string
		id         string
		usage      llm.Usage
		class      llm.Class
	}{
		{"completed", `{"id":"resp_1","status":"completed","error":null,"output":[],"usage":` + usage + `}`, "resp_1", counted, ""},
		{"incomplete", `{"id":"resp_1","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[],"usage":` + usage + `}`, "resp_1", counted, ""},
		{"no usage", `{"id":"resp_1","output":[],"usage":null}`, "resp_1", none, ""},
		{"failed", `{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"boom"},"output":[],"usage":null}`, "resp_1", none, llm.ServerError},
		{"failed for no reason", `{"id":"resp_1","status":"failed","error":null,"output":[]}`, "resp_1", none, llm.ServerError},
		{"rate limit", `{"error":{"code":"rate_limit_exceeded","message":"slow"}}`, "", none, llm.RateLimit},
		{"another object", `{"choices":[]}`, "", none, llm.Malformed},
		{"not JSON", `<html>`, "", none, llm.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, fault := response([]byte(c.body))
			var class llm.Class
			if fault != nil {
				class = fault.Class
			}
			if got.Usage != c.usage || got.ID != c.id || class != c.class {
				t.Errorf("got %+v and %q", got, class)
			}
		})
	}
}

func TestEvents(t *testing.T) {
	const (
		created  = `{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","status":"in_progress","error":null,"output":[],"usage":null}}`
		item     = `{"type":"response.output_item.added","item":{"type":"message"}}`
		word     = `{"type":"response.output_text.delta","delta":"hi"}`
		think    = `{"type":"response.reasoning_summary_text.delta","delta":"hm"}`
		call     = `{"type":"response.function_call_arguments.delta","delta":"{"}`
		empty    = `{"type":"response.output_text.delta","delta":""}`
		done     = `{"type":"response.output_text.done","text":"hi"}`
		complete = `{"type":"response.completed","response":{"id":"resp_1","status":"completed","error":null,"output":[],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}`
		partly   = `{"type":"response.incomplete","response":{"id":"resp_1","status":"incomplete","output":[],"usage":{"input_tokens":3,"output_tokens":2,"total_tokens":5}}}`
		failed   = `{"type":"response.failed","response":{"id":"resp_1","status":"failed","error":{"code":"server_error","message":"boom"},"usage":null}}`
	)
	for _, c := range []struct {
		name     string
		data     []string
		want     string
		complete bool
		source   llm.UsageSource
	}{
		{"whole", []string{created, item, word, done, complete}, "- - content - end", true, llm.Reported},
		{"incomplete", []string{created, word, partly}, "- content end", true, llm.Reported},
		{"any delta", []string{think, call, empty}, "content content -", false, llm.Missing},
		{"an image", []string{`{"type":"response.image_generation_call.partial_image","partial_image_b64":"iVBO"}`}, "content", false, llm.Missing},
		{"no end", []string{created, word, done}, "- content -", false, llm.Missing},
		{"failed early", []string{created, failed}, "- server_error", false, llm.Missing},
		{"failed without a reason", []string{`{"type":"response.failed","response":{}}`}, "server_error", false, llm.Missing},
		{"error event", []string{created, `{"type":"error","code":"rate_limit_exceeded","message":"slow","param":null}`}, "- rate_limit", false, llm.Missing},
		{"error event with an object", []string{`{"type":"error","error":{"type":"invalid_request_error","code":"invalid_prompt","message":"x"}}`}, "invalid_request", false, llm.Missing},
		{"error event without a reason", []string{`{"type":"error"}`}, "server_error", false, llm.Missing},
		{"quota", []string{`{"type":"error","code":"insufficient_quota","message":"pay"}`}, "quota", false, llm.Missing},
		{"another marker", []string{created, word, "[DONE]"}, "- content end", false, llm.Missing},
		{"comment", []string{"", created}, "- -", false, llm.Missing},
		{"not JSON", []string{`{"type":`}, "malformed", false, llm.Missing},
		{"other shape", []string{`{"type":"response.completed","response":{"usage":1]}`}, "malformed", false, llm.Missing},
		{"an event to come", []string{`{"type":"response.thought","response":null}`}, "-", false, llm.Missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newEvents(true)
			if got := steps(s, c.data...); got != c.want || s.Complete() != c.complete || s.Answer().Usage.Source != c.source {
				t.Errorf("got %q, complete %t, %+v", got, s.Complete(), s.Answer())
			}
		})
	}
	s := newEvents(false)
	steps(s, created)
	if steps(s, partly[:len(`{"type":"response.incomplete","response":{`)]+`"usage":null}}`); s.Answer().ID != "resp_1" {
		t.Errorf("%+v", s.Answer())
	}
	// Servers that leave the type to the event's name.
	if step, fault := s.Frame(sse.Frame{Event: "response.output_text.delta", Data: []byte(`{"delta":"hi"}`)}); fault != nil || step.Content == 0 {
		t.Errorf("%+v, %v", step, fault)
	}
}

func TestEventFailureForm(t *testing.T) {
	want := "event: error\ndata: " + `{"type":"error","error":{"message":"m","type":"server_error","param":null,"code":null,"request_id":"r"}}` + "\n\n"
	if got := string(EventErrors{}.Frame(llm.Failure{Status: 503, Message: "m"}, "r")); got != want {
		t.Errorf("got %s", got)
	}
}

func TestStreamFault(t *testing.T) {
	for object, want := range map[string]llm.Class{
		`{"code":429,"message":"x"}`: llm.RateLimit, `{"code":402,"message":"x"}`: llm.Quota, `{"code":502,"message":"x"}`: llm.ServerError, `{"code":401}`: llm.Auth,
		`{"code":999}`: llm.ServerError, `{"code":"model_not_found"}`: llm.ModelUnavailable, `{"code":"content_filter"}`: llm.ContentPolicy, `{"type":"invalid_image"}`: llm.InvalidRequest,
		`"text"`: llm.ServerError, `{}`: llm.ServerError,
	} {
		if f := streamFault([]byte(object)); f.Class != want || f.Status != 200 || f.Message == "" {
			t.Errorf("%s: %+v", object, f)
		}
	}
}
