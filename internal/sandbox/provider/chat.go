package provider

import (
	"fmt"
	"strings"
)

// chat is the form of /v1/chat/completions.
// Source: https://platform.openai.com/docs/api-reference/chat.
type chat struct {
	*exchange
	blocks []block
	tokens Tokens
}

func newChat(x *exchange) form {
	blocks, tokens := x.spoken(true)
	return &chat{x, blocks, tokens}
}

// openaiUsage counts as the older endpoints do: what was cached is part of the prompt.
func openaiUsage(t Tokens) map[string]any {
	return map[string]any{
		"prompt_tokens": t.prompt(), "completion_tokens": t.Output, "total_tokens": t.prompt() + t.Output,
		"prompt_tokens_details": map[string]any{"cached_tokens": t.CacheRead}, "completion_tokens_details": map[string]any{"reasoning_tokens": t.Reasoning},
	}
}

func (c *chat) stop() string {
	if c.answer.Stop != "" {
		return c.answer.Stop
	}
	if len(c.answer.Tools) > 0 {
		return "tool_calls"
	}
	return "stop"
}

func (c *chat) whole() map[string]any {
	message := map[string]any{"role": "assistant", "content": nil, "refusal": nil}
	var calls []any
	for _, b := range c.blocks {
		switch b.sort {
		case thinking:
			message["reasoning_content"] = b.whole()
		case text:
			message["content"] = b.whole()
		case tool:
			calls = append(calls, c.call(len(calls), b.tool.Name, b.whole(), true))
		}
	}
	if calls != nil {
		message["tool_calls"] = calls
	}
	return map[string]any{
		"id": c.id, "object": "chat.completion", "created": c.created, "model": c.asked.Model,
		"choices": []any{map[string]any{"index": 0, "message": message, "finish_reason": c.stop(), "logprobs": nil}},
		"usage":   c.usage(openaiUsage(c.tokens)),
	}
}

// call is a tool call, or a part of it.
func (c *chat) call(index int, name, arguments string, opens bool) map[string]any {
	if !opens {
		return map[string]any{"index": index, "function": map[string]any{"arguments": arguments}}
	}
	return map[string]any{"index": index, "id": fmt.Sprintf("call_%s_%d", c.id, index), "type": "function", "function": map[string]any{"name": name, "arguments": arguments}}
}

// chunk is a frame of a stream of the endpoints that end with [DONE].
func (x *exchange) chunk(object string, choices []any, usage any) string {
	chunk := map[string]any{"id": x.id, "object": object, "created": x.created, "model": x.asked.Model, "choices": choices}
	if x.wantsUsage() {
		chunk["usage"] = usage
	}
	return data(chunk)
}

func (x *exchange) wantsUsage() bool {
	return x.asked.StreamOptions != nil && x.asked.StreamOptions.IncludeUsage && x.fault.Kind != NoUsage
}

// doneAfter is the end of such a stream: the usage reports, and the marker.
func (x *exchange) doneAfter(object string, tokens Tokens) []string {
	var out []string
	switch {
	case !x.wantsUsage():
	case len(x.answer.Usage) > 0:
		for _, u := range x.answer.Usage {
			out = append(out, x.chunk(object, []any{}, u))
		}
	default:
		out = append(out, x.chunk(object, []any{}, openaiUsage(tokens)))
	}
	return append(out, "data: [DONE]\n\n")
}

func (c *chat) stream() frames {
	frame := func(delta map[string]any, finish any) string {
		return c.chunk("chat.completion.chunk", []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": nil}}, nil)
	}
	out := frames{opening: []string{frame(map[string]any{"role": "assistant", "content": ""}, nil)}, alive: ": keepalive\n\n"}
	calls := 0
	for _, b := range c.blocks {
		for i, part := range b.chunks {
			switch b.sort {
			case thinking:
				out.content = append(out.content, frame(map[string]any{"reasoning_content": part}, nil))
			case text:
				out.content = append(out.content, frame(map[string]any{"content": part}, nil))
			case tool:
				out.content = append(out.content, frame(map[string]any{"tool_calls": []any{c.call(calls, b.tool.Name, part, i == 0)}}, nil))
			}
		}
		if b.sort == tool {
			calls++
		}
	}
	out.ending = append([]string{frame(map[string]any{}, c.stop())}, c.doneAfter("chat.completion.chunk", c.tokens)...)
	return out
}

func (c *chat) errorFrame(e refusal) string { return data(e.body(openai, "")) }

// completions is the form of /v1/completions.
// Source: https://platform.openai.com/docs/api-reference/completions.
type completions struct {
	*exchange
	blocks []block
	tokens Tokens
}

func newCompletions(x *exchange) form {
	blocks, tokens := x.spoken(false)
	return &completions{x, blocks, tokens}
}

func (c *completions) choice(said string, finish any) []any {
	return []any{map[string]any{"index": 0, "text": said, "finish_reason": finish, "logprobs": nil}}
}

func (c *completions) stop() string {
	if c.answer.Stop != "" {
		return c.answer.Stop
	}
	return "stop"
}

func (c *completions) whole() map[string]any {
	var said strings.Builder
	for _, b := range c.blocks {
		said.WriteString(b.whole())
	}
	return map[string]any{
		"id": c.id, "object": "text_completion", "created": c.created, "model": c.asked.Model,
		"choices": c.choice(said.String(), c.stop()), "usage": c.usage(openaiUsage(c.tokens)),
	}
}

func (c *completions) stream() frames {
	const object = "text_completion"
	out := frames{opening: []string{c.chunk(object, c.choice("", nil), nil)}, alive: ": keepalive\n\n"}
	for _, b := range c.blocks {
		for _, part := range b.chunks {
			out.content = append(out.content, c.chunk(object, c.choice(part, nil), nil))
		}
	}
	out.ending = append([]string{c.chunk(object, c.choice("", c.stop()), nil)}, c.doneAfter(object, c.tokens)...)
	return out
}

func (c *completions) errorFrame(e refusal) string { return data(e.body(openai, "")) }
