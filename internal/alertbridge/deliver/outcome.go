package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// begin stores the operation before it is sent. An operation of the same kind
// that was not settled goes on: same uuid, and what may have been accepted stays
// what was sent first. It returns whether an earlier try is in doubt.
func (x *delivery) begin(ctx context.Context, kind string) (doubted bool, err error) {
	if x.leg.First() {
		x.leg.Own = x.now.UTC()
	}
	op := x.leg.Op
	if op == nil || op.Kind != kind {
		x.leg.Sequence++
		op = &store.Op{Kind: kind, Sequence: x.leg.Sequence, FirstAt: x.now}
		if kind == kindCreate || kind == kindReply {
			op.UUID = card.UUID(x.card.ID, string(x.leg.Channel), kind, op.Sequence)
		}
	}
	doubted = op.InDoubt
	if !doubted {
		op.Revision, op.State, op.FirstAt = x.card.Revision, x.card.State, x.now
	}
	op.LastAt, op.InDoubt = x.now, true
	x.leg.Op = op
	return doubted, x.store.Begin(ctx, x.leg)
}

func (x *delivery) succeeded(ctx context.Context, kind string) error {
	x.metrics.deliveries.WithLabelValues(x.receiver.Name, kind, resultOK).Inc()
	// What a digest told of has been accepted long before its own card.
	if kind != kindReply && x.leg.Digest == "" {
		x.metrics.seconds.WithLabelValues(x.receiver.Name).Observe(max(time.Since(x.leg.PendingSince).Seconds(), 0))
	}
	x.noteUp(nil)
	failing := x.leg.Failures > 0
	x.leg.Op, x.leg.Failures, x.leg.FailingSince, x.leg.LastError, x.leg.NextAt = nil, 0, time.Time{}, "", x.now
	if err := x.finish(ctx); err != nil {
		return err
	}
	// What a failing digest had made due is taken back by the card itself, too.
	if (failing || x.leg.Digest != "") && x.receiver.after(x.leg.Channel) != "" {
		if err := x.store.Disarm(ctx, x.card.ID); err != nil {
			return err
		}
	}
	return x.answers(ctx)
}

// answers lets everything that waited for the target go at once, if it had been
// left alone for not answering.
func (x *delivery) answers(ctx context.Context) error {
	whole := x.receiver.targets(x.leg.Channel)[0]
	if !x.gates.answer(whole) {
		return nil
	}
	x.log.InfoContext(ctx, "feishu answers again", "target", x.leg.Channel)
	for name, l := range x.config.lanes() {
		if l.receiver.targets(l.channel)[0].key == whole.key {
			if err := x.store.Hasten(ctx, name, time.Now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// failed takes a failure in: what it says about the target, what is tried next,
// and when.
func (x *delivery) failed(ctx context.Context, kind string, doubted bool, err error) error {
	var e *feishu.Error
	if !errors.As(err, &e) {
		return err
	}
	x.metrics.deliveries.WithLabelValues(x.receiver.Name, kind, string(e.Class)).Inc()
	x.noteUp(err)
	x.log.WarnContext(ctx, "feishu refused a call", "card", x.card.ID, "receiver", x.receiver.Name, "kind", kind,
		"class", e.Class, "code", e.Code, "status", e.Status, "attempt", x.leg.Failures+1, "error", err)
	x.leg.Op.InDoubt = doubted || e.InDoubt
	x.leg.LastError = err.Error()
	x.leg.Failures++
	if x.leg.FailingSince.IsZero() {
		x.leg.FailingSince = x.now
	}
	switch e.Class {
	case feishu.Target:
		return x.giveUp(ctx, store.ReasonTarget, err)
	case feishu.Expired:
		x.abandon()
		x.leg.NextAt = x.now
	case feishu.Content, feishu.Refused:
		if !x.simpler(kind) {
			return x.giveUp(ctx, store.ReasonContent, err)
		}
		x.leg.NextAt = x.now
	case feishu.RateLimited:
		x.limited(e)
	case feishu.StaleToken:
		x.leg.NextAt = x.now
		if x.leg.Failures > 1 {
			x.leg.NextAt = x.now.Add(backoff(x.leg.Failures, longestBackoff))
		}
	case feishu.Unavailable:
		x.gates.fail(x.receiver.targets(x.leg.Channel)[0], time.Now())
		x.leg.NextAt = time.Now().Add(backoff(x.leg.Failures, longestBackoff))
	case feishu.Busy, feishu.Auth:
		x.leg.NextAt = time.Now().Add(backoff(x.leg.Failures, longestBackoff))
	}
	if kind == kindPatch && x.leg.Op != nil && x.leg.Op.InDoubt {
		if settled := x.leg.Op.LastAt.Add(x.config.Timeout); settled.After(x.leg.NextAt) {
			x.leg.NextAt = settled
		}
	}
	if err := x.store.Finish(ctx, x.leg, true); err != nil {
		return err
	}
	return x.failover(ctx, e.Class == feishu.Auth)
}

// limited leaves the limited target alone for as long as Feishu asks.
func (x *delivery) limited(e *feishu.Error) {
	x.metrics.rateLimited.WithLabelValues(x.receiver.Name).Inc()
	wait := e.RetryAfter
	if wait <= 0 {
		wait = backoff(x.leg.Failures, longestBackoff)
	}
	targets := x.receiver.targets(x.leg.Channel)
	until := time.Now().Add(wait)
	if e.Code == codeChatLimit {
		x.gates.hold(targets[len(targets)-1], until) // the chat alone, not the app
	} else {
		x.gates.hold(targets[0], until)
	}
	x.leg.NextAt = until
}

// codeChatLimit is the limit of one chat or user.
const codeChatLimit = 230020

// simpler makes the next try a simpler form, and reports false where there is
// none. A reply that is refused is left out: the card itself tells the same.
func (x *delivery) simpler(kind string) bool {
	x.leg.Op.InDoubt = false
	switch {
	case kind == kindReply && !x.leg.Text:
		x.leg.Reply, x.leg.Op = "", nil
	case !x.leg.Plain:
		x.leg.Plain = true
	case !x.leg.Text:
		x.leg.Text = true
	default:
		return false
	}
	return true
}

func (x *delivery) giveUp(ctx context.Context, reason store.Reason, cause error) error {
	if err := x.bury(ctx, reason, cause.Error()); err != nil {
		return err
	}
	return x.failover(ctx, true)
}

func (x *delivery) bury(ctx context.Context, reason store.Reason, detail string) error {
	x.log.ErrorContext(ctx, "a card was given up on one way", "card", x.card.ID, "lane", x.leg.Lane, "reason", reason, "detail", detail)
	if x.card.Digest != nil {
		return x.store.BuryDigest(ctx, x.card, x.leg, x.receiver.after(x.leg.Channel), reason, detail, x.now)
	}
	return x.store.Bury(ctx, x.card, x.leg, reason, detail, x.now)
}

// failover makes the receiver's next way due, at once or when this one has failed
// for long enough.
func (x *delivery) failover(ctx context.Context, now bool) error {
	next := x.receiver.after(x.leg.Channel)
	if next == "" {
		return nil
	}
	at := x.leg.FailingSince.Add(x.receiver.FailoverAfter)
	if now {
		at = x.now
	}
	return x.store.Arm(ctx, x.card.ID, next, at)
}

// noteUp keeps whether Feishu answers, where it was Feishu that was called.
func (x *delivery) noteUp(err error) {
	if x.leg.Channel != store.OpenClaw {
		x.Dispatcher.noteUp(err)
	}
}

// noteUp keeps whether Feishu answers.
func (d *Dispatcher) noteUp(err error) {
	var e *feishu.Error
	if errors.As(err, &e) && e.Class == feishu.Unavailable {
		d.metrics.up.Set(0)
		return
	}
	d.metrics.up.Set(1)
}
