package openai

import (
	"bytes"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

// read feeds a stream as it came, and checks what no stream may do.
func read(t *testing.T, s dialect.Stream, raw []byte) {
	t.Helper()
	frames := sse.NewReader(bytes.NewReader(raw), 1<<16)
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
	if u.Input < 0 || u.Output < 0 || u.CacheRead < 0 || u.Reasoning > u.Output || u.Source == llm.Missing && u.Total() != 0 {
		t.Fatalf("%q: %+v", raw, u)
	}
}

// FuzzStream: no stream makes counts that cannot be, and none is complete without an end.
func FuzzStream(f *testing.F) {
	f.Add([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":5,\"total_tokens\":9}}\r\n\r\ndata: [DONE]\n\n"))
	f.Add([]byte("data: {\"choices\":[{\"index\":99,\"text\":\"x\"}]}\n\ndata: {\"error\":{\"code\":429}}\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := newStream(true)
		if read(t, s, raw); s.Complete() && !bytes.Contains(raw, []byte("finish_reason")) && !bytes.Contains(raw, []byte("[DONE]")) {
			t.Fatalf("%q is complete", raw)
		}
	})
}

// FuzzEvents is FuzzStream for responses.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"usage\":{\"input_tokens\":5,\"output_tokens\":1}}}\n\n"))
	f.Add([]byte("event: error\ndata: {\"type\":\"error\",\"code\":\"x\",\"message\":\"y\"}\n\ndata: {\"type\":\"x.delta\",\"delta\":\"y\"}\n\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := newEvents(true)
		if read(t, s, raw); s.Complete() && !bytes.Contains(raw, []byte("complete")) && !bytes.Contains(raw, []byte(`\u`)) {
			t.Fatalf("%q is complete", raw)
		}
	})
}

// FuzzFault: any answer has a class and a message.
func FuzzFault(f *testing.F) {
	f.Add(400, []byte(`{"error":{"type":"invalid_request_error","message":"x","code":7}}`))
	f.Add(429, []byte(`{"error":"text"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		if fault := Fault(status, body); fault.Class == "" || fault.Message == "" || len(fault.Message) > 600 {
			t.Fatalf("Fault(%d, %q) = %+v", status, body, fault)
		}
	})
}
