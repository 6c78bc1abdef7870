// Package attempt takes a request from backend to backend until one answers.
//
// What it promises: before the first meaningful byte a failure that another backend
// might not have moves on; after it, never. A silent backend is noticed whether it
// is silent before or after its headers. A stream ends as complete only with the
// dialect's end marker. A client that goes away ends the call to the backend. No
// credential of a client, and no redirect, ever reaches a backend.
//
// Where no backend can be called now, but one can soon, the request waits in line for
// it. Where none can for long, one that is cooling is called, a few times a minute and
// never before the end of a wait that the provider itself asked for.
//
// The last bytes of an answer are not sent but returned, so that the caller can make
// the record of the request durable first.
package attempt

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
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
	Tokens     int64      // that it may use, for limits
	Line       queue.Line // in which it waits, if it has to
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
	Queue              time.Duration // a backend that is back sooner is waited for; 0 = none is
	Emergency          bool          // backends that are cooling may be called when nothing else is left
}

// Walker makes attempts.
type Walker struct {
	Transport http.RoundTripper
	Queue     *queue.Queue
	Now       func() time.Time // as time.Now, with a monotonic part

	own atomic.Uint64 // counts lines of one request alone
}

// Result is how a request ended.
type Result struct {
	Status   ledger.Status
	Fault    *llm.Fault // of the last attempt that failed; nil where the request completed
	Limited  bool       // every skip was for a limit of ours, and no call was made
	Queued   time.Duration
	Refused  error // of the queue: queue.ErrFull or queue.ErrTimeout; nil where it did not refuse
	Answered *pool.Candidate
	Timeline []ledger.Attempt
	Calls    int
	AnswerID string // by which a later request can go on from the answer; "" = none
	Usage    llm.Usage
	Cost     llm.Nano
	TTFB     time.Duration // from the request's start; 0 = no meaningful byte came
	Began    bool          // the sink was begun
	Overdue  bool          // the request took longer than it may
	Relay    bool          // Tail is the backend's own answer, with RelayStatus
	Header   http.Header   // of the answer, where Relay
	Tail     []byte        // the bytes that remain to be sent; of a failure none
	Wait     time.Duration // until a backend can be expected back; 0 = not known

	flow  *flow // a stream that has begun
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
