package dialect_test

import "github.com/fleetwatch/fleetwatch/internal/gateway/llm"

// fixture is what a provider said, and what it means.
type fixture struct {
	name, path string
	said       string // a plain answer, or the frames of a stream, one a line
	stream     bool
	usage      llm.Usage
	total      int64 // the provider's own, of what it bills
	class      llm.Class
	id         string
}

func reported(input, output, cacheRead, cacheWrite, reasoning, cacheWrite1h int64) llm.Usage {
	return llm.Usage{Input: input, Output: output, CacheRead: cacheRead, CacheWrite: cacheWrite, Reasoning: reasoning, CacheWrite1h: cacheWrite1h, Source: llm.Reported}
}

const (
	chat, completions, embeddings, responses = "/chat/completions", "/completions", "/embeddings", "/responses"
	messages, counting                       = "/messages", "/messages/count_tokens"
)

// fixtures are answers as providers gave them, shortened.
func fixtures() []fixture {
	missing := llm.Usage{Source: llm.Missing}
	return []fixture{
		{name: "chat: cached and reasoning", path: chat, total: 2098,
			said:  `{"id":"chatcmpl-1","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2006,"completion_tokens":92,"total_tokens":2098,"prompt_tokens_details":{"cached_tokens":1920,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":64,"audio_tokens":0}}}`,
			usage: reported(86, 92, 1920, 0, 64, 0)},
		{name: "chat: thinking beyond the completion", path: chat, total: 427,
			said:  `{"choices":[{}],"usage":{"prompt_tokens":32,"completion_tokens":9,"total_tokens":427,"completion_tokens_details":{"reasoning_tokens":386}}}`,
			usage: reported(32, 395, 0, 0, 386, 0)},
		{name: "chat: hits and misses", path: chat, total: 30,
			said:  `{"choices":[{}],"usage":{"prompt_tokens":20,"completion_tokens":10,"total_tokens":30,"prompt_cache_hit_tokens":15,"prompt_cache_miss_tokens":5}}`,
			usage: reported(5, 10, 15, 0, 0, 0)},
		{name: "chat: usage null", path: chat, said: `{"choices":[{}],"usage":null}`, usage: missing},
		{name: "chat stream", path: chat, stream: true, total: 24,
			said:  "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\n{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n{\"choices\":[],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":5,\"total_tokens\":24}}\n[DONE]",
			usage: reported(19, 5, 0, 0, 0, 0)},
		{name: "chat stream: usage grows with every chunk", path: chat, stream: true, total: 22,
			said:  "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":1,\"total_tokens\":20}}\n{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":19,\"completion_tokens\":3,\"total_tokens\":22}}\n[DONE]",
			usage: reported(19, 3, 0, 0, 0, 0)},
		{name: "chat stream: no usage", path: chat, stream: true, said: "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n[DONE]", usage: missing},
		{name: "completion", path: completions, total: 12, said: `{"choices":[{"text":"x","index":0,"finish_reason":"length"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}}`, usage: reported(5, 7, 0, 0, 0, 0)},
		{name: "embedding", path: embeddings, total: 8, said: `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1]}],"usage":{"prompt_tokens":8,"total_tokens":8}}`, usage: reported(8, 0, 0, 0, 0, 0)},
		{name: "embedding: the total alone", path: embeddings, total: 8, said: `{"data":[],"usage":{"total_tokens":8}}`, usage: reported(8, 0, 0, 0, 0, 0)},
		{name: "embedding: none", path: embeddings, said: `{"object":"list"}`, usage: missing, class: llm.Malformed},
		{name: "response", path: responses, total: 362, id: "resp_67",
			said:  `{"id":"resp_67","object":"response","status":"completed","error":null,"output":[{"type":"message"}],"usage":{"input_tokens":75,"input_tokens_details":{"cached_tokens":64},"output_tokens":287,"output_tokens_details":{"reasoning_tokens":256},"total_tokens":362}}`,
			usage: reported(11, 287, 64, 0, 256, 0)},
		{name: "response stream", path: responses, stream: true, total: 13, id: "resp_67",
			said:  "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_67\",\"status\":\"in_progress\",\"error\":null,\"usage\":null}}\n{\"type\":\"response.output_text.delta\",\"delta\":\"hi\"}\n{\"type\":\"response.completed\",\"response\":{\"id\":\"resp_67\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":0},\"output_tokens\":3,\"total_tokens\":13}}}",
			usage: reported(10, 3, 0, 0, 0, 0)},
		{name: "response stream: failed", path: responses, stream: true, id: "resp_67", class: llm.RateLimit, usage: missing,
			said: "{\"type\":\"response.created\",\"response\":{\"id\":\"resp_67\"}}\n{\"type\":\"response.failed\",\"response\":{\"id\":\"resp_67\",\"status\":\"failed\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}}}"},
		{name: "message: cache writes", path: messages, total: 3178,
			said:  `{"id":"msg_1","type":"message","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":28,"cache_creation_input_tokens":556,"cache_read_input_tokens":2544,"cache_creation":{"ephemeral_5m_input_tokens":456,"ephemeral_1h_input_tokens":100},"output_tokens":50,"service_tier":"standard"}}`,
			usage: reported(28, 50, 2544, 556, 0, 100)},
		{name: "message: thinking", path: messages, total: 120,
			said:  `{"type":"message","content":[],"usage":{"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":100,"output_tokens_details":{"thinking_tokens":80}}}`,
			usage: reported(20, 100, 0, 0, 80, 0)},
		{name: "message: only the split of writes", path: messages, total: 23,
			said:  `{"type":"message","content":[],"usage":{"input_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":5,"ephemeral_1h_input_tokens":7},"output_tokens":10}}`,
			usage: reported(1, 10, 0, 12, 0, 7)},
		{name: "message: usage null", path: messages, said: `{"type":"message","content":[],"usage":null}`, usage: missing},
		{name: "message: an error with status 200", path: messages, said: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, usage: missing, class: llm.ServerError},
		{name: "message stream: absent keeps, present zero overwrites", path: messages, stream: true, total: 44,
			said:  "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":4,\"cache_read_input_tokens\":9,\"output_tokens\":1}}}\n{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"cache_read_input_tokens\":0,\"output_tokens\":15}}\n{\"type\":\"message_stop\"}",
			usage: reported(25, 15, 0, 4, 0, 0)},
		{name: "message stream: cumulative deltas", path: messages, stream: true, total: 45,
			said:  "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"output_tokens\":3}}}\n{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":10}}\n{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":20,\"input_tokens\":null}}\n{\"type\":\"message_stop\"}",
			usage: reported(25, 20, 0, 0, 0, 0)},
		{name: "message stream: the input comes last", path: messages, stream: true, total: 35,
			said:  "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":0,\"output_tokens\":0}}}\n{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":20,\"output_tokens\":15}}\n{\"type\":\"message_stop\"}",
			usage: reported(20, 15, 0, 0, 0, 0)},
		{name: "message stream: the whole report again", path: messages, stream: true, total: 61,
			said:  "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":12,\"cache_creation\":{\"ephemeral_5m_input_tokens\":5,\"ephemeral_1h_input_tokens\":7},\"cache_read_input_tokens\":9,\"output_tokens\":1}}}\n{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":12,\"cache_read_input_tokens\":9,\"output_tokens\":15}}\n{\"type\":\"message_stop\"}",
			usage: reported(25, 15, 9, 12, 0, 7)},
		{name: "message stream: nothing written after all, and a count of null", path: messages, stream: true, total: 41,
			said:  "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":12,\"cache_creation\":{\"ephemeral_5m_input_tokens\":5,\"ephemeral_1h_input_tokens\":7},\"output_tokens\":1}}}\n{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"cache_creation_input_tokens\":0,\"output_tokens\":16}}\n{\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":null}}\n{\"type\":\"message_stop\"}",
			usage: reported(25, 16, 0, 0, 0, 0)},
		{name: "counting", path: counting, said: `{"input_tokens":2095}`, usage: missing},
		{name: "counting: no count", path: counting, said: `{"type":"error","error":{"type":"api_error","message":"x"}}`, usage: missing, class: llm.ServerError},
	}
}
