package openai

import (
	"bytes"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

// EventErrors says errors as clients of responses expect them: a body as everywhere in
// the dialect, and in a stream an event with a name.
type EventErrors struct{ Errors }

// Frame implements [dialect.Errors]. The event is that of the dialect by its type; its
// error object is what official clients raise on.
func (e EventErrors) Frame(f llm.Failure, requestID string) []byte {
	const open = "event: error\ndata: {\"type\":\"error\","
	return append(append([]byte(open), e.Body(f, requestID)[1:]...), "\n\n"...)
}

// response reads a whole response: its usage and id, or the fault that it is.
func response(body []byte) (llm.Answer, *llm.Fault) {
	r, err := readResponse(body)
	switch {
	case err != nil:
		return r.answer, notJSON(err)
	case r.fault != nil:
		return r.answer, r.fault
	case !r.output:
		return r.answer, malformed("the answer has no output")
	default:
		return r.answer, nil
	}
}

// reading is what a response object says.
type reading struct {
	answer llm.Answer
	fault  *llm.Fault
	output bool // the key is there
}

func readResponse(raw []byte) (reading, error) {
	r := reading{answer: llm.Answer{Usage: llm.Usage{Source: llm.Missing}}}
	failed := false
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		v := value.Of(raw)
		switch string(key.Of(raw)) {
		case "id":
			r.answer.ID, _ = jsonscan.Text(raw, value)
		case "status":
			failed = string(v) == `"failed"`
		case "error":
			if wire.Truthy(v) {
				r.fault = streamFault(v)
			}
		case "usage":
			readUsage(v, &r.answer.Usage)
		case "output":
			r.output = true
		}
		return nil
	})
	if failed && r.fault == nil {
		r.fault = streamFault([]byte("{}"))
	}
	return r, err
}

// events reads the frames of one streamed response.
type events struct {
	answer llm.Answer
	ended  bool
}

// newEvents ignores addedUsage: a response reports its usage unasked.
func newEvents(bool) dialect.Stream {
	return &events{answer: llm.Answer{Usage: llm.Usage{Source: llm.Missing}}}
}

// Answer implements [dialect.Stream].
func (s *events) Answer() llm.Answer { return s.answer }

// Complete implements [dialect.Stream].
func (s *events) Complete() bool { return s.ended }

// event is the members of a frame that mean something.
type event struct {
	kind              string
	delta, image      []byte
	response, problem []byte
}

// Frame implements [dialect.Stream].
func (s *events) Frame(f sse.Frame) (llm.Step, *llm.Fault) {
	switch {
	case len(f.Data) == 0: // an event without data is none
		return llm.Step{}, nil
	case bytes.HasPrefix(f.Data, []byte("[DONE]")): // of servers that say both
		return llm.Step{End: true}, nil
	}
	e, err := readEvent(f.Data)
	if err != nil {
		return llm.Step{}, badFrame(err)
	}
	if e.kind == "" {
		e.kind = f.Event
	}
	switch {
	case wire.Truthy(e.problem):
		return llm.Step{}, streamFault(e.problem)
	case e.kind == "error":
		return llm.Step{}, streamFault(flat(f.Data))
	case strings.HasSuffix(e.kind, ".delta") && wire.Truthy(e.delta):
		return llm.Step{Content: len(e.delta)}, nil
	case strings.HasSuffix(e.kind, ".partial_image") && wire.Truthy(e.image):
		return llm.Step{Content: len(e.image)}, nil
	case !wire.IsObject(e.response):
		return llm.Step{}, nil
	default:
		return s.lifecycle(e)
	}
}

func readEvent(data []byte) (e event, err error) {
	err = jsonscan.Object(data, func(key, value jsonscan.Span) error {
		v := value.Of(data)
		switch string(key.Of(data)) {
		case "type":
			e.kind, _ = jsonscan.Text(data, value)
		case "delta":
			e.delta = v
		case "partial_image_b64":
			e.image = v
		case "response":
			e.response = v
		case "error":
			e.problem = v
		}
		return nil
	})
	return e, err
}

// flat is an error event as an error object: its own type says only that it is one.
func flat(data []byte) []byte {
	out := []byte(`{"type":""`)
	_ = jsonscan.Object(data, func(key, value jsonscan.Span) error { // checked before
		if name := string(key.Of(data)); name == "code" || name == "message" {
			out = append(append(append(append(out, `,"`...), name...), `":`...), value.Of(data)...)
		}
		return nil
	})
	return append(out, '}')
}

// lifecycle reads an event that holds the response as it is by now.
func (s *events) lifecycle(e event) (llm.Step, *llm.Fault) {
	r, err := readResponse(e.response)
	if err != nil {
		return llm.Step{}, badFrame(err)
	}
	if r.answer.ID != "" {
		s.answer.ID = r.answer.ID
	}
	if r.answer.Usage.Source != llm.Missing {
		s.answer.Usage = r.answer.Usage
	}
	switch {
	case r.fault != nil:
		return llm.Step{}, r.fault
	case e.kind == "response.failed":
		return llm.Step{}, streamFault([]byte("{}"))
	case e.kind == "response.completed", e.kind == "response.incomplete":
		s.ended = true
		return llm.Step{End: true}, nil
	default:
		return llm.Step{}, nil
	}
}
