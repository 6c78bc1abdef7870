package provider

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind names a way in which a provider fails.
type Kind string

// The faults. Those of a stream hit plain answers as well, where that means anything.
const (
	RateLimit     Kind = "rate_limit"      // 429; RetryAfter is its header
	Quota         Kind = "quota"           // 429 insufficient_quota
	Payment       Kind = "payment"         // 402
	ServerError   Kind = "server_error"    // 500
	Overloaded    Kind = "overloaded"      // 529
	HTML502       Kind = "html_502"        // 502 with a page
	Unauthorized  Kind = "unauthorized"    // 401
	Forbidden     Kind = "forbidden"       // 403
	NoModel       Kind = "no_model"        // 404 model_not_found
	BadRequest    Kind = "bad_request"     // 400
	ContentFilter Kind = "content_filter"  // 400 content_filter
	Redirect      Kind = "redirect"        // 302 to Location
	BadJSON       Kind = "bad_json"        // 200 and half an object
	GzipBomb      Kind = "gzip_bomb"       // 200, gzip that was not asked for, of 100 MB
	Drop          Kind = "drop"            // the connection is closed without an answer
	Hang          Kind = "hang"            // nothing at all
	Silence       Kind = "silence"         // headers, then nothing
	EarlyError    Kind = "early_error"     // the role's frame, then an error frame
	ErrorFrame    Kind = "error_frame"     // Chunks chunks, then an error frame
	Cut           Kind = "cut"             // Chunks chunks, then the connection is closed
	NoEnd         Kind = "no_end"          // Chunks chunks, then a clean end without its marker
	Stall         Kind = "stall"           // Chunks chunks, then nothing
	Drip          Kind = "drip"            // a frame without content every Seconds of Delay, for ever
	NoUsage       Kind = "no_usage"        // a whole answer, without a usage report
	NoDone        Kind = "no_done"         // a whole stream, without [DONE]
	HangAfterDone Kind = "hang_after_done" // a whole stream, whose connection stays open
)

// Kinds lists every fault.
func Kinds() []Kind {
	return []Kind{RateLimit, Quota, Payment, ServerError, Overloaded, HTML502, Unauthorized, Forbidden, NoModel, BadRequest, ContentFilter, Redirect, BadJSON,
		GzipBomb, Drop, Hang, Silence, EarlyError, ErrorFrame, Cut, NoEnd, Stall, Drip, NoUsage, NoDone, HangAfterDone}
}

// Fault is a scripted failure. Faults are tried in the order in which they were added;
// a request meets at most one.
type Fault struct {
	Kind Kind `json:"kind"`
	// Backend is whom it hits; empty is all.
	Backend string `json:"backend,omitempty"`
	// Model restricts it to requests for this native model.
	Model string `json:"model,omitempty"`
	// Contains restricts it to requests whose body contains this text.
	Contains string `json:"contains,omitempty"`
	// Skip lets this many matching requests through first.
	Skip int `json:"skip,omitempty"`
	// Times is how many requests it hits; 0 is until cleared, or until Seconds have passed.
	Times int `json:"times,omitempty"`
	// Seconds ends it by time, counted from when it was added; 0 is no end.
	Seconds float64 `json:"seconds,omitempty"`
	// Headers are added to the answer: Retry-After, x-ratelimit-reset-requests, Location ...
	Headers map[string]string `json:"headers,omitempty"`
	// Chunks is how much of a stream comes before the fault.
	Chunks int `json:"chunks,omitempty"`
	// Delay is, in seconds, the time between the frames of Drip, and before any answer else.
	Delay float64 `json:"delay,omitempty"`
	// Message replaces the text of an error.
	Message string `json:"message,omitempty"`

	until time.Time
}

func (f *Fault) validate(backends []string) error {
	var problems []error
	if !slices.Contains(Kinds(), f.Kind) {
		problems = append(problems, fmt.Errorf("kind: %q is none of %v", f.Kind, Kinds()))
	}
	if f.Backend != "" && !slices.Contains(backends, f.Backend) {
		problems = append(problems, fmt.Errorf("backend: %q is none of %v", f.Backend, backends))
	}
	if f.Skip < 0 || f.Times < 0 || f.Seconds < 0 || f.Chunks < 0 || f.Delay < 0 {
		problems = append(problems, errors.New("skip, times, seconds, chunks, delay: must not be negative"))
	}
	return errors.Join(problems...)
}

// script is the faults to come.
type script struct {
	mu     sync.Mutex
	faults []*Fault
}

func (s *script) add(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Seconds > 0 {
		f.until = time.Now().Add(time.Duration(f.Seconds * float64(time.Second)))
	}
	s.faults = append(s.faults, &f)
}

// clear forgets the faults of a backend, or all where it is empty.
func (s *script) clear(backend string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return backend == "" || f.Backend == backend })
}

func (s *script) list() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	out := []Fault{}
	for _, f := range s.faults {
		out = append(out, *f)
	}
	return out
}

func (s *script) expire() {
	now := time.Now()
	s.faults = slices.DeleteFunc(s.faults, func(f *Fault) bool { return !f.until.IsZero() && !now.Before(f.until) })
}

// take returns the fault that a request meets, or the zero Fault.
func (s *script) take(backend, model, body string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	for i, f := range s.faults {
		if f.Backend != "" && f.Backend != backend || f.Model != "" && f.Model != model || !strings.Contains(body, f.Contains) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		hit := *f
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		return hit
	}
	return Fault{}
}

// refusal is a fault that is an answer with an error.
type refusal struct {
	status              int
	kind, code, message string
}

func (f *Fault) refusal() (refusal, bool) {
	known := map[Kind]refusal{
		RateLimit:     {http.StatusTooManyRequests, "rate_limit_error", "rate_limit_exceeded", "Rate limit reached for requests"},
		Quota:         {http.StatusTooManyRequests, "insufficient_quota", "insufficient_quota", "You exceeded your current quota"},
		Payment:       {http.StatusPaymentRequired, "billing_error", "payment_required", "Insufficient balance"},
		ServerError:   {http.StatusInternalServerError, "server_error", "", "The server had an error while processing your request"},
		Overloaded:    {529, "overloaded_error", "", "Overloaded"},
		Unauthorized:  {http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "Incorrect API key provided"},
		Forbidden:     {http.StatusForbidden, "permission_error", "", "No access to this model"},
		NoModel:       {http.StatusNotFound, "invalid_request_error", "model_not_found", "The model does not exist"},
		BadRequest:    {http.StatusBadRequest, "invalid_request_error", "invalid_value", "max_tokens is too large"},
		ContentFilter: {http.StatusBadRequest, "invalid_request_error", "content_filter", "The prompt was refused by the content filter"},
	}
	r, ok := known[f.Kind]
	if ok && f.Message != "" {
		r.message = f.Message
	}
	return r, ok
}
