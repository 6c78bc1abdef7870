package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

// Options say which Alertmanager is asked, and what its answers are worth.
type Options struct {
	URL       string // empty: notifications are all there is
	Every     time.Duration
	Timeout   time.Duration
	Watchdog  string        // alertname that always fires; empty: there is none
	MaxAge    time.Duration // of the watchdog's last update
	MinUptime time.Duration // before absence from the API means anything
}

// Reconciler judges open cards. Make it with New, run it with Run.
type Reconciler struct {
	store   *store.Store
	log     *slog.Logger
	changed func()       // told when cards show something else
	success atomic.Int64 // when cards were last compared, in Unix milliseconds; 0 before the first time
	poke    chan struct{}
	look    atomic.Bool // all open cards are to be judged, not only those that wait
	config  atomic.Pointer[configured]
	trouble atomic.Pointer[error] // why Alertmanager does not answer; nil while it does

	// What is known of the watchdog, by Run's goroutine alone.
	watchdog   string
	lastHeard  time.Time
	freshSince time.Time
	reachable  bool
	first      bool
}

type configured struct {
	Options
	am *alertmanager // nil without a URL
}

// New makes a reconciler and registers its metric.
func New(s *store.Store, log *slog.Logger, r prometheus.Registerer, changed func(), o Options) (*Reconciler, error) {
	x := &Reconciler{store: s, log: log, changed: changed, poke: make(chan struct{}, 1), first: true, reachable: true}
	if err := x.Configure(o); err != nil {
		return nil, err
	}
	r.MustRegister(collector{x})
	return x, nil
}

// Configure replaces the options. On an error nothing changes.
func (x *Reconciler) Configure(o Options) error {
	c := &configured{Options: o}
	if o.URL != "" {
		am, err := newAlertmanager(o.URL, o.Timeout)
		if err != nil {
			return fmt.Errorf("alertmanager.url: %w", err)
		}
		c.am = am
	}
	x.config.Store(c)
	x.Poke()
	return nil
}

// Poke has waiting cards judged soon. It never blocks.
func (x *Reconciler) Poke() {
	select {
	case x.poke <- struct{}{}:
	default:
	}
}

// Look has all open cards judged soon: something was changed in Alertmanager. It
// never blocks.
func (x *Reconciler) Look() {
	x.look.Store(true)
	x.Poke()
}

// pokeGap is the least time between two rounds, so that many notifications
// share a round.
const pokeGap = 100 * time.Millisecond

// Run judges until ctx ends.
func (x *Reconciler) Run(ctx context.Context) {
	gap := time.NewTimer(0)
	defer gap.Stop()
	lastAll := time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-gap.C:
		}
		every := x.config.Load().Every
		all := time.Since(lastAll) >= every
		if !all {
			due := time.NewTimer(time.Until(lastAll.Add(every)))
			select {
			case <-ctx.Done():
			case <-x.poke:
				all = x.look.Load()
			case <-due.C:
				all = true
			}
			due.Stop()
		}
		if ctx.Err() != nil {
			return
		}
		if all {
			x.look.Store(false)
			lastAll = time.Now()
		}
		if err := x.round(ctx, all); err != nil && ctx.Err() == nil {
			x.log.ErrorContext(ctx, "reconciling cards failed", "error", err)
		}
		gap.Reset(pokeGap)
	}
}

// round judges all open cards, or those that wait. Without Alertmanager, only
// those that wait are judged: for the others, no answer is no news.
func (x *Reconciler) round(ctx context.Context, all bool) error {
	c := x.config.Load()
	ids, err := x.store.OpenCards(ctx, !all)
	if err != nil {
		return err
	}
	if len(ids) == 0 && !all {
		return nil
	}
	snapshot, err := x.snapshot(ctx, c, len(ids) == 0)
	if err != nil {
		return err
	}
	if !snapshot.Reachable && all {
		if ids, err = x.store.OpenCards(ctx, true); err != nil {
			return err
		}
	}
	changed, err := x.store.Judge(ctx, ids, snapshot)
	if err != nil {
		return err
	}
	if snapshot.Reachable {
		x.success.Store(time.Now().UnixMilli())
	}
	// Also cards that left settling without a change have to be looked at again.
	if changed > 0 || !all {
		x.changed()
	}
	return nil
}

// snapshot asks Alertmanager and brings what is known of the watchdog up to
// date. That Alertmanager does not answer is part of the snapshot, no error.
func (x *Reconciler) snapshot(ctx context.Context, c *configured, idle bool) (card.Snapshot, error) {
	if err := x.recall(ctx, c); err != nil {
		return card.Snapshot{}, err
	}
	s := card.Snapshot{Began: time.Now().UTC(), MinUptime: c.MinUptime}
	if c.am != nil {
		h, err := c.am.ask(ctx, c.Watchdog, idle && c.Watchdog != "")
		x.noteReachable(ctx, err)
		if err == nil {
			s.Reachable, s.Alerts, s.Silences = true, h.alerts, h.silences
			s.Settled = !h.upSince.IsZero() && s.Began.Sub(h.upSince) >= c.MinUptime
			if err := x.hear(ctx, c, h.watchdog); err != nil {
				return card.Snapshot{}, err
			}
		}
	}
	switch {
	case s.Began.Sub(x.lastHeard) > c.MaxAge:
		x.freshSince = time.Time{}
	case x.freshSince.IsZero():
		x.freshSince = s.Began
	}
	s.Evidence = card.Evidence{
		Required: c.Watchdog != "" && !x.lastHeard.IsZero(), LastHeard: x.lastHeard, FreshSince: x.freshSince, MaxAge: c.MaxAge,
	}
	return s, nil
}

// recall reads when the watchdog was last heard by an earlier process.
func (x *Reconciler) recall(ctx context.Context, c *configured) error {
	if !x.first && x.watchdog == c.Watchdog {
		return nil
	}
	value, err := x.store.Fact(ctx, factName(c.Watchdog))
	if err != nil {
		return err
	}
	heardAt := time.Time{}
	if value != "" {
		if heardAt, err = time.Parse(time.RFC3339Nano, value); err != nil {
			return fmt.Errorf("reading when the watchdog was last heard: %w", err)
		}
	}
	x.first, x.watchdog, x.lastHeard, x.freshSince = false, c.Watchdog, heardAt, time.Time{}
	return nil
}

// hear remembers the watchdog's last update, over restarts as well: that there
// is one at all is what makes evidence a requirement.
func (x *Reconciler) hear(ctx context.Context, c *configured, updated time.Time) error {
	if !updated.After(x.lastHeard) {
		return nil
	}
	x.lastHeard = updated
	return x.store.SetFact(ctx, factName(c.Watchdog), updated.Format(time.RFC3339Nano))
}

func factName(watchdog string) string { return "watchdog_heard/" + watchdog }

func (x *Reconciler) noteReachable(ctx context.Context, err error) {
	switch {
	case err != nil && x.reachable:
		x.log.WarnContext(ctx, "alertmanager does not answer; open cards stay as they are", "error", err)
	case err == nil && !x.reachable:
		x.log.InfoContext(ctx, "alertmanager answers")
	}
	x.reachable = err == nil
	if err == nil {
		x.trouble.Store(nil)
		return
	}
	x.trouble.Store(&err)
}

// Ready says why cards are not compared with Alertmanager; notifications are
// taken all the same.
func (x *Reconciler) Ready(context.Context) error {
	if err := x.trouble.Load(); err != nil {
		return httpserve.Degraded(*err)
	}
	return nil
}

// Seen is what Alertmanager tells of itself.
type Seen struct {
	UpSince  time.Time
	Watchdog time.Time // last update of the watchdog; zero where it is not active
}

// Look asks Alertmanager once.
func Look(ctx context.Context, o Options) (Seen, error) {
	am, err := newAlertmanager(o.URL, o.Timeout)
	if err != nil {
		return Seen{}, err
	}
	h, err := am.ask(ctx, o.Watchdog, o.Watchdog != "")
	return Seen{UpSince: h.upSince, Watchdog: h.watchdog}, err
}
