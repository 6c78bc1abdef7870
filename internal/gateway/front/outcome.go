package front

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/attempt"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
)

// fill takes over into the row what came of the walk.
func (x *exchange) fill(r *attempt.Result) {
	row := x.row
	row.Status, row.Attempts, row.Usage, row.Cost, row.TTFB = r.Status, r.Calls, r.Usage, r.Cost, r.TTFB
	row.HTTPStatus, row.ResponseID, row.Detail.Queued = http.StatusOK, r.AnswerID, r.Queued
	if r.Queued > 0 {
		x.Metrics.Queued(r.Queued)
	}
	if r.Fault != nil && r.Status != ledger.Completed {
		row.Class = r.Fault.Class
	}
	if c := r.Answered; c != nil {
		row.Backend, row.Pool = c.Name, c.Pool
		row.Detail.NativeID, row.Detail.Provider = c.Model.NativeID, c.Provider()
		if price := c.Model.Price; price != (llm.Price{}) {
			row.Detail.Price = &price
		}
	}
	// One call that was answered is all in the row; a timeline would say it again.
	if len(r.Timeline) == 1 && r.Status == ledger.Completed {
		only := r.Timeline[0]
		row.Detail.Started, row.Detail.TTFBAttempt, row.Detail.ProviderRequestID = only.Started, only.TTFB, only.ProviderRequestID
	} else {
		row.Timeline = r.Timeline
	}
	if n := len(r.Timeline); n > 0 && r.Status != ledger.Completed {
		row.Detail.Error = r.Timeline[n-1].Error
	}
	var failed llm.Class
	for _, a := range r.Timeline {
		if a.Outcome == ledger.OutcomeSkipped {
			continue
		}
		if failed != "" {
			x.Metrics.Failover(x.label, failed)
		}
		failed = a.Class
	}
}

// failure is what the client is told where the request did not complete, nil where
// there is nothing to say in words of our own.
func (x *exchange) failure(r *attempt.Result) *llm.Failure {
	switch {
	case r.Status == ledger.Completed:
		return nil
	case r.Status == ledger.Cancelled && x.stopped():
		x.row.Status, x.row.Class = ledger.Interrupted, ""
		return &llm.Failure{Status: http.StatusServiceUnavailable, Code: "stopping", Message: "the gateway is stopping; try again"}
	case r.Status == ledger.Cancelled:
		x.row.HTTPStatus = statusClientGone
		return nil
	case r.Began:
		return &llm.Failure{Status: http.StatusBadGateway, Code: "stream_interrupted", Message: fmt.Sprintf("the answer broke off (%s); what came before is not whole", r.Fault.Class)}
	case r.Relay && r.Fault.Status >= http.StatusBadRequest && isJSON(r.Header) && len(r.Tail) > 0:
		x.row.HTTPStatus = r.Fault.Status
		return nil
	case r.Relay:
		// A provider that tells an error with status 200 would have it taken for an answer.
		return &llm.Failure{Status: max(r.Fault.Status, http.StatusBadRequest), Code: string(r.Fault.Class), Message: "the provider refused the request: " + r.Timeline[len(r.Timeline)-1].Error}
	case r.Overdue:
		return &llm.Failure{Status: http.StatusGatewayTimeout, Code: "request_timeout", Message: "no backend answered within the time that a request may take"}
	default:
		return x.exhausted(r)
	}
}

// exhausted is the answer where no backend answered.
func (x *exchange) exhausted(r *attempt.Result) *llm.Failure {
	h := x.w.Header()
	if r.Refused != nil {
		code, message := "queue_timeout", "no backend of the model became free in the time that a request may wait"
		if errors.Is(r.Refused, queue.ErrFull) {
			code, message = "queue_full", "too many requests wait for a backend already"
		}
		x.Metrics.QueueRejected(code)
		h.Set("Retry-After", retryAfter(r.Wait))
		return &llm.Failure{Status: http.StatusTooManyRequests, Code: code, Message: message}
	}
	if r.Limited {
		h.Set("Retry-After", retryAfter(r.Wait))
		return &llm.Failure{Status: http.StatusTooManyRequests, Code: "rate_limited", Message: "every backend of the model has reached the limit that is set for it here"}
	}
	x.Metrics.Exhausted(x.label)
	if lasting(r) {
		h.Set("X-Should-Retry", "false")
		if r.Fault != nil && r.Fault.Class == llm.Auth {
			return &llm.Failure{Status: http.StatusBadGateway, Code: "upstream_auth", Message: "the providers refuse the gateway's own credentials; an operator has to look"}
		}
	}
	h.Set("Retry-After", retryAfter(r.Wait))
	message := "no backend of any pool can answer at the moment"
	if r.Fault != nil {
		message += "; the last one failed: " + string(r.Fault.Class)
	}
	return &llm.Failure{Status: http.StatusServiceUnavailable, Code: "all_pools_exhausted", Message: message}
}

// lasting reports whether trying again soon cannot help: every call failed, and every
// backend was left out, for a reason that does not pass by itself.
func lasting(r *attempt.Result) bool {
	for _, a := range r.Timeline {
		switch {
		case a.Outcome == ledger.OutcomeFailed && !a.Class.Lasting():
			return false
		case a.Outcome == ledger.OutcomeSkipped && a.Skip != string(backend.SkipError) && a.Skip != string(backend.SkipDisabled) && a.Skip != string(backend.SkipModel):
			return false
		}
	}
	return len(r.Timeline) > 0
}

func retryAfter(wait time.Duration) string {
	return strconv.Itoa(max(1, int(math.Ceil(wait.Seconds()))))
}

// record makes the row durable. Where it is not and may not be left out, it answers
// and returns false.
func (x *exchange) record() bool {
	x.row.Duration = time.Since(x.started)
	x.ledgerError = x.Ledger.Commit(x.row, x.plan.LedgerWait, x.plan.LedgerClose)
	x.Metrics.Request(x.label, x.row)
	if x.ledgerError == nil {
		return true
	}
	x.Metrics.LedgerFailed()
	if !x.plan.LedgerClose {
		return true
	}
	f := llm.Failure{Status: http.StatusServiceUnavailable, Code: "ledger_unavailable", Message: "the request cannot be recorded, and is not answered without that"}
	if x.status == 0 {
		x.tell(&f)
	} else {
		_ = x.Write(x.errors.Frame(f, x.requestID)) // the last thing there is to say
	}
	return false
}

// deliver sends what remains.
func (x *exchange) deliver(r *attempt.Result, failure *llm.Failure) {
	switch {
	case failure != nil && x.status != 0:
		_ = x.Write(x.errors.Frame(*failure, x.requestID)) // a client that is gone needs no answer
	case failure != nil:
		x.by(r.Answered, r.Calls)
		x.tell(failure)
	case r.Status == ledger.Cancelled:
		if x.status == 0 {
			x.status = statusClientGone
		}
	case x.status != 0:
		_ = x.Write(r.Tail)
	default:
		x.by(r.Answered, r.Calls)
		if wait := r.Header.Get("Retry-After"); wait != "" {
			x.w.Header().Set("Retry-After", wait)
		}
		x.answer(x.row.HTTPStatus, r.Tail)
	}
}

func isJSON(h http.Header) bool {
	kind := h.Get("Content-Type")
	const want = "application/json"
	return len(kind) >= len(want) && kind[:len(want)] == want
}
