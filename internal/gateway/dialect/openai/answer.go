package openai

import (
	"bytes"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

// answer reads a whole answer whose content stands under the key: its usage, or the
// fault that it is.
func answer(content string) func(body []byte) (llm.Answer, *llm.Fault) {
	return func(body []byte) (llm.Answer, *llm.Fault) { return readAnswer(body, content) }
}

func readAnswer(body []byte, content string) (llm.Answer, *llm.Fault) {
	usage := llm.Usage{Source: llm.Missing}
	var fault *llm.Fault
	there := false
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		switch string(key.Of(body)) {
		case "error":
			if raw := value.Of(body); wire.Truthy(raw) {
				fault = streamFault(raw)
			}
		case content:
			there = true
		case "usage":
			readUsage(value.Of(body), &usage)
		}
		return nil
	})
	switch {
	case err != nil:
		fault = notJSON(err)
	case fault == nil && !there:
		fault = malformed("the answer has no " + content)
	}
	return llm.Answer{Usage: usage}, fault
}

// stream reads the frames of one streamed chat completion, or completion.
type stream struct {
	addedUsage bool
	usage      llm.Usage
	seen, done uint64 // choices by index, modulo 64
	ended      bool
}

func newStream(addedUsage bool) dialect.Stream {
	return &stream{addedUsage: addedUsage, usage: llm.Usage{Source: llm.Missing}}
}

// Answer implements [dialect.Stream].
func (s *stream) Answer() llm.Answer { return llm.Answer{Usage: s.usage} }

// Complete implements [dialect.Stream]: after [DONE], or when every choice that began
// has its finish reason, a stream may end.
func (s *stream) Complete() bool { return s.ended || s.seen != 0 && s.seen == s.done }

// Frame implements [dialect.Stream].
func (s *stream) Frame(f sse.Frame) (llm.Step, *llm.Fault) {
	switch {
	case len(f.Data) == 0: // an event without data is none
		return llm.Step{}, nil
	case bytes.HasPrefix(f.Data, []byte("[DONE]")):
		// Without any choice there was no answer, whatever the marker says.
		s.ended = s.seen != 0
		return llm.Step{End: true}, nil
	}
	var step llm.Step
	var fault *llm.Fault
	choices, usage := 0, false
	err := jsonscan.Object(f.Data, func(key, value jsonscan.Span) error {
		raw := value.Of(f.Data)
		switch string(key.Of(f.Data)) {
		case "error":
			if wire.Truthy(raw) {
				fault = streamFault(raw)
			}
		case "choices":
			if string(raw) == "null" {
				return nil // a list without elements, as some programs write it
			}
			return jsonscan.Array(raw, func(choice jsonscan.Span) error {
				choices++
				n, err := s.choice(choice.Of(raw))
				step.Content += n
				return err
			})
		case "usage":
			usage = readUsage(raw, &s.usage)
		}
		return nil
	})
	if err != nil {
		return step, badFrame(err)
	}
	step.Drop = s.addedUsage && usage && choices == 0
	return step, fault
}

// choice returns the bytes of content in a choice, and notes whether it is finished.
func (s *stream) choice(raw []byte) (content int, err error) {
	index, finished := int64(0), false
	err = jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		v := value.Of(raw)
		switch string(key.Of(raw)) {
		case "index":
			index = wire.Count(v)
		case "finish_reason":
			finished = wire.Truthy(v) // some send "" until the end
		case "text": // of a completion
			if wire.Truthy(v) {
				content += len(v)
			}
		case "delta":
			if string(v) == "null" {
				return nil
			}
			return jsonscan.Object(v, func(key, value jsonscan.Span) error {
				// Whatever is not the role is content: text, reasoning under any name, tool calls.
				if x := value.Of(v); string(key.Of(v)) != "role" && wire.Truthy(x) {
					content += len(x)
				}
				return nil
			})
		}
		return nil
	})
	bit := uint64(1) << (uint64(index) % 64)
	s.seen |= bit
	if finished {
		s.done |= bit
	}
	return content, err
}
