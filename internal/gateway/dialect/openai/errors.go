package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// Errors says errors as clients of chat completions, completions and embeddings
// expect them.
type Errors struct{}

type failureBody struct {
	Error failureDetail `json:"error"`
}

type failureDetail struct {
	Message   string  `json:"message"`
	Type      string  `json:"type"`
	Param     *string `json:"param"`
	Code      *string `json:"code"`
	RequestID string  `json:"request_id"`
}

// Body implements [dialect.Errors].
func (Errors) Body(f llm.Failure, requestID string) []byte {
	d := failureDetail{Message: f.Message, Type: typeOf(f.Status), RequestID: requestID}
	if f.Param != "" {
		d.Param = &f.Param
	}
	if f.Code != "" {
		d.Code = &f.Code
	}
	body, err := json.Marshal(failureBody{d})
	if err != nil {
		panic(fmt.Sprintf("openai: marshalling an error: %v", err)) // only strings
	}
	return body
}

// Frame implements [dialect.Errors].
func (e Errors) Frame(f llm.Failure, requestID string) []byte {
	return append(append([]byte("data: "), e.Body(f, requestID)...), "\n\n"...)
}

func typeOf(status int) string {
	switch {
	case status == http.StatusUnauthorized:
		return "authentication_error"
	case status == http.StatusForbidden:
		return "permission_error"
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= http.StatusInternalServerError:
		return "server_error"
	default:
		return "invalid_request_error"
	}
}

// Fault reads an answer whose status is not 200.
func Fault(status int, body []byte) *llm.Fault {
	f := &llm.Fault{Status: status}
	said := wire.ErrorIn(body)
	f.Message, f.Code = said.Message, said.Code
	if f.Message == "" {
		f.Message = "no message in the dialect's form"
	}
	words := f.Code + " " + said.Kind
	text := strings.ToLower(words + " " + f.Message)
	f.NamesKey = strings.Contains(text, "api key") || strings.Contains(text, "api_key") || strings.Contains(text, "apikey")
	switch {
	case strings.Contains(words, "insufficient_quota"), status == http.StatusPaymentRequired:
		f.Class = llm.Quota
	case strings.Contains(words, "invalid_api_key"), status == http.StatusUnauthorized, status == http.StatusForbidden:
		f.Class = llm.Auth
	case status == http.StatusTooManyRequests:
		f.Class = llm.RateLimit
	case strings.Contains(words, "model_not_found"), status == http.StatusNotFound && strings.Contains(text, "model"):
		f.Class = llm.ModelUnavailable
	case strings.Contains(words, "content_filter"), strings.Contains(words, "content_policy"):
		f.Class = llm.ContentPolicy
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge, status == http.StatusUnprocessableEntity:
		f.Class = llm.InvalidRequest
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		f.Class = llm.ServerError
	default:
		f.Class = llm.Malformed
	}
	return f
}

// streamFault reads the error object of a frame, or of a body with status 200.
func streamFault(object []byte) *llm.Fault {
	said := wire.ErrorOf(object)
	status := http.StatusInternalServerError
	words := said.Code + " " + said.Kind
	has := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(words, text) })
	}
	switch {
	case has("rate_limit"):
		status = http.StatusTooManyRequests
	case has("invalid_request", "invalid_prompt", "invalid_image", "unsupported_image", "image_too_", "image_parse_error", "image_file"):
		status = http.StatusBadRequest
	default:
		// Routers of other providers have the status of theirs as the code.
		if n := wire.Count([]byte(said.Code)); n >= http.StatusBadRequest && n < 600 {
			status = int(n)
		}
	}
	f := Fault(status, fmt.Appendf(nil, `{"error":%s}`, object))
	f.Status = http.StatusOK
	if said.Message == "" {
		f.Message = "an error without a message"
	}
	return f
}

// malformed is the fault of an answer of status 200 that is not what the dialect says.
func malformed(message string) *llm.Fault {
	return &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: message}
}

func notJSON(err error) *llm.Fault {
	return malformed("the answer is not a JSON object: " + err.Error())
}

func badFrame(err error) *llm.Fault {
	return malformed("a frame is not what the dialect sends: " + err.Error())
}
