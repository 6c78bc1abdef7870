package provider

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode/utf8"
)

// Answer is a scripted answer: what a request is told where no fault prevents it, in
// the form of the endpoint that was asked. Answers are tried in the order in which they
// were added; a request meets at most one.
type Answer struct {
	// Backend, Path, Model, Contains, Skip, Times and Seconds choose requests as those of
	// a Fault do.
	Backend  string  `json:"backend,omitempty"`
	Path     string  `json:"path,omitempty"`
	Model    string  `json:"model,omitempty"`
	Contains string  `json:"contains,omitempty"`
	Skip     int     `json:"skip,omitempty"`
	Times    int     `json:"times,omitempty"`
	Seconds  float64 `json:"seconds,omitempty"`

	// Text is what is said, a chunk a word; nil is Options.Words words, empty is nothing.
	Text *string `json:"text,omitempty"`
	// Thinking is what is thought before, a chunk a word; nil is two words, of
	// /v1/messages only where the request wants thinking, and empty is nothing.
	Thinking *string `json:"thinking,omitempty"`
	// Tools are called after the text.
	Tools []Tool `json:"tools,omitempty"`
	// Citation is the text that the words are taken from, told by /v1/messages.
	Citation string `json:"citation,omitempty"`
	// Stop is the reason for the end in the endpoint's own words; empty is the usual one.
	// Of /v1/responses it makes the answer incomplete.
	Stop string `json:"stop,omitempty"`
	// Tokens is the usage, reported as the dialect counts; nil is a plausible one.
	Tokens *Tokens `json:"tokens,omitempty"`
	// Usage replaces the usage reports, byte for byte. A plain answer has the last of
	// them. A stream of /v1/messages has the first in message_start and each other in a
	// message_delta; one of the endpoints with [DONE] has each in a chunk of its own.
	Usage []json.RawMessage `json:"usage,omitempty"`
	// Pace is, in seconds, the time between chunks; 0 is that of the Options.
	Pace float64 `json:"pace,omitempty"`

	until time.Time
}

// Tool is a call of a tool.
type Tool struct {
	Name      string          `json:"name"`
	Arguments json.RawMessage `json:"arguments"`
	// Server says that the provider runs the tool itself; only /v1/messages tells it apart.
	Server bool `json:"server,omitempty"`
}

// Tokens counts what a provider bills, in disjoint parts; Reasoning is part of Output.
type Tokens struct {
	Input        int `json:"input"`
	CacheRead    int `json:"cache_read"`
	CacheWrite5m int `json:"cache_write_5m"`
	CacheWrite1h int `json:"cache_write_1h"`
	Output       int `json:"output"`
	Reasoning    int `json:"reasoning"`
}

func (t Tokens) prompt() int { return t.Input + t.CacheRead + t.CacheWrite5m + t.CacheWrite1h }

func (a *Answer) aim() aim {
	return aim{a.Backend, a.Path, a.Model, a.Contains, &a.Skip, &a.Times, a.Seconds, &a.until}
}

func (a *Answer) validate(backends []string) error {
	var problems []error
	for _, t := range a.Tools {
		if t.Name == "" || !json.Valid(t.Arguments) {
			problems = append(problems, errors.New("tools: each needs a name, and arguments that are JSON"))
			break
		}
	}
	for _, u := range a.Usage {
		if !json.Valid(u) {
			problems = append(problems, errors.New("usage: each must be JSON"))
			break
		}
	}
	if a.Pace < 0 {
		problems = append(problems, errors.New("pace: must not be negative"))
	}
	return errors.Join(append(problems, a.aim().validate(backends))...)
}

// sort is what a block is.
type sort int

const (
	thinking sort = iota
	text
	tool
)

// block is a part of an answer. Its chunks, put together, are its text or the
// arguments of its call.
type block struct {
	sort   sort
	chunks []string
	tool   Tool
}

func (b block) whole() string { return strings.Join(b.chunks, "") }

// argumentChunk is how many bytes of a call's arguments come at a time.
const argumentChunk = 12

// blocks is the answer, thinking first. thinks says whether the request wants to see
// thoughts where the script says nothing of them.
func (a *Answer) blocks(words int, thinks bool) []block {
	var out []block
	thoughts := 0
	switch {
	case a.Thinking != nil:
		out = appendWords(out, thinking, *a.Thinking)
	case thinks && a.Text == nil:
		thoughts = min(2, words)
		out = appendWords(out, thinking, wordy(thoughts))
	}
	if a.Text != nil {
		out = appendWords(out, text, *a.Text)
	} else {
		out = appendWords(out, text, wordy(words-thoughts))
	}
	for _, t := range a.Tools {
		b := block{sort: tool, tool: t}
		rest := string(t.Arguments)
		for len(rest) > argumentChunk {
			cut := argumentChunk
			for !utf8.RuneStart(rest[cut]) {
				cut--
			}
			b.chunks = append(b.chunks, rest[:cut])
			rest = rest[cut:]
		}
		b.chunks = append(b.chunks, rest)
		out = append(out, b)
	}
	return out
}

func wordy(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }

func appendWords(blocks []block, s sort, said string) []block {
	if said == "" {
		return blocks
	}
	return append(blocks, block{sort: s, chunks: strings.SplitAfter(said, " ")})
}

// tokens is what an answer of these blocks to a body of this size costs: a quarter of
// the prompt was cached, and each chunk is a token.
func (a *Answer) tokens(size int, blocks []block) Tokens {
	if a.Tokens != nil {
		return *a.Tokens
	}
	prompt := max(size/bytesPerToken, 1)
	t := Tokens{CacheRead: prompt / 4}
	t.Input = prompt - t.CacheRead
	for _, b := range blocks {
		t.Output += len(b.chunks)
		if b.sort == thinking {
			t.Reasoning += len(b.chunks)
		}
	}
	return t
}
