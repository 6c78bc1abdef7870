// Package anthropic is the Anthropic dialect on the wire: what the gateway needs to know
// of requests, and what answers, streams and errors mean.
// Sources: https://docs.anthropic.com/en/api/messages, .../messages-streaming,
// .../errors and the official SDKs.
package anthropic

import (
	"net/http"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// version is what a call says it speaks where the client does not say it.
const version = "2023-06-01"

// Endpoints returns the endpoints of the dialect.
func Endpoints() []*dialect.Endpoint { return []*dialect.Endpoint{messages(), countTokens()} }

// messages is https://docs.anthropic.com/en/api/messages.
func messages() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.Anthropic, Path: "/messages", Reads: request.Spec{Content: "messages"},
		Headers: headers(), Authorize: authorize, Answer: message, Stream: newStream, Fault: Fault, Errors: Errors{},
	}
}

// countTokens is https://docs.anthropic.com/en/api/messages-count-tokens.
func countTokens() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.Anthropic, Path: "/messages/count_tokens", Reads: request.Spec{NeverStreams: true, Content: "messages"}, Free: true,
		Headers: headers(), Authorize: authorize, Answer: counted, Fault: Fault, Errors: Errors{},
	}
}

func headers() []string { return []string{"Anthropic-Beta", "Anthropic-Version"} }

func authorize(h http.Header, key redact.Secret) {
	h["X-Api-Key"] = []string{key.Reveal()}
	if h.Get("Anthropic-Version") == "" {
		h["Anthropic-Version"] = []string{version}
	}
}
