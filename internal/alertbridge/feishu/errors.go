// Package feishu speaks to Feishu: app messages through the official SDK, and
// custom bots.
//
// Every failure is an [*Error]. Its Class, decided from Feishu's own code in
// one place, says whose fault it is and what to do; the same class feeds
// retries, dead letters, metrics and messages. Neither tokens nor hook URLs
// appear in an error.
package feishu

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Class is whose fault a failure is.
type Class string

// The classes.
const (
	RateLimited Class = "rate_limited" // wait for Error.RetryAfter, try again
	Unavailable Class = "unavailable"  // Feishu or the way to it; try again
	Busy        Class = "busy"         // the same uuid is still being sent; try again
	StaleToken  Class = "stale_token"  // the token was evicted; try again
	Auth        Class = "auth"         // credentials, permissions, sign
	Target      Class = "target"       // this recipient cannot be reached
	Content     Class = "content"      // this card is refused; another form may pass
	Expired     Class = "expired"      // the message can no longer be changed
	Refused     Class = "refused"      // any other refusal by its code
)

// Classes lists every class.
func Classes() []Class {
	return []Class{RateLimited, Unavailable, Busy, StaleToken, Auth, Target, Content, Expired, Refused}
}

// Error is a failed call.
type Error struct {
	Class      Class
	Code       int // Feishu's own code; 0 where there was none
	Status     int // HTTP status; 0 where there was no response
	Message    string
	RetryAfter time.Duration // how long Feishu asks to wait; 0 where it does not say
	InDoubt    bool          // Feishu may have accepted the call all the same
	cause      error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("feishu: " + string(e.Class))
	if e.Code != 0 {
		fmt.Fprintf(&b, ", code %d", e.Code)
	}
	if e.Status != 0 && e.Status != http.StatusOK {
		fmt.Fprintf(&b, ", HTTP %d", e.Status)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.cause }

// Retry reports whether the same call may succeed later.
func (e *Error) Retry() bool {
	switch e.Class {
	case RateLimited, Unavailable, Busy, StaleToken:
		return true
	default:
		return false
	}
}

// classOf decides by Feishu's code. Sources: the error tables of
// https://open.feishu.cn/document/server-docs/im-v1/message/create,
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot and
// https://open.feishu.cn/document/server-docs/api-call-guide/generic-error-code.
func classOf(code, status int, message string) Class {
	switch code {
	case 99991400, 11232, 11233, 230020:
		return RateLimited
	case 2200, 11310:
		return Unavailable
	case 230049:
		return Busy
	case 99991663, 99991664, 99991671:
		return StaleToken
	case 19001, 19021, 19022, 10003, 10014, 99991661, 99991672, 99991679, 212100, 230006, 230027, 232025, 232034:
		return Auth
	case 230002, 230013, 230029, 230034, 230035, 230053, 232006, 232009, 41012, 99992351, 99992360, 99992361, 99992363, 99992364:
		return Target
	case 230022, 230025, 230028, 230099, 11246, 19024, 19036, 200861:
		return Content
	case 230011, 230031:
		return Expired
	case 9499:
		// One code for "Bad Request" and "too many request".
		if strings.Contains(strings.ToLower(message), "too many") {
			return RateLimited
		}
		return Content
	}
	switch {
	case status == http.StatusTooManyRequests:
		return RateLimited
	case status >= http.StatusInternalServerError:
		return Unavailable
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return Auth
	default:
		return Refused
	}
}

// inDoubt reports whether a refusal leaves open if the call was carried out.
func inDoubt(code, status int) bool {
	return code == 2200 || code == 11310 || (code == 0 && status >= http.StatusInternalServerError)
}

// resetHeader says, in seconds, when a gateway limit ends.
const resetHeader = "X-Ogw-Ratelimit-Reset"

func answered(code, status int, message string, header http.Header) *Error {
	e := &Error{Class: classOf(code, status, message), Code: code, Status: status, Message: message, InDoubt: inDoubt(code, status)}
	for _, name := range []string{resetHeader, "Retry-After"} {
		if seconds, err := strconv.ParseFloat(header.Get(name), 64); err == nil && seconds > 0 {
			e.RetryAfter = time.Duration(seconds * float64(time.Second))
			break
		}
	}
	return e
}

// unanswered is a call without a usable response. Only a connection that was
// never made surely carried nothing.
func unanswered(cause error, dialed bool) *Error {
	e := &Error{Class: Unavailable, InDoubt: dialed, cause: cause}
	var timeout net.Error
	switch {
	case errors.Is(cause, context.DeadlineExceeded), errors.As(cause, &timeout) && timeout.Timeout():
		e.Message = "no answer in time"
	case !dialed:
		e.Message = "no connection"
	default:
		e.Message = "the connection broke"
	}
	return e
}
