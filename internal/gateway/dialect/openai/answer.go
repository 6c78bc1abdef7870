package openai

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

// answer reads a whole chat completion: its usage, or the fault that it is.
func answer(body []byte) (llm.Answer, *llm.Fault) {
	usage := llm.Usage{Source: llm.Missing}
	var fault *llm.Fault
	choices := false
	err := jsonscan.Object(body, func(key, value jsonscan.Span) error {
		switch string(key.Of(body)) {
		case "error":
			if raw := value.Of(body); truthy(raw) {
				fault = streamFault(raw)
			}
		case "choices":
			choices = true
		case "usage":
			readUsage(value.Of(body), &usage)
		}
		return nil
	})
	switch {
	case err != nil:
		fault = &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "the answer is not a JSON object: " + err.Error()}
	case fault == nil && !choices:
		fault = &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "the answer has no choices"}
	}
	return llm.Answer{Usage: usage}, fault
}

// stream reads the frames of one streamed chat completion.
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
	case f.Data == nil:
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
			if truthy(raw) {
				fault = streamFault(raw)
			}
		case "choices":
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
		return step, &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "a frame is not what the dialect sends: " + err.Error()}
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
			index = integer(v)
		case "finish_reason":
			finished = string(v) != "null"
		case "delta":
			if string(v) == "null" {
				return nil
			}
			return jsonscan.Object(v, func(key, value jsonscan.Span) error {
				// Whatever is not the role is content: text, reasoning under any name, tool calls.
				if x := value.Of(v); string(key.Of(v)) != "role" && truthy(x) {
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

// truthy reports whether a value says anything.
func truthy(raw []byte) bool {
	switch string(raw) {
	case "null", "false", `""`, "0", "[]", "{}":
		return false
	default:
		return true
	}
}

// readUsage reads a usage object and reports whether there is one. Cached tokens are
// part of prompt_tokens on the wire; DeepSeek names them prompt_cache_hit_tokens.
func readUsage(raw []byte, into *llm.Usage) bool {
	if !truthy(raw) || raw[0] != '{' {
		return false
	}
	u := llm.Usage{Source: llm.Reported}
	var prompt, hits, cached int64
	detailed := false
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		v := value.Of(raw)
		switch string(key.Of(raw)) {
		case "prompt_tokens":
			prompt = integer(v)
		case "completion_tokens":
			u.Output = integer(v)
		case "prompt_cache_hit_tokens":
			hits = integer(v)
		case "prompt_tokens_details":
			cached, detailed = member(v, "cached_tokens")
		case "completion_tokens_details":
			u.Reasoning, _ = member(v, "reasoning_tokens")
		}
		return nil
	})
	if err != nil {
		return false
	}
	if !detailed {
		cached = hits
	}
	u.CacheRead = min(cached, prompt)
	u.Input = prompt - u.CacheRead
	u.Reasoning = min(u.Reasoning, u.Output)
	*into = u
	return true
}

// member returns a count in an object, and whether it is there.
func member(raw []byte, name string) (n int64, there bool) {
	if len(raw) == 0 || raw[0] != '{' {
		return 0, false
	}
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		if v := value.Of(raw); string(key.Of(raw)) == name && string(v) != "null" {
			n, there = integer(v), true
		}
		return nil
	})
	return n, there && err == nil
}

// maxTokens bounds a count: beyond it is nonsense, and must not overflow a sum.
const maxTokens = 1 << 40

// integer reads a count; what is none is 0.
func integer(raw []byte) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 || n > maxTokens {
		return 0
	}
	return n
}
