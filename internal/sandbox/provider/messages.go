package provider

import (
	"encoding/json"
	"fmt"
	"maps"
)

// messages is the form of /v1/messages.
// Sources: https://docs.anthropic.com/en/api/messages and
// https://docs.anthropic.com/en/docs/build-with-claude/streaming.
type messages struct {
	*exchange
	blocks []block
	tokens Tokens
}

func newMessages(x *exchange) form {
	blocks, tokens := x.spoken(x.asked.Thinking != nil && x.asked.Thinking.Type != "disabled")
	return &messages{x, blocks, tokens}
}

// startUsage counts as the dialect does: what was read from and written to the cache is
// no part of the input.
func (m *messages) startUsage(output int) map[string]any {
	t := m.tokens
	return map[string]any{
		"input_tokens": t.Input, "cache_read_input_tokens": t.CacheRead, "cache_creation_input_tokens": t.CacheWrite5m + t.CacheWrite1h,
		"cache_creation": map[string]any{"ephemeral_5m_input_tokens": t.CacheWrite5m, "ephemeral_1h_input_tokens": t.CacheWrite1h},
		"output_tokens":  output, "service_tier": "standard",
	}
}

// endUsage is cumulative, and says nothing of the input, which stays as it was.
func (m *messages) endUsage() map[string]any {
	u := map[string]any{"output_tokens": m.tokens.Output}
	if m.tokens.Reasoning > 0 {
		u["output_tokens_details"] = map[string]any{"thinking_tokens": m.tokens.Reasoning}
	}
	return u
}

func (m *messages) stop() string {
	switch {
	case m.answer.Stop != "":
		return m.answer.Stop
	case len(m.answer.Tools) > 0:
		return "tool_use"
	default:
		return "end_turn"
	}
}

func (m *messages) whole() map[string]any {
	content := []any{}
	for i, b := range m.blocks {
		c := m.opened(i, b)
		switch b.sort {
		case thinking:
			c["thinking"], c["signature"] = b.whole(), signature
		case text:
			if c["text"] = b.whole(); m.answer.Citation != "" {
				c["citations"] = []any{m.citation()}
			}
		case tool:
			c["input"] = b.tool.Arguments
		}
		content = append(content, c)
	}
	u := m.startUsage(m.tokens.Output)
	maps.Copy(u, m.endUsage())
	return m.message(content, m.stop(), m.usage(u))
}

func (m *messages) message(content []any, stop, usage any) map[string]any {
	return map[string]any{
		"id": m.id, "type": "message", "role": "assistant", "model": m.asked.Model, "content": content,
		"stop_reason": stop, "stop_sequence": nil, "usage": usage,
	}
}

// signature proves a thought.
const signature = "c2lnbmF0dXJl"

func (m *messages) citation() map[string]any {
	return map[string]any{"type": "char_location", "cited_text": m.answer.Citation, "document_index": 0, "document_title": nil, "file_id": nil, "start_char_index": 0, "end_char_index": len(m.answer.Citation)}
}

// opened is a block before it has any content.
func (m *messages) opened(i int, b block) map[string]any {
	switch {
	case b.sort == thinking:
		return map[string]any{"type": "thinking", "thinking": "", "signature": ""}
	case b.sort == text:
		return map[string]any{"type": "text", "text": ""}
	case b.tool.Server:
		return map[string]any{"type": "server_tool_use", "id": fmt.Sprintf("srvtoolu_%s_%d", m.id, i), "name": b.tool.Name, "input": map[string]any{}}
	default:
		return map[string]any{"type": "tool_use", "id": fmt.Sprintf("toolu_%s_%d", m.id, i), "name": b.tool.Name, "input": map[string]any{}}
	}
}

// deltas are the changes that make up a block.
func (m *messages) deltas(b block) []map[string]any {
	kind := map[sort][2]string{thinking: {"thinking_delta", "thinking"}, text: {"text_delta", "text"}, tool: {"input_json_delta", "partial_json"}}[b.sort]
	var out []map[string]any
	for _, part := range b.chunks {
		out = append(out, map[string]any{"type": kind[0], kind[1]: part})
	}
	switch {
	case b.sort == thinking:
		out = append(out, map[string]any{"type": "signature_delta", "signature": signature})
	case b.sort == text && m.answer.Citation != "":
		out = append(out, map[string]any{"type": "citations_delta", "citation": m.citation()})
	}
	return out
}

func (m *messages) stream() frames {
	alive := event("ping", map[string]any{"type": "ping"})
	reports := m.reports()
	out := frames{opening: []string{m.start(reports[0])}, alive: alive}
	for i, b := range m.blocks {
		opens := event("content_block_start", map[string]any{"type": "content_block_start", "index": i, "content_block": m.opened(i, b)})
		if i == 0 && b.sort != tool { // a call says something already by its name
			out.opening, opens = append(out.opening, opens), ""
		}
		deltas := m.deltas(b)
		for k, delta := range deltas {
			part := opens + event("content_block_delta", map[string]any{"type": "content_block_delta", "index": i, "delta": delta})
			if opens = ""; k == len(deltas)-1 {
				part += event("content_block_stop", map[string]any{"type": "content_block_stop", "index": i})
			}
			out.content = append(out.content, part)
		}
	}
	out.opening = append(out.opening, alive)
	var stop any
	for i, u := range reports[1:] {
		if i == len(reports)-2 {
			stop = m.stop()
		}
		out.ending = append(out.ending, m.delta(stop, u))
	}
	if len(reports) == 1 {
		out.ending = append(out.ending, m.delta(m.stop(), nil))
	}
	out.ending = append(out.ending, event("message_stop", map[string]any{"type": "message_stop"}))
	return out
}

// reports are the usage reports: that of the start, and those of what follows.
func (m *messages) reports() []any {
	switch {
	case m.fault.Kind == NoUsage:
		return []any{nil}
	case len(m.answer.Usage) > 0:
		var out []any
		for _, u := range m.answer.Usage {
			out = append(out, u)
		}
		return out
	default:
		return []any{m.startUsage(min(1, m.tokens.Output)), m.endUsage()}
	}
}

func (m *messages) start(usage any) string {
	message := m.message([]any{}, nil, usage)
	if usage == nil {
		delete(message, "usage")
	}
	return event("message_start", map[string]any{"type": "message_start", "message": message})
}

func (m *messages) delta(stop, usage any) string {
	d := map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}}
	if usage != nil {
		d["usage"] = usage
	}
	return event("message_delta", d)
}

func (m *messages) errorFrame(e refusal) string {
	return event("error", e.body(anthropic, "up-"+m.id))
}

// counting is the form of /v1/messages/count_tokens.
// Source: https://docs.anthropic.com/en/api/messages-count-tokens.
type counting struct {
	*exchange
	unstreamed
}

func newCounting(x *exchange) form { return &counting{exchange: x} }

func (c *counting) whole() map[string]any {
	made := json.RawMessage(fmt.Sprint(c.answer.tokens(len(c.asked.body), nil).prompt()))
	return map[string]any{"input_tokens": made}
}
