package action

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Result is what became of a press.
type Result string

// The results.
const (
	Accepted    Result = "accepted"
	Repeated    Result = "repeated" // the event was heard before; it changed nothing
	NotOperator Result = "not_operator"
	Forged      Result = "forged"
	Expired     Result = "expired"
	UnknownCard Result = "unknown_card"
	Resolved    Result = "resolved"
	Superseded  Result = "superseded" // offered in a state that the card has left
	StoreFailed Result = "store_failed"
)

// Results lists every result.
func Results() []Result {
	return []Result{Accepted, Repeated, NotOperator, Forged, Expired, UnknownCard, Resolved, Superseded, StoreFailed}
}

// Kinds of toasts.
const (
	KindInfo    = "info"
	KindSuccess = "success"
	KindWarning = "warning"
	KindError   = "error"
)

// Toast is what a person is told at once.
type Toast struct{ Kind, Text string }

// Press is a button that somebody pressed, as Feishu tells it.
type Press struct {
	EventID   string
	Operator  string // open id
	MessageID string
	ChatID    string
	Value     map[string]any
}

// Policy is what the configuration says about buttons.
type Policy struct {
	Buttons   bool            // cards have buttons at all
	Silencing bool            // Alertmanager is known, so silences can be made
	Operators []string        // open ids of those who may press
	Silences  []time.Duration // how long one may silence
	Language  string          // of the toasts
}

// Look names everything of the policy that is to be seen on cards.
func (p *Policy) Look() string {
	switch {
	case !p.Buttons:
		return ""
	case !p.Silencing:
		return "buttons"
	default:
		return fmt.Sprint("buttons ", p.Silences)
	}
}

// valueLife is how long a button can be pressed: as long as Feishu lets its
// message be changed.
const valueLife = 14 * 24 * time.Hour

// answerWithin is how long a person waits for a toast. Feishu gives up after 3 s.
const answerWithin = 800 * time.Millisecond

// Desk takes presses.
type Desk struct {
	store   *store.Store
	signer  *Signer
	log     *slog.Logger
	metrics *Metrics
	acted   func() // told when a press changed a card
	policy  atomic.Pointer[Policy]
	running sync.WaitGroup // presses being recorded
}

// NewDesk makes a desk.
func NewDesk(s *store.Store, signer *Signer, log *slog.Logger, m *Metrics, acted func(), p Policy) *Desk {
	d := &Desk{store: s, signer: signer, log: log, metrics: m, acted: acted}
	d.Configure(p)
	return d
}

// Configure replaces the policy.
func (d *Desk) Configure(p Policy) { d.policy.Store(&p) }

// Wait returns once no press is being recorded.
func (d *Desk) Wait() { d.running.Wait() }

// Offers are the buttons that an open card has now.
func (d *Desk) Offers(c *card.Card, now time.Time) []render.Action {
	p := d.policy.Load()
	if !p.Buttons || c.Closed() || c.State == card.StateResolved || c.State == card.StateDiscarded {
		return nil
	}
	var out []render.Action
	offer := func(kind render.ActionKind, length time.Duration) {
		v := Value{Kind: kind, For: length, Turn: c.Holds, Card: c.ID, Expires: now.Add(valueLife)}
		out = append(out, render.Action{Kind: kind, For: length, Value: d.signer.Sign(v)})
	}
	if c.Ack == nil {
		offer(render.Acknowledge, 0)
	}
	switch {
	case !p.Silencing:
	case c.Holding(now):
		if c.Hold.End == nil {
			offer(render.EndSilence, 0)
		}
	case c.State != card.StateSilenced:
		for _, length := range p.Silences {
			offer(render.Silence, length)
		}
	}
	return out
}

// Press takes a press and says what to tell. It returns within a second also
// while the store is slow: the press is recorded all the same.
func (d *Desk) Press(ctx context.Context, p Press) Toast {
	answer := make(chan Toast, 1)
	d.running.Go(func() { answer <- d.take(context.WithoutCancel(ctx), p) })
	wait := time.NewTimer(answerWithin)
	defer wait.Stop()
	select {
	case t := <-answer:
		return t
	case <-wait.C:
		return Toast{Kind: KindInfo, Text: d.words().pending}
	}
}

func (d *Desk) words() words { return languages()[d.policy.Load().Language] }

func (d *Desk) take(ctx context.Context, p Press) Toast {
	policy, now := d.policy.Load(), time.Now().UTC()
	v, err := d.signer.Check(p.Value, now)
	refused := Result("")
	switch {
	case errors.Is(err, ErrForged):
		v.Kind, refused = kindUnknown, Forged
	case !slices.Contains(policy.Operators, p.Operator):
		refused = NotOperator
	case err != nil:
		refused = Expired
	}
	if p.EventID == "" {
		// Without an id nothing can be told apart; no genuine event lacks one.
		v.Kind, refused, p.EventID = kindUnknown, Forged, ulid.Make().String()
	}
	result, repeated, err := d.store.Press(ctx, store.Press{
		EventID: p.EventID, At: now, Actor: p.Operator, Action: string(v.Kind), CardID: v.Card, MessageID: p.MessageID, Detail: detail(v),
		Refused: string(refused), Unknown: string(UnknownCard), Closed: string(Resolved), Superseded: string(Superseded),
		Apply: func(c *card.Card) string { return string(policy.apply(c, v, p, now)) },
	})
	if err != nil {
		d.log.ErrorContext(ctx, "recording a press failed", "action", v.Kind, "card", v.Card, "operator", p.Operator, "error", err)
		d.metrics.Count(v.Kind, StoreFailed)
		return d.words().toast(StoreFailed, v)
	}
	counted := Result(result)
	if repeated {
		counted = Repeated
	} else if counted == Accepted {
		d.acted()
	}
	if v.Kind == kindUnknown {
		counted = Forged
	}
	d.metrics.Count(v.Kind, counted)
	d.log.InfoContext(ctx, "button pressed", "action", v.Kind, "card", v.Card, "operator", p.Operator, "result", counted, "event", p.EventID)
	return d.words().toast(Result(result), v)
}

func detail(v Value) string {
	if v.Kind == render.Silence {
		return v.For.String()
	}
	return ""
}

// apply changes an open card as the value says, if the card still offers it.
func (p *Policy) apply(c *card.Card, v Value, press Press, now time.Time) Result {
	mark, done := card.Mark{By: press.Operator, At: now}, false
	switch {
	case !p.Buttons:
	case v.Kind == render.Acknowledge:
		done = c.Acknowledge(mark)
	case !p.Silencing || v.Turn != c.Holds:
	case v.Kind == render.Silence:
		done = slices.Contains(p.Silences, v.For) &&
			c.Silence(card.Hold{ID: ulid.Make().String(), By: press.Operator, Chat: press.ChatID, At: now, Until: now.Add(v.For)})
	case v.Kind == render.EndSilence:
		done = c.EndSilence(mark)
	}
	if !done {
		return Superseded
	}
	return Accepted
}
