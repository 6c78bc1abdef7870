package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Kinds of operations.
const (
	kindCreate = "create"
	kindPatch  = "patch"
	kindReply  = "reply"
	kindBot    = "bot"
	kindText   = "openclaw"
)

// How long Feishu keeps things, less a margin.
const (
	uuidLife    = 55 * time.Minute            // a repeated uuid makes no second message
	messageLife = 14*24*time.Hour - time.Hour // a message can be changed
)

// delivery is one step of one leg: at most one call.
type delivery struct {
	*Dispatcher
	config   *Config
	receiver Receiver
	card     *card.Card
	digest   *render.DigestRequest // what a digest tells; nil for an ordinary card
	leg      store.Leg
	now      time.Time
}

// step loads the present state and does the next thing that the leg needs. The
// caller has claimed the leg; listed is how it stood before.
func (d *Dispatcher) step(ctx context.Context, listed store.Leg) {
	now := time.Now()
	leg, due, err := d.store.DueLeg(ctx, listed.CardID, listed.Channel, now)
	if err == nil && due {
		err = d.deliver(ctx, leg, now)
	}
	if err != nil {
		d.postpone(ctx, listed, err)
	}
}

func (d *Dispatcher) deliver(ctx context.Context, leg store.Leg, now time.Time) error {
	c, err := d.store.Card(ctx, leg.CardID)
	if err != nil {
		return err
	}
	x := &delivery{Dispatcher: d, config: d.Config(), card: c, leg: leg, now: now}
	if c.Digest != nil {
		if err := x.count(ctx); err != nil {
			return err
		}
	}
	return x.run(ctx)
}

// postpone is for failures of our own, the store's above all: the leg in the
// store is as it was, so only the lane is held.
func (d *Dispatcher) postpone(ctx context.Context, leg store.Leg, err error) {
	d.log.ErrorContext(ctx, "delivering a card failed", "card", leg.CardID, "lane", leg.Lane, "error", err)
	if l, ok := d.Config().lanes()[leg.Lane]; ok {
		d.gates.hold(l.receiver.targets(l.channel)[0], time.Now().Add(storeRetry))
	}
}

func (x *delivery) run(ctx context.Context) error {
	l, ok := x.config.lanes()[x.leg.Lane]
	if !ok || (x.leg.Channel == store.App && x.config.Client == nil) {
		x.receiver = x.config.Receivers[x.card.Receiver]
		return x.giveUp(ctx, store.ReasonRemoved, errRemoved)
	}
	x.receiver = l.receiver
	if age := x.config.MaxAge; age > 0 && x.card.Closed() && x.now.Sub(x.card.ClosedAt) > age && x.now.Sub(x.leg.ReplayedAt) > age {
		return x.bury(ctx, store.ReasonMaxAge, "not delivered within limits.max_age after its end: "+x.leg.LastError)
	}
	switch x.leg.Channel {
	case store.Webhook:
		return x.runOnce(ctx, kindBot, func() error {
			q := x.request()
			q.Budget, q.Keyword = render.WebhookBudget, x.receiver.Keyword
			return x.receiver.Bot.Send(ctx, x.message(q))
		})
	case store.OpenClaw:
		return x.runOnce(ctx, kindText, func() error {
			q := x.request()
			q.Mention = nil // nothing is markup there
			return x.receiver.OpenClaw.Send(ctx, x.text(q))
		})
	case store.App:
	}
	return x.runApp(ctx)
}

// errRemoved is the end of a leg that the configuration has no way for.
var errRemoved = errors.New("the receiver, or this way to it, is no longer in the configuration")

// runApp does the app leg's next operation.
func (x *delivery) runApp(ctx context.Context) error {
	if x.leg.MessageID != "" && !x.leg.Text && x.now.Sub(x.leg.MessageAt) > messageLife && x.leg.Sent < x.card.Revision {
		x.abandon()
	}
	switch {
	case x.leg.MessageID == "" && x.leg.Sent < x.card.Revision:
		return x.create(ctx)
	case x.leg.Sent < x.card.Revision && x.leg.Text && x.digest != nil && !x.notable():
		return x.pass(ctx)
	case x.leg.Sent < x.card.Revision && x.leg.Text:
		return x.reply(ctx, x.text(x.request()))
	case x.leg.Sent < x.card.Revision:
		return x.patch(ctx)
	case x.leg.Reply != "" && x.leg.MessageID != "":
		return x.reply(ctx, x.config.Renderer.Reply(x.card, x.leg.Reply == replyFiring, x.receiver.Mention))
	default:
		x.leg.Reply = ""
		return x.store.Finish(ctx, x.leg, false)
	}
}

// abandon leaves a message that can no longer be changed; the next create
// refers to it.
func (x *delivery) abandon() {
	x.leg.Former, x.leg.MessageID, x.leg.MessageAt, x.leg.Op, x.leg.Reply, x.leg.Sent = x.leg.MessageAt, "", time.Time{}, nil, "", 0
}

func (x *delivery) request() render.Request {
	q := render.Request{
		Card: x.card, Now: x.now, Plain: x.leg.Plain, Budget: render.AppBudget, Mention: x.receiver.Mention,
		Former: x.leg.Former, Repeated: x.leg.Repeated, First: x.leg.Sent == 0 && x.leg.Former.IsZero() && x.leg.SentState == "",
	}
	if x.leg.Channel == store.App && x.config.Actions != nil && x.digest == nil {
		q.Actions = x.config.Actions(x.card, x.now)
	}
	return q
}

// message renders the card's present state, in text where it cannot be a card.
func (x *delivery) message(q render.Request) feishu.Message {
	if !x.leg.Text {
		content, err := x.rich(q)
		if err == nil {
			return feishu.Message{Card: content}
		}
		x.log.Error("rendering a card failed, sending text", "card", x.card.ID, "error", err)
	}
	return feishu.Message{Text: x.text(q)}
}

func (x *delivery) rich(q render.Request) (json.RawMessage, error) {
	if x.digest != nil {
		return x.config.Renderer.Digest(x.digestOf(q))
	}
	return x.config.Renderer.Card(q)
}

func (x *delivery) text(q render.Request) string {
	if x.digest != nil {
		return x.config.Renderer.DigestText(x.digestOf(q))
	}
	return x.config.Renderer.Text(q)
}

func (x *delivery) create(ctx context.Context) error {
	adopted, err := x.settle(ctx)
	if err != nil || adopted {
		return err
	}
	was, err := x.begin(ctx, kindCreate)
	if err != nil {
		return err
	}
	id, err := x.config.Client.Create(ctx, *x.receiver.App, x.message(x.request()), x.leg.Op.UUID)
	if err != nil {
		return x.failed(ctx, kindCreate, was, err)
	}
	x.leg.MessageID, x.leg.MessageAt = id, x.now
	x.shows(x.leg.Op.Revision, x.leg.Op.State)
	return x.succeeded(ctx, kindCreate)
}

// settle finds out what became of a create whose uuid Feishu has forgotten. It
// reports true where the message was found in the chat's history.
func (x *delivery) settle(ctx context.Context) (adopted bool, err error) {
	op := x.leg.Op
	if op == nil || op.Kind != kindCreate || x.now.Sub(op.FirstAt) < uuidLife {
		return false, nil
	}
	if op.InDoubt {
		x.leg.Repeated = true
		if x.receiver.App.Type == "chat_id" {
			id, findErr := x.config.Client.Find(ctx, *x.receiver.App, op.FirstAt.Add(-time.Minute), render.Mark(x.card))
			var refused *feishu.Error
			switch {
			case findErr == nil && id != "":
				x.leg.MessageID, x.leg.MessageAt, x.leg.Repeated = id, op.FirstAt, false
				x.shows(op.Revision, op.State)
				return true, x.succeeded(ctx, kindCreate)
			case findErr == nil:
				x.leg.Repeated = false
			case errors.As(findErr, &refused) && refused.Retry():
				return true, x.failed(ctx, kindCreate, true, findErr)
			default:
				x.log.WarnContext(ctx, "the chat's history cannot be read, a card may appear twice", "card", x.card.ID, "receiver", x.receiver.Name, "error", findErr)
			}
		}
	}
	x.leg.Op = nil
	return false, nil
}

func (x *delivery) patch(ctx context.Context) error {
	// The order of two patches is not known to Feishu: one that may still be
	// under way is waited for.
	if op := x.leg.Op; op != nil && op.Kind == kindPatch && op.InDoubt && x.now.Before(op.LastAt.Add(x.config.Timeout)) {
		x.leg.NextAt = op.LastAt.Add(x.config.Timeout)
		return x.store.Finish(ctx, x.leg, true)
	}
	was, err := x.begin(ctx, kindPatch)
	if err != nil {
		return err
	}
	m := x.message(x.request())
	if m.Card == nil {
		x.leg.Text = true
		return x.store.Finish(ctx, x.leg, true)
	}
	if err := x.config.Client.Patch(ctx, x.leg.MessageID, m); err != nil {
		return x.failed(ctx, kindPatch, was, err)
	}
	x.ring()
	x.shows(x.card.Revision, x.card.State)
	return x.succeeded(ctx, kindPatch)
}

// Thread replies.
const (
	replyResolved = "resolved"
	replyFiring   = "firing"
)

// ring makes a thread reply due where a critical card turned green or fires
// again: a changed card makes no sound.
func (x *delivery) ring() {
	if x.card.Severity() != "critical" {
		return
	}
	before, now := x.leg.SentState, x.card.State
	switch {
	case now == card.StateResolved && before != now:
		x.leg.Reply = replyResolved
	case now == card.StateFiring && (before != now || x.card.Refires > x.leg.SentRefires):
		x.leg.Reply = replyFiring
	}
}

func (x *delivery) reply(ctx context.Context, text string) error {
	if op := x.leg.Op; op != nil && op.Kind == kindReply && x.now.Sub(op.FirstAt) >= uuidLife {
		x.leg.Op = nil
	}
	was, err := x.begin(ctx, kindReply)
	if err != nil {
		return err
	}
	if err := x.config.Client.Reply(ctx, x.leg.MessageID, feishu.Message{Text: text}, x.leg.Op.UUID); err != nil {
		return x.failed(ctx, kindReply, was, err)
	}
	if x.leg.Text {
		x.shows(x.leg.Op.Revision, x.leg.Op.State)
	} else {
		x.leg.Reply = ""
	}
	return x.succeeded(ctx, kindReply)
}

// runOnce sends what a person has to hear of where messages cannot be changed, so
// small changes are left out.
func (x *delivery) runOnce(ctx context.Context, kind string, send func() error) error {
	if !x.notable() {
		return x.pass(ctx)
	}
	x.leg.Standby = false
	x.leg.Repeated = x.leg.Op != nil && x.leg.Op.InDoubt
	was, err := x.begin(ctx, kind)
	if err != nil {
		return err
	}
	if err := send(); err != nil {
		return x.failed(ctx, kind, was, err)
	}
	x.shows(x.card.Revision, x.card.State)
	return x.succeeded(ctx, kind)
}

// pass leaves out what is not worth a message of its own.
func (x *delivery) pass(ctx context.Context) error {
	x.leg.Sent = x.card.Revision
	return x.finish(ctx)
}

func (x *delivery) notable() bool {
	if d := x.card.Digest; d != nil {
		return x.leg.Sent == 0 || d.Total > x.leg.SentTotal || x.leg.SentState != x.card.State
	}
	if x.leg.Sent == 0 || x.leg.SentState != x.card.State || x.card.Reminders > x.leg.SentReminder {
		return true
	}
	return slices.ContainsFunc(liveAlerts(x.card), func(f string) bool { return !slices.Contains(x.leg.SentAlerts, f) })
}

func liveAlerts(c *card.Card) []string {
	var out []string
	for i := range c.Alerts {
		if c.Alerts[i].Live() {
			out = append(out, c.Alerts[i].Fingerprint)
		}
	}
	return out
}

// shows notes what the receiver sees from now on.
func (x *delivery) shows(revision int64, state card.State) {
	x.leg.Sent, x.leg.SentState, x.leg.SentRefires, x.leg.SentReminder = revision, state, x.card.Refires, x.card.Reminders
	if x.leg.Channel != store.App {
		x.leg.SentAlerts = liveAlerts(x.card)
	}
	if x.card.Digest != nil {
		x.leg.SentTotal = x.card.Digest.Total
	}
}
