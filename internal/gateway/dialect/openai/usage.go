package openai

import (
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/wire"
	"github.com/fleetwatch/fleetwatch/internal/gateway/jsonscan"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// readUsage reads a usage object and reports whether there is one. Chat completions,
// completions and embeddings speak of prompt and completion tokens, responses of input
// and output tokens, which mean the same. Cached tokens are part of the prompt on the
// wire, and reasoning is part of the completion; DeepSeek names the former
// prompt_cache_hit_tokens.
//
// The buckets add up to the provider's total: what it counts beyond prompt and
// completion is thinking, which some providers keep out of the completion.
func readUsage(raw []byte, into *llm.Usage) bool {
	if !wire.Truthy(raw) || !wire.IsObject(raw) {
		return false
	}
	var prompt, total, hits, cached, output, reasoning int64
	detailed := false
	err := jsonscan.Object(raw, func(key, value jsonscan.Span) error {
		v := value.Of(raw)
		switch string(key.Of(raw)) {
		case "prompt_tokens", "input_tokens":
			prompt = wire.Count(v)
		case "completion_tokens", "output_tokens":
			output = wire.Count(v)
		case "total_tokens":
			total = wire.Count(v)
		case "prompt_cache_hit_tokens":
			hits = wire.Count(v)
		case "prompt_tokens_details", "input_tokens_details":
			cached, detailed = wire.Member(v, "cached_tokens")
		case "completion_tokens_details", "output_tokens_details":
			reasoning, _ = wire.Member(v, "reasoning_tokens")
		}
		return nil
	})
	if err != nil {
		return false
	}
	if !detailed {
		cached = hits
	}
	switch more := total - prompt - output; {
	case more <= 0:
	case prompt == 0: // a provider of embeddings that tells the total alone
		prompt = more
	default:
		output += more
	}
	u := llm.Usage{Source: llm.Reported, CacheRead: min(cached, prompt), Output: output, Reasoning: min(reasoning, output)}
	u.Input = prompt - u.CacheRead
	if u.Total() == 0 {
		return true // a report that reports nothing: no request uses no tokens
	}
	*into = u
	return true
}
