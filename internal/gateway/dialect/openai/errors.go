package openai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
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

// maxMessage bounds what is kept of a provider's message.
const maxMessage = 500

// Fault reads an answer whose status is not 200.
func Fault(status int, body []byte) *llm.Fault {
	f := &llm.Fault{Status: status}
	message, kind, code := errorOf(body)
	f.Message, f.Code = message, code
	if f.Message == "" {
		f.Message = "no message in the dialect's form"
	}
	words := f.Code + " " + kind
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
	message, kind, code := errorFields(object)
	status := http.StatusInternalServerError
	switch words := code + " " + kind; {
	case strings.Contains(words, "rate_limit"), strings.Contains(words, "429"):
		status = http.StatusTooManyRequests
	case strings.Contains(words, "invalid_request"):
		status = http.StatusBadRequest
	}
	f := Fault(status, fmt.Appendf(nil, `{"error":%s}`, object))
	f.Status = http.StatusOK
	if message == "" {
		f.Message = "an error without a message"
	}
	return f
}

func errorOf(body []byte) (message, kind, code string) {
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		if string(key.Of(body)) == "error" {
			message, kind, code = errorFields(value.Of(body))
		}
		return nil
	})
	if err != nil {
		return "", "", ""
	}
	return message, kind, code
}

// errorFields reads an error object; some providers have a plain string there.
func errorFields(object []byte) (message, kind, code string) {
	if text, ok := jsonscan.Text(object, jsonscan.Span{End: len(object)}); ok {
		return short(text), "", ""
	}
	err := jsonscan.Object(object, func(key, value jsonscan.Span) error {
		text, isText := jsonscan.Text(object, value)
		if !isText {
			text = string(value.Of(object))
		}
		switch string(key.Of(object)) {
		case "message":
			message = short(text)
		case "type":
			kind = short(text)
		case "code":
			code = short(text)
		}
		return nil
	})
	if err != nil {
		return "", "", ""
	}
	return message, kind, code
}

func short(text string) string {
	if text == "null" {
		return ""
	}
	if len(text) <= maxMessage {
		return text
	}
	cut := maxMessage
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
