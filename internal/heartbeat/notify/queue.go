package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
)

// The results of a delivery try.
const (
	resultSent         = "sent"
	resultFailed       = "failed"       // will be tried again
	resultGivenUp      = "given_up"     // nothing more is tried
	resultUnconfigured = "unconfigured" // the target has no setting
)

const (
	firstPause = 2 * time.Second
	maxPause   = time.Minute
	// maxAge is how long a notice is tried.
	maxAge = 24 * time.Hour
	// permanentPause is the pause after an error that a person must mend: the
	// notice is kept, since mending it should deliver it.
	permanentPause = 5 * time.Minute
)

// Queue delivers what the record holds.
type Queue struct {
	ledger *ledger.Ledger
	log    *slog.Logger
	sender *sender
	kick   chan struct{}
	total  *prometheus.CounterVec

	mu      sync.Mutex
	targets map[string]Config
}

// NewQueue returns a queue and registers its metric.
func NewQueue(l *ledger.Ledger, exec *driver.Exec, log *slog.Logger, r prometheus.Registerer) *Queue {
	q := &Queue{
		ledger: l, log: log, sender: newSender(exec), kick: make(chan struct{}, 1), targets: map[string]Config{},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heartbeat_notifications_total", Help: "Tries to deliver heartbeat's own notices, by target and result.",
		}, []string{"target", "result"}),
	}
	r.MustRegister(q.total)
	return q
}

// Set replaces the targets.
func (q *Queue) Set(targets map[string]Config) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.targets = targets
	for name := range targets {
		for _, result := range []string{resultSent, resultFailed, resultGivenUp, resultUnconfigured} {
			q.total.WithLabelValues(name, result)
		}
	}
}

// Kick makes the queue look at the record now.
func (q *Queue) Kick() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}

// Run delivers until ctx ends.
func (q *Queue) Run(ctx context.Context) error {
	for {
		wait := q.round(ctx)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-q.kick:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// round tries what is due, all targets at the same time, and returns when to
// look again.
func (q *Queue) round(ctx context.Context) time.Duration {
	const idle = 30 * time.Second
	notices, err := q.ledger.OpenNotices(ctx)
	if err != nil {
		if ctx.Err() == nil {
			q.log.Error("notices not read", "error", err)
		}
		return firstPause
	}
	wait, delivered := idle, false
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, n := range notices {
		if left := time.Until(n.NextAt); left > 0 {
			wait = min(wait, left)
			continue
		}
		wg.Go(func() {
			next := q.deliver(ctx, n)
			mu.Lock()
			defer mu.Unlock()
			wait, delivered = min(wait, next), delivered || next == 0
		})
	}
	wg.Wait()
	if delivered {
		return 0
	}
	return wait
}

// deliver tries one notice and returns the pause until its target may be tried
// again, 0 if it is done with.
func (q *Queue) deliver(ctx context.Context, n ledger.Notice) time.Duration {
	q.mu.Lock()
	target, known := q.targets[n.Target]
	q.mu.Unlock()
	if !known || !target.Configured() {
		return q.end(ctx, n, resultUnconfigured, errors.New("the target is not configured; the notice reached nobody by it"))
	}
	var m Message
	if err := json.Unmarshal([]byte(n.Body), &m); err != nil {
		return q.end(ctx, n, resultGivenUp, fmt.Errorf("reading the notice: %w", err))
	}
	err := q.sender.send(ctx, target, m)
	if err == nil {
		return q.end(ctx, n, resultSent, nil)
	}
	if ctx.Err() != nil {
		return firstPause // stopping: the notice stays as it is
	}
	if time.Since(n.CreatedAt) > maxAge {
		return q.end(ctx, n, resultGivenUp, err)
	}
	q.total.WithLabelValues(n.Target, resultFailed).Inc()
	pause := min(maxPause, firstPause<<min(n.Attempts, 10))
	if p := (permanentError{}); errors.As(err, &p) {
		pause = permanentPause
	}
	q.log.Error("notice not delivered, will be tried again", "check", n.Check, "target", n.Target, "attempt", n.Attempts+1, "retry_in", pause.String(), "error", err)
	if err := q.ledger.RetryNotice(ctx, n.ID, time.Now().Add(pause)); err != nil {
		q.log.Error("delivery try not recorded", "error", err)
	}
	return pause
}

func (q *Queue) end(ctx context.Context, n ledger.Notice, result string, cause error) time.Duration {
	q.total.WithLabelValues(n.Target, result).Inc()
	if cause != nil {
		q.log.Error("notice dropped", "check", n.Check, "target", n.Target, "result", result, "error", cause)
	} else {
		q.log.Info("notice delivered", "check", n.Check, "target", n.Target)
	}
	if err := q.ledger.EndNotice(context.WithoutCancel(ctx), n.ID, result, time.Now()); err != nil {
		q.log.Error("delivery not recorded, it will be repeated", "check", n.Check, "target", n.Target, "error", err)
		return firstPause
	}
	return 0
}
