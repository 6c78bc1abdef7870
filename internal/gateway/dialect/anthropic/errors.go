package anthropic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// statusOverloaded is the dialect's own: the provider is full, whoever asks.
const statusOverloaded = 529

// Errors says errors as clients of the dialect expect them.
type Errors struct{}

type failureBody struct {
	Type      string        `json:"type"`
	Error     failureDetail `json:"error"`
	RequestID string        `json:"request_id"`
}

type failureDetail struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Code    string `json:"code,omitempty"` // ours; clients of the dialect ignore it
}

// Body implements [dialect.Errors].
func (Errors) Body(f llm.Failure, requestID string) []byte {
	body, err := json.Marshal(failureBody{"error", failureDetail{typeOf(f.Status), f.Message, f.Code}, requestID})
	if err != nil {
		panic(fmt.Sprintf("anthropic: marshalling an error: %v", err)) // only strings
	}
	return body
}

// Frame implements [dialect.Errors].
func (e Errors) Frame(f llm.Failure, requestID string) []byte {
	return append(append([]byte("event: error\ndata: "), e.Body(f, requestID)...), "\n\n"...)
}

func typeOf(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusPaymentRequired:
		return "billing_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusNotFound:
		return "not_found_error"
	case status == http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status == http.StatusServiceUnavailable, status == statusOverloaded:
		return "overloaded_error"
	case status == http.StatusGatewayTimeout:
		return "timeout_error"
	case status >= http.StatusInternalServerError:
		return "api_error"
	default:
		return "invalid_request_error"
	}
}

// statusOf is the status that the dialect answers with an error of the type, which in a
// stream comes without one; 500 where the type is not known.
func statusOf(kind string) int {
	switch kind {
	case "invalid_request_error":
		return http.StatusBadRequest
	case "authentication_error":
		return http.StatusUnauthorized
	case "billing_error":
		return http.StatusPaymentRequired
	case "permission_error":
		return http.StatusForbidden
	case "not_found_error":
		return http.StatusNotFound
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "rate_limit_error":
		return http.StatusTooManyRequests
	case "timeout_error":
		return http.StatusGatewayTimeout
	case "overloaded_error":
		return statusOverloaded
	default:
		return http.StatusInternalServerError
	}
}

// Fault reads an answer whose status is not 200.
func Fault(status int, body []byte) *llm.Fault {
	return fault(status, wire.ErrorIn(body))
}

// streamFault reads the error object of a frame, or of a body with status 200.
func streamFault(object []byte) *llm.Fault {
	said := wire.ErrorOf(object)
	f := fault(statusOf(said.Kind), said)
	f.Status = http.StatusOK
	return f
}

func fault(status int, said wire.Error) *llm.Fault {
	f := &llm.Fault{Status: status, Code: cmp.Or(said.Kind, said.Code), Message: said.Message}
	if f.Message == "" {
		f.Message = "no message in the dialect's form"
	}
	text := strings.ToLower(said.Message)
	f.Class = classOf(status, said.Kind+" "+said.Code, text)
	f.NamesKey = f.Class == llm.Auth && (status != http.StatusForbidden || blamesKey(text))
	return f
}

// Texts by which the dialect tells apart what has one type. They are long enough that
// no request which is quoted in an error looks like them by chance.
const (
	creditGone    = "credit balance is too low"
	spendingLimit = "reached your specified api usage limits"
	orgDisabled   = "organization has been disabled"
	filtered      = "content filtering policy"
)

func blamesKey(text string) bool {
	return strings.Contains(text, "api key") || strings.Contains(text, "api-key") || strings.Contains(text, orgDisabled)
}

func classOf(status int, words, text string) llm.Class {
	switch {
	case status == http.StatusPaymentRequired, strings.Contains(words, "billing_error"), strings.Contains(words, "insufficient_quota"),
		strings.Contains(text, creditGone), strings.Contains(text, spendingLimit):
		return llm.Quota
	case status == http.StatusUnauthorized, status == http.StatusForbidden, strings.Contains(text, orgDisabled):
		return llm.Auth
	case status == http.StatusTooManyRequests:
		return llm.RateLimit
	case status == http.StatusNotFound && strings.Contains(text, "model"):
		return llm.ModelUnavailable
	case status == http.StatusNotFound && strings.Contains(words, "not_found_error") && text != "not found":
		return llm.InvalidRequest // a file, or what else the request names
	case strings.Contains(text, filtered):
		return llm.ContentPolicy
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		return llm.InvalidRequest
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		return llm.ServerError
	default:
		return llm.Malformed
	}
}

// malformed is the fault of an answer of status 200 that is not what the dialect says.
func malformed(message string) *llm.Fault {
	return &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: message}
}
