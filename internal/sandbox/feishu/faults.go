package feishu

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// FaultKind names a way in which Feishu fails.
type FaultKind string

// The faults.
const (
	// FaultDropAfter does the work and closes the connection without an answer.
	FaultDropAfter FaultKind = "drop_after_accept"
	// FaultDropBefore closes the connection and does nothing.
	FaultDropBefore FaultKind = "drop"
	// FaultOutage is FaultDropBefore for everything, meant with For.
	FaultOutage FaultKind = "outage"
	// FaultHang does nothing and never answers.
	FaultHang FaultKind = "hang"
	// FaultHangAfter does the work and never answers.
	FaultHangAfter FaultKind = "hang_after_accept"
	// FaultRateLimit answers HTTP 429 with 99991400 and the reset header.
	FaultRateLimit FaultKind = "rate_limit"
	// FaultRateLimit400 is the same with HTTP 400.
	FaultRateLimit400 FaultKind = "rate_limit_400"
	// FaultBadRequest answers HTTP 400 with 9499 "Bad Request", which is permanent.
	FaultBadRequest FaultKind = "bad_request_9499"
	// FaultTooMany answers HTTP 400 with 9499 "too many request", which is transient.
	FaultTooMany FaultKind = "too_many_9499"
	// FaultChatLimit answers 230020.
	FaultChatLimit FaultKind = "chat_limit_230020"
	// FaultStaleToken revokes the token that the request carries.
	FaultStaleToken FaultKind = "stale_token"
	// FaultHTML502 answers with an HTML page and HTTP 502.
	FaultHTML502 FaultKind = "html_502"
	// FaultTwice delivers the press of a button a second time, once it is answered.
	FaultTwice FaultKind = "event_twice"
	// FaultLate delivers the press of a button after Reset seconds.
	FaultLate FaultKind = "event_late"
	// FaultReplay sends, for a button, the value that an earlier state of the card
	// had for it.
	FaultReplay FaultKind = "event_replay"
	// FaultForged changes the value of the button.
	FaultForged FaultKind = "event_forged"
	// FaultCode answers with Status, Code and Msg of the fault.
	FaultCode FaultKind = "code"
)

// FaultKinds lists every kind.
func FaultKinds() []FaultKind {
	return []FaultKind{FaultDropAfter, FaultDropBefore, FaultOutage, FaultHang, FaultHangAfter, FaultRateLimit, FaultRateLimit400,
		FaultBadRequest, FaultTooMany, FaultChatLimit, FaultStaleToken, FaultHTML502, FaultCode,
		FaultTwice, FaultLate, FaultReplay, FaultForged}
}

// ofEvents tells whether the kind is about presses of buttons only.
func (k FaultKind) ofEvents() bool {
	return k == FaultTwice || k == FaultLate || k == FaultReplay || k == FaultForged
}

// Fault is a scripted failure. Faults are tried in the order they were added;
// a request meets at most one.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Ops are the operations it hits; empty is all.
	Ops []Op `json:"ops,omitempty"`
	// Contains restricts it to requests whose URL or body contains this text: a
	// receive id, a message id, a bot token.
	Contains string `json:"contains,omitempty"`
	// Skip lets this many matching requests through first.
	Skip int `json:"skip,omitempty"`
	// Times is how many requests it hits; 0 is until cleared, or until For has passed.
	Times int `json:"times,omitempty"`
	// Seconds ends it by time, counted from when it was added; 0 is no end.
	Seconds float64 `json:"seconds,omitempty"`
	// Reset is the wait in seconds of the rate limit kinds and of FaultLate; 0 means 1.
	Reset int `json:"reset,omitempty"`
	// Status, Code and Msg are the answer of FaultCode; status 0 is 400.
	Status int    `json:"status,omitempty"`
	Code   int    `json:"code,omitempty"`
	Msg    string `json:"msg,omitempty"`

	until time.Time
}

func (f Fault) validate() error {
	var problems []error
	if !slices.Contains(FaultKinds(), f.Kind) {
		problems = append(problems, fmt.Errorf("kind: %q is none of %v", f.Kind, FaultKinds()))
	}
	if f.Kind == FaultCode && f.Code == 0 {
		problems = append(problems, errors.New("code: needed with kind code"))
	}
	if f.Skip < 0 || f.Times < 0 || f.Seconds < 0 || f.Reset < 0 {
		problems = append(problems, errors.New("skip, times, seconds, reset: must not be negative"))
	}
	if f.Status != 0 && (f.Status < 200 || f.Status > 599) {
		problems = append(problems, fmt.Errorf("status: %d is no HTTP status", f.Status))
	}
	return errors.Join(problems...)
}

// before tells whether the fault keeps the request from being worked on.
func (f Fault) before() bool {
	return f.Kind != "" && f.Kind != FaultDropAfter && f.Kind != FaultHangAfter
}

// faults is the script.
type faults struct {
	mu     sync.Mutex
	script []*Fault
}

// take returns the fault that a request meets, or the zero Fault.
func (f *faults) take(op Op, text string, now time.Time) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = slices.DeleteFunc(f.script, func(fault *Fault) bool { return !fault.until.IsZero() && !now.Before(fault.until) })
	for i, fault := range f.script {
		if fault.Kind.ofEvents() && op != OpEvent {
			continue
		}
		if len(fault.Ops) > 0 && !slices.Contains(fault.Ops, op) || !strings.Contains(text, fault.Contains) {
			continue
		}
		if fault.Skip > 0 {
			fault.Skip--
			continue
		}
		hit := *fault
		if fault.Times > 0 {
			if fault.Times--; fault.Times == 0 {
				f.script = slices.Delete(f.script, i, i+1)
			}
		}
		return hit
	}
	return Fault{}
}

// AddFault puts a fault at the end of the script.
func (s *Server) AddFault(fault Fault) error {
	if err := fault.validate(); err != nil {
		return fmt.Errorf("adding fault: %w", err)
	}
	if fault.Seconds > 0 {
		fault.until = s.now().Add(time.Duration(fault.Seconds * float64(time.Second)))
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.script = append(s.faults.script, &fault)
	return nil
}

// ClearFaults ends every fault. Requests that already hang go on hanging until
// their client gives up.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.script = nil
}

// Faults returns what is left of the script.
func (s *Server) Faults() []Fault {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	out := make([]Fault, 0, len(s.faults.script))
	for _, fault := range s.faults.script {
		out = append(out, *fault)
	}
	return out
}

// RevokeTokens makes every tenant token handed out so far invalid.
func (s *Server) RevokeTokens() { s.tokens.revokeAll() }

func (s *Server) playBefore(w http.ResponseWriter, c *call, fault Fault) {
	reset := max(fault.Reset, 1)
	var a answer
	switch fault.Kind {
	case FaultHang:
		s.journal.add(c.rec)
		s.hang(c.r.Context())
		panic(http.ErrAbortHandler)
	case FaultRateLimit:
		a = gatewayLimit(429, reset)
	case FaultRateLimit400:
		a = gatewayLimit(400, reset)
	case FaultBadRequest:
		a = answer{status: 400, code: 9499, msg: "Bad Request"}
	case FaultTooMany:
		a = answer{status: 400, code: 9499, msg: "too many request"}
	case FaultChatLimit:
		a = frequency("chat rate limit")
	case FaultStaleToken:
		s.tokens.revoke(bearer(c.r))
		a = staleToken()
	case FaultHTML502:
		a = answer{status: 502, raw: "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"}
	case FaultCode:
		a = answer{status: fault.Status, code: fault.Code, msg: fault.Msg}
		if a.status == 0 {
			a.status = 400
		}
	default: // drop, outage
		s.journal.add(c.rec)
		panic(http.ErrAbortHandler)
	}
	s.record(c, a)
	s.write(w, a)
}
