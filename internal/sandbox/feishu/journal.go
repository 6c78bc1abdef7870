package feishu

import (
	"slices"
	"sync"
	"time"
)

// Request is one line of the request log.
type Request struct {
	At        time.Time `json:"at"`
	Op        Op        `json:"op"`
	Method    string    `json:"method"`
	Route     string    `json:"route"` // path template: bot tokens are secrets
	Chat      string    `json:"chat,omitempty"`
	MessageID string    `json:"message_id,omitempty"`
	UUID      string    `json:"uuid,omitempty"`
	Duplicate bool      `json:"duplicate,omitempty"` // a repeat of a uuid, answered with the first message
	Fault     FaultKind `json:"fault,omitempty"`
	Status    int       `json:"status"` // what was, or would have been, answered; 0 when nothing was done
	Code      int       `json:"code"`
}

// Counts sums up the request log since the server was made.
type Counts struct {
	Tokens     int `json:"tokens"`     // tokens answered
	Creates    int `json:"creates"`    // app messages that came to be
	Replies    int `json:"replies"`    // replies that came to be
	Patches    int `json:"patches"`    // updates that took effect
	Urgents    int `json:"urgents"`    // urgent calls that took effect
	Bots       int `json:"bots"`       // custom bot messages that came to be
	Events     int `json:"events"`     // presses of buttons that were answered
	Duplicates int `json:"duplicates"` // creates and replies answered from the uuid memory
	Refused    int `json:"refused"`    // answered with a code other than 0
	Faulted    int `json:"faulted"`    // requests that met a fault
	Requests   int `json:"requests"`   // all
}

// keptRequests bounds the log; the counts cover everything.
const keptRequests = 20000

type journal struct {
	mu       sync.Mutex
	requests []Request
	counts   Counts
}

func (j *journal) add(r Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.requests) >= keptRequests {
		j.requests = slices.Delete(j.requests, 0, keptRequests/2)
	}
	j.requests = append(j.requests, r)
	j.counts.Requests++
	if r.Fault != "" {
		j.counts.Faulted++
	}
	switch {
	case r.Code != 0 || r.Status >= 400:
		j.counts.Refused++
	case r.Duplicate:
		j.counts.Duplicates++
	case r.Status == 0:
	default:
		j.done(r.Op)
	}
}

func (j *journal) done(op Op) {
	switch op {
	case OpToken:
		j.counts.Tokens++
	case OpCreate:
		j.counts.Creates++
	case OpReply:
		j.counts.Replies++
	case OpPatch:
		j.counts.Patches++
	case OpUrgent:
		j.counts.Urgents++
	case OpBot:
		j.counts.Bots++
	case OpEvent:
		j.counts.Events++
	case OpRecall, OpList, OpConnect, OpScopes, OpMember, OpPerson, OpOther: // counted among the requests only
	}
}

// Counts returns what the server has done so far.
func (s *Server) Counts() Counts {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return s.journal.counts
}

// Requests returns the newest requests (20,000 at most) in order of arrival.
func (s *Server) Requests() []Request {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return slices.Clone(s.journal.requests)
}
