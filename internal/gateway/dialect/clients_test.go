package dialect_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	anthropicsdk "github.com/anthropics/anthropic-sdk-go"
	anthropicoption "github.com/anthropics/anthropic-sdk-go/option"
	openaisdk "github.com/openai/openai-go/v3"
	openaioption "github.com/openai/openai-go/v3/option"
	openairesponses "github.com/openai/openai-go/v3/responses"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// TestOfficialClientsRaise: an error frame of ours behind some content is an error to
// the official clients, with our words in it.
func TestOfficialClientsRaise(t *testing.T) {
	begin := map[string]string{
		chat:        `data: {"id":"x","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"hi"}}]}`,
		completions: `data: {"id":"x","object":"text_completion","choices":[{"index":0,"text":"hi"}]}`,
		responses:   "event: response.output_text.delta\ndata: " + `{"type":"response.output_text.delta","delta":"hi","item_id":"i","output_index":0,"content_index":0,"sequence_number":1}`,
		messages:    "event: message_start\ndata: " + `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}`,
	}
	for path, first := range begin {
		t.Run(path, func(t *testing.T) {
			e := endpoint(t, path)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, first+"\n\n"+string(e.Errors.Frame(llm.Failure{Status: http.StatusBadGateway, Code: "timeout", Message: "the backend went silent"}, "req_1")))
			}))
			defer server.Close()
			events, err := raise(t, path, server.URL)
			if err == nil || events != 1 || !strings.Contains(fmt.Sprint(err), "the backend went silent") {
				t.Errorf("%d events, then %v", events, err)
			}
		})
	}
}

// raise streams by the official client of an endpoint, until it ends or raises.
func raise(t *testing.T, path, url string) (events int, err error) {
	t.Helper()
	var stream interface {
		Next() bool
		Err() error
	}
	client := openaisdk.NewClient(openaioption.WithBaseURL(url+"/v1"), openaioption.WithAPIKey("k"), openaioption.WithMaxRetries(0))
	switch path {
	case chat:
		stream = client.Chat.Completions.NewStreaming(t.Context(), openaisdk.ChatCompletionNewParams{Model: "m"})
	case completions:
		stream = client.Completions.NewStreaming(t.Context(), openaisdk.CompletionNewParams{Model: "m"})
	case responses:
		stream = client.Responses.NewStreaming(t.Context(), openairesponses.ResponseNewParams{Model: "m"})
	default:
		client := anthropicsdk.NewClient(anthropicoption.WithBaseURL(url), anthropicoption.WithAPIKey("k"), anthropicoption.WithMaxRetries(0))
		stream = client.Messages.NewStreaming(t.Context(), anthropicsdk.MessageNewParams{Model: "m", MaxTokens: 1})
	}
	for stream.Next() {
		events++
	}
	return events, stream.Err()
}
