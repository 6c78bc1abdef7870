// Package openai is the OpenAI dialect on the wire: what the gateway needs to know
// of a request, which bytes of it it changes, and what answers and streams mean.
//
// A request's bytes pass as they are, fields unknown to the gateway included; only
// the model's name, and the wish for a usage report where the client has none, are
// spliced in. Sources: https://platform.openai.com/docs/api-reference/chat and the
// official SDKs.
package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
)

// maxModelName bounds what is kept of a model's name.
const maxModelName = 256

// Request is what the gateway needs to know of a request body.
type Request struct {
	Model  string
	Stream bool

	body          []byte
	model         jsonscan.Span
	streamOptions jsonscan.Span // zero where absent
	usageAsked    bool          // include_usage is there, true or false
	optionsFilled bool          // stream_options has members
}

// RequestError is a request that no backend would be asked: the client's mistake.
type RequestError struct {
	Param   string // the key at fault; "" = the whole body
	Message string
}

func (e *RequestError) Error() string { return e.Message }

// Scan reads a chat completion's body once. Keys that decide where the request goes
// are refused where they stand twice, escaped or not, or in other case: backends
// may take another of them than the gateway did. The body must not change while
// the Request is used.
func Scan(body []byte) (*Request, error) {
	r := &Request{body: body}
	var seen [len(watched)]bool
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
			if seen[i] || text != w {
				return &RequestError{w, fmt.Sprintf("the key %q stands twice, or not in lower case: it must be there once", w)}
			}
			seen[i] = true
			return r.take(w, value)
		}
		return nil
	})
	var syntax *jsonscan.SyntaxError
	switch {
	case errors.As(err, &syntax):
		return nil, &RequestError{"", "the body is not a JSON object: " + syntax.Error()}
	case errors.Is(err, jsonscan.ErrDeep):
		return nil, &RequestError{"", "the body is nested too deeply"}
	case err != nil:
		return nil, err
	case r.Model == "":
		return nil, &RequestError{"model", "the key \"model\" is missing: expected the name of a model"}
	}
	return r, nil
}

// watched are the keys that decide.
var watched = [...]string{"model", "stream", "stream_options"}

// mayBeWatched leaves out most keys without decoding them. Case folding can lengthen
// a letter (the Kelvin sign and the long s are not ASCII), so it looks for those.
func mayBeWatched(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch name[0] | 0x20 {
	case 'm', 's':
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
			return &RequestError{"model", "the key \"model\" must be the name of a model"}
		}
		r.Model, r.model = name, value
	case "stream":
		switch string(raw) {
		case "true":
			r.Stream = true
		case "false", "null":
		default:
			return &RequestError{"stream", "the key \"stream\" must be true or false"}
		}
	default:
		return r.takeOptions(value, raw)
	}
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
		return &RequestError{"stream_options", "the key \"stream_options\" must be an object"}
	}
	return nil
}

// AddsUsage reports whether Splice asks for a usage report that the client did not
// ask for, and which it is not to see.
func (r *Request) AddsUsage() bool { return r.Stream && !r.usageAsked }

// Splice returns the body to send: the model's name replaced by native, and the wish
// for a usage report added where AddsUsage. No other byte differs.
func (r *Request) Splice(native string) jsonscan.Spliced {
	name, err := json.Marshal(native)
	if err != nil {
		panic(fmt.Sprintf("openai: marshalling a string: %v", err)) // no string fails
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
