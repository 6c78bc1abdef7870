package agents

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// askTimeout bounds one request to the gateway.
const askTimeout = time.Minute

// Asking is how an agent talks to the gateway: what makes it look busy.
type Asking struct {
	Gateway string        // base URL of the data plane; empty: the agent asks nothing
	Key     redact.Secret // the agent's client key
	Model   string
	Every   time.Duration
}

// ask asks the gateway again and again, streaming every other time, two times in each
// dialect in turn, until ctx ends. A stalled agent asks nothing.
func (p *Process) ask(ctx context.Context) {
	ticker := time.NewTicker(p.Asking.Every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		if p.gate.wait(ctx) != nil {
			return
		}
		if err := p.askOnce(ctx, endpoints()[n/2%2], n%2 == 1); err != nil && ctx.Err() == nil {
			p.tell(report{Asked: true, Problem: redact.Error(err, p.Asking.Key).Error()})
		} else {
			p.tell(report{Asked: true})
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// endpoint is where an agent asks.
type endpoint struct {
	path    string
	version string // of the Anthropic dialect; empty in the other one
	end     string // what the last frame of a stream begins with
}

func endpoints() [2]endpoint {
	return [2]endpoint{{"/v1/chat/completions", "", "data: [DONE]"}, {"/v1/messages", "2023-06-01", "event: message_stop"}}
}

func (p *Process) askOnce(ctx context.Context, at endpoint, stream bool) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := json.Marshal(map[string]any{
		"model": p.Asking.Model, "stream": stream, "max_tokens": 64,
		"messages": []map[string]string{{"role": "user", "content": "I am " + p.ID + ". What is next on my list?"}},
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(p.Asking.Gateway, "/")+at.path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("making a request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.Asking.Key.Reveal())
	if at.version != "" {
		req.Header.Set("Anthropic-Version", at.version)
	}
	req.Header.Set("User-Agent", "fleetwatch-sandbox-agent")
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the gateway: HTTP %d", resp.StatusCode)
	}
	if !stream {
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return fmt.Errorf("reading the answer: %w", err)
		}
		return nil
	}
	return readStream(resp.Body, at.end)
}

// readStream reads an answer in events. One without its end marker is a failure.
func readStream(body io.Reader, end string) error {
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), end) {
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("reading the stream: %w", err)
	}
	return fmt.Errorf("reading the stream: it ended without its end marker")
}
