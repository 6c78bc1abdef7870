package beat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxBody bounds an answer: 1,000 agents with tasks fit several times.
const maxBody = 64 << 20

// Client reads heartbeat's API. The zero HTTP uses a client without a timeout
// of its own: the context's deadline counts.
type Client struct {
	// URL is heartbeat's base URL, for example http://127.0.0.1:9095.
	URL string
	// Token is the read (or admin) token; empty sends none.
	Token string
	// HTTP is the client to use; nil means http.DefaultClient.
	HTTP *http.Client
}

// StatusError is an answer other than 200.
type StatusError struct {
	Status int
	// Code and Message come from the error body, if it could be read.
	Code, Message string
}

func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("heartbeat answered %d", e.Status)
	}
	return fmt.Sprintf("heartbeat answered %d: %s", e.Status, e.Message)
}

// Agents returns the fleet as heartbeat sees it now. Every failure to get a
// whole, well-formed answer is an error; the error never holds the token.
func (c Client) Agents(ctx context.Context) (*Fleet, error) {
	var fleet Fleet
	if err := c.get(ctx, "/api/agents", &fleet); err != nil {
		return nil, fmt.Errorf("reading agents from heartbeat: %w", err)
	}
	if fleet.GeneratedAt.IsZero() {
		return nil, errors.New("reading agents from heartbeat: answer has no generated_at")
	}
	return &fleet, nil
}

// Agent returns one agent.
func (c Client) Agent(ctx context.Context, id string) (*Agent, error) {
	var agent Agent
	if err := c.get(ctx, "/api/agents/"+url.PathEscape(id), &agent); err != nil {
		return nil, fmt.Errorf("reading agent %s from heartbeat: %w", id, err)
	}
	return &agent, nil
}

func (c Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.URL, "/")+path, nil)
	if err != nil {
		return err
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	req.Header.Set("Accept", "application/json")
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("reading the body: %w", err)
	}
	if len(body) > maxBody {
		return fmt.Errorf("answer is larger than %d bytes", maxBody)
	}
	if resp.StatusCode != http.StatusOK {
		return ErrorOf(resp.StatusCode, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("decoding the answer: %w", err)
	}
	return nil
}

// ErrorOf returns a [*StatusError] for an answer with the shared error body.
func ErrorOf(status int, body []byte) error {
	var wire struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	out := &StatusError{Status: status}
	if json.Unmarshal(body, &wire) == nil {
		out.Code, out.Message = wire.Error.Code, wire.Error.Message
	}
	return out
}
