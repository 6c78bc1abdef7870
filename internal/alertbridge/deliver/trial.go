package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// ErrNoReceiver is returned for a receiver that is not configured by name.
var ErrNoReceiver = errors.New("no such receiver")

// Tried is the outcome of a test message on one channel.
type Tried struct {
	Channel   store.Channel `json:"channel"`
	OK        bool          `json:"ok"`
	MessageID string        `json:"message_id,omitempty"` // of the app's message
	Error     string        `json:"error,omitempty"`
}

// Test sends a test card to a receiver, at once and on each of its channels.
func (c *Config) Test(ctx context.Context, receiver string) ([]Tried, error) {
	r, ok := c.Receivers[receiver]
	if !ok {
		return nil, ErrNoReceiver
	}
	now := time.Now().UTC()
	sample := &card.Card{
		ID: ulid.Make().String(), Receiver: receiver, State: card.StateFiring, Shown: card.StateFiring, Revision: 1, OpenedAt: now,
		Alerts: []card.Alert{{
			Fingerprint: "test", Status: card.Firing, StartsAt: now, Labels: map[string]string{"alertname": "AlertbridgeTest", "severity": "info"},
			Annotations: map[string]string{"summary": "alertbridge test 测试消息", "description": "This message was sent by hand to try the receiver " + receiver + "."},
		}},
	}
	q := render.Request{Card: sample, Now: now, Budget: render.WebhookBudget, Keyword: r.Keyword, First: true}
	content, err := c.Renderer.Card(q)
	if err != nil {
		return nil, fmt.Errorf("rendering a test card: %w", err)
	}
	var out []Tried
	for _, way := range r.Channels().Ways {
		t := Tried{Channel: way}
		var err error
		switch way {
		case store.App:
			t.MessageID, err = c.Client.Create(ctx, *r.App, feishu.Message{Card: content}, card.UUID(sample.ID, string(way), "test", 1))
		case store.Webhook:
			err = r.Bot.Send(ctx, feishu.Message{Card: content})
		case store.OpenClaw:
			err = r.OpenClaw.Send(ctx, c.Renderer.Text(q))
		}
		if t.OK = err == nil; !t.OK {
			t.Error = err.Error()
		}
		out = append(out, t)
	}
	return out, nil
}
