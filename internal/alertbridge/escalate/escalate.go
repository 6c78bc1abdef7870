// Package escalate goes on telling people of a card that nobody takes on: other
// receivers get a card of their own, and those who are told are buzzed, by the
// app, by SMS or by phone.
//
// A step is due so long after the card was opened, while it fires; a silenced card
// waits. Acknowledging any receiver's card of the group stops the steps of all. A
// step is noted once it is done, so a process that was killed in between buzzes a
// second time rather than not at all. What costs money is counted before it is
// spent and never exceeds its daily quota; what is over buzzes by the app instead.
package escalate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Step is one step of a receiver's escalation. Either To or Urgent is set.
type Step struct {
	After  time.Duration // since the card was opened
	To     string        // receiver
	Urgent string        // app, sms, phone
}

// Name is the step as metrics and the audit trail call it.
func (s Step) Name() string {
	if s.To != "" {
		return "to"
	}
	return "urgent_" + s.Urgent
}

// names lists every name of a step.
func names() []string { return []string{"to", "urgent_app", "urgent_sms", "urgent_phone"} }

// People are those who are buzzed for a receiver.
type People struct {
	IDType string // open_id, union_id, user_id
	IDs    []string
}

// Options are what a reload replaces as a whole.
type Options struct {
	Steps    map[string][]Step // by receiver, in order of After
	People   map[string]People // by receiver
	Channels func(receiver string) store.Channels
	Client   *feishu.Client // nil: nobody can be buzzed
	Quota    map[string]int // people buzzed a day, by way; a way that is not named has no limit
	Location *time.Location // whose days count
}

// Pace of the escalator.
const (
	every   = time.Second
	atOnce  = 64
	tries   = 5
	retry   = 2 * time.Second
	perCall = rate.Limit(0.75) // calls a second: what deliveries leave of the app's limit a minute
	burst   = 4
)

// Escalator does steps. Make it with New, run it with Run.
type Escalator struct {
	store    *store.Store
	log      *slog.Logger
	changed  func() // told when cards show something else
	done     *prometheus.CounterVec
	failures *prometheus.CounterVec
	options  atomic.Pointer[Options]
	limiter  *rate.Limiter

	tried map[string]attempt // by card, by Run's goroutine alone
}

type attempt struct {
	step  int
	count int
	next  time.Time
}

// New makes an escalator and registers its metrics.
func New(s *store.Store, log *slog.Logger, r prometheus.Registerer, changed func(), o Options) *Escalator {
	e := &Escalator{
		store: s, log: log, changed: changed, limiter: rate.NewLimiter(perCall, burst), tried: map[string]attempt{},
		done: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_escalations_total", Help: "Steps of escalations that were done, by step (to, urgent_app, urgent_sms, urgent_phone).",
		}, []string{"step"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_escalation_failures_total", Help: "Steps of escalations that were given up, by step.",
		}, []string{"step"}),
	}
	r.MustRegister(e.done, e.failures)
	for _, name := range names() {
		e.done.WithLabelValues(name)
		e.failures.WithLabelValues(name)
	}
	e.Configure(o)
	return e
}

// Configure replaces the options. Steps that are done stay done.
func (e *Escalator) Configure(o Options) { e.options.Store(&o) }

// Run does what is due until ctx ends.
func (e *Escalator) Run(ctx context.Context) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if err := e.round(ctx); err != nil && ctx.Err() == nil {
			e.log.ErrorContext(ctx, "escalating cards failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (e *Escalator) round(ctx context.Context) error {
	o, listed := e.options.Load(), map[string]bool{}
	for receiver, steps := range o.Steps {
		// The last steps first, so that a card takes one step a round at most.
		for i, step := range slices.Backward(steps) {
			cards, err := e.store.Escalable(ctx, receiver, i, time.Now().Add(-step.After), atOnce)
			if err != nil {
				return err
			}
			for _, c := range cards {
				listed[c.ID] = true
				if err := e.step(ctx, o, c, i); err != nil || ctx.Err() != nil {
					return err
				}
			}
		}
	}
	for id := range e.tried {
		if !listed[id] {
			delete(e.tried, id)
		}
	}
	return nil
}

// step does one step of a card. An error is the store's.
func (e *Escalator) step(ctx context.Context, o *Options, c *card.Card, i int) error {
	step := o.Steps[c.Receiver][i]
	noted := card.Escalation{Step: step.Name(), To: step.To, At: time.Now().UTC()}
	if step.Urgent != "" {
		a := e.tried[c.ID]
		if a.step != i {
			a = attempt{step: i}
		}
		if time.Now().Before(a.next) {
			return nil
		}
		way, err := e.buzz(ctx, o, c, step)
		var refused *feishu.Error
		switch {
		case err == nil:
			noted.Step = "urgent_" + way
		case errors.Is(err, errLater):
			return nil
		case !errors.As(err, &refused) && !errors.Is(err, errNobody):
			return err
		default:
			e.log.WarnContext(ctx, "an urgent message was not taken", "card", c.ID, "receiver", c.Receiver, "step", step.Name(), "attempt", a.count+1, "error", err)
			a.count++
			a.next = time.Now().Add(retry << (a.count - 1))
			e.tried[c.ID] = a
			if transient(refused) && a.count < tries {
				return nil
			}
			noted.Failure = err.Error()
		}
	}
	delete(e.tried, c.ID)
	done, err := e.store.Escalate(context.WithoutCancel(ctx), c, noted, o.Channels)
	if err != nil || !done {
		return err
	}
	e.count(ctx, c, noted)
	e.changed()
	return nil
}

func (e *Escalator) count(ctx context.Context, c *card.Card, noted card.Escalation) {
	if noted.Failure != "" {
		e.failures.WithLabelValues(noted.Step).Inc()
		e.log.ErrorContext(ctx, "a step of an escalation was given up", "card", c.ID, "receiver", c.Receiver, "step", noted.Step, "reason", noted.Failure)
		return
	}
	e.done.WithLabelValues(noted.Step).Inc()
	e.log.InfoContext(ctx, "card escalated", "card", c.ID, "receiver", c.Receiver, "step", noted.Step, "to", noted.To)
}

// errLater is a step whose time has not come: its card is not shown yet, somebody
// has just taken it on, or too much was said already.
var errLater = errors.New("not yet")

// errNobody is a receiver of whom nobody can be buzzed.
var errNobody = errors.New("there is nobody to buzz: the receiver is a chat without mention, or has no app")

func transient(f *feishu.Error) bool { return f != nil && (f.Retry() || f.Class == feishu.Auth) }

// buzz makes a card's message urgent and returns in which way: the app where the
// quota of the way that was asked for is spent.
func (e *Escalator) buzz(ctx context.Context, o *Options, c *card.Card, step Step) (way string, err error) {
	people := o.People[c.Receiver]
	if o.Client == nil || len(people.IDs) == 0 {
		return "", errNobody
	}
	message, err := e.message(ctx, c)
	if err != nil {
		return "", err
	}
	still, err := e.store.Unclaimed(ctx, c)
	if err != nil {
		return "", err
	}
	if message == "" || !still || !e.limiter.Allow() {
		return "", errLater
	}
	way = step.Urgent
	if most, limited := o.Quota[way]; limited {
		day := time.Now().In(o.Location).Format(time.DateOnly)
		ok, err := e.store.Spend(ctx, day, way, len(people.IDs), most)
		if err != nil {
			return "", err
		}
		if !ok {
			e.log.WarnContext(ctx, "the day's quota is spent, the app buzzes instead", "card", c.ID, "way", way, "quota", most)
			way = feishu.UrgentApp
		}
	}
	// A call under way is not cut by the end of the program.
	if err := o.Client.Urgent(context.WithoutCancel(ctx), message, way, people.IDType, people.IDs); err != nil {
		return "", fmt.Errorf("urgent %s: %w", way, err)
	}
	return way, nil
}

// message is the app's message of a card, "" while there is none.
func (e *Escalator) message(ctx context.Context, c *card.Card) (string, error) {
	legs, err := e.store.Legs(ctx, c.ID)
	if err != nil {
		return "", err
	}
	for _, l := range legs {
		if l.Channel == store.App && !l.Dead {
			return l.MessageID, nil
		}
	}
	return "", nil
}
