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
func Endpoints() []*dialect.Endpoint {
	return []*dialect.Endpoint{chat(), completions(), embeddings(), responses()}
}

// chat is https://platform.openai.com/docs/api-reference/chat.
func chat() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.OpenAI, Path: "/chat/completions", Reads: request.Spec{StreamOptions: true, Content: "messages"},
		Headers: headers(), Authorize: authorize, Answer: answer("choices"), Stream: newStream, Fault: Fault, Errors: Errors{},
	}
}

// completions is https://platform.openai.com/docs/api-reference/completions.
func completions() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.OpenAI, Path: "/completions", Reads: request.Spec{StreamOptions: true},
		Headers: headers(), Authorize: authorize, Answer: answer("choices"), Stream: newStream, Fault: Fault, Errors: Errors{},
	}
}

// embeddings is https://platform.openai.com/docs/api-reference/embeddings.
func embeddings() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.OpenAI, Path: "/embeddings", Reads: request.Spec{NeverStreams: true},
		Headers: headers(), Authorize: authorize, Answer: answer("data"), Fault: Fault, Errors: Errors{},
	}
}

// responses is https://platform.openai.com/docs/api-reference/responses.
func responses() *dialect.Endpoint {
	return &dialect.Endpoint{
		Dialect: dialect.OpenAI, Path: "/responses", Reads: request.Spec{Content: "input", Previous: true},
		Headers: headers(), Authorize: authorize, Answer: response, Stream: newEvents, Fault: Fault, Errors: EventErrors{},
	}
}

func headers() []string { return []string{"Openai-Beta"} }

func authorize(h http.Header, key redact.Secret) {
	h["Authorization"] = []string{"Bearer " + key.Reveal()}
}
