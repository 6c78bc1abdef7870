// Package openai is the OpenAI dialect on the wire: what the gateway needs to know of
// requests, and what answers, streams and errors mean.
// Sources: https://platform.openai.com/docs/api-reference and the official SDKs.
package openai

import (
	"net/http"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Endpoints returns the endpoints of the dialect.
func Endpoints() []*dialect.Endpoint { return []*dialect.Endpoint{chat()} }

// chat is https://platform.openai.com/docs/api-reference/chat.
func chat() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.OpenAI, Path: "/chat/completions", Reads: request.Spec{StreamOptions: true, Content: "messages"},
		Headers: headers(), Authorize: authorize, Answer: answer, Stream: newStream, Fault: Fault, Errors: Errors{},
	}
}

func headers() []string { return []string{"Openai-Beta"} }

func authorize(h http.Header, key redact.Secret) {
	h["Authorization"] = []string{"Bearer " + key.Reveal()}
}
