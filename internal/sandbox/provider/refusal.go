package provider

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// dialect is whose words an endpoint uses.
type dialect int

const (
	openai dialect = iota
	anthropic
)

// refusal is an answer with an error.
type refusal struct {
	status                     int
	kind, code, param, message string
}

// refusals are the faults that are answers with an error. Sources:
// https://platform.openai.com/docs/guides/error-codes and
// https://docs.anthropic.com/en/api/errors.
func (d dialect) refusals() map[Kind]refusal {
	if d == anthropic {
		return map[Kind]refusal{
			RateLimit:     {status: http.StatusTooManyRequests, kind: "rate_limit_error", message: "This request would exceed your organization's rate limit"},
			Quota:         {status: http.StatusBadRequest, kind: "invalid_request_error", message: "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},
			Payment:       {status: http.StatusPaymentRequired, kind: "billing_error", message: "There is an issue with your billing"},
			ServerError:   {status: http.StatusInternalServerError, kind: "api_error", message: "Internal server error"},
			Overloaded:    {status: statusOverloaded, kind: "overloaded_error", message: "Overloaded"},
			Unauthorized:  {status: http.StatusUnauthorized, kind: "authentication_error", message: "invalid x-api-key"},
			Forbidden:     {status: http.StatusForbidden, kind: "permission_error", message: "Your account does not have permission to use this model"},
			NoModel:       {status: http.StatusNotFound, kind: "not_found_error", message: "model: the model does not exist"},
			BadRequest:    {status: http.StatusBadRequest, kind: "invalid_request_error", message: "max_tokens: 1000000 > 64000, which is the maximum allowed number of output tokens"},
			TooLarge:      {status: http.StatusRequestEntityTooLarge, kind: "request_too_large", message: "Request exceeds the maximum allowed number of bytes"},
			ContentFilter: {status: http.StatusBadRequest, kind: "invalid_request_error", message: "Output blocked by content filtering policy"},
		}
	}
	return map[Kind]refusal{
		RateLimit:     {status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "rate_limit_exceeded", message: "Rate limit reached for requests"},
		Quota:         {status: http.StatusTooManyRequests, kind: "insufficient_quota", code: "insufficient_quota", message: "You exceeded your current quota"},
		Payment:       {status: http.StatusPaymentRequired, kind: "billing_error", code: "payment_required", message: "Insufficient balance"},
		ServerError:   {status: http.StatusInternalServerError, kind: "server_error", message: "The server had an error while processing your request"},
		Overloaded:    {status: statusOverloaded, kind: "overloaded_error", message: "Overloaded"},
		Unauthorized:  {status: http.StatusUnauthorized, kind: "invalid_request_error", code: "invalid_api_key", message: "Incorrect API key provided"},
		Forbidden:     {status: http.StatusForbidden, kind: "permission_error", message: "No access to this model"},
		NoModel:       {status: http.StatusNotFound, kind: "invalid_request_error", code: "model_not_found", message: "The model does not exist"},
		BadRequest:    {status: http.StatusBadRequest, kind: "invalid_request_error", code: "invalid_value", message: "max_tokens is too large"},
		TooLarge:      {status: http.StatusRequestEntityTooLarge, kind: "invalid_request_error", code: "request_too_large", message: "The request is too large"},
		ContentFilter: {status: http.StatusBadRequest, kind: "invalid_request_error", code: "content_filter", message: "The prompt was refused by the content filter"},
	}
}

// statusOverloaded is Anthropic's own.
const statusOverloaded = 529

// refusal is the answer that the fault is, if it is one.
func (f *Fault) refusal(d dialect) (refusal, bool) {
	r, ok := d.refusals()[f.Kind]
	return f.dress(r), ok
}

// inStream is what an error frame says.
func (f *Fault) inStream(d dialect) refusal {
	if d == anthropic {
		return f.dress(refusal{kind: "api_error", message: "Internal server error"})
	}
	return f.dress(refusal{kind: "server_error", message: "The server had an error"})
}

func (f *Fault) dress(r refusal) refusal {
	if f.Message != "" {
		r.message = f.Message
	}
	if f.Type != "" {
		r.kind, r.code = f.Type, f.Type
	}
	return r
}

// body is the refusal in the dialect's form.
func (r refusal) body(d dialect, requestID string) map[string]any {
	if d == anthropic {
		return map[string]any{"type": "error", "error": map[string]any{"type": r.kind, "message": r.message}, "request_id": requestID}
	}
	return map[string]any{"error": map[string]any{"message": r.message, "type": r.kind, "param": orNull(r.param), "code": orNull(r.code)}}
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// unified is the limit of Anthropic's subscriptions.
const unified = "unified"

func anthropicLimits() []string {
	return []string{"requests", "tokens", "input-tokens", "output-tokens"}
}

// limits tells what remains of the rate limits, as the dialect does on every answer.
func (f *Fault) limits(d dialect, h http.Header, now time.Time) {
	spent := f.ResetOf
	if spent == "" {
		spent = "requests"
	}
	left := func(limit string) (remaining string, after time.Duration) {
		if f.Reset > 0 && limit == spent {
			return "0", time.Duration(f.Reset * float64(time.Second))
		}
		return "999", time.Second
	}
	if d == openai {
		for _, limit := range []string{"requests", "tokens"} {
			remaining, after := left(limit)
			h.Set("x-ratelimit-limit-"+limit, "1000")
			h.Set("x-ratelimit-remaining-"+limit, remaining)
			h.Set("x-ratelimit-reset-"+limit, after.String())
		}
		return
	}
	for _, limit := range anthropicLimits() {
		remaining, after := left(limit)
		h.Set("anthropic-ratelimit-"+limit+"-limit", "1000")
		h.Set("anthropic-ratelimit-"+limit+"-remaining", remaining)
		h.Set("anthropic-ratelimit-"+limit+"-reset", now.Add(after).UTC().Format(time.RFC3339))
	}
	if _, after := left(unified); spent == unified {
		h.Set("anthropic-ratelimit-unified-status", "rejected")
		h.Set("anthropic-ratelimit-unified-reset", fmt.Sprint(now.Add(after).Unix()))
	}
}

// presented is the key that a request brings, in the dialect's way.
func (d dialect) presented(h http.Header) string {
	if d == anthropic {
		return h.Get("X-Api-Key")
	}
	key, _ := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	return key
}

// requestIDHeader is where the dialect names a request.
func (d dialect) requestIDHeader() string {
	if d == anthropic {
		return "Request-Id"
	}
	return "X-Request-Id"
}
