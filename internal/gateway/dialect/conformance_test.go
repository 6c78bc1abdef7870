package dialect_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/anthropic"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/openai"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

func endpoints() []*dialect.Endpoint { return append(openai.Endpoints(), anthropic.Endpoints()...) }

func endpoint(t *testing.T, path string) *dialect.Endpoint {
	t.Helper()
	for _, e := range endpoints() {
		if e.Path == path {
			return e
		}
	}
	t.Fatalf("no endpoint %s", path)
	return nil
}

// reading is what a whole answer, or a whole stream, was found to say.
type reading struct {
	answer   llm.Answer
	fault    *llm.Fault
	content  int
	dropped  int
	complete bool
}

func (r reading) class() llm.Class {
	if r.fault == nil {
		return ""
	}
	return r.fault.Class
}

func readStream(e *dialect.Endpoint, addedUsage bool, from io.Reader) (r reading) {
	s, frames := e.Stream(addedUsage), sse.NewReader(from, 1<<20)
	for r.fault == nil {
		frame, err := frames.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				r.fault = &llm.Fault{Class: llm.Connection, Message: err.Error()}
			}
			break
		}
		var step llm.Step
		step, r.fault = s.Frame(frame)
		r.content += step.Content
		if step.Drop {
			r.dropped++
		}
		if step.End {
			break
		}
	}
	r.answer, r.complete = s.Answer(), s.Complete()
	if r.fault == nil && !r.complete {
		r.fault = &llm.Fault{Class: llm.Malformed, Message: "no end"}
	}
	return r
}

// TestFixtures: what providers said means the same to every endpoint, and the buckets
// add up to the provider's own total.
func TestFixtures(t *testing.T) {
	for _, c := range fixtures() {
		t.Run(c.name, func(t *testing.T) {
			e := endpoint(t, c.path)
			var got reading
			if c.stream {
				got = readStream(e, false, strings.NewReader("data: "+strings.ReplaceAll(c.said, "\n", "\n\ndata: ")+"\n\n"))
			} else {
				got.answer, got.fault = e.Answer([]byte(c.said))
			}
			if u := got.answer.Usage; u != c.usage || u.Total() != c.total || got.answer.ID != c.id || got.class() != c.class {
				t.Errorf("got %+v, total %d, %q, want %+v, total %d, %q", got.answer, u.Total(), got.class(), c.usage, c.total, c.class)
			}
		})
	}
}

// asked is a body that the endpoint's provider accepts.
func asked(e *dialect.Endpoint, stream bool) string {
	return fmt.Sprintf(`{"model":"m","max_tokens":10,"messages":[],"input":"x","prompt":"x","stream":%t}`, stream)
}

// call asks the provider as the gateway does.
func call(t *testing.T, url string, e *dialect.Endpoint, stream bool) *http.Response {
	t.Helper()
	r, err := request.Scan([]byte(asked(e, stream)), &e.Reads)
	if err != nil {
		t.Fatal(err)
	}
	body := r.Splice("native")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/p/v1"+e.Path, body.Reader(nil))
	if err != nil {
		t.Fatal(err)
	}
	e.Authorize(q.Header, "key")
	response, err := http.DefaultTransport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func read(t *testing.T, url string, e *dialect.Endpoint, stream bool) reading {
	t.Helper()
	response := call(t, url, e, stream)
	if stream && response.StatusCode == http.StatusOK {
		r, err := request.Scan([]byte(asked(e, stream)), &e.Reads)
		if err != nil {
			t.Fatal(err)
		}
		return readStream(e, r.AddsUsage(), response.Body)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return reading{fault: &llm.Fault{Class: llm.Connection, Message: err.Error()}}
	}
	if response.StatusCode != http.StatusOK {
		fault := e.Fault(response.StatusCode, body)
		fault.Wait = llm.Wait(response.Header, time.Now())
		return reading{fault: fault}
	}
	answer, fault := e.Answer(body)
	return reading{answer: answer, fault: fault}
}

func newProvider(t *testing.T) (*provider.Server, string) {
	t.Helper()
	s, err := provider.New(provider.Options{Backends: []string{"p"}, Keys: map[string]string{"p": "key"}, Models: []string{"native"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return s, server.URL
}

// everywhere runs a test over every endpoint, streamed and not.
func everywhere(t *testing.T, test func(t *testing.T, e *dialect.Endpoint, stream bool)) {
	for _, e := range endpoints() {
		for _, stream := range []bool{false, true} {
			if !stream || e.Stream != nil {
				t.Run(fmt.Sprintf("%s/stream=%t", e.Path, stream), func(t *testing.T) { test(t, e, stream) })
			}
		}
	}
}

// TestWholeAnswers: what a provider bills is what is read, at every endpoint.
func TestWholeAnswers(t *testing.T) {
	everywhere(t, func(t *testing.T, e *dialect.Endpoint, stream bool) {
		s, url := newProvider(t)
		bills := provider.Tokens{Input: 1000, CacheRead: 400, CacheWrite5m: 30, CacheWrite1h: 70, Output: 50, Reasoning: 20}
		if err := s.AddAnswer(provider.Answer{Tokens: &bills, Thinking: new("let me see"), Tools: []provider.Tool{{Name: "t", Arguments: json.RawMessage(`{"a":1}`)}}}); err != nil {
			t.Fatal(err)
		}
		want := reported(1100, 50, 400, 0, 20, 0) // the OpenAI dialect does not tell writes
		switch {
		case e.Free:
			want = llm.Usage{Source: llm.Missing}
		case e.Path == embeddings: // nor what it says of embeddings
			want = reported(1500, 0, 0, 0, 0, 0)
		case e.Dialect == dialect.Anthropic:
			want = reported(1000, 50, 400, 100, 20, 70)
		}
		got := read(t, url, e, stream)
		if got.fault != nil || got.answer.Usage != want || stream && (got.content == 0 || !got.complete) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if e.Reads.Previous != strings.HasPrefix(got.answer.ID, "resp_") {
			t.Errorf("the id is %q", got.answer.ID)
		}
		if dropped := e.Reads.StreamOptions && stream; (got.dropped == 1) != dropped {
			t.Errorf("%d frames dropped", got.dropped)
		}
	})
}

// TestFaults: a misfortune has the same class at every endpoint.
func TestFaults(t *testing.T) {
	for kind, want := range map[provider.Kind]llm.Class{
		provider.RateLimit: llm.RateLimit, provider.Quota: llm.Quota, provider.Payment: llm.Quota, provider.ServerError: llm.ServerError, provider.Overloaded: llm.ServerError,
		provider.HTML502: llm.ServerError, provider.Unauthorized: llm.Auth, provider.Forbidden: llm.Auth, provider.NoModel: llm.ModelUnavailable, provider.BadRequest: llm.InvalidRequest,
		provider.TooLarge: llm.InvalidRequest, provider.ContentFilter: llm.ContentPolicy, provider.BadJSON: llm.Malformed, provider.Slow: "", provider.NoUsage: "",
		provider.EarlyError: llm.ServerError, provider.ErrorFrame: llm.ServerError, provider.Failed: llm.ServerError,
	} {
		t.Run(string(kind), func(t *testing.T) {
			everywhere(t, func(t *testing.T, e *dialect.Endpoint, stream bool) {
				s, url := newProvider(t)
				if err := s.AddFault(provider.Fault{Kind: kind, Chunks: 3, Reset: 120}); err != nil {
					t.Fatal(err)
				}
				got := read(t, url, e, stream)
				if got.class() != want || want == "" && got.fault != nil {
					t.Errorf("class %q, want %q: %v", got.class(), want, got.fault)
				}
				if kind == provider.NoUsage && got.answer.Usage.Source != llm.Missing {
					t.Errorf("usage %+v", got.answer.Usage)
				}
				if kind == provider.RateLimit && (got.fault.Wait < 100*time.Second || got.fault.Wait > 120*time.Second) {
					t.Errorf("the provider asks to wait %s", got.fault.Wait)
				}
			})
		})
	}
}

// TestBrokenStreams: no stream without its end is whole.
func TestBrokenStreams(t *testing.T) {
	for kind, want := range map[provider.Kind]llm.Class{provider.Cut: llm.Connection, provider.NoEnd: llm.Malformed, provider.BadFrame: llm.Malformed} {
		t.Run(string(kind), func(t *testing.T) {
			everywhere(t, func(t *testing.T, e *dialect.Endpoint, stream bool) {
				if !stream {
					return
				}
				s, url := newProvider(t)
				if err := s.AddFault(provider.Fault{Kind: kind, Chunks: 3}); err != nil {
					t.Fatal(err)
				}
				if got := read(t, url, e, true); got.class() != want || got.complete || got.content == 0 {
					t.Errorf("%+v, want %q", got, want)
				}
			})
		})
	}
}

// TestErrorsRoundTrip: an error of ours is one to the reader of the same dialect, in a
// body and as the last frame of a stream.
func TestErrorsRoundTrip(t *testing.T) {
	for status, want := range map[int]llm.Class{400: llm.InvalidRequest, 429: llm.RateLimit, 503: llm.ServerError} {
		for _, e := range endpoints() {
			f := llm.Failure{Status: status, Code: "some_code", Message: "what \"went\"\nwrong"}
			body := e.Errors.Body(f, "req_1")
			if got := e.Fault(status, body); got.Class != want || got.Message != f.Message || !bytes.Contains(body, []byte(`"request_id":"req_1"`)) {
				t.Errorf("%s %d: %+v, %s", e.Path, status, got, body)
			}
			if e.Stream == nil {
				continue
			}
			if got := readStream(e, false, bytes.NewReader(e.Errors.Frame(f, "req_1"))); got.class() != want || got.fault.Message != f.Message {
				t.Errorf("%s %d: in a stream %v", e.Path, status, got.fault)
			}
		}
	}
}
