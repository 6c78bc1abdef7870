// Package silence makes, and ends, in Alertmanager the silences that people
// asked for on cards.
//
// What was asked for is in the store before it is tried here, and stays due until
// Alertmanager has it or has refused it for good. Each silence carries an id of
// ours in its comment and is looked for before it is made: a process that was
// killed in between makes no second one.
package silence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Options say where silences are made and what their comments say.
type Options struct {
	URL     string        // of Alertmanager; empty: none can be made
	Timeout time.Duration // of one call
	// Comment is what people read in Alertmanager of a silence from this card.
	Comment func(*card.Card) string
}

// How long what failed waits for its next try.
const (
	firstWait   = time.Second
	longestWait = time.Minute
	storeRetry  = 2 * time.Second
	atOnce      = 32 // cards of one look at the store
	idle        = time.Minute
)

// Results of an action in the end, beside those of its press.
const (
	ResultDone   = "done"   // Alertmanager has it
	ResultFailed = "failed" // Alertmanager refused it, or did not answer before it was over
)

// Keeper carries out what is asked for. Make it with New, run it with Run.
type Keeper struct {
	store   *store.Store
	log     *slog.Logger
	changed func()                           // told when cards show something else
	count   func(ending bool, result string) // told of each end
	config  atomic.Pointer[configured]
	wake    chan struct{}

	failures map[string]int // tries in a row by card, by Run's goroutine alone
}

type configured struct {
	Options
	am *alertmanager // nil without a URL
}

// New makes a keeper. Nothing is done before Run.
func New(s *store.Store, log *slog.Logger, changed func(), count func(ending bool, result string), o Options) (*Keeper, error) {
	k := &Keeper{store: s, log: log, changed: changed, count: count, wake: make(chan struct{}, 1), failures: map[string]int{}}
	return k, k.Configure(o)
}

// Configure replaces the options. On an error nothing changes.
func (k *Keeper) Configure(o Options) error {
	c := &configured{Options: o}
	if o.URL != "" {
		am, err := newAlertmanager(o.URL, o.Timeout)
		if err != nil {
			return fmt.Errorf("alertmanager.url: %w", err)
		}
		c.am = am
	}
	k.config.Store(c)
	k.Wake()
	return nil
}

// Wake has the keeper look at the store now. It never blocks.
func (k *Keeper) Wake() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// Run carries out what is due until ctx ends.
func (k *Keeper) Run(ctx context.Context) {
	for {
		next, err := k.round(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.ErrorContext(ctx, "keeping silences failed", "error", err)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-k.wake:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// round does what is due and returns when to look again.
func (k *Keeper) round(ctx context.Context) (time.Time, error) {
	for ctx.Err() == nil {
		cards, err := k.store.Acting(ctx, time.Now(), atOnce)
		if err != nil {
			return time.Now().Add(storeRetry), err
		}
		if len(cards) == 0 {
			break
		}
		for _, c := range cards {
			if err := k.keep(ctx, c); err != nil {
				return time.Now().Add(storeRetry), err
			}
		}
	}
	at, ok, err := k.store.NextActing(ctx)
	if err != nil {
		return time.Now().Add(storeRetry), err
	}
	look := time.Now().Add(idle)
	if ok && at.Before(look) {
		look = at
	}
	return look, nil
}

// keep carries one card's wish out. An error is the store's.
func (k *Keeper) keep(ctx context.Context, c *card.Card) error {
	// What was begun is finished, so that its outcome is known.
	ctx = context.WithoutCancel(ctx)
	config, now := k.config.Load(), time.Now().UTC()
	ending := c.Hold.End != nil
	switch {
	case !ending && !now.Before(c.Hold.Until):
		return k.fail(ctx, c, "it was over before Alertmanager answered")
	case ending && !now.Before(c.Hold.Until):
		return k.ended(ctx, c)
	case config.am == nil:
		return k.later(ctx, c, errors.New("alertmanager.url is empty"))
	}
	known, err := config.am.find(ctx, c.Hold.ID)
	if err != nil {
		return k.later(ctx, c, err)
	}
	if ending {
		if err := config.am.expire(ctx, ids(c.Hold, known)); err != nil {
			return k.later(ctx, c, err)
		}
		return k.ended(ctx, c)
	}
	made, err := config.am.make(ctx, c.Hold, known, now, config.Comment(c))
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		// What is there of it must not go on without the rest.
		if err := config.am.expire(ctx, made); err != nil {
			return k.later(ctx, c, err)
		}
		return k.fail(ctx, c, refused.Error())
	case err != nil:
		return k.later(ctx, c, err)
	}
	return k.made(ctx, c, made)
}

func (k *Keeper) made(ctx context.Context, c *card.Card, silences []string) error {
	at := time.Now().UTC()
	k.log.InfoContext(ctx, "silence made", "card", c.ID, "by", c.Hold.By, "until", c.Hold.Until, "silences", len(silences))
	return k.acted(ctx, c, false, ResultDone, "silence_made", strings.Join(silences, " "), func(h *card.Hold) {
		for i := range h.Parts {
			h.Parts[i].Silence = silences[i]
		}
		h.MadeAt = at
	})
}

func (k *Keeper) ended(ctx context.Context, c *card.Card) error {
	at := time.Now().UTC()
	k.log.InfoContext(ctx, "silence ended", "card", c.ID, "by", c.Hold.End.By)
	return k.acted(ctx, c, true, ResultDone, "silence_ended", "", func(h *card.Hold) { h.EndedAt = at })
}

func (k *Keeper) fail(ctx context.Context, c *card.Card, why string) error {
	at := time.Now().UTC()
	k.log.ErrorContext(ctx, "a silence could not be made", "card", c.ID, "by", c.Hold.By, "reason", why)
	return k.acted(ctx, c, false, ResultFailed, "silence_failed", why, func(h *card.Hold) { h.Failure, h.EndedAt = why, at })
}

func (k *Keeper) acted(ctx context.Context, c *card.Card, ending bool, result, action, detail string, change func(*card.Hold)) error {
	by := c.Hold.By
	if ending {
		by = c.Hold.End.By
	}
	entry := store.AuditEntry{At: time.Now().UTC(), Actor: by, Action: action, Target: c.ID, Detail: detail, RequestID: c.Hold.ID}
	if err := k.store.Acted(ctx, c.ID, c.Hold.ID, time.Time{}, change, entry); err != nil {
		return err
	}
	delete(k.failures, c.ID)
	k.count(ending, result)
	k.changed()
	return nil
}

// later leaves the wish for another try.
func (k *Keeper) later(ctx context.Context, c *card.Card, cause error) error {
	k.failures[c.ID]++
	wait := longestWait
	if n := k.failures[c.ID]; n < 7 {
		wait = min(firstWait<<n, longestWait)
	}
	wait = time.Duration(rand.Int64N(int64(wait)) + 1) //nolint:gosec // spreads retries, guards nothing
	k.log.WarnContext(ctx, "alertmanager did not take a silence, it is tried again", "card", c.ID, "attempt", k.failures[c.ID], "error", cause)
	return k.store.Acted(ctx, c.ID, c.Hold.ID, time.Now().Add(wait), func(*card.Hold) {}, store.AuditEntry{At: time.Now().UTC()})
}

// ids are the silences of the hold that are known, by the store or by
// Alertmanager.
func ids(h *card.Hold, known map[int]string) []string {
	var out []string
	for i, p := range h.Parts {
		switch {
		case p.Silence != "":
			out = append(out, p.Silence)
		case known[i] != "":
			out = append(out, known[i])
		}
	}
	return out
}
