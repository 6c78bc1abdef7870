// Package request reads a request's body: what the gateway needs to know of it, and
// which bytes it changes.
//
// A body's bytes pass as they are, fields unknown to the gateway included; only the
// model's name, and the wish for a usage report where the client has none, are spliced
// in. Keys that decide where a request goes are refused where they stand twice, escaped
// or not, or in other case: backends may take another of them than the gateway did.
// Sources: https://platform.openai.com/docs/api-reference,
// https://docs.anthropic.com/en/api/messages and the official SDKs.
package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
)

const (
	// maxModelName bounds what is kept of a model's name.
	maxModelName = 256
	// maxID bounds what is kept of the id of an earlier response.
	maxID = 256
	// maxTokens bounds a count: beyond it is nonsense, and must not overflow a sum.
	maxTokens = 1 << 40
	// maxChoices bounds how many answers are counted on: providers allow 128.
	maxChoices = 1 << 10
)

// Spec says which keys of an endpoint's bodies mean something, beside model and stream.
type Spec struct {
	StreamOptions bool   // stream_options.include_usage asks for the usage of a stream
	NeverStreams  bool   // the key stream means nothing
	Content       string // of which array the elements hold content: messages or input; "" = none
	Previous      bool   // previous_response_id names the answer that this one goes on from
}

// Request is what the gateway needs to know of a body.
type Request struct {
	Model     string
	Stream    bool
	MaxTokens int64  // of output that the client allows; 0 = it does not say
	Choices   int64  // answers to the one prompt that the client asks for, each of which is paid; 0 = it does not say, which is one
	Reasoning bool   // the client asks for thinking
	Previous  string // id of the response that this one goes on from; "" = none

	spec          *Spec
	body          []byte
	model         jsonscan.Span
	streamOptions jsonscan.Span // zero where absent
	content       jsonscan.Span // zero where absent
	usageAsked    bool          // include_usage is there, true or false
	optionsFilled bool          // stream_options has members
}

// Error is a request that no backend would be asked: the client's mistake.
type Error struct {
	Param   string // the key at fault; "" = the whole body
	Message string
}

func (e *Error) Error() string { return e.Message }

// Scan reads a body once. The body must not change while the Request is used.
func Scan(body []byte, spec *Spec) (*Request, error) {
	r := &Request{body: body, spec: spec}
	var seen [decisive]bool
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		name := key.Of(body)
		if !mayBeWatched(name) {
			return nil
		}
		text := jsonscan.Key(body, key)
		for i, w := range watched {
			if !strings.EqualFold(text, w) {
				continue
			}
			if i < decisive {
				if seen[i] || text != w {
					return &Error{w, fmt.Sprintf("the key %q stands twice, or not in lower case: it must be there once", w)}
				}
				seen[i] = true
			}
			return r.take(w, value)
		}
		return nil
	})
	var syntax *jsonscan.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &Error{"", "the body is not a JSON object: " + syntax.Error()}
	case errors.Is(err, jsonscan.ErrDeep):
		return nil, &Error{"", "the body is nested too deeply"}
	case err != nil:
		return nil, err
	case r.Model == "":
		return nil, &Error{"model", "the key \"model\" is missing: expected the name of a model"}
	}
	return r, nil
}

// watched are the keys that mean something. The first ones decide where a request
// goes, and may stand there once only; of the others the larger, or any, counts.
var watched = [...]string{
	"model", "stream", "stream_options", "previous_response_id", "background",
	"max_tokens", "max_completion_tokens", "max_output_tokens", "n", "best_of", "thinking", "reasoning", "reasoning_effort", "messages", "input",
}

const decisive = 5

// mayBeWatched leaves out most keys without decoding them. Case folding can lengthen
// a letter (the Kelvin sign and the long s are not ASCII), so it looks for those.
func mayBeWatched(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch name[0] | 0x20 {
	case 'm', 's', 'p', 'b', 'n', 't', 'r', 'i':
		return true
	default:
		return bytes.IndexByte(name, '\\') >= 0 || name[0] >= 0x80
	}
}

func (r *Request) take(key string, value jsonscan.Span) error {
	raw := value.Of(r.body)
	switch key {
	case "model":
		name, ok := jsonscan.Text(r.body, value)
		if !ok || name == "" || len(name) > maxModelName {
			return &Error{"model", "the key \"model\" must be the name of a model"}
		}
		r.Model, r.model = name, value
	case "stream":
		return r.takeStream(raw)
	case "stream_options":
		if r.spec.StreamOptions {
			return r.takeOptions(value, raw)
		}
	case "previous_response_id":
		return r.takePrevious(value, raw)
	case "background":
		if r.spec.Previous && string(raw) == "true" {
			return &Error{"background", "the key \"background\" must be false or absent: answers that are fetched later are not served here"}
		}
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && n > 0 {
			r.MaxTokens = max(r.MaxTokens, min(n, maxTokens))
		}
	case "n", "best_of":
		if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil && n > 0 {
			r.Choices = max(r.Choices, min(n, maxChoices))
		}
	case "thinking", "reasoning", "reasoning_effort":
		r.Reasoning = r.Reasoning || asksToThink(key, raw)
	default:
		if key == r.spec.Content {
			r.content = value
		}
	}
	return nil
}

func (r *Request) takeStream(raw []byte) error {
	switch string(raw) {
	case "true":
		r.Stream = !r.spec.NeverStreams
	case "false", "null":
	default:
		return &Error{"stream", "the key \"stream\" must be true or false"}
	}
	return nil
}

func (r *Request) takePrevious(value jsonscan.Span, raw []byte) error {
	if !r.spec.Previous || string(raw) == "null" {
		return nil
	}
	id, ok := jsonscan.Text(r.body, value)
	if !ok || id == "" || len(id) > maxID {
		return &Error{"previous_response_id", "the key \"previous_response_id\" must be the id of a response"}
	}
	r.Previous = id
	return nil
}

func (r *Request) takeOptions(value jsonscan.Span, raw []byte) error {
	r.streamOptions = value
	if string(raw) == "null" {
		return nil
	}
	err := jsonscan.Object(raw, func(key, _ jsonscan.Span) error {
		r.optionsFilled = true
		r.usageAsked = r.usageAsked || strings.EqualFold(jsonscan.Key(raw, key), "include_usage")
		return nil
	})
	if err != nil {
		return &Error{"stream_options", "the key \"stream_options\" must be an object"}
	}
	return nil
}

// asksToThink reads thinking {"type":"enabled"}, reasoning {"effort":"high"} and
// reasoning_effort "high". A value of another shape asks for nothing that is known;
// the backend will say what is wrong with it.
func asksToThink(key string, raw []byte) bool {
	switch string(raw) {
	case "null", `"none"`, "{}":
		return false
	}
	if key == "reasoning_effort" {
		return true
	}
	asks := key == "reasoning"
	_ = jsonscan.Object(raw, func(key, value jsonscan.Span) error { // not an object: asks for nothing
		switch word := string(value.Of(raw)); string(key.Of(raw)) {
		case "type":
			asks = word != `"disabled"`
		case "effort":
			asks = word != "null" && word != `"none"`
		}
		return nil
	})
	return asks
}

// Size is that of the body, in bytes.
func (r *Request) Size() int64 { return int64(len(r.body)) }

// AddsUsage reports whether Splice asks for a usage report that the client did not
// ask for, and which it is not to see.
func (r *Request) AddsUsage() bool { return r.spec.StreamOptions && r.Stream && !r.usageAsked }

// Splice returns the body to send: the model's name replaced by native, and the wish
// for a usage report added where AddsUsage. No other byte differs.
func (r *Request) Splice(native string) jsonscan.Spliced {
	name, err := json.Marshal(native)
	if err != nil {
		panic(fmt.Sprintf("request: marshalling a string: %v", err)) // no string fails
	}
	const option = `"include_usage":true`
	switch {
	case !r.AddsUsage():
		return jsonscan.Splice(r.body, jsonscan.Edit{At: r.model, New: name})
	case r.streamOptions == jsonscan.Span{}:
		return jsonscan.Splice(r.body, jsonscan.Edit{At: r.model, New: append(name, `,"stream_options":{`+option+`}`...)})
	default:
		options, at := []byte(`{`+option+`}`), r.streamOptions
		if r.body[at.Start] == '{' {
			at.End = at.Start + 1 // only the brace is replaced
			if options = options[:len(options)-1]; r.optionsFilled {
				options = append(options, ',')
			}
		}
		first, second := jsonscan.Edit{At: r.model, New: name}, jsonscan.Edit{At: at, New: options}
		if at.Start < r.model.Start {
			first, second = second, first
		}
		return jsonscan.Splice(r.body, first, second)
	}
}
