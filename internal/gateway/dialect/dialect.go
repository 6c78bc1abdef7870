// Package dialect says what an endpoint of a wire dialect is to the gateway: how its
// requests are read, what its answers and streams mean, and how an error is said in it.
// The dialects themselves are the packages below.
package dialect

import (
	"net/http"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Name is a dialect.
type Name string

// The dialects.
const (
	OpenAI    Name = "openai"
	Anthropic Name = "anthropic"
)

// Names lists every dialect.
func Names() []Name { return []Name{OpenAI, Anthropic} }

// Errors is how a dialect says that something failed.
type Errors interface {
	// Body is the error as the body of a response.
	Body(f llm.Failure, requestID string) []byte
	// Frame is the error as the last frame of a stream that had begun: official
	// clients raise on it.
	Frame(f llm.Failure, requestID string) []byte
}

// Stream reads the frames of one streamed answer.
type Stream interface {
	// Frame reads the next frame. Its fault, where there is one, ends the stream.
	Frame(f sse.Frame) (llm.Step, *llm.Fault)
	// Answer is what the frames have said so far; its usage is Missing until one is reported.
	Answer() llm.Answer
	// Complete reports whether the stream may end here.
	Complete() bool
}

// Endpoint is one address that a dialect defines. All of it is read only.
type Endpoint struct {
	Dialect Name
	// Path stands below the version, such as /chat/completions.
	Path string
	// Reads says which keys of a body mean something.
	Reads request.Spec
	// Free means that an answer costs nothing and uses no tokens.
	Free bool
	// Headers of a client that backends see, beside Accept and User-Agent, in the
	// canonical form.
	Headers []string
	// Authorize puts the backend's credential, and what else the dialect demands, into
	// the headers of a call.
	Authorize func(h http.Header, key redact.Secret)
	// Answer reads a whole answer of status 200: what it says, or the fault that it is.
	Answer func(body []byte) (llm.Answer, *llm.Fault)
	// Stream returns a reader for one streamed answer; nil where the endpoint never
	// streams. addedUsage says that the gateway asked for the usage report: the frame
	// that holds it is not the client's.
	Stream func(addedUsage bool) Stream
	// Fault reads an answer of another status.
	Fault func(status int, body []byte) *llm.Fault
	// Errors says errors in the form that clients of the endpoint expect.
	Errors Errors
}
