package deliver

import (
	"context"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// A storm: a lane that has had its share of first messages within a minute gets a
// digest in place of more. The digest is a card like any other, with a leg of its
// own, so it is created, updated, retried and given up as they are; only its pace
// and what it shows differ.

// recall counts the first messages of the last minute, which an earlier process
// may have sent, against each lane's share.
func (d *Dispatcher) recall(ctx context.Context) {
	storm := d.Config().Storm
	if storm.PerMinute == 0 {
		return
	}
	begun, err := d.store.Begun(ctx, time.Now().Add(-time.Minute))
	if err != nil {
		d.log.ErrorContext(ctx, "what was sent within the last minute is not known, the share of each receiver begins anew", "error", err)
		return
	}
	for lane, at := range begun {
		d.gates.seen(storm.target(lane), at)
	}
}

func with(legs map[string][]store.Leg, l store.Leg) map[string][]store.Leg {
	if legs == nil {
		legs = map[string][]store.Leg{}
	}
	legs[l.Lane] = append(legs[l.Lane], l)
	return legs
}

// hold has digests tell of legs that are more than their lanes' share.
func (d *Dispatcher) hold(ctx context.Context, lanes map[string]lane, excess map[string][]store.Leg, now time.Time) error {
	for name, legs := range excess {
		l := lanes[name]
		opened, err := d.store.Hold(ctx, l.receiver.Name, l.channel, legs, now.UTC(), d.Config().Storm.young(now))
		if err != nil {
			return err
		}
		if opened {
			d.metrics.digests.WithLabelValues(l.receiver.Name).Inc()
			d.log.WarnContext(ctx, "more cards than the receiver is to get a minute, a digest tells of the rest", "receiver", l.receiver.Name, "lane", name, "per_minute", d.Config().Storm.PerMinute)
		}
	}
	return nil
}

// promote gives lanes that have room again cards of their own for what still
// fires. opens is when the first lane that holds something has room, zero for
// none.
func (d *Dispatcher) promote(ctx context.Context, lanes map[string]lane, blocked []string, now time.Time) (promoted bool, opens time.Time, err error) {
	storm := d.Config().Storm
	for name := range lanes {
		if slices.Contains(blocked, name) {
			continue
		}
		n, at := pageSize, now // without a limit nothing stays held
		if storm.PerMinute > 0 {
			n, at = d.gates.room(storm.target(name), now)
		}
		holding, err := d.store.Holding(ctx, name)
		if err != nil {
			return promoted, opens, err
		}
		switch {
		case !holding:
		case n > 0:
			made, err := d.store.Promote(ctx, name, n, now)
			if err != nil {
				return promoted, opens, err
			}
			promoted = promoted || made > 0
		case opens.IsZero() || at.Before(opens):
			opens = at
		}
	}
	return promoted, opens, nil
}

// count reads what a digest tells at this moment, and ends it where all that it
// told of is over.
func (x *delivery) count(ctx context.Context) error {
	d, err := x.store.EndDigest(ctx, x.card.ID, x.now.UTC(), x.config.Storm.young(x.now))
	if err != nil {
		return err
	}
	v, err := x.store.DigestView(ctx, d.ID)
	if err != nil {
		return err
	}
	x.card = d
	x.digest = &render.DigestRequest{Card: d, PerMinute: x.config.Storm.PerMinute}
	for _, n := range v.Counts {
		x.digest.Counts = append(x.digest.Counts, render.DigestCount(n))
	}
	for _, w := range v.Worst {
		x.digest.Worst = append(x.digest.Worst, render.DigestCount(w))
	}
	return nil
}

// digestOf is the rendering of a digest in place of that of a card.
func (x *delivery) digestOf(q render.Request) render.DigestRequest {
	d := *x.digest
	d.Now, d.Plain, d.Budget, d.Mention, d.Keyword, d.Former, d.Repeated = q.Now, q.Plain, q.Budget, q.Mention, q.Keyword, q.Former, q.Repeated
	return d
}

// finish stores a success. A digest that has told its end lets go of its cards.
func (x *delivery) finish(ctx context.Context) error {
	if x.card.Digest == nil {
		return x.store.Finish(ctx, x.leg, false)
	}
	storm := x.config.Storm
	if err := x.store.FinishDigest(ctx, x.leg, x.now.Add(storm.urgent()), x.now.Add(storm.Every)); err != nil {
		return err
	}
	if x.card.Closed() && x.leg.Sent >= x.card.Revision {
		return x.store.Release(ctx, x.card.ID)
	}
	return nil
}
