package ledger

import (
	"errors"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// Status is how far a request has come.
type Status string

// The statuses. Pending and Streaming are open; a row found open at start was
// Interrupted.
const (
	Pending     Status = "pending"
	Streaming   Status = "streaming"
	Completed   Status = "completed"
	Failed      Status = "failed"
	Cancelled   Status = "cancelled"
	Interrupted Status = "interrupted"
)

// Statuses lists every status.
func Statuses() []Status {
	return []Status{Pending, Streaming, Completed, Failed, Cancelled, Interrupted}
}

// Row is one request.
type Row struct {
	ID         ID
	RequestID  string // the client's own; "" where it sent none
	Status     Status
	HTTPStatus int
	Class      llm.Class
	Model      string // as asked for
	Label      string // what the sums know the model as; "" = Model
	Backend    string
	Pool       string
	Client     string
	Attempts   int // calls made
	StartedAt  time.Time
	Duration   time.Duration
	TTFB       time.Duration // 0 = no first byte came
	Usage      llm.Usage
	Cost       llm.Nano
	ResponseID string // of an answer that a later request may continue, on the same backend; "" = none
	Detail     Detail
	Timeline   []Attempt // empty where one backend answered at once
}

// maxCost bounds the cost of one row: a million units and more are nonsense, and must
// not overflow a sum.
const maxCost llm.Nano = 1 << 50

// Detail is what is read with a row and not searched.
type Detail struct {
	Dialect           string          `json:"dialect,omitempty"`
	Stream            bool            `json:"stream,omitempty"`
	NativeID          string          `json:"native_id,omitempty"`
	Provider          string          `json:"provider,omitempty"`
	ClientIP          string          `json:"client_ip,omitempty"`
	UserAgent         string          `json:"user_agent,omitempty"`
	Code              string          `json:"code,omitempty"`  // of the error that the client got
	Error             string          `json:"error,omitempty"` // for the operator
	ProviderRequestID string          `json:"provider_request_id,omitempty"`
	Reasoning         int64           `json:"reasoning,omitempty"`
	CacheWrite1h      int64           `json:"cache_write_1h,omitempty"` // a part of cache_write
	UsageSource       llm.UsageSource `json:"usage_source,omitempty"`
	Price             *llm.Price      `json:"price,omitempty"`
	TTFBAttempt       time.Duration   `json:"ttfb_attempt,omitempty"` // of the answering attempt alone
	Started           time.Duration   `json:"started,omitempty"`      // of the answering attempt, after the request's start
	Queued            time.Duration   `json:"queued,omitempty"`       // how long the request waited for a backend
	Label             string          `json:"label,omitempty"`        // where it is not the model
	ResponseID        string          `json:"response_id,omitempty"`
}

// Outcome is how an attempt ended.
type Outcome string

// The outcomes.
const (
	OutcomeSucceeded Outcome = "succeeded"
	OutcomeFailed    Outcome = "failed"
	OutcomeSkipped   Outcome = "skipped"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome { return []Outcome{OutcomeSucceeded, OutcomeFailed, OutcomeSkipped} }

// Attempt is one entry of a request's timeline, as it is stored.
type Attempt struct {
	Outcome           Outcome       `json:"outcome"`
	Backend           string        `json:"backend"`
	Pool              string        `json:"pool,omitempty"`
	Provider          string        `json:"provider,omitempty"`
	NativeID          string        `json:"native_id,omitempty"`
	Skip              string        `json:"skip,omitempty"`
	Class             llm.Class     `json:"class,omitempty"`
	HTTPStatus        int           `json:"http_status,omitempty"`
	Error             string        `json:"error,omitempty"`
	Started           time.Duration `json:"started"` // after the request's start
	Duration          time.Duration `json:"duration,omitempty"`
	TTFB              time.Duration `json:"ttfb,omitempty"`
	Tokens            int64         `json:"tokens,omitempty"`
	Cost              llm.Nano      `json:"cost,omitempty"`
	ProviderRequestID string        `json:"provider_request_id,omitempty"`
	Emergency         bool          `json:"emergency,omitempty"` // called while cooling, since nothing else was left
}

// ID names a row. IDs grow with time; their text sorts as they do.
type ID int64

const (
	idPrefix      = "gwr_"
	requestPrefix = "req_"
	alphabet      = "0123456789ABCDEFGHJKMNPQRSTVWXYZ" // Crockford's base 32
	idChars       = 13
	counterBits   = 20
)

// ErrID is returned for text that names no row.
var ErrID = errors.New("not the id of a request")

// String is gwr_ and 13 characters.
func (id ID) String() string {
	var out [len(idPrefix) + idChars]byte
	copy(out[:], idPrefix)
	encode(out[len(idPrefix):], uint64(id))
	return string(out[:])
}

// Time is when the id was made.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id) >> counterBits) }

// RequestID is the x-request-id of a request whose client sent none: req_ and 26
// characters that sort by time. The row can be found by it, so it is not stored.
func (id ID) RequestID() string {
	var out [len(requestPrefix) + 26]byte
	copy(out[:], requestPrefix)
	encode(out[len(requestPrefix):len(requestPrefix)+10], uint64(id)>>counterBits)
	encode(out[len(requestPrefix)+10:], uint64(id))
	return string(out[:])
}

// ParseID reads what String, or RequestID, made.
func ParseID(text string) (ID, error) {
	rest, ours := strings.CutPrefix(text, idPrefix)
	if generated, ok := strings.CutPrefix(text, requestPrefix); ok && len(generated) == 26 {
		rest, ours = generated[26-idChars:], true
	}
	if !ours || len(rest) != idChars {
		return 0, ErrID
	}
	var n uint64
	for i := range idChars {
		digit := strings.IndexByte(alphabet, rest[i])
		if digit < 0 {
			return 0, ErrID
		}
		n = n<<5 | uint64(digit)
	}
	id := ID(n)
	if id <= 0 || text != id.String() && text != id.RequestID() {
		return 0, ErrID
	}
	return id, nil
}

// encode writes n in base 32, right aligned.
func encode(out []byte, n uint64) {
	for i := len(out) - 1; i >= 0; i-- {
		out[i] = alphabet[n&31]
		n >>= 5
	}
}
