package attempt

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

const (
	maxErrorBody = 64 << 10 // read of an error answer
	maxAnswer    = 64 << 20 // of a whole answer; beyond it is none that is passed on
	drainWait    = 100 * time.Millisecond
)

// try is one attempt.
type try struct {
	walker    *Walker
	call      *Call
	limits    Limits
	sink      Sink
	result    *Result
	candidate *pool.Candidate
	permit    backend.Permit
	emergency bool
	started   time.Time
	ttfb      time.Duration

	ctx    context.Context //nolint:containedctx // of this attempt, which is all that try is
	client context.Context //nolint:containedctx // that of the client
	cancel context.CancelCauseFunc
	timer  *time.Timer // of the attempt
	total  *time.Timer // of the whole request
	header http.Header // of the answer
	provID string
}

// run makes the attempt and reports whether the request ends with it.
func (t *try) run(ctx context.Context) (ends bool) {
	t.client = ctx
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	limit, cause := t.candidate.Timeout, errAttempt
	if t.call.Stream {
		if limit, cause = t.limits.FirstByte, errFirstByte; t.candidate.Model.Reasoning {
			limit = max(limit, t.limits.FirstByteReasoning)
		}
	}
	t.timer = time.AfterFunc(limit, func() { t.cancel(cause) })
	t.total = time.AfterFunc(t.limits.Request-time.Since(t.call.Started), func() { t.cancel(errRequest) })
	response, err := t.send() //nolint:bodyclose // failed and keep close it
	if err != nil {
		return t.failed(t.broken(err), nil)
	}
	t.header, t.provID = response.Header, cmp.Or(response.Header.Get("X-Request-Id"), response.Header.Get("Request-Id"))
	if fault, body := t.refused(response); fault != nil {
		return t.failed(fault, body, response.Body)
	}
	if t.call.Stream {
		return t.stream(response.Body)
	}
	return t.whole(response.Body)
}

// send makes the request that goes to the backend: the allow-listed headers of the
// client, those of the configuration, and the backend's own credential.
func (t *try) send() (*http.Response, error) {
	c := t.candidate
	body, text := t.call.Body.Splice(c.Model.NativeID), t.call.Text
	reader := func() io.ReadCloser {
		text.Hold()
		return body.Reader(text.Drop)
	}
	header := make(http.Header, len(t.call.Header)+len(c.Headers)+3)
	maps.Copy(header, t.call.Header)
	maps.Copy(header, c.Headers)
	header["Content-Type"] = []string{"application/json"}
	header["Accept-Encoding"] = []string{"identity"}
	t.call.Endpoint.Authorize(header, c.Key)
	target := *c.BaseURL
	target.Path += t.call.Endpoint.Path
	request := (&http.Request{
		Method: http.MethodPost, URL: &target, Host: target.Host, Header: header, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: reader(), ContentLength: body.Size(),
		// Lets the transport take a fresh connection where a kept one turns out closed
		// before anything was written.
		GetBody: func() (io.ReadCloser, error) { return reader(), nil },
	}).WithContext(t.ctx)
	response, err := t.walker.Transport.RoundTrip(request)
	request.GetBody = nil // the answer holds the request; the body's text is no longer needed by it
	return response, err
}

// refused returns the fault of an answer that is none, and what its body says.
func (t *try) refused(r *http.Response) (*llm.Fault, []byte) {
	malformed := func(format string, args ...any) (*llm.Fault, []byte) {
		return &llm.Fault{Class: llm.Malformed, Status: r.StatusCode, Message: fmt.Sprintf(format, args...)}, nil
	}
	encoding, kind := r.Header.Get("Content-Encoding"), r.Header.Get("Content-Type")
	isStream := strings.HasPrefix(strings.ToLower(kind), "text/event-stream")
	switch {
	case encoding != "" && !strings.EqualFold(encoding, "identity"):
		return malformed("the answer is encoded (%.40q), although that was not asked for", encoding)
	case r.StatusCode >= 300 && r.StatusCode < 400:
		return malformed("a redirect, which is never followed; correct api_base_url")
	case r.StatusCode == http.StatusOK && t.call.Stream == isStream:
		return nil, nil
	case r.StatusCode == http.StatusOK && !t.call.Stream:
		return malformed("a stream was answered, although none was asked for")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxErrorBody))
	if err != nil {
		return t.broken(err), nil
	}
	body = []byte(redact.Text(string(body), t.candidate.Secrets()...)) // before anything of it is cut
	if r.StatusCode == http.StatusOK {
		// Some providers tell an error of a stream as a plain answer.
		if _, fault := t.call.Endpoint.Answer(body); fault != nil {
			return fault, body
		}
		return malformed("a stream was asked for and not answered")
	}
	fault := t.call.Endpoint.Fault(r.StatusCode, body)
	fault.Wait = llm.Wait(r.Header, t.walker.Now())
	if len(body) >= maxErrorBody {
		return fault, nil // cut, so nothing to relay
	}
	return fault, body
}

// whole relays an answer that is not streamed.
func (t *try) whole(body io.ReadCloser) bool {
	raw, err := readAll(body, t.header)
	switch {
	case err != nil:
		return t.failed(t.broken(err), nil, body)
	case len(raw) > maxAnswer:
		return t.failed(&llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "the answer is larger than any that is passed on"}, nil, body)
	}
	answer, fault := t.call.Endpoint.Answer(raw)
	if fault != nil {
		return t.failed(fault, raw, body)
	}
	t.firstByte()
	t.answered(t.usage(answer.Usage, int64(len(raw))), nil)
	t.result.AnswerID = answer.ID
	t.result.Status, t.result.Tail, t.result.Relay, t.result.Header = ledger.Completed, raw, true, t.header
	t.keep(body)
	return true
}

// readAll reads at most one byte more than maxAnswer, into a buffer of the announced size.
func readAll(body io.Reader, header http.Header) ([]byte, error) {
	var buffer bytes.Buffer
	var length int64
	if _, err := fmt.Sscan(header.Get("Content-Length"), &length); err == nil && length > 0 && length <= maxAnswer {
		buffer.Grow(int(length) + bytes.MinRead)
	}
	_, err := buffer.ReadFrom(io.LimitReader(body, maxAnswer+1))
	return buffer.Bytes(), err
}

// firstByte notes the first meaningful byte.
func (t *try) firstByte() {
	t.ttfb = time.Since(t.started)
	t.result.TTFB = time.Since(t.call.Started)
	t.permit.Succeeded(t.ttfb, t.walker.Now())
}

// usage is what was reported, or a guess from the bytes of the content.
func (t *try) usage(reported llm.Usage, content int64) llm.Usage {
	switch {
	case t.call.Endpoint.Free:
		return llm.Usage{Source: llm.Reported}
	case reported.Source == llm.Missing:
		return llm.Usage{Input: llm.EstimateTokens(t.call.BodySize), Output: llm.EstimateTokens(content), Source: llm.Estimated}
	default:
		return reported
	}
}

// answered notes the attempt that the client sees, with the fault that cut it short.
func (t *try) answered(usage llm.Usage, fault *llm.Fault) {
	r, c := t.result, t.candidate
	t.permit.Settle(usage.Total(), t.walker.Now())
	r.Answered, r.Usage, r.Cost, r.Fault = c, usage, c.Model.Price.Cost(usage), fault
	a := t.entry(ledger.OutcomeSucceeded, fault)
	a.Tokens, a.Cost = usage.Total(), r.Cost
	if fault != nil {
		a.Outcome = ledger.OutcomeFailed
	}
	r.Timeline = append(r.Timeline, a)
	t.call.Observe(c, &a)
}

func (t *try) entry(o ledger.Outcome, fault *llm.Fault) ledger.Attempt {
	c := t.candidate
	a := ledger.Attempt{
		Outcome: o, Backend: c.Name, Pool: c.Pool, Provider: c.Provider(), NativeID: c.Model.NativeID, HTTPStatus: http.StatusOK,
		Started: t.started.Sub(t.call.Started), Duration: time.Since(t.started), TTFB: t.ttfb, ProviderRequestID: t.provID, Emergency: t.emergency,
	}
	if fault != nil {
		a.Class, a.HTTPStatus, a.Error = fault.Class, fault.Status, fault.Message
	}
	return a
}

// failed ends an attempt without a meaningful byte, and reports whether the request
// ends with it. body is what the backend answered.
func (t *try) failed(fault *llm.Fault, body []byte, open ...io.Closer) (ends bool) {
	t.settle(fault)
	a := t.entry(ledger.OutcomeFailed, fault)
	t.result.Timeline = append(t.result.Timeline, a)
	t.result.Fault = fault
	t.call.Observe(t.candidate, &a)
	t.timer.Stop()
	t.total.Stop()
	overdue := t.overdue()
	t.cancel(nil)
	for _, c := range open {
		_ = c.Close() // the attempt is over; there is nothing left to learn from it
	}
	t.permit.Settle(0, t.walker.Now())
	t.permit.Release()
	switch {
	case fault.Class == llm.ClientCancelled:
		t.result.Status = ledger.Cancelled
		return true
	case overdue:
		t.result.Overdue = true
		return true
	case fault.Class == llm.ContentPolicy && t.limits.RetryContentPolicy, fault.Class.MovesOn():
		return false
	}
	t.result.Relay, t.result.Header, t.result.Answered = true, t.header, t.candidate
	t.result.Tail = []byte(redact.Text(string(body), t.candidate.Secrets()...))
	return true
}

// settle tells the backend's state of a fault. What the client, or the limit of the
// whole request, ended says nothing about the backend.
func (t *try) settle(fault *llm.Fault) {
	fault.Message = redact.Text(fault.Message, t.candidate.Secrets()...) // it is kept, and shown
	if fault.Class != llm.ClientCancelled && t.client.Err() == nil && !t.overdue() {
		t.permit.Failed(fault, t.walker.Now())
	}
}

// overdue reports whether the attempt was ended because the whole request takes too long.
func (t *try) overdue() bool { return errors.Is(context.Cause(t.ctx), errRequest) }

// broken is the fault of an error of the way to the backend, or of its answer.
func (t *try) broken(err error) *llm.Fault {
	if t.client.Err() != nil {
		return &llm.Fault{Class: llm.ClientCancelled, Message: "the client went away"}
	}
	if cause := context.Cause(t.ctx); cause != nil {
		return &llm.Fault{Class: llm.Timeout, Message: cause.Error()}
	}
	return &llm.Fault{Class: llm.Connection, Message: redact.Error(err, t.candidate.Key).Error()}
}

// keep leaves the connection to be used again: the end of the body is read once the
// client has everything, unless the backend takes its time over it.
func (t *try) keep(body io.ReadCloser) {
	t.total.Stop()
	t.result.close = func() {
		t.timer.Reset(drainWait)
		_, _ = io.Copy(io.Discard, io.LimitReader(body, maxErrorBody)) // without its end the connection is closed, which is all
		t.timer.Stop()
		t.cancel(nil)
		_ = body.Close()
		t.permit.Release()
	}
}
