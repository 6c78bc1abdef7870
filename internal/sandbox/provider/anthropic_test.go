package provider_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

func anthropicClient(url string) anthropic.Client {
	return anthropic.NewClient(option.WithBaseURL(url+"/primary-1"), option.WithAPIKey("key"), option.WithMaxRetries(0))
}

func askMessages() anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: "m", MaxTokens: 2000, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock("hello"))}}
}

// accumulate reads a stream as the official client does.
func accumulate(t *testing.T, client anthropic.Client, params anthropic.MessageNewParams) (m anthropic.Message, events []string, err error) {
	t.Helper()
	stream := client.Messages.NewStreaming(t.Context(), params)
	for stream.Next() {
		e := stream.Current()
		events = append(events, e.Type)
		if err := m.Accumulate(e); err != nil {
			t.Error(err)
		}
	}
	return m, events, stream.Err()
}

// TestAnthropicClient: the stand-in is a provider to the client that knows best.
func TestAnthropicClient(t *testing.T) {
	s, url := start(t, provider.Options{Models: []string{"m"}, Words: 5})
	client := anthropicClient(url)
	params := askMessages()
	plain, err := client.Messages.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if plain.StopReason != "end_turn" || len(plain.Content) != 1 || plain.Content[0].Text != "word word word word word" || plain.Usage.OutputTokens != 5 || plain.Usage.InputTokens == 0 || plain.Usage.CacheReadInputTokens == 0 {
		t.Errorf("%s", plain.RawJSON())
	}
	params.Thinking = anthropic.ThinkingConfigParamOfEnabled(1024)
	m, events, err := accumulate(t, client, params)
	if err != nil || len(m.Content) != 2 || m.Content[0].Thinking != "word word" || m.Content[0].Signature == "" || m.Content[1].Text != "word word word" || m.StopReason != "end_turn" ||
		m.Usage.OutputTokens != 5 || m.Usage.OutputTokensDetails.ThinkingTokens != 2 || events[0] != "message_start" || events[len(events)-1] != "message_stop" {
		t.Errorf("%v, %q, %s", err, events, m.RawJSON())
	}
	count, err := client.Messages.CountTokens(t.Context(), anthropic.MessageCountTokensParams{Model: "m", Messages: params.Messages})
	if err != nil || count.InputTokens == 0 {
		t.Errorf("%v, %+v", err, count)
	}
	models, err := client.Models.List(t.Context(), anthropic.ModelListParams{})
	if err != nil || len(models.Data) != 1 || models.Data[0].ID != "m" || models.LastID != "m" {
		t.Errorf("%v, %+v", err, models)
	}
	if one, err := client.Models.Get(t.Context(), "m", anthropic.ModelGetParams{}); err != nil || one.ID != "m" {
		t.Errorf("%v, %+v", err, one)
	}
	if r := s.Requests(); len(r) != 3 || r[0].Key != "key" || r[0].Path != "/v1/messages" || !r[1].Stream || r[2].Path != "/v1/messages/count_tokens" {
		t.Errorf("journal %+v", r)
	}
}

func TestMessagesTools(t *testing.T) {
	s, url := start(t, provider.Options{})
	a := weather("/v1/messages")
	a.Citation = "it rains"
	a.Tools = append(a.Tools, provider.Tool{Name: "web_search", Arguments: json.RawMessage(`{"query":"x"}`), Server: true})
	if err := s.AddAnswer(a); err != nil {
		t.Fatal(err)
	}
	client := anthropicClient(url)
	check := func(m anthropic.Message) {
		t.Helper()
		if m.StopReason != "tool_use" || len(m.Content) != 4 || m.Content[0].Thinking != "is it raining" || m.Content[1].Text != "let me look" || len(m.Content[1].Citations) != 1 || m.Content[1].Citations[0].CitedText != "it rains" ||
			m.Content[2].Type != "tool_use" || string(m.Content[2].Input) != `{"city":"上海","unit":"celsius"}` || m.Content[3].Type != "server_tool_use" || string(m.Content[3].Input) != `{"query":"x"}` {
			t.Errorf("%s", m.RawJSON())
		}
		u := m.Usage
		if u.InputTokens != 100 || u.CacheReadInputTokens != 40 || u.CacheCreationInputTokens != 12 || u.CacheCreation.Ephemeral5mInputTokens != 5 || u.CacheCreation.Ephemeral1hInputTokens != 7 || u.OutputTokens != 30 || u.OutputTokensDetails.ThinkingTokens != 12 {
			t.Errorf("usage %s", u.RawJSON())
		}
	}
	plain, err := client.Messages.New(t.Context(), askMessages())
	if err != nil {
		t.Fatal(err)
	}
	check(*plain)
	m, _, err := accumulate(t, client, askMessages())
	if err != nil {
		t.Fatal(err)
	}
	check(m)
}

// TestScriptedUsage: reports come byte for byte, those of a stream where they belong.
func TestScriptedUsage(t *testing.T) {
	s, url := start(t, provider.Options{})
	client := anthropicClient(url)
	if err := s.AddAnswer(provider.Answer{Usage: []json.RawMessage{
		json.RawMessage(`{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}`), json.RawMessage(`{"output_tokens":5}`), json.RawMessage(`{"output_tokens":8,"cache_read_input_tokens":0}`),
	}}); err != nil {
		t.Fatal(err)
	}
	m, events, err := accumulate(t, client, askMessages())
	if u := m.Usage; err != nil || u.InputTokens != 9 || u.CacheReadInputTokens != 0 || u.OutputTokens != 8 || m.StopReason != "end_turn" {
		t.Errorf("%v, %q, usage %+v", err, events, m.Usage)
	}
	if plain, err := client.Messages.New(t.Context(), askMessages()); err != nil || plain.Usage.RawJSON() != `{"output_tokens":8,"cache_read_input_tokens":0}` {
		t.Errorf("%v, %+v", err, plain)
	}
	if err := s.AddFault(provider.Fault{Kind: provider.NoUsage}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := accumulate(t, client, askMessages()); err != nil || m.JSON.Usage.Raw() != "" && m.Usage.OutputTokens != 0 {
		t.Errorf("%v, usage %+v", err, m.Usage)
	}
}

// TestAnthropicRefusals: errors in the dialect's own form, and its own headers.
func TestAnthropicRefusals(t *testing.T) {
	s, url := start(t, provider.Options{})
	client := anthropicClient(url)
	for kind, want := range map[provider.Kind]struct {
		status int
		name   string
	}{
		provider.RateLimit: {429, "rate_limit_error"}, provider.Quota: {400, "invalid_request_error"}, provider.Payment: {402, "billing_error"},
		provider.ServerError: {500, "api_error"}, provider.Overloaded: {529, "overloaded_error"}, provider.Unauthorized: {401, "authentication_error"},
		provider.Forbidden: {403, "permission_error"}, provider.NoModel: {404, "not_found_error"}, provider.BadRequest: {400, "invalid_request_error"},
		provider.TooLarge: {413, "request_too_large"}, provider.ContentFilter: {400, "invalid_request_error"},
	} {
		if err := s.AddFault(provider.Fault{Kind: kind, Times: 1}); err != nil {
			t.Fatal(err)
		}
		_, err := client.Messages.New(t.Context(), askMessages())
		var refused *anthropic.Error
		if !errors.As(err, &refused) || refused.StatusCode != want.status || string(refused.Type()) != want.name || refused.RequestID == "" {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestResetHeaders(t *testing.T) {
	s, url := start(t, provider.Options{})
	client := anthropicClient(url)
	for _, limit := range []string{"", "tokens", "input-tokens", "output-tokens", "unified"} {
		if err := s.AddFault(provider.Fault{Kind: provider.RateLimit, Times: 1, Reset: 3600, ResetOf: limit}); err != nil {
			t.Fatal(err)
		}
		_, err := client.Messages.New(t.Context(), askMessages())
		var refused *anthropic.Error
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		h := refused.Response.Header
		spent := 0
		for _, l := range []string{"requests", "tokens", "input-tokens", "output-tokens"} {
			at, err := time.Parse(time.RFC3339, h.Get("anthropic-ratelimit-"+l+"-reset"))
			gone := h.Get("anthropic-ratelimit-"+l+"-remaining") == "0"
			if err != nil || gone != (time.Until(at) > time.Minute) {
				t.Errorf("%q: %s until %v, gone %t, %v", limit, l, at, gone, err)
			}
			if gone {
				spent++
			}
		}
		at, _ := strconv.ParseInt(h.Get("anthropic-ratelimit-unified-reset"), 10, 64)
		if inUnified := time.Until(time.Unix(at, 0)) > time.Minute; inUnified != (limit == "unified") || spent > 1 || (spent == 1) == inUnified {
			t.Errorf("%q: %d limits spent, unified %t: %v", limit, spent, inUnified, h)
		}
	}
}

// TestWhatTheProviderWants: a key in the dialect's own place, a version, max_tokens.
func TestWhatTheProviderWants(t *testing.T) {
	_, url := start(t, provider.Options{Keys: map[string]string{"primary-1": "key"}})
	for _, c := range []struct {
		name, path, body string
		header           map[string]string
		want             int
	}{
		{"all", "/v1/messages", `{"model":"m","max_tokens":1}`, map[string]string{"X-Api-Key": "key", "Anthropic-Version": "2023-06-01"}, 200},
		{"another key", "/v1/messages", `{"model":"m","max_tokens":1}`, map[string]string{"X-Api-Key": "other", "Anthropic-Version": "2023-06-01"}, 401},
		{"a bearer", "/v1/messages", `{"model":"m","max_tokens":1}`, map[string]string{"Authorization": "Bearer key", "Anthropic-Version": "2023-06-01"}, 401},
		{"no version", "/v1/messages", `{"model":"m","max_tokens":1}`, map[string]string{"X-Api-Key": "key"}, 400},
		{"no max_tokens", "/v1/messages", `{"model":"m"}`, map[string]string{"X-Api-Key": "key", "Anthropic-Version": "2023-06-01"}, 400},
		{"counting needs none", "/v1/messages/count_tokens", `{"model":"m"}`, map[string]string{"X-Api-Key": "key", "Anthropic-Version": "2023-06-01"}, 200},
		{"models", "/v1/models", "", map[string]string{"Authorization": "Bearer key"}, 200},
		{"models with another key", "/v1/models", "", map[string]string{"Authorization": "Bearer other"}, 401},
		{"models of the other dialect", "/v1/models", "", map[string]string{"X-Api-Key": "key", "Anthropic-Version": "2023-06-01"}, 200},
	} {
		method := http.MethodPost
		if c.body == "" {
			method = http.MethodGet
		}
		if got := send(t, method, url+"/primary-1"+c.path, c.body, c.header); got.status != c.want {
			t.Errorf("%s: %d %s", c.name, got.status, got.body)
		}
	}
}
