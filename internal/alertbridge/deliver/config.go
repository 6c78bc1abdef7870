// Package deliver brings cards to Feishu.
//
// Its queue is the store: whatever a card shows that a receiver has not seen is
// pending, and is rendered from the card's present state when it is sent. So a
// backlog is never longer than the number of cards. It promises that a card has
// one call in flight per channel; that an operation is stored before it is
// first sent and sent again with the same uuid; that Feishu's published limits
// are kept; and that nothing is given up but with a dead letter.
package deliver

import (
	"maps"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/openclaw"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Receiver is a named destination.
type Receiver struct {
	Name          string
	App           *feishu.Address  // nil: no app message
	Bot           *feishu.Bot      // nil: no custom bot
	BotKey        string           // equal for receivers that share a bot
	Keyword       string           // of the bot
	OpenClaw      *openclaw.Sender // nil: not through OpenClaw
	OpenClawKey   string           // equal for receivers that share a destination
	Mention       []string         // open ids
	Failover      bool             // each way only while those before it fail
	FailoverAfter time.Duration    // how long a way fails before that
}

// Channels are the receiver's ways in order of preference.
func (r Receiver) Channels() store.Channels {
	c := store.Channels{Failover: r.Failover}
	if r.App != nil {
		c.Ways = append(c.Ways, store.App)
	}
	if r.Bot != nil {
		c.Ways = append(c.Ways, store.Webhook)
	}
	if r.OpenClaw != nil {
		c.Ways = append(c.Ways, store.OpenClaw)
	}
	return c
}

// after is the way that is used while the given one fails, or is taken out of the
// configuration; "" where there is none. Cards may have ways that are kept back
// though the receiver is to get all by now.
func (r Receiver) after(c store.Channel) store.Channel {
	order := []store.Channel{store.App, store.Webhook, store.OpenClaw}
	for _, way := range r.Channels().Ways {
		if slices.Index(order, way) > slices.Index(order, c) {
			return way
		}
	}
	return ""
}

// Config is what deliveries depend on and what a reload replaces as a whole.
type Config struct {
	Receivers map[string]Receiver
	Client    *feishu.Client // nil: no app is configured
	Renderer  *render.Renderer
	Timeout   time.Duration // of one call
	MaxAge    time.Duration // closed cards are given up after; 0 = never
	Storm     Storm
	// Actions are the buttons of a card in the app's messages; nil: none.
	Actions func(*card.Card, time.Time) []render.Action
}

// Storm says when cards are put together in a digest, and how often it is sent.
type Storm struct {
	PerMinute int           // first messages that each channel of a receiver gets a minute; 0 = no limit
	Every     time.Duration // between two messages of a digest
}

// urgentEvery is the pace of a digest that has a critical to tell of.
const urgentEvery = 5 * time.Second

func (s Storm) urgent() time.Duration { return min(urgentEvery, s.Every) }

// young is since when a digest is too young to end: groups that fire and are over
// one after the other make one, not one each.
func (s Storm) young(now time.Time) time.Time { return now.Add(-2 * s.Every) }

// target is what the first messages of a lane count against.
func (s Storm) target(lane string) target {
	return target{key: "first:" + lane, windows: []window{{time.Minute, s.PerMinute}}}
}

// Channels are the ways of the receiver of that name; none if there is none.
func (c *Config) Channels(receiver string) store.Channels { return c.Receivers[receiver].Channels() }

// target is something that is limited or fails as a whole.
type target struct {
	key     string
	windows []window
	atOnce  int // calls under way at the most; 0 = as the windows allow
}

// targets are what a call on the channel counts against; the first is what
// fails as a whole.
func (r Receiver) targets(c store.Channel) []target {
	switch c {
	case store.Webhook:
		return []target{{key: "bot:" + r.BotKey, windows: botLimits(), atOnce: botWorkers}}
	case store.OpenClaw:
		return []target{{key: "openclaw:" + r.OpenClawKey, windows: openClawLimits()}, {key: "openclaws", atOnce: openClawWorkers}}
	case store.App:
	}
	return []target{{key: "app", windows: appLimits(), atOnce: appWorkers}, {key: "to:" + r.App.Type + ":" + r.App.ID, windows: recipientLimits()}}
}

// removed is what calls count against whose lane is no longer in the configuration.
func removed() []target { return []target{{key: "removed", atOnce: removedWorkers}} }

// lane is one receiver's channel.
type lane struct {
	receiver Receiver
	channel  store.Channel
}

// lanes lists all lanes by name.
func (c *Config) lanes() map[string]lane {
	out := map[string]lane{}
	for _, name := range c.Names() {
		for _, way := range c.Receivers[name].Channels().Ways {
			out[store.Lane(name, way)] = lane{c.Receivers[name], way}
		}
	}
	return out
}

// Names are the receivers' names in order.
func (c *Config) Names() []string { return slices.Sorted(maps.Keys(c.Receivers)) }
