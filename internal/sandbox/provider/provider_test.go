package provider_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

func start(t *testing.T, o provider.Options) (*provider.Server, string) {
	t.Helper()
	o.Backends, o.Log = []string{"primary-1", "fallback-1"}, slog.New(slog.DiscardHandler)
	s, err := provider.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return s, server.URL
}

func call(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// TestOfficialClient: the stand-in is a provider to the client that knows best.
func TestOfficialClient(t *testing.T) {
	s, url := start(t, provider.Options{Models: []string{"m"}, Words: 5})
	client := openai.NewClient(option.WithBaseURL(url+"/primary-1/v1"), option.WithAPIKey("key"), option.WithMaxRetries(0))
	params := openai.ChatCompletionNewParams{Model: "m", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("hello")}}
	completion, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if u := completion.Usage; u.CompletionTokens != 5 || u.TotalTokens != u.PromptTokens+5 || u.CompletionTokensDetails.ReasoningTokens != 2 || u.PromptTokensDetails.CachedTokens == 0 {
		t.Errorf("usage %+v", u)
	}
	params.StreamOptions.IncludeUsage = openai.Bool(true)
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	acc := openai.ChatCompletionAccumulator{}
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil || acc.Choices[0].FinishReason != "stop" || acc.Usage.CompletionTokens != 5 {
		t.Errorf("%v, %+v", err, acc)
	}
	var refused *openai.Error
	if _, err := client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "other"}); !errors.As(err, &refused) || refused.Code != "model_not_found" {
		t.Errorf("another model: %v", err)
	}
	models, err := client.Models.List(t.Context())
	if err != nil || len(models.Data) != 1 {
		t.Errorf("models %+v, %v", models, err)
	}
	if r := s.Requests(); len(r) != 3 || r[1].Key != "key" || !r[1].Stream || r[1].Backend != "primary-1" {
		t.Errorf("journal %+v", r)
	}
}

func TestFaultsByTheAPI(t *testing.T) {
	s, url := start(t, provider.Options{})
	if code, text := call(t, http.MethodPost, url+"/sandbox/faults", `{"kind":"rate_limit","backend":"primary-1","skip":1,"times":1,"headers":{"Retry-After":"3"}}`); code != 201 {
		t.Fatal(text)
	}
	ask := func(backend string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/"+backend+"/v1/chat/completions", strings.NewReader(`{"model":"m"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer k")
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return response.StatusCode, response.Header.Get("Retry-After")
	}
	for i, want := range []int{200, 429, 200} {
		if code, _ := ask("primary-1"); code != want {
			t.Errorf("request %d: %d, want %d", i, code, want)
		}
	}
	if code, _ := ask("nobody"); code != 404 {
		t.Errorf("an unknown backend: %d", code)
	}
	for _, bad := range []string{`{}`, `{"kind":"dance"}`, `{"kind":"hang","backend":"x"}`, `{"kind":"hang","skip":-1}`, `{"king":"hang"}`} {
		if code, text := call(t, http.MethodPost, url+"/sandbox/faults", bad); code != 400 || !strings.Contains(text, "bad_fault") {
			t.Errorf("%s: %d %s", bad, code, text)
		}
	}
	if err := s.AddFault(provider.Fault{Kind: provider.ServerError}); err != nil {
		t.Fatal(err)
	}
	var left []provider.Fault
	if _, text := call(t, http.MethodGet, url+"/sandbox/faults", ""); json.Unmarshal([]byte(text), &left) != nil || len(left) != 1 {
		t.Errorf("left %s", text)
	}
	if _, text := call(t, http.MethodDelete, url+"/sandbox/faults", ""); text != "[]" {
		t.Errorf("cleared, left %s", text)
	}
	if code, text := call(t, http.MethodGet, url+"/sandbox/requests", ""); code != 200 || strings.Contains(text, "Bearer") || strings.Count(text, `"backend":"primary-1"`) != 3 {
		t.Errorf("%d %s", code, text)
	}
}

func TestPage(t *testing.T) {
	s, url := start(t, provider.Options{})
	if code, _ := call(t, http.MethodPost, url+"/backends/primary-1/rate_limit", ""); code != http.StatusSeeOther {
		t.Errorf("the button answers %d", code)
	}
	if f := s.Faults(); len(f) != 1 || f[0].Kind != provider.RateLimit || f[0].Backend != "primary-1" {
		t.Errorf("faults %+v", f)
	}
	code, text := call(t, http.MethodGet, url+"/", "")
	for _, want := range []string{`data-backend="primary-1" data-fault="rate_limit"`, `data-backend="fallback-1" data-fault=""`, "沙箱替身", url + "/primary-1"} {
		if code != 200 || !strings.Contains(text, want) {
			t.Errorf("%d, the page has no %q", code, want)
		}
	}
	call(t, http.MethodPost, url+"/backends/primary-1/normal", "")
	if f := s.Faults(); len(f) != 0 {
		t.Errorf("faults %+v", f)
	}
	if code, _ := call(t, http.MethodPost, url+"/backends/nobody/hang", ""); code != 404 {
		t.Errorf("a button of nobody: %d", code)
	}
}

func TestOptions(t *testing.T) {
	for _, backends := range [][]string{nil, {"a/b"}, {"sandbox"}, {"a", "a"}} {
		if _, err := provider.New(provider.Options{Backends: backends, Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%q are played", backends)
		}
	}
}
