package provider

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
)

// dimensions are those of an embedding where none are asked for.
const dimensions = 8

// unstreamed is what a form lacks whose endpoint does not stream.
type unstreamed struct{}

func (unstreamed) stream() frames            { return frames{} }
func (unstreamed) errorFrame(refusal) string { return "" }

// embeddings is the form of /v1/embeddings.
// Source: https://platform.openai.com/docs/api-reference/embeddings.
type embeddings struct {
	*exchange
	unstreamed
}

func newEmbeddings(x *exchange) form { return &embeddings{exchange: x} }

func (e *embeddings) whole() map[string]any {
	list := []any{}
	for i := range inputs(e.asked.Input) {
		list = append(list, map[string]any{"object": "embedding", "index": i, "embedding": e.vector(i)})
	}
	tokens := e.answer.tokens(len(e.asked.body), nil)
	return map[string]any{
		"object": "list", "model": e.asked.Model, "data": list,
		"usage": e.usage(map[string]any{"prompt_tokens": tokens.prompt(), "total_tokens": tokens.prompt()}),
	}
}

// vector is a unit vector that differs with i, as numbers or as base64 of little-endian
// float32.
func (e *embeddings) vector(i int) any {
	n := e.asked.Dimensions
	if n <= 0 {
		n = dimensions
	}
	out := make([]float32, n)
	for k := range out {
		sign := 1.0
		if (k+i)%2 == 1 {
			sign = -1
		}
		out[k] = float32(sign / math.Sqrt(float64(n)))
	}
	if e.asked.EncodingFormat != "base64" {
		return out
	}
	raw := make([]byte, 0, 4*n)
	for _, f := range out {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(raw)
}

// inputs is how many texts there are: one, or a list of them, each as text or as tokens.
func inputs(raw json.RawMessage) int {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
		return 1
	}
	if first := list[0][0]; first == '"' || first == '[' {
		return len(list)
	}
	return 1
}
