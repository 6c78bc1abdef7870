package gateway_test

import (
	"fmt"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// misfortune is what the primary does, once, to the first request that it gets.
type misfortune struct {
	fault  provider.Fault
	name   string // "" = the fault's kind
	plain  string // ending without a stream; "" = it is about streams only
	stream string // ending of a stream; "" = about plain answers only
	status int    // of errors
	class  string // of the primary's failed attempt; "" = it answers
	state  string // of the primary afterwards: status, reason, seconds
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

func misfortunes() []misfortune {
	return []misfortune{
		{fault: provider.Fault{}, name: "no fault", plain: endWhole, stream: endWhole, state: "healthy"},
		{fault: provider.Fault{Kind: provider.RateLimit}, plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 30"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "120")}, name: "retry-after", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 120"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "7")}, name: "short retry-after", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 30"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After-Ms", "90000", "Retry-After", "1")}, name: "retry-after-ms", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 90"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s")}, name: "reset header", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 360", only: "chat completions responses"},
		{fault: provider.Fault{Kind: provider.RateLimit, Headers: header("Retry-After", "7200")}, name: "longer than the cap", plain: endWhole, class: "rate_limit", state: "cooling rate_limit 7200"},
		{fault: provider.Fault{Kind: provider.Quota}, plain: endWhole, stream: endWhole, class: "quota", state: "error quota"},
		{fault: provider.Fault{Kind: provider.Payment}, plain: endWhole, stream: endWhole, class: "quota", state: "error quota"},
		{fault: provider.Fault{Kind: provider.ServerError}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Overloaded}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.HTML502}, plain: endWhole, stream: endWhole, class: "server_error", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Unauthorized}, plain: endWhole, stream: endWhole, class: "auth", state: "healthy"},
		{fault: provider.Fault{Kind: provider.Forbidden}, plain: endWhole, stream: endWhole, class: "auth", state: "healthy without the model"},
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
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 300, ResetOf: "input-tokens"}, name: "reset header", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 300", only: "messages"},
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 400, ResetOf: "unified"}, name: "unified reset header", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 400", only: "messages"},
		{fault: provider.Fault{Kind: provider.RateLimit, Reset: 90, ResetOf: "requests"}, name: "reset header of requests", plain: endWhole, stream: endWhole, class: "rate_limit", state: "cooling rate_limit 90"},
		{fault: provider.Fault{Kind: provider.Forbidden, Message: "This API key may not be used"}, name: "forbidden key", plain: endWhole, stream: endWhole, class: "auth", state: "error auth"},
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

// upstreamCells are the misfortunes as cells.
func upstreamCells() []cell {
	var out []cell
	for _, m := range misfortunes() {
		if m.name == "" {
			m.name = string(m.fault.Kind)
		}
		var wires []wire
		for _, w := range []wire{wireChat, wireMess, wireResp, wireText} {
			if m.only == "" || strings.Contains(m.only, w.name) {
				wires = append(wires, w)
			}
		}
		for i, ending := range []string{m.plain, m.stream} {
			if ending != "" {
				out = append(out, cell{name: m.name, wires: wires, modes: modes()[i], fault: m.fault, hasty: m.class == "timeout", want: m.outcome(ending)})
			}
		}
	}
	return out
}

// outcome is what must come of it where the answer ends so.
func (m *misfortune) outcome(ending string) outcome {
	o := outcome{ending: ending, status: m.status, row: "completed", usage: m.usage, states: map[string]state{"primary-1": m.after()}}
	moved := m.class != "" && ending == endWhole
	o.attempts = []string{"primary-1 succeeded"}
	if m.class != "" {
		o.attempts = []string{"primary-1 failed " + m.class}
		o.metrics = map[string]string{series("gateway_client_attempts_total", "class", m.class, "client", "coo", "outcome", "failed"): "1"}
	}
	if moved {
		o.attempts = append(o.attempts, "fallback-1 succeeded")
		o.metrics[series("gateway_failovers_total", "class", m.class, "model", model)] = "1"
		o.metrics[series("gateway_requests_total", "model", model, "outcome", "completed", "pool", "fallback")] = "1"
	}
	if ending == endWhole {
		return o
	}
	o.row, o.answer = "failed "+m.class, "primary-1"
	if ending == endCut {
		if o.usage = m.tail; o.usage == "" {
			o.usage = "estimated"
		}
		o.code = "stream_interrupted"
	}
	return o
}

// after is the primary's state afterwards.
func (m *misfortune) after() state {
	var st state
	_, _ = fmt.Sscan(m.state, &st.status, &st.reason, &st.left) // what is not said is as usual
	switch {
	case strings.HasSuffix(m.state, "without the model"):
		return state{away: true}
	case st.status == "cooling":
		st.level = 1
	case st.status == "error" && st.reason == "quota":
		st.left = anyTime
	}
	return st
}

// anyTime stands for a time until the day ends.
const anyTime = -1
