package front

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

// defaultOutput is the guess of an answer's tokens where the client sets no bound.
const defaultOutput = 1024

// output is the guess of the tokens of one answer.
func output(endpoint *dialect.Endpoint, r *request.Request) int64 {
	switch {
	case endpoint.Reads.NeverStreams:
		return 0 // embeddings and counts are no text
	case r.MaxTokens > 0:
		return r.MaxTokens
	default:
		return defaultOutput
	}
}

// guess is what a request may use, before it was answered: every choice that it asks
// for is an answer.
func guess(endpoint *dialect.Endpoint, r *request.Request) llm.Usage {
	if endpoint.Free {
		return llm.Usage{}
	}
	return llm.Usage{Input: llm.EstimateTokens(r.Size()), Output: output(endpoint, r) * max(r.Choices, 1)}
}

// tokens is the sum of the guess.
func tokens(endpoint *dialect.Endpoint, r *request.Request) int64 {
	return guess(endpoint, r).Total()
}

// inContext is the guess of what one answer has to fit in together with its prompt.
func inContext(endpoint *dialect.Endpoint, r *request.Request) int64 {
	if endpoint.Free {
		return 0
	}
	return llm.EstimateTokens(r.Size()) + output(endpoint, r)
}

// candidates returns the backends that can serve the request, best first.
func (x *exchange) candidates(endpoint *dialect.Endpoint, r *request.Request) ([]pool.Candidate, *llm.Failure) {
	ask := &pool.Ask{Model: r.Model, Dialect: endpoint.Dialect, Client: x.client.Name, Needs: x.needs(endpoint, r), Tokens: inContext(endpoint, r)}
	if r.Previous != "" {
		backend, known, err := x.Ledger.Pin(x.r.Context(), x.client.Name, r.Previous)
		switch {
		case err != nil:
			x.Log.ErrorContext(x.r.Context(), "looking up a response failed", "error", err, "request_id", x.requestID)
			return nil, &llm.Failure{Status: http.StatusServiceUnavailable, Code: "ledger_unavailable", Message: "where the earlier response came from cannot be looked up at the moment"}
		case !known:
			return nil, &llm.Failure{
				Status: http.StatusBadRequest, Code: "previous_response_not_found", Param: "previous_response_id",
				Message: "the response that previous_response_id names was not this client's, did not come from here, or is too long ago",
			}
		}
		ask.Backend = backend
	}
	candidates, lacks := x.plan.Table.Order(ask, x.started)
	x.line = queue.Line{Plan: x.plan, Model: r.Model, Dialect: string(ask.Dialect)}
	if len(lacks) > 0 {
		x.line.Backends = pool.Names(candidates)
	}
	if len(candidates) == 0 {
		return nil, &llm.Failure{
			Status: http.StatusBadRequest, Code: "no_capable_backend",
			Message: fmt.Sprintf("no backend of the model %q has what the request needs: %s", r.Model, strings.Join(lacks, "; ")),
		}
	}
	return candidates, nil
}

// needs returns what the request needs of a backend.
func (x *exchange) needs(endpoint *dialect.Endpoint, r *request.Request) pool.Needs {
	n := pool.Needs{Reasoning: r.Reasoning, Capabilities: words(x.r.Header["X-Require-Capability"])}
	if x.plan.Table.Picky(r.Model) {
		n.Modalities = r.Modalities() // which takes a walk through all messages
	}
	if len(x.client.Demands) > 0 {
		n.Capabilities = append(n.Capabilities, x.client.Demands...)
	}
	if endpoint.Dialect == dialect.Anthropic {
		n.Betas = words(x.r.Header["Anthropic-Beta"])
	}
	return n
}

// words are the parts of comma lists.
func words(lists []string) []string {
	var out []string
	for _, list := range lists {
		for word := range strings.SplitSeq(list, ",") {
			if word = strings.TrimSpace(word); word != "" {
				out = append(out, word)
			}
		}
	}
	return out
}

// reserve sets aside what the request may use of its client's limits: its cost at the
// dearest of the candidates.
func (x *exchange) reserve(endpoint *dialect.Endpoint, r *request.Request, candidates []pool.Candidate) (limit.Reservation, *llm.Failure) {
	usage := guess(endpoint, r)
	var cost llm.Nano
	for i := range candidates {
		cost = max(cost, candidates[i].Model.Price.Cost(usage))
	}
	reservation, by, wait := x.client.Limits.Reserve(usage.Total(), cost, x.Now())
	if by == "" {
		return reservation, nil
	}
	x.Metrics.ClientLimited(x.client.Name, by)
	x.w.Header().Set("Retry-After", retryAfter(wait))
	switch by {
	case limit.ByDaily, limit.ByMonthly:
		if wait > time.Minute {
			x.w.Header().Set("X-Should-Retry", "false")
		}
		return reservation, &llm.Failure{Status: http.StatusTooManyRequests, Code: "budget_exhausted", Message: "the " + strings.ReplaceAll(string(by), "_", " ") + " of this client key is spent; it begins anew after Retry-After"}
	case limit.ByRPM, limit.ByTPM:
	}
	return reservation, &llm.Failure{Status: http.StatusTooManyRequests, Code: "client_rate_limited", Message: "this client key has reached its limit: " + string(by)}
}
