package front

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/attempt"
	"github.com/fleetwatch/fleetwatch/internal/gateway/client"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/meter"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

const (
	// A client that takes nothing for between writePatience and twice that is gone.
	writePatience = 30 * time.Second
	maxUserAgent  = 200
	// statusClientGone is what is noted where nobody was there to answer; as nginx does.
	statusClientGone = 499
)

// exchange is one request and its answer.
type exchange struct {
	*Handler
	plan    *Plan
	w       http.ResponseWriter
	r       *http.Request
	out     *http.ResponseController
	started time.Time
	route   string
	errors  dialect.Errors // how the client is told of errors

	id        ledger.ID
	given     string // the client's own request id
	requestID string
	client    *client.Client
	row       *ledger.Row // nil before the client is known
	open      *ledger.Open
	label     string     // the model, as a label may have it
	line      queue.Line // in which the request waits, if it has to

	status      int // 0 = no answer has begun
	bytes       int64
	held        int64 // bytes of body counted in buffered
	text        *text // of the body, while it is needed
	deadline    time.Time
	ledgerError error
}

// refuse answers an error in the dialect's form.
func (x *exchange) refuse(status int, code, message string) {
	x.tell(&llm.Failure{Status: status, Code: code, Message: message})
}

func (x *exchange) tell(f *llm.Failure) { x.answer(f.Status, x.errors.Body(*f, x.requestID)) }

func (x *exchange) answer(status int, body []byte) {
	h := x.w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.begin(status)
	_ = x.Write(body) // a client that is gone needs no answer
}

func (x *exchange) begin(status int) {
	x.status = status
	x.w.WriteHeader(status)
}

// known finds the client, or answers 401; an address that calls too often is not
// even asked who it is.
func (x *exchange) known() bool {
	if ok, wait := x.Limiter.Allow(x.clientIP(), x.route, x.started); !ok {
		x.w.Header().Set("Retry-After", retryAfter(wait))
		x.refuse(http.StatusTooManyRequests, "rate_limited", "too many requests from this address")
		x.Metrics.RateLimited(meter.ServiceData, x.route)
		return false
	}
	if x.client = x.plan.Clients.Find(x.r.Header, x.started); x.client == nil {
		x.w.Header().Set("WWW-Authenticate", `Bearer realm="fleetwatch"`)
		x.refuse(http.StatusUnauthorized, "invalid_api_key", "the client key is missing, unknown or expired: send Authorization: Bearer KEY")
		return false
	}
	return true
}

// ask serves an endpoint that asks backends.
func (x *exchange) ask(endpoint *dialect.Endpoint) {
	if !x.known() {
		return
	}
	x.Metrics.Came(x.client.Name, x.started)
	x.w.Header()["X-Gateway-Request"] = []string{x.id.String()}
	agent := x.r.UserAgent()
	x.label = meter.OtherModel
	x.row = &ledger.Row{
		ID: x.id, RequestID: x.given, Client: x.client.Name, Label: meter.OtherModel, StartedAt: x.started, Status: ledger.Failed, Usage: llm.Usage{Source: llm.Missing},
		Detail: ledger.Detail{Dialect: string(endpoint.Dialect), ClientIP: x.clientIP(), UserAgent: agent[:min(len(agent), maxUserAgent)]},
	}
	body, problem := x.read()
	defer x.release()
	if problem == nil {
		problem = x.send(endpoint, body)
	}
	if problem != nil {
		x.reject(problem)
	}
}

// read reads the body, within the limits.
func (x *exchange) read() ([]byte, *llm.Failure) {
	limit := x.plan.MaxBody
	if x.r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	if encoding := x.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, &llm.Failure{Status: http.StatusUnsupportedMediaType, Code: "unsupported_encoding", Param: "Content-Encoding", Message: fmt.Sprintf("the body must be sent as it is, not as %.40q", encoding)}
	}
	x.held = max(x.r.ContentLength, 0)
	if x.r.ContentLength < 0 {
		x.held = limit // not announced, so the most it may be
	}
	if now := x.buffered.Add(x.held); x.plan.MaxBuffered > 0 && now > x.plan.MaxBuffered {
		return nil, &llm.Failure{Status: http.StatusServiceUnavailable, Code: "overloaded", Message: "too many bytes of requests are held at the moment; try again shortly"}
	}
	x.text = newText(&x.texts, x.r.ContentLength)
	body, err := x.text.read(http.MaxBytesReader(x.w, x.r.Body, limit), x.r.ContentLength)
	if err == nil {
		_ = x.out.SetReadDeadline(time.Time{})
		x.buffered.Add(int64(len(body)) - x.held)
		x.held = int64(len(body))
	} else {
		// The server would read the rest before it answers, and wait for it.
		x.w.Header().Set("Connection", "close")
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, tooLarge(limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &llm.Failure{Status: http.StatusRequestTimeout, Code: "body_timeout", Message: fmt.Sprintf("the body did not come within %s", x.plan.BodyTimeout)}
	case err != nil:
		return nil, &llm.Failure{Status: http.StatusBadRequest, Code: "bad_body", Message: "the body could not be read to its end"}
	}
	return body, nil
}

func tooLarge(limit int64) *llm.Failure {
	return &llm.Failure{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Message: fmt.Sprintf("the body is larger than %d bytes", limit)}
}

// release gives back the body, and what it counted for.
func (x *exchange) release() {
	x.buffered.Add(-x.held)
	x.held = 0
	if x.text != nil {
		x.text.Drop()
		x.text = nil
	}
}

// send finds out where the request may go, and sends it there. What it returns was
// not sent anywhere.
func (x *exchange) send(endpoint *dialect.Endpoint, body []byte) *llm.Failure {
	r, err := request.Scan(body, &endpoint.Reads)
	if err != nil {
		f := &llm.Failure{Status: http.StatusBadRequest, Code: "invalid_request", Message: err.Error()}
		if re, ok := errors.AsType[*request.Error](err); ok {
			f.Param = re.Param
		}
		return f
	}
	x.row.Model, x.row.Detail.Stream = r.Model, r.Stream
	if !x.plan.Table.Has(r.Model) || !x.client.May(r.Model) {
		return unknownModel(r.Model)
	}
	x.label, x.row.Label = r.Model, ""
	candidates, failure := x.candidates(endpoint, r)
	if failure != nil {
		return failure
	}
	reservation, failure := x.reserve(endpoint, r, candidates)
	if failure != nil {
		return failure
	}
	defer func() { reservation.Settle(x.row.Usage.Total(), x.row.Cost, x.Now()) }()
	x.open = x.Ledger.Begin(x.row)
	defer x.Ledger.End(x.open)
	x.walk(endpoint, r, candidates)
	return nil
}

func unknownModel(model string) *llm.Failure {
	return &llm.Failure{Status: http.StatusNotFound, Code: "model_not_found", Param: "model", Message: fmt.Sprintf("the model %q does not exist here, or your key may not use it; GET /v1/models lists those that you may", model)}
}

// reject answers what no backend was asked, and records it.
func (x *exchange) reject(f *llm.Failure) {
	x.row.Class, x.row.HTTPStatus = llm.InvalidRequest, f.Status
	if f.Status == http.StatusTooManyRequests || f.Status >= http.StatusInternalServerError {
		x.row.Class = "" // nothing is wrong with the request, and no attempt was made
	}
	x.row.Detail.Code, x.row.Detail.Error = f.Code, f.Message
	if !x.record() {
		return
	}
	x.tell(f)
}

// walk has the request answered by a backend.
func (x *exchange) walk(endpoint *dialect.Endpoint, r *request.Request, candidates []pool.Candidate) {
	call := &attempt.Call{
		Endpoint: endpoint, Header: x.forwarded(endpoint), Body: r, Text: x.text, BodySize: r.Size(), Stream: r.Stream,
		Model: r.Model, Tokens: tokens(endpoint, r), Line: x.line, Started: x.started, Candidates: candidates,
		Observe: func(c *pool.Candidate, a *ledger.Attempt) { x.Metrics.Attempt(x.client.Name, x.label, c, a) },
	}
	result := x.Walker.Do(x.r.Context(), call, x.plan.Limits, x)
	defer result.Close()
	result.Finish()
	x.fill(result)
	failure := x.failure(result)
	if failure != nil {
		x.row.HTTPStatus, x.row.Detail.Code = failure.Status, failure.Code
		if x.status != 0 {
			x.row.HTTPStatus = x.status
		}
	}
	if x.record() {
		x.deliver(result, failure)
	}
}

// forwarded returns the headers of the client that backends see.
func (x *exchange) forwarded(endpoint *dialect.Endpoint) http.Header {
	header := make(http.Header, len(endpoint.Headers)+2)
	for _, names := range [...][]string{{"Accept", "User-Agent"}, endpoint.Headers} {
		for _, name := range names {
			if v, ok := x.r.Header[name]; ok {
				header[name] = v
			}
		}
	}
	return header
}

// Begin implements [attempt.Sink].
func (x *exchange) Begin(c *pool.Candidate, calls int) {
	x.release()
	x.open.Streams(c.Name)
	h := x.w.Header()
	h["Content-Type"] = []string{"text/event-stream; charset=utf-8"}
	h["Cache-Control"] = []string{"no-store"}
	h["X-Accel-Buffering"] = []string{"no"} // nginx would hold frames back
	x.by(c, calls)
	x.begin(http.StatusOK)
}

// by names the backend that answers, nil where none does, and how many were called.
func (x *exchange) by(c *pool.Candidate, calls int) {
	h := x.w.Header()
	if c != nil {
		h["X-Gateway-Backend"] = []string{c.Name}
	}
	h["X-Gateway-Attempts"] = []string{strconv.Itoa(calls)}
}

// Write implements [attempt.Sink].
func (x *exchange) Write(p []byte) error {
	if now := time.Now(); x.deadline.Sub(now) < writePatience {
		x.deadline = now.Add(2 * writePatience)
		_ = x.out.SetWriteDeadline(x.deadline) // a connection that knows no deadlines has none to keep
	}
	n, err := x.w.Write(p)
	x.bytes += int64(n)
	return err
}

// Flush implements [attempt.Sink].
func (x *exchange) Flush() error { return x.out.Flush() }

// stopped reports whether the request ended because the gateway does.
func (x *exchange) stopped() bool {
	return errors.Is(context.Cause(x.r.Context()), ErrStopping)
}
