package anthropic

import (
	"bytes"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

// message reads a whole answer: its usage, or the fault that it is.
func message(body []byte) (llm.Answer, *llm.Fault) {
	var t tally
	fault := whole(body, "content", &t)
	return llm.Answer{Usage: t.usage()}, fault
}

// counted reads a count of tokens, which costs nothing.
func counted(body []byte) (llm.Answer, *llm.Fault) {
	var t tally
	return llm.Answer{Usage: llm.Usage{Source: llm.Missing}}, whole(body, "input_tokens", &t)
}

// whole reads an answer that holds the key.
func whole(body []byte, must string, t *tally) (fault *llm.Fault) {
	there := false
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		v := value.Of(body)
		switch string(key.Of(body)) {
		case must:
			there = true
		case "error":
			if wire.Truthy(v) {
				fault = streamFault(v)
			}
		case "usage":
			return t.report(v)
		}
		return nil
	})
	switch {
	case err != nil:
		return malformed("the answer is not a JSON object: " + err.Error())
	case fault == nil && !there:
		return malformed("the answer has no " + must)
	default:
		return fault
	}
}

// stream reads the frames of one streamed message.
type stream struct {
	tally   tally
	started bool
	ended   bool
}

// newStream ignores addedUsage: a message reports its usage unasked.
func newStream(bool) dialect.Stream { return &stream{} }

// Answer implements [dialect.Stream].
func (s *stream) Answer() llm.Answer { return llm.Answer{Usage: s.tally.usage()} }

// Complete implements [dialect.Stream].
func (s *stream) Complete() bool { return s.ended }

// event is the members of a frame that mean something.
type event struct {
	kind                                  string
	message, block, delta, usage, problem []byte
}

func readEvent(data []byte) (e event, err error) {
	err = jsonscan.Object(data, func(key, value jsonscan.Span) error {
		v := value.Of(data)
		switch string(key.Of(data)) {
		case "type":
			e.kind, _ = jsonscan.Text(data, value)
		case "message":
			e.message = v
		case "content_block":
			e.block = v
		case "delta":
			e.delta = v
		case "usage":
			e.usage = v
		case "error":
			e.problem = v
		}
		return nil
	})
	return e, err
}

// Frame implements [dialect.Stream].
func (s *stream) Frame(f sse.Frame) (llm.Step, *llm.Fault) {
	switch {
	case len(f.Data) == 0: // an event without data is none
		return llm.Step{}, nil
	case bytes.HasPrefix(f.Data, []byte("[DONE]")): // of servers that speak two dialects
		return llm.Step{End: true}, nil
	}
	e, err := readEvent(f.Data)
	if err != nil {
		return llm.Step{}, badFrame(err)
	}
	if wire.Truthy(e.problem) || e.kind == "error" {
		return llm.Step{}, streamFault(e.problem)
	}
	step, err := s.read(e)
	if err != nil {
		return llm.Step{}, badFrame(err)
	}
	s.tally.unreported += step.Content
	return step, nil
}

func badFrame(err error) *llm.Fault {
	return malformed("a frame is not what the dialect sends: " + err.Error())
}

// read tells what an event means. Pings, and events that are not known, mean nothing.
func (s *stream) read(e event) (step llm.Step, err error) {
	switch e.kind {
	case "message_start":
		s.started = true
		err = jsonscan.Object(e.message, func(key, value jsonscan.Span) error {
			if string(key.Of(e.message)) == "usage" {
				return s.tally.report(value.Of(e.message))
			}
			return nil
		})
	case "content_block_start":
		step.Content, err = opened(e.block)
	case "content_block_delta":
		step.Content, err = content(e.delta)
	case "message_delta":
		err = s.tally.report(e.usage)
	case "message_stop":
		// Without a start there was no answer, whatever the marker says.
		s.ended = s.started
		step.End = true
	}
	return step, err
}

// opened returns the bytes of content in the start of a block. Text and thinking follow
// as deltas; a call says something by its name, and results and redacted thoughts come
// as a whole.
func opened(block []byte) (n int, err error) {
	kind := ""
	err = jsonscan.Object(block, func(key, value jsonscan.Span) error {
		v := value.Of(block)
		switch string(key.Of(block)) {
		case "type":
			kind, _ = jsonscan.Text(block, value)
		case "text", "thinking":
			if wire.Truthy(v) {
				n += len(v)
			}
		}
		return nil
	})
	if kind != "text" && kind != "thinking" {
		n = len(block)
	}
	return n, err
}

// content returns the bytes of content in a delta: text, thinking, a part of a call's
// input, a signature, a citation, whatever its key.
func content(delta []byte) (n int, err error) {
	err = jsonscan.Object(delta, func(key, value jsonscan.Span) error {
		if v := value.Of(delta); string(key.Of(delta)) != "type" && wire.Truthy(v) {
			n += len(v)
		}
		return nil
	})
	return n, err
}
