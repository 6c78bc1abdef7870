package provider_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/packages/param"
	"github.com/openai/openai-go/v3/responses"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

func openaiClient(url, backend string) openai.Client {
	return openai.NewClient(option.WithBaseURL(url+"/"+backend+"/v1"), option.WithAPIKey("key"), option.WithMaxRetries(0))
}

// weather is an answer that thinks, says something and calls a tool.
func weather(path string) provider.Answer {
	return provider.Answer{
		Path: path, Text: new("let me look"), Thinking: new("is it raining"),
		Tools:  []provider.Tool{{Name: "weather", Arguments: json.RawMessage(`{"city":"上海","unit":"celsius"}`)}},
		Tokens: &provider.Tokens{Input: 100, CacheRead: 40, CacheWrite5m: 5, CacheWrite1h: 7, Output: 30, Reasoning: 12},
	}
}

func TestChatTools(t *testing.T) {
	s, url := start(t, provider.Options{})
	if err := s.AddAnswer(weather("/v1/chat/completions")); err != nil {
		t.Fatal(err)
	}
	client := openaiClient(url, "primary-1")
	params := openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}}
	check := func(c openai.ChatCompletion) {
		t.Helper()
		m := c.Choices[0].Message
		if len(m.ToolCalls) != 1 || m.ToolCalls[0].Function.Arguments != `{"city":"上海","unit":"celsius"}` || m.ToolCalls[0].Function.Name != "weather" || m.Content != "let me look" || c.Choices[0].FinishReason != "tool_calls" {
			t.Errorf("%+v", c.Choices[0])
		}
		if u := c.Usage; u.PromptTokens != 152 || u.PromptTokensDetails.CachedTokens != 40 || u.CompletionTokens != 30 || u.CompletionTokensDetails.ReasoningTokens != 12 || u.TotalTokens != 182 {
			t.Errorf("usage %+v", u)
		}
	}
	plain, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	check(*plain)
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream, acc := client.Chat.Completions.NewStreaming(t.Context(), params), openai.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	check(acc.ChatCompletion)
}

func TestCompletions(t *testing.T) {
	_, url := start(t, provider.Options{Words: 3})
	client := openaiClient(url, "primary-1")
	params := openai.CompletionNewParams{Model: "m", Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("say")}}
	plain, err := client.Completions.New(t.Context(), params)
	if err != nil || plain.Choices[0].Text != "word word word" || plain.Choices[0].FinishReason != "stop" || plain.Usage.CompletionTokens != 3 {
		t.Errorf("%v, %+v", err, plain)
	}
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Completions.NewStreaming(t.Context(), params)
	text, tokens := "", int64(0)
	for stream.Next() {
		c := stream.Current()
		tokens += c.Usage.CompletionTokens
		for _, choice := range c.Choices {
			text += choice.Text
		}
	}
	if err := stream.Err(); err != nil || text != "word word word" || tokens != 3 {
		t.Errorf("%v, %q, %d tokens", err, text, tokens)
	}
}

func TestEmbeddings(t *testing.T) {
	_, url := start(t, provider.Options{})
	client := openaiClient(url, "primary-1")
	params := openai.EmbeddingNewParams{Model: "m", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}, Dimensions: openai.Int(4)}
	floats, err := client.Embeddings.New(t.Context(), params)
	if err != nil || len(floats.Data) != 2 || len(floats.Data[1].Embedding) != 4 || floats.Data[1].Embedding[0] != -0.5 || floats.Usage.PromptTokens == 0 || floats.Usage.PromptTokens != floats.Usage.TotalTokens {
		t.Errorf("%v, %+v", err, floats)
	}
	params.EncodingFormat = openai.EmbeddingNewParamsEncodingFormatBase64
	params.Input = openai.EmbeddingNewParamsInputUnion{OfArrayOfTokens: []int64{1, 2, 3}}
	// The client has no form for base64; what it received is what counts.
	packed, err := client.Embeddings.New(t.Context(), params)
	if packed == nil || strings.Count(packed.RawJSON(), `"embedding":"AAAAPwAAAL8AAAA/AAAAvw=="`) != 1 {
		t.Errorf("%v, %+v", err, packed)
	}
}

func TestResponses(t *testing.T) {
	s, url := start(t, provider.Options{})
	if err := s.AddAnswer(weather("/v1/responses")); err != nil {
		t.Fatal(err)
	}
	client := openaiClient(url, "primary-1")
	params := responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")}}
	check := func(r responses.Response) {
		t.Helper()
		if r.Status != "completed" || r.OutputText() != "let me look" || len(r.Output) != 3 || r.Output[0].Summary[0].Text != "is it raining" || r.Output[2].Name != "weather" || r.Output[2].Arguments.OfString != `{"city":"上海","unit":"celsius"}` {
			t.Errorf("%s", r.RawJSON())
		}
		if u := r.Usage; u.InputTokens != 152 || u.InputTokensDetails.CachedTokens != 40 || u.OutputTokens != 30 || u.OutputTokensDetails.ReasoningTokens != 12 || u.TotalTokens != 182 {
			t.Errorf("usage %+v", u)
		}
	}
	plain, err := client.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	check(*plain)
	stream := client.Responses.NewStreaming(t.Context(), params)
	var names []string
	said := map[string]string{}
	var last responses.ResponseStreamEventUnion
	for stream.Next() {
		last = stream.Current()
		if int(last.SequenceNumber) != len(names) {
			t.Errorf("event %d has the number %d", len(names), last.SequenceNumber)
		}
		names = append(names, last.Type)
		said[last.Type] += last.Delta
	}
	if err := stream.Err(); err != nil || names[0] != "response.created" || last.Type != "response.completed" {
		t.Fatalf("%v, %q", err, names)
	}
	check(last.Response)
	for name, want := range map[string]string{
		"response.reasoning_summary_text.delta": "is it raining", "response.output_text.delta": "let me look", "response.function_call_arguments.delta": `{"city":"上海","unit":"celsius"}`,
	} {
		if said[name] != want {
			t.Errorf("%s says %q, want %q", name, said[name], want)
		}
	}
	params.PreviousResponseID = openai.String(plain.ID)
	if _, err := client.Responses.New(t.Context(), params); err != nil {
		t.Errorf("going on: %v", err)
	}
	elsewhere := openaiClient(url, "fallback-1")
	var refused *openai.Error
	if _, err := elsewhere.Responses.New(t.Context(), params); !errors.As(err, &refused) || refused.StatusCode != 400 || refused.Code != "previous_response_not_found" || refused.Param != "previous_response_id" {
		t.Errorf("going on elsewhere: %v", err)
	}
	params.PreviousResponseID, params.Store = param.Opt[string]{}, openai.Bool(false)
	unstored, err := client.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	params.PreviousResponseID = openai.String(unstored.ID)
	if _, err := client.Responses.New(t.Context(), params); !errors.As(err, &refused) || refused.StatusCode != 400 {
		t.Errorf("going on from what was not stored: %v", err)
	}
}

func TestResponsesThatEndBadly(t *testing.T) {
	s, url := start(t, provider.Options{})
	client := openaiClient(url, "primary-1")
	params := responses.ResponseNewParams{Model: "m", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")}}
	ends := func() responses.ResponseStreamEventUnion {
		t.Helper()
		stream := client.Responses.NewStreaming(t.Context(), params)
		var last responses.ResponseStreamEventUnion
		for stream.Next() {
			last = stream.Current()
		}
		if err := stream.Err(); err != nil {
			t.Error(err)
		}
		return last
	}
	for _, f := range []provider.Fault{{Kind: provider.Failed, Chunks: 2, Type: "rate_limit_exceeded"}, {Kind: provider.ErrorFrame, Type: "rate_limit_exceeded"}} {
		f.Times = 1
		if err := s.AddFault(f); err != nil {
			t.Fatal(err)
		}
	}
	if e := ends(); e.Type != "response.failed" || e.Response.Status != "failed" || e.Response.Error.Code != "rate_limit_exceeded" {
		t.Errorf("%s", e.RawJSON())
	}
	if e := ends(); e.Type != "error" || e.Code != "rate_limit_exceeded" || e.Message == "" {
		t.Errorf("%s", e.RawJSON())
	}
	if err := s.AddAnswer(provider.Answer{Stop: "max_output_tokens", Times: 1}); err != nil {
		t.Fatal(err)
	}
	if e := ends(); e.Type != "response.incomplete" || e.Response.IncompleteDetails.Reason != "max_output_tokens" || e.Response.Usage.OutputTokens != 12 {
		t.Errorf("%s", e.RawJSON())
	}
}
