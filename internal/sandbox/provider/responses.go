package provider

import "fmt"

// responses is the form of /v1/responses.
// Source: https://platform.openai.com/docs/api-reference/responses-streaming.
type responses struct {
	*exchange
	blocks []block
	tokens Tokens
	events int // so far
}

func newResponses(x *exchange) form {
	blocks, tokens := x.spoken(true)
	r := &responses{exchange: x, blocks: blocks, tokens: tokens}
	if x.asked.Store == nil || *x.asked.Store {
		x.remember(x.asked.backend, x.id)
	}
	return r
}

// incomplete reports whether the answer ends before it is whole.
func (r *responses) incomplete() bool { return r.answer.Stop != "" }

func (r *responses) whole() map[string]any {
	output := []any{}
	for i, b := range r.blocks {
		output = append(output, r.item(i, b, true))
	}
	out := r.response("completed", output)
	if r.incomplete() {
		out["status"], out["incomplete_details"] = "incomplete", map[string]any{"reason": r.answer.Stop}
	}
	if r.fault.Kind != NoUsage {
		out["usage"] = r.usage(map[string]any{
			"input_tokens": r.tokens.prompt(), "input_tokens_details": map[string]any{"cached_tokens": r.tokens.CacheRead},
			"output_tokens": r.tokens.Output, "output_tokens_details": map[string]any{"reasoning_tokens": r.tokens.Reasoning},
			"total_tokens": r.tokens.prompt() + r.tokens.Output,
		})
	}
	return out
}

func (r *responses) response(status string, output []any) map[string]any {
	return map[string]any{
		"id": r.id, "object": "response", "created_at": r.created, "status": status, "model": r.asked.Model, "output": output, "error": nil,
		"incomplete_details": nil, "instructions": nil, "metadata": map[string]any{}, "parallel_tool_calls": true, "temperature": 1.0, "top_p": 1.0,
		"tool_choice": "auto", "tools": []any{}, "previous_response_id": orNull(r.asked.PreviousResponseID), "usage": nil,
	}
}

func (r *responses) itemID(i int, b block) string {
	return fmt.Sprintf("%s_%s_%d", map[sort]string{thinking: "rs", text: "msg", tool: "fc"}[b.sort], r.id, i)
}

// item is a part of the output, before or after it has its content.
func (r *responses) item(i int, b block, done bool) map[string]any {
	id, status, said := r.itemID(i, b), "in_progress", ""
	if done {
		status, said = "completed", b.whole()
	}
	content := []any{}
	switch b.sort {
	case thinking:
		if done {
			content = append(content, map[string]any{"type": "summary_text", "text": said})
		}
		return map[string]any{"id": id, "type": "reasoning", "summary": content}
	case text:
		if done {
			content = append(content, outputText(said))
		}
		return map[string]any{"id": id, "type": "message", "role": "assistant", "status": status, "content": content}
	default:
		return map[string]any{"id": id, "type": "function_call", "status": status, "name": b.tool.Name, "call_id": "call_" + id, "arguments": said}
	}
}

func outputText(said string) map[string]any {
	return map[string]any{"type": "output_text", "text": said, "annotations": []any{}, "logprobs": []any{}}
}

// event is the next event of the stream.
func (r *responses) event(name string, with map[string]any) string {
	with["type"], with["sequence_number"] = name, r.events
	r.events++
	return event(name, with)
}

func (r *responses) stream() frames {
	out := frames{}
	for _, name := range []string{"response.created", "response.in_progress"} {
		out.opening = append(out.opening, r.event(name, map[string]any{"response": r.response("in_progress", []any{})}))
	}
	out.alive = out.opening[1]
	for i, b := range r.blocks {
		opens := r.opens(i, b)
		if i == 0 && b.sort != tool { // a call says something already by its name
			out.opening, opens = append(out.opening, opens), ""
		}
		for k, part := range b.chunks {
			delta := opens + r.event(r.deltaName(b), r.at(i, b, "delta", part))
			if opens = ""; k == len(b.chunks)-1 {
				delta += r.closes(i, b)
			}
			out.content = append(out.content, delta)
		}
	}
	whole := r.whole()
	out.ending = []string{r.event(fmt.Sprintf("response.%s", whole["status"]), map[string]any{"response": whole})}
	return out
}

// at is what an event about a part of an item holds.
func (r *responses) at(i int, b block, key string, value any) map[string]any {
	out := map[string]any{"item_id": r.itemID(i, b), "output_index": i, key: value}
	switch b.sort {
	case thinking:
		out["summary_index"] = 0
	case text:
		out["content_index"] = 0
	case tool:
	}
	return out
}

func (r *responses) deltaName(b block) string { return r.partName(b) + ".delta" }

func (r *responses) partName(b block) string {
	return map[sort]string{thinking: "response.reasoning_summary_text", text: "response.output_text", tool: "response.function_call_arguments"}[b.sort]
}

// part is the frame around the text of an item, of which a call has none.
func (r *responses) part(i int, b block, done bool) string {
	end, said := ".added", ""
	if done {
		end, said = ".done", b.whole()
	}
	switch b.sort {
	case thinking:
		return r.event("response.reasoning_summary_part"+end, r.at(i, b, "part", map[string]any{"type": "summary_text", "text": said}))
	case text:
		return r.event("response.content_part"+end, r.at(i, b, "part", outputText(said)))
	default:
		return ""
	}
}

func (r *responses) opens(i int, b block) string {
	return r.event("response.output_item.added", map[string]any{"output_index": i, "item": r.item(i, b, false)}) + r.part(i, b, false)
}

func (r *responses) closes(i int, b block) string {
	key := "text"
	if b.sort == tool {
		key = "arguments"
	}
	return r.event(r.partName(b)+".done", r.at(i, b, key, b.whole())) + r.part(i, b, true) +
		r.event("response.output_item.done", map[string]any{"output_index": i, "item": r.item(i, b, true)})
}

// errorFrame is the event error, or response.failed where that is the fault.
func (r *responses) errorFrame(e refusal) string {
	code := e.code
	if code == "" {
		code = e.kind
	}
	if r.fault.Kind != Failed {
		return r.event("error", map[string]any{"code": code, "message": e.message, "param": nil})
	}
	failed := r.response("failed", []any{})
	failed["error"] = map[string]any{"code": code, "message": e.message}
	return r.event("response.failed", map[string]any{"response": failed})
}
