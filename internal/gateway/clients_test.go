package gateway_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

const arguments = `{"city":"上海","unit":"celsius"}`

// weather is an answer that thinks, says something and calls a tool.
func weather() provider.Answer {
	text, thinking := "let me look", "is it raining"
	return provider.Answer{
		Text: &text, Thinking: &thinking, Tools: []provider.Tool{{Name: "weather", Arguments: json.RawMessage(arguments)}},
		Tokens: &provider.Tokens{Input: 100, CacheRead: 40, CacheWrite5m: 5, CacheWrite1h: 7, Output: 30, Reasoning: 12},
	}
}

// through starts a gateway whose primary fails, and whose fallback answers with weather.
func through(t *testing.T) (*running, *providers) {
	t.Helper()
	p := newProviders(t, provider.Options{Models: []string{native}})
	if err := p.AddAnswer(weather()); err != nil {
		t.Fatal(err)
	}
	p.fault(t, provider.Fault{Kind: provider.ServerError, Backend: "primary-1"})
	g := start(t, writeConfig(t, settings{
		providers: p.url, backend: "api: [openai, anthropic]", cooldown: "base: 10m, failures_before_error: 1000",
		clients: "    - {name: somebody, key: key-of-somebody}\n",
		model:   "reasoning: true, price_per_mtok: {input: 1, output: 4, cache_read: 0.1, cache_write: 1.25, cache_write_1h: 2}",
	}))
	return g, p
}

// newest returns the newest row, and checks that it failed over.
func (g *running) newest(dialect string) admin.Timeline {
	g.t.Helper()
	var rows []admin.Request
	g.get("/api/admin/requests?limit=1", &rows)
	row := g.timeline(rows[0].ID)
	if row.ProviderRequestID == "" && row.Attempts[1].ProviderRequestID == "" {
		g.t.Errorf("the provider's own id is not kept: %+v", row)
	}
	if row.Status != "completed" || row.Backend != "fallback-1" || row.AttemptCount != 2 || row.FailedAttempts != 1 || row.Dialect != dialect || row.UsageSource != "reported" {
		g.t.Errorf("row %+v", row.Request)
	}
	return row
}

// bills checks what a row counted, against prices of 1, 4, 0.1, 1.25 and 2.
func (g *running) bills(dialect, tokens string, cost float64) {
	g.t.Helper()
	row := g.newest(dialect)
	if got := fmt.Sprintf("%+v", row.Tokens); got != tokens || row.Cost < cost-1e-12 || row.Cost > cost+1e-12 {
		g.t.Errorf("tokens %s, cost %.9f; want %s, %.9f", got, row.Cost, tokens, cost)
	}
}

const (
	// OpenAI's own count of the prompt holds what was cached now: 152 = 112 + 40.
	openaiTokens = "{Input:112 Output:30 CacheRead:40 CacheWrite:0 Reasoning:12 Total:182}"
	openaiCost   = (112*1 + 40*0.1 + 30*4) / 1e6
	// Anthropic's counts are apart.
	anthropicTokens = "{Input:100 Output:30 CacheRead:40 CacheWrite:12 Reasoning:12 Total:182}"
	anthropicCost   = (100*1 + 40*0.1 + 5*1.25 + 7*2 + 30*4) / 1e6
)

// TestOpenAIClient: the official client, unchanged, through a failing primary: every
// endpoint, streamed and not, with tools and reasoning, billed to the token.
func TestOpenAIClient(t *testing.T) {
	g, _ := through(t)
	client := g.sdk()
	checked := func(c openai.ChatCompletion) {
		t.Helper()
		m := c.Choices[0].Message
		if m.Content != "let me look" || len(m.ToolCalls) != 1 || m.ToolCalls[0].Function.Arguments != arguments || c.Choices[0].FinishReason != "tool_calls" {
			t.Errorf("%+v", c.Choices[0])
		}
	}
	ask := params()
	ask.ReasoningEffort = "high"
	plain, err := client.Chat.Completions.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	checked(*plain)
	if plain.Usage.TotalTokens != 182 {
		t.Errorf("usage %+v", plain.Usage)
	}
	g.bills("openai", openaiTokens, openaiCost)

	for _, asked := range []bool{false, true} {
		if asked {
			ask.StreamOptions.IncludeUsage = openai.Bool(true)
		}
		stream, acc := client.Chat.Completions.NewStreaming(t.Context(), ask), openai.ChatCompletionAccumulator{}
		for stream.Next() {
			acc.AddChunk(stream.Current())
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		checked(acc.ChatCompletion)
		if (acc.Usage.TotalTokens == 182) != asked {
			t.Errorf("the usage report was asked for: %t, came: %+v", asked, acc.Usage)
		}
		g.bills("openai", openaiTokens, openaiCost)
	}

	text := client.Completions.NewStreaming(t.Context(), openai.CompletionNewParams{Model: model, Prompt: openai.CompletionNewParamsPromptUnion{OfString: openai.String("hello")}})
	said := ""
	for text.Next() {
		said += text.Current().Choices[0].Text
	}
	if err := text.Err(); err != nil || !strings.Contains(said, "let me look") {
		t.Errorf("%v, %q", err, said)
	}
	g.newest("openai")

	vectors, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{Model: model, Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}}})
	if err != nil || len(vectors.Data) != 2 || len(vectors.Data[0].Embedding) == 0 {
		t.Errorf("%v, %+v", err, vectors)
	}
	if row := g.newest("openai"); row.Tokens.Input == 0 || row.Tokens.Output != 0 {
		t.Errorf("tokens of embeddings %+v", row.Tokens)
	}

	models, err := client.Models.List(t.Context())
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != model {
		t.Errorf("%v, %+v", err, models)
	}
	if one, err := client.Models.Get(t.Context(), model); err != nil || one.ID != model {
		t.Errorf("%v, %+v", err, one)
	}
}

// TestOpenAIResponses: the same for responses, and one that goes on from another goes
// where the other came from, over a restart too.
func TestOpenAIResponses(t *testing.T) {
	g, p := through(t)
	client := g.sdk()
	ask := responses.ResponseNewParams{Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")}}
	checked := func(r responses.Response) {
		t.Helper()
		if r.Status != "completed" || r.OutputText() != "let me look" || len(r.Output) != 3 || r.Output[2].Arguments.OfString != arguments || r.Usage.TotalTokens != 182 {
			t.Errorf("%s", r.RawJSON())
		}
		g.bills("openai", openaiTokens, openaiCost)
	}
	plain, err := client.Responses.New(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	checked(*plain)
	stream := client.Responses.NewStreaming(t.Context(), ask)
	var last responses.ResponseStreamEventUnion
	for stream.Next() {
		last = stream.Current()
	}
	if err := stream.Err(); err != nil || last.Type != "response.completed" {
		t.Fatalf("%v, %s", err, last.Type)
	}
	checked(last.Response)

	p.ClearFaults("") // the primary would be asked, and knows neither
	for _, id := range []string{plain.ID, last.Response.ID} {
		ask.PreviousResponseID = openai.String(id)
		var raw *http.Response
		if _, err := client.Responses.New(t.Context(), ask, option.WithResponseInto(&raw)); err != nil || raw.Header.Get("X-Gateway-Backend") != "fallback-1" {
			t.Errorf("going on from %s: %v", id, err)
		}
	}
	somebody := g.send("/v1/responses", fmt.Sprintf(`{"model":%q,"input":"x","previous_response_id":%q}`, model, plain.ID), "Authorization", "Bearer key-of-somebody")
	if somebody.status != http.StatusBadRequest || !strings.Contains(somebody.body, "previous_response_not_found") {
		t.Errorf("another client goes on: %d %s", somebody.status, somebody.body)
	}
	a := g.send("/v1/responses", fmt.Sprintf(`{"model":%q,"input":"x","previous_response_id":"resp_nobody_made"}`, model))
	if a.status != http.StatusBadRequest || !strings.Contains(a.body, "previous_response_not_found") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestAnthropicClient: the other official client, unchanged, through a failing primary.
func TestAnthropicClient(t *testing.T) {
	g, p := through(t)
	client := anthropic.NewClient(anthropicoption.WithBaseURL("http://"+g.Addr()), anthropicoption.WithAPIKey(clientKey), anthropicoption.WithMaxRetries(0))
	ask := anthropic.MessageNewParams{
		Model: model, MaxTokens: 2048, Thinking: anthropic.ThinkingConfigParamOfEnabled(1024),
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))},
	}
	checked := func(m anthropic.Message) {
		t.Helper()
		if m.StopReason != "tool_use" || len(m.Content) != 3 || m.Content[0].Thinking != "is it raining" || m.Content[0].Signature == "" || m.Content[1].Text != "let me look" || string(m.Content[2].Input) != arguments ||
			m.Usage.CacheCreation.Ephemeral1hInputTokens != 7 {
			t.Errorf("%s", m.RawJSON())
		}
		g.bills("anthropic", anthropicTokens, anthropicCost)
	}
	plain, err := client.Messages.New(t.Context(), ask, anthropicoption.WithHeader("anthropic-beta", "x-1,x-2"))
	if err != nil {
		t.Fatal(err)
	}
	checked(*plain)
	stream, m := client.Messages.NewStreaming(t.Context(), ask), anthropic.Message{}
	for stream.Next() {
		if err := m.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	checked(m)

	count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: model, Messages: ask.Messages})
	if err != nil || count.InputTokens == 0 {
		t.Errorf("%v, %+v", err, count)
	}
	g.bills("anthropic", "{Input:0 Output:0 CacheRead:0 CacheWrite:0 Reasoning:0 Total:0}", 0)
	models, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != model {
		t.Errorf("%v, %+v", err, models)
	}
	if one, err := client.Models.Get(t.Context(), model, anthropic.ModelGetParams{}); err != nil || one.ID != model {
		t.Errorf("%v, %+v", err, one)
	}
	for _, r := range p.Requests() {
		if r.Key != keyOf+r.Backend || r.Header.Get("Anthropic-Version") == "" || strings.Contains(fmt.Sprint(r.Header), clientKey) {
			t.Errorf("%s got the headers %v", r.Backend, r.Header)
		}
	}
	if beta := p.Requests()[0].Header.Get("Anthropic-Beta"); beta != "x-1,x-2" {
		t.Errorf("anthropic-beta is %q", beta)
	}
	p.ClearFaults("")
	p.fault(t, provider.Fault{Kind: provider.Overloaded})
	_, err = client.Messages.New(t.Context(), ask)
	var refused *anthropic.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusServiceUnavailable || refused.RequestID == "" {
		t.Errorf("both overloaded: %v", err)
	}
}
