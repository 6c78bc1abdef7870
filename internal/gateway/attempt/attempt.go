// Package attempt takes a request from backend to backend until one answers.
//
// What it promises: before the first meaningful byte a failure that another backend
// might not have moves on; after it, never. A silent backend is noticed whether it
// is silent before or after its headers. A stream ends as complete only with the
// dialect's end marker. A client that goes away ends the call to the backend. No
// credential of a client, and no redirect, ever reaches a backend.
//
// The last bytes of an answer are not sent but returned, so that the caller can make
// the record of the request durable first.
package attempt

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

// Holder counts who still reads the text that Body is made of, which is used again
// for other requests when nobody does.
type Holder interface {
	Hold()
	Drop()
}

// Sink is the way to the client.
type Sink interface {
	// Begin is called once, when an attempt is chosen for good and streams; calls is
	// how many were made, this one included.
	Begin(c *pool.Candidate, calls int)
	Write(p []byte) error
	Flush() error
}

// Call is one request.
type Call struct {
	Endpoint   *dialect.Endpoint
	Header     http.Header // of the client, as far as backends see it
	Body       *request.Request
	Text       Holder
	BodySize   int64
	Stream     bool
	Model      string
	Started    time.Time
	Candidates []pool.Candidate
	// Observe is told of every attempt when it ends, skips included.
	Observe func(c *pool.Candidate, a *ledger.Attempt)
}

// Limits bound a request.
type Limits struct {
	MaxAttempts        int
	FirstByte          time.Duration // of a stream, dial to first meaningful byte
	FirstByteReasoning time.Duration // the same, of a model that thinks first
	Idle               time.Duration // between meaningful bytes
	Request            time.Duration // of everything
	RetryContentPolicy bool
}

// Walker makes attempts.
type Walker struct {
	Transport http.RoundTripper
}

// Result is how a request ended.
type Result struct {
	Status   ledger.Status
	Fault    *llm.Fault // of the last attempt that failed; nil where the request completed
	Limited  bool       // every skip was for a limit of ours, and no call was made
	Answered *pool.Candidate
	Timeline []ledger.Attempt
	Calls    int
	Usage    llm.Usage
	Cost     llm.Nano
	TTFB     time.Duration // from the request's start; 0 = no meaningful byte came
	Began    bool          // the sink was begun
	Overdue  bool          // the request took longer than it may
	Relay    bool          // Tail is the backend's own answer, with RelayStatus
	Header   http.Header   // of the answer, where Relay
	Tail     []byte        // the bytes that remain to be sent; of a failure none
	Wait     time.Duration // until a backend can be expected back; 0 = not known

	close func()
}

// Close ends the backend's part. It is called once Tail has been sent, or was given up.
func (r *Result) Close() {
	if r.close != nil {
		r.close()
	}
}

// Causes of an attempt's end, told apart from the client's going.
var (
	errFirstByte = errors.New("no meaningful byte in time")
	errIdle      = errors.New("no meaningful byte for too long")
	errAttempt   = errors.New("no whole answer in time")
	errRequest   = errors.New("the request took longer than routing.request_timeout")
)

// Do makes attempts until one answers, none is left, or ctx, which is the client's,
// ends.
func (w *Walker) Do(ctx context.Context, call *Call, limits Limits, sink Sink) *Result {
	result := &Result{Status: ledger.Failed, Usage: llm.Usage{Source: llm.Missing}}
	skips, limited := 0, 0
	for i := range call.Candidates {
		c := &call.Candidates[i]
		if result.Calls >= limits.MaxAttempts {
			skipped(call, c, result, backend.SkipAttempts)
			break
		}
		permit, skip, wait := c.Acquire(call.Model, c.MaxInflight, time.Now())
		if skip != "" {
			skips++
			if skip == backend.SkipRPM || skip == backend.SkipFull {
				limited++
			}
			result.soonest(wait)
			skipped(call, c, result, skip)
			continue
		}
		result.Calls++
		t := &try{walker: w, call: call, limits: limits, sink: sink, result: result, candidate: c, permit: permit, started: time.Now()}
		if t.run(ctx) {
			return result
		}
	}
	result.Limited = result.Calls == 0 && skips > 0 && skips == limited
	return result
}

func skipped(call *Call, c *pool.Candidate, r *Result, skip backend.Skip) {
	a := ledger.Attempt{
		Outcome: ledger.OutcomeSkipped, Backend: c.Name, Pool: c.Pool, Provider: c.Provider(), NativeID: c.Model.NativeID,
		Skip: string(skip), Started: time.Since(call.Started),
	}
	r.Timeline = append(r.Timeline, a)
	call.Observe(c, &a)
}

// soonest notes when a backend could be back.
func (r *Result) soonest(wait time.Duration) {
	if wait > 0 && (r.Wait == 0 || wait < r.Wait) {
		r.Wait = wait
	}
}
