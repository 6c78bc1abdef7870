package provider

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Kind names a way in which a provider fails.
type Kind string

// The faults. Those of a stream hit plain answers as well, where that means anything.
// Statuses and words are those of the endpoint's dialect.
const (
	RateLimit     Kind = "rate_limit"      // 429; RetryAfter is its header, Reset says when by the dialect's own
	Quota         Kind = "quota"           // 429 insufficient_quota, or 400 with a credit balance that is too low
	Payment       Kind = "payment"         // 402
	ServerError   Kind = "server_error"    // 500
	Overloaded    Kind = "overloaded"      // 529
	HTML502       Kind = "html_502"        // 502 with a page
	Unauthorized  Kind = "unauthorized"    // 401
	Forbidden     Kind = "forbidden"       // 403
	NoModel       Kind = "no_model"        // 404 model_not_found, or not_found_error
	BadRequest    Kind = "bad_request"     // 400
	TooLarge      Kind = "too_large"       // 413
	ContentFilter Kind = "content_filter"  // 400 content_filter
	Redirect      Kind = "redirect"        // 302 to Location
	BadJSON       Kind = "bad_json"        // 200 and half an object
	GzipBomb      Kind = "gzip_bomb"       // 200, gzip that was not asked for, of 100 MB
	Drop          Kind = "drop"            // the connection is closed without an answer
	Hang          Kind = "hang"            // nothing at all
	Slow          Kind = "slow"            // a whole answer, Delay late
	Silence       Kind = "silence"         // headers, then nothing
	EarlyError    Kind = "early_error"     // the frames before any content, then an error frame
	ErrorFrame    Kind = "error_frame"     // Chunks chunks, then an error frame
	Failed        Kind = "failed"          // the same, as the event response.failed where there is one
	BadFrame      Kind = "bad_frame"       // Chunks chunks, then half an object
	Cut           Kind = "cut"             // Chunks chunks, then the connection is closed
	NoEnd         Kind = "no_end"          // Chunks chunks, then a clean end without its marker
	Stall         Kind = "stall"           // Chunks chunks, then nothing
	Drip          Kind = "drip"            // Chunks chunks, then a frame without content every Delay, for ever
	NoUsage       Kind = "no_usage"        // a whole answer, without a usage report
	NoDone        Kind = "no_done"         // a whole stream, without its last frame: [DONE], message_stop, response.completed
	HangAfterDone Kind = "hang_after_done" // a whole stream, whose connection stays open
)

// Kinds lists every fault.
func Kinds() []Kind {
	return []Kind{RateLimit, Quota, Payment, ServerError, Overloaded, HTML502, Unauthorized, Forbidden, NoModel, BadRequest, TooLarge, ContentFilter, Redirect, BadJSON,
		GzipBomb, Drop, Hang, Slow, Silence, EarlyError, ErrorFrame, Failed, BadFrame, Cut, NoEnd, Stall, Drip, NoUsage, NoDone, HangAfterDone}
}

// Fault is a scripted failure. Faults are tried in the order in which they were added;
// a request meets at most one.
type Fault struct {
	Kind Kind `json:"kind"`
	// Backend is whom it hits; empty is all.
	Backend string `json:"backend,omitempty"`
	// Path restricts it to one endpoint, such as /v1/messages. Without it, it hits all but
	// GET /v1/models, which asks for nothing that is paid.
	Path string `json:"path,omitempty"`
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
	// Reset is, in seconds, when the limit named by ResetOf will be renewed, told by the
	// dialect's own headers with nothing remaining; 0 leaves something of every limit.
	Reset float64 `json:"reset,omitempty"`
	// ResetOf is one of requests (where empty), tokens, input-tokens, output-tokens, unified.
	ResetOf string `json:"reset_of,omitempty"`
	// Chunks is how much of a stream comes before the fault.
	Chunks int `json:"chunks,omitempty"`
	// Delay is, in seconds, the time between the frames of Drip, and before any answer else.
	Delay float64 `json:"delay,omitempty"`
	// Message replaces the text of an error.
	Message string `json:"message,omitempty"`
	// Type replaces the type of an error, and its code where there is one.
	Type string `json:"type,omitempty"`

	until time.Time
}

func (f *Fault) aim() aim {
	return aim{f.Backend, f.Path, f.Model, f.Contains, &f.Skip, &f.Times, f.Seconds, &f.until}
}

func (f *Fault) validate(backends []string) error {
	var problems []error
	if !slices.Contains(Kinds(), f.Kind) {
		problems = append(problems, fmt.Errorf("kind: %q is none of %v", f.Kind, Kinds()))
	}
	if limits := append([]string{"", unified}, anthropicLimits()...); !slices.Contains(limits, f.ResetOf) {
		problems = append(problems, fmt.Errorf("reset_of: %q is none of %v", f.ResetOf, limits[1:]))
	}
	if f.Chunks < 0 || f.Delay < 0 || f.Reset < 0 {
		problems = append(problems, errors.New("chunks, delay, reset: must not be negative"))
	}
	return errors.Join(append(problems, f.aim().validate(backends))...)
}

func (a aim) validate(backends []string) error {
	var problems []error
	if a.backend != "" && !slices.Contains(backends, a.backend) {
		problems = append(problems, fmt.Errorf("backend: %q is none of %v", a.backend, backends))
	}
	if a.path != "" && !slices.Contains(paths(), a.path) {
		problems = append(problems, fmt.Errorf("path: %q is none of %v", a.path, paths()))
	}
	if *a.skip < 0 || *a.times < 0 || a.seconds < 0 {
		problems = append(problems, errors.New("skip, times, seconds: must not be negative"))
	}
	return errors.Join(problems...)
}

// breaksOff reports whether the fault ends a stream after its Chunks.
func (f *Fault) breaksOff() bool {
	return slices.Contains([]Kind{ErrorFrame, Failed, BadFrame, Cut, NoEnd, Stall, Drip}, f.Kind)
}
