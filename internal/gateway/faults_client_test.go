package gateway_test

import (
	"bytes"
	"compress/gzip"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// both are a wire of each dialect.
func both() []wire { return []wire{wireChat, wireMess} }

// refusal is what must come of a request that is refused before any backend is asked.
func refusal(status int, code string) outcome {
	return outcome{
		ending: endError, status: status, code: code, row: "failed invalid_request",
		metrics: map[string]string{
			series("gateway_client_requests_total", "client", "coo", "outcome", "failed"):                    "1",
			series("gateway_attempts_total", "backend", "primary-1", "model", model, "outcome", "succeeded"): "",
			series("gateway_client_attempts_total", "class", "", "client", "coo", "outcome", "succeeded"):    "0",
			series("gateway_requests_total", "model", "other", "outcome", "completed", "pool", "none"):       "",
			series("gateway_pools_exhausted_total", "model", model):                                          "0",
			series("gateway_failovers_total", "model", model, "class", "rate_limit"):                         "0",
		},
	}
}

// saying sends a body that change has made of the wire's own, and sees that no backend
// is asked.
func saying(change func(body string) string, header ...string) func(*scene) answer {
	return func(s *scene) answer {
		a := s.say(change(s.w.body(s.stream)), header...)
		if n := len(s.p.Requests()); n != 0 {
			s.Errorf("backends were asked %d times", n)
		}
		return a
	}
}

// say sends a body of the test's own as the request under test.
func (s *scene) say(body string, header ...string) answer {
	s.Helper()
	return s.send(s.w.path, body, append(append(header, s.w.header...), "X-Request-Id", underTest)...)
}

// replaced replaces the first of the texts.
func replaced(old, by string) func(string) string {
	return func(body string) string { return strings.Replace(body, old, by, 1) }
}

const (
	modelKey   = `"model":"` + model + `"`
	escapedKey = `"mod\u0065l":"` + model + `"`
	limitedKey = "key-of-limited"
	limited    = "    - {name: limited, key: " + limitedKey + ", models: [another-model]}\n"
)

// clientCells are the faults that begin at the client, and are its own.
func clientCells() []cell {
	asLimited := []string{"Authorization", "Bearer " + limitedKey}
	notAllowed := refusal(404, "model_not_found")
	notAllowed.client = "limited"
	notAllowed.metrics = map[string]string{
		series("gateway_client_requests_total", "client", "limited", "outcome", "failed"):       "1",
		series("gateway_requests_total", "model", "other", "outcome", "failed", "pool", "none"): "1",
	}
	return []cell{
		{name: "bad JSON", play: saying(func(string) string { return `{"model":` }), want: refusal(400, "invalid_request")},
		{name: "deep JSON", play: saying(func(string) string { return strings.Repeat(`{"model":`, 3000) }), want: refusal(400, "invalid_request")},
		{name: "no object", play: saying(func(string) string { return `["model"]` }), want: refusal(400, "invalid_request")},
		{name: "no model", play: saying(replaced(modelKey+",", "")), want: refusal(400, "invalid_request")},
		{name: "model twice", play: saying(replaced(modelKey, modelKey+`,"model":"another-model"`)), want: refusal(400, "invalid_request")},
		{name: "model twice and escaped", play: saying(replaced(modelKey, modelKey+`,`+escapedKey)), want: refusal(400, "invalid_request")},
		{name: "model in other letters", play: saying(replaced(modelKey, modelKey+`,"Model":"another-model"`)), want: refusal(400, "invalid_request")},
		{name: "stream twice", play: saying(replaced(`"stream":`, `"stream":false,"str\u0065am":`)), want: refusal(400, "invalid_request")},
		{
			name: "model escaped", want: outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}},
			play: func(s *scene) answer {
				a := s.say(replaced(modelKey, escapedKey)(s.w.body(s.stream)))
				if r := s.p.Requests(); len(r) != 1 || r[0].Model != native {
					s.Errorf("the provider was asked for %+v", r)
				}
				return a
			},
		},
		{name: "model escaped and not allowed", settings: settings{clients: limited}, play: saying(replaced(modelKey, escapedKey), asLimited...), want: notAllowed},
		{name: "model not allowed", settings: settings{clients: limited}, play: saying(replaced("", ""), asLimited...), want: notAllowed},
		{name: "unknown model", play: saying(replaced(model, "gpt-none")), want: refusal(404, "model_not_found")},
		{
			name: "client gone while queued", wires: both(), settings: settings{backend: "max_inflight: 1", waiting: queued},
			play: func(s *scene) answer {
				at := s.p.hold(s.T, "primary-1", 1)
				beside := s.p.beside(s, at)
				a := s.leave(underTest, false, func() bool { return s.metric("gateway_queue_depth") == "1" })
				eventually(s.T, "who leaves, leaves the queue", func() bool { return s.metric("gateway_queue_depth") == "0" })
				s.timeline(underTest)
				beside()
				return a
			},
			want: outcome{
				ending: endLeft, http: 499, row: "cancelled client_cancelled", attempts: []string{"primary-1 skipped max_inflight", "fallback-1 skipped max_inflight"},
				metrics: map[string]string{
					series("gateway_client_requests_total", "client", "coo", "outcome", "cancelled"):         "1",
					series("gateway_requests_total", "model", model, "outcome", "cancelled", "pool", "none"): "1",
					"gateway_queue_wait_seconds_count":                                                       "1", "gateway_queue_depth": "0", series("gateway_queue_rejected_total", "reason", "queue_timeout"): "0",
				},
			},
		},
		{
			name: "client gone while connecting", fault: provider.Fault{Kind: provider.Hang}, settings: lasting(),
			play: func(s *scene) answer {
				a := s.leave(underTest, false, func() bool { return s.p.Inflight("primary-1") == 1 })
				eventually(s.T, "the provider's call to end", func() bool { return s.p.Inflight("primary-1") == 0 })
				return a
			},
			want: outcome{
				ending: endLeft, http: 499, row: "cancelled client_cancelled", attempts: []string{"primary-1 failed client_cancelled"},
				metrics: map[string]string{
					series("gateway_client_requests_total", "client", "coo", "outcome", "cancelled"):                           "1",
					series("gateway_client_attempts_total", "class", "client_cancelled", "client", "coo", "outcome", "failed"): "1",
				},
			},
		},
		{
			name: "client gone while streaming", modes: "stream", fault: provider.Fault{Kind: provider.Stall, Chunks: 4}, settings: lasting(),
			play: func(s *scene) answer {
				a := s.leave(underTest, true, func() bool { return s.p.Inflight("primary-1") == 1 })
				eventually(s.T, "the provider's call to end", func() bool { return s.p.Inflight("primary-1") == 0 })
				return a
			},
			want: outcome{
				ending: endLeft, status: 200, http: 499, row: "cancelled client_cancelled", usage: "estimated", answer: "primary-1", attempts: []string{"primary-1 failed client_cancelled"},
				metrics: map[string]string{
					series("gateway_client_requests_total", "client", "coo", "outcome", "cancelled"):            "1",
					series("gateway_requests_total", "model", model, "outcome", "cancelled", "pool", "primary"): "1",
					series("gateway_client_tokens_total", "client", "coo", "kind", "output"):                    "some",
				},
			},
		},
	}
}

// lasting are settings by which nothing ends but by its client, for longer than a test
// waits for it.
func lasting() settings {
	return settings{backend: "timeout: 2m", routing: "first_byte_timeout: 2m, idle_timeout: 2m, request_timeout: 2m"}
}

// beside has both backends be full: the primary with a request that is held, the
// fallback with one as well. What it returns lets both go and waits for their ends.
func (p *providers) beside(s *scene, primary *hold) func() {
	done := make(chan answer, 2)
	go func() { done <- s.before() }()
	eventually(s.T, "the primary is full", func() bool { return primary.came.Load() == 1 })
	fallback := p.hold(s.T, "fallback-1", 1)
	go func() { done <- s.before() }()
	eventually(s.T, "the fallback is full", func() bool { return fallback.came.Load() == 1 })
	return func() {
		primary.release()
		fallback.release()
		for range 2 {
			if a := <-done; s.w.ending(s.T, a, s.stream) != endWhole {
				s.Errorf("beside it: %d %s", a.status, a.body)
			}
		}
	}
}

// packed is a body of 32 MB of nothing, as gzip.
func packed(s *scene) string {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(bytes.Repeat([]byte(" "), 32<<20)); err != nil {
		s.Fatal(err)
	}
	if err := z.Close(); err != nil {
		s.Fatal(err)
	}
	return out.String()
}
