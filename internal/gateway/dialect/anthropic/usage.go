package anthropic

import (
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// tally gathers the usage reports of one answer. They are cumulative: a count that a
// report leaves out, or has as null, keeps its value, and a zero replaces it.
//
// On the wire the input holds neither what was read from the cache nor what was written
// to it; thinking is part of the output.
type tally struct {
	input, output, cacheRead, cacheWrite int64
	cacheWrite1h, thinking               int64
	reported                             bool
	// unreported is the bytes of content since the output was last reported.
	unreported int
}

func (t *tally) report(raw []byte) error {
	if !wire.IsObject(raw) {
		return nil
	}
	counted := false
	var written, minutes, hour int64
	var hasWritten, hasMinutes, hasHour bool
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		v := value.Of(raw)
		n, there := wire.Counted(v)
		switch string(key.Of(raw)) {
		case "input_tokens":
			t.input, counted = keep(t.input, n, there), counted || there
		case "output_tokens":
			if there {
				t.output, t.unreported, counted = n, 0, true
			}
		case "cache_read_input_tokens":
			t.cacheRead, counted = keep(t.cacheRead, n, there), counted || there
		case "cache_creation_input_tokens":
			written, hasWritten = n, there
		case "cache_creation":
			minutes, hasMinutes = wire.Member(v, "ephemeral_5m_input_tokens")
			hour, hasHour = wire.Member(v, "ephemeral_1h_input_tokens")
		case "output_tokens_details":
			n, there = wire.Member(v, "thinking_tokens")
			t.thinking = keep(t.thinking, n, there)
		}
		return nil
	})
	t.cacheWrite1h = keep(t.cacheWrite1h, hour, hasHour)
	switch {
	case hasWritten:
		t.cacheWrite = written
	case hasMinutes || hasHour:
		t.cacheWrite = minutes + hour
	}
	t.reported = t.reported || counted || hasWritten || hasMinutes || hasHour
	return err
}

func keep(old, reported int64, there bool) int64 {
	if there {
		return reported
	}
	return old
}

// usage is what is known. Content that no report covers is estimated, so that an answer
// which breaks off, or whose end says nothing, does not cost the single token that the
// report at its start tells; what that report says of the input stays exact.
func (t *tally) usage() llm.Usage {
	if !t.reported {
		return llm.Usage{Source: llm.Missing}
	}
	u := llm.Usage{
		Input: t.input, Output: t.output, CacheRead: t.cacheRead, CacheWrite: t.cacheWrite, CacheWrite1h: min(t.cacheWrite1h, t.cacheWrite),
		Reasoning: min(t.thinking, t.output), Source: llm.Reported,
	}
	if t.unreported > 0 {
		u.Output += llm.EstimateTokens(int64(t.unreported))
		u.Source = llm.Estimated
	}
	return u
}
