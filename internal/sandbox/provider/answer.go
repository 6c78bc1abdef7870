package provider

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// bytesPerToken is what the stand-in's tokenizer makes of a body.
const bytesPerToken = 4

// bombSize is what the gzip bomb unpacks to.
const bombSize = 100 << 20

// answer is one answer under way.
type answer struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	asked   chatRequest
	fault   Fault
	id      string
	created int64
	size    int
}

type usage struct {
	Prompt     int            `json:"prompt_tokens"`
	Completion int            `json:"completion_tokens"`
	Total      int            `json:"total_tokens"`
	PromptOf   map[string]int `json:"prompt_tokens_details"`
	OutputOf   map[string]int `json:"completion_tokens_details"`
}

// usage counts a quarter of the prompt as cached, and the first two words of the
// answer as thought.
func (a *answer) usage() usage {
	prompt := max(a.size/bytesPerToken, 1)
	return usage{Prompt: prompt, Completion: a.options.Words, Total: prompt + a.options.Words,
		PromptOf: map[string]int{"cached_tokens": prompt / 4}, OutputOf: map[string]int{"reasoning_tokens": min(2, a.options.Words)}}
}

func (a *answer) text() string {
	return strings.TrimSpace(strings.Repeat("word ", a.options.Words))
}

func (a *answer) serve() {
	h := a.w.Header()
	h.Set("X-Request-Id", "up-"+a.id)
	for k, v := range a.fault.Headers {
		h.Set(k, v)
	}
	if a.fault.Delay > 0 && a.fault.Kind != Drip && !a.wait(time.Duration(a.fault.Delay*float64(time.Second))) {
		return
	}
	if e, ok := a.fault.refusal(); ok {
		a.refuse(a.w, e)
		return
	}
	switch a.fault.Kind {
	case HTML502:
		h.Set("Content-Type", "text/html")
		a.w.WriteHeader(http.StatusBadGateway)
		a.say("<html><body><h1>502 Bad Gateway</h1></body></html>")
	case Redirect:
		a.w.WriteHeader(http.StatusFound)
	case BadJSON:
		h.Set("Content-Type", "application/json")
		a.say(`{"id":"x","choices":[`)
	case GzipBomb:
		a.bomb()
	case Drop:
		panic(http.ErrAbortHandler)
	case Hang:
		a.hang()
	default:
		if a.asked.Stream {
			a.stream()
			return
		}
		a.plain()
	}
}

// wait pauses, and reports whether the caller is still there.
func (a *answer) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.r.Context().Done():
		return false
	case <-a.closing:
		return false
	}
}

// hang does nothing until the caller, or the stand-in, gives up.
func (a *answer) hang() {
	select {
	case <-a.r.Context().Done():
	case <-a.closing:
	}
}

func (a *answer) say(text string) {
	if _, err := io.WriteString(a.w, text); err != nil {
		a.options.Log.Debug("client went away", "error", err)
	}
}

func (a *answer) flush() {
	if err := http.NewResponseController(a.w).Flush(); err != nil {
		a.options.Log.Debug("client went away", "error", err)
	}
}

func (a *answer) bomb() {
	a.w.Header().Set("Content-Type", "application/json")
	a.w.Header().Set("Content-Encoding", "gzip")
	a.w.WriteHeader(http.StatusOK)
	a.flush()
	packed := gzip.NewWriter(a.w)
	zeros := make([]byte, 1<<16)
	for range bombSize / len(zeros) {
		if _, err := packed.Write(zeros); err != nil {
			return // the caller has had enough
		}
	}
	_ = packed.Close() // the caller may have gone, and nobody else minds
}

func (a *answer) plain() {
	if a.fault.Kind == Silence || a.fault.Kind == Stall || a.fault.Kind == Drip {
		a.w.Header().Set("Content-Type", "application/json")
		a.w.WriteHeader(http.StatusOK)
		a.flush()
		a.hang()
		return
	}
	body := map[string]any{
		"id": a.id, "object": "chat.completion", "created": a.created, "model": a.asked.Model,
		"choices": []any{map[string]any{"index": 0, "message": map[string]any{"role": "assistant", "content": a.text(), "refusal": nil}, "finish_reason": "stop", "logprobs": nil}},
		"usage":   a.usage(),
	}
	switch a.fault.Kind {
	case NoUsage:
		delete(body, "usage")
	case Cut, NoEnd:
		raw, err := json.Marshal(body)
		if err != nil {
			panic(fmt.Sprintf("provider: %v", err)) // plain values
		}
		a.w.Header().Set("Content-Type", "application/json")
		a.say(string(raw[:len(raw)/2]))
		a.flush()
		if a.fault.Kind == Cut {
			panic(http.ErrAbortHandler)
		}
		return
	case EarlyError, ErrorFrame:
		body = map[string]any{"error": map[string]any{"message": "The server had an error", "type": "server_error", "code": nil}}
	default:
	}
	a.json(a.w, http.StatusOK, body)
}

// frame writes one chunk of a stream.
func (a *answer) frame(choices []any, u any) {
	chunk := map[string]any{"id": a.id, "object": "chat.completion.chunk", "created": a.created, "model": a.asked.Model, "choices": choices}
	if a.wantsUsage() {
		chunk["usage"] = u
	}
	raw, err := json.Marshal(chunk)
	if err != nil {
		panic(fmt.Sprintf("provider: %v", err)) // plain values
	}
	a.say("data: " + string(raw) + "\n\n")
	a.flush()
}

func (a *answer) wantsUsage() bool {
	return a.asked.StreamOptions != nil && a.asked.StreamOptions.IncludeUsage && a.fault.Kind != NoUsage
}

func choice(delta map[string]any, finish any) []any {
	return []any{map[string]any{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": nil}}
}

func (a *answer) stream() {
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.w.WriteHeader(http.StatusOK)
	a.flush()
	if a.fault.Kind == Silence {
		a.hang()
		return
	}
	a.frame(choice(map[string]any{"role": "assistant", "content": ""}, nil), nil)
	switch a.fault.Kind {
	case EarlyError:
		a.errorFrame()
		return
	case Drip:
		for a.wait(time.Duration(a.fault.Delay * float64(time.Second))) {
			a.say(": keepalive\n\n")
			a.flush()
		}
		return
	default:
	}
	broken := a.fault.Kind == ErrorFrame || a.fault.Kind == Cut || a.fault.Kind == NoEnd || a.fault.Kind == Stall
	for i := range a.options.Words {
		if broken && i == a.fault.Chunks {
			a.breakOff()
			return
		}
		if i > 0 && a.options.Pace > 0 && !a.wait(a.options.Pace) {
			return
		}
		delta := map[string]any{"content": "word "}
		if i < 2 {
			delta = map[string]any{"reasoning_content": "word "}
		}
		a.frame(choice(delta, nil), nil)
	}
	a.end()
}

// breakOff ends a stream in the fault's way.
func (a *answer) breakOff() {
	switch a.fault.Kind {
	case ErrorFrame:
		a.errorFrame()
	case Cut:
		panic(http.ErrAbortHandler)
	case Stall:
		a.hang()
	default: // NoEnd just ends
	}
}

func (a *answer) errorFrame() {
	message := a.fault.Message
	if message == "" {
		message = "The server had an error"
	}
	raw, err := json.Marshal(map[string]any{"error": map[string]any{"message": message, "type": "server_error", "code": nil}})
	if err != nil {
		panic(fmt.Sprintf("provider: %v", err)) // plain values
	}
	a.say("data: " + string(raw) + "\n\n")
	a.flush()
}

func (a *answer) end() {
	a.frame(choice(map[string]any{}, "stop"), nil)
	if a.wantsUsage() {
		a.frame([]any{}, a.usage())
	}
	if a.fault.Kind == NoDone {
		return
	}
	a.say("data: [DONE]\n\n")
	a.flush()
	if a.fault.Kind == HangAfterDone {
		a.hang()
	}
}
