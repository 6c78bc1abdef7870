// Package ledger is the record of every request: one row each, its attempts inside.
//
// Commit returns once the row survives kill -9, so that a caller who holds the last
// bytes of an answer until then never shows a client what the ledger does not have.
// Rows of concurrent requests share one commit. A request that is open for about a
// second gets a row before its end; what is found open at start was interrupted by
// the end of an earlier process.
package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/schema"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const (
	maxBatch = 256
	// While several requests are open a commit waits for company, until half of them
	// have come: most of what it costs does not depend on how many rows it holds.
	gather     = time.Millisecond       // between the beginnings of two commits then, at most
	openAfter  = time.Second            // an open request gets its row after this
	sweepEvery = 500 * time.Millisecond // how often open requests are looked through
	// retryAfter is how long a commit of states and events alone is not tried again
	// after one that failed; a row that comes is tried at once.
	retryAfter = 5 * time.Second
	// walLimit is what the file of commits may grow to before it is cut; see
	// [sqlstore.Options].
	walLimit = 64 << 20
)

// ErrSlow is returned by Commit where the commit takes longer than its caller waits.
// Whether the row is there later is said by Commit.
var ErrSlow = errors.New("the ledger's commit takes too long")

// Options says how to open a ledger.
type Options struct {
	URL sqlstore.URL
	// Zone is whose days the daily sums are of; nil = UTC. Days that are past stay as
	// they were counted when it changes.
	Zone *time.Location
	// States returns the backend states that have changed since the last call, as
	// JSON by name. They are kept in the same commit as the rows that follow.
	States func() map[string][]byte
	// Events returns the cooldowns that have begun, changed or ended since the last
	// call. They are kept as States are.
	Events func() []CooldownEvent
	// Observe is told of every commit.
	Observe func(took time.Duration, rows int, err error)
}

// Ledger is an open record. Run must be running for Commit to return.
type Ledger struct {
	options Options
	zone    *time.Location
	db      *sqlstore.DB
	statements
	queue chan *entry
	poke  chan struct{}
	last  atomic.Int64 // newest id given out

	folding

	// Of Run alone.
	unsaved unsaved
	retry   time.Time // when a commit without rows may be tried again

	mu   sync.Mutex // guards the list of open requests
	head Open       // sentinel; head.next is the oldest

	count atomic.Int64 // of the list
}

// New opens the store and marks what an earlier process left open as interrupted.
// It returns how many those were.
func New(ctx context.Context, o Options) (*Ledger, int64, error) {
	migrations, err := schema.Migrations()
	if err != nil {
		return nil, 0, err
	}
	l := &Ledger{options: o, zone: o.Zone, queue: make(chan *entry, maxBatch), poke: make(chan struct{}, 1), folding: newFolding()}
	if l.zone == nil {
		l.zone = time.UTC
	}
	l.head.next, l.head.prev = &l.head, &l.head
	if l.db, err = sqlstore.Open(ctx, sqlstore.Options{URL: o.URL, Migrations: migrations, WALLimit: walLimit}); err != nil {
		return nil, 0, err
	}
	interrupted, err := l.begin(ctx)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("opening the ledger: %w", err), l.Close())
	}
	return l, interrupted, nil
}

// begin makes an opened store ready.
func (l *Ledger) begin(ctx context.Context) (interrupted int64, err error) {
	if err := l.prepare(ctx, l.db); err != nil {
		return 0, err
	}
	newest, err := newestID(ctx, l.db.Read())
	if err != nil {
		return 0, err
	}
	l.last.Store(newest)
	err = l.db.Write(ctx, func(tx *sql.Tx) error {
		interrupted, err = l.settle(ctx, tx)
		return err
	})
	return interrupted, err
}

// Close closes the store. Run must have returned.
func (l *Ledger) Close() error { return errors.Join(l.statements.close(), l.db.Close()) }

// Store is the store, for what else is kept in it. It is closed by Close.
func (l *Ledger) Store() *sqlstore.DB { return l.db }

// Ready is a readiness check.
func (l *Ledger) Ready(ctx context.Context) error { return l.db.Check(ctx) }

// SizeBytes returns the size of the store's files by kind.
func (l *Ledger) SizeBytes() map[string]int64 { return l.db.SizeBytes() }

// NextID makes an id: larger than every one before, whatever the clock does.
func (l *Ledger) NextID(now time.Time) ID {
	for {
		last := l.last.Load()
		next := max(last+1, now.UnixMilli()<<counterBits)
		if l.last.CompareAndSwap(last, next) {
			return ID(next)
		}
	}
}

// Commit stores the row and returns once it is durable, or an error, ErrSlow after
// maxWait. The row may be stored later then, unless certain is wanted: then it is
// not, and where it is being stored at that moment, Commit waits for the end of it.
func (l *Ledger) Commit(row *Row, maxWait time.Duration, certain bool) error {
	e, err := newEntry(row, l.zone)
	if err != nil {
		return err
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case l.queue <- e:
	case <-timer.C:
		return ErrSlow
	}
	select {
	case err := <-e.done:
		return err
	case <-timer.C:
	}
	if !certain || e.state.CompareAndSwap(waiting, withdrawn) {
		return ErrSlow
	}
	return <-e.done // it is being stored at this moment
}

// Poke makes Run keep changed backend states soon, without a row.
func (l *Ledger) Poke() {
	select {
	case l.poke <- struct{}{}:
	default:
	}
}

// Run commits what comes, until ctx ends; what is queued then is committed too. It
// runs once.
func (l *Ledger) Run(ctx context.Context) error {
	defer close(l.stopped)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	batch := make([]*entry, 0, maxBatch)
	var began time.Time // the last commit of rows
	for {
		batch = batch[:0]
		select {
		case e := <-l.queue:
			batch = append(batch, e)
			if open := l.count.Load(); open > 1 {
				batch = l.wait(batch, min(int(open)/2, maxBatch), gather-time.Since(began))
			}
			began = time.Now()
		case done := <-l.asked:
			l.fold(time.Now())
			close(done)
			continue
		case <-l.poke:
		case <-ticker.C:
		case <-ctx.Done():
			return l.drain()
		}
		batch = l.collect(batch)
		l.commit(batch)
		if now := time.Now(); !now.Before(l.due) {
			l.fold(now)
		}
	}
}

// wait lets rows come together until there are enough; a millisecond at most, so that
// stopping need not be looked at.
func (l *Ledger) wait(batch []*entry, enough int, atMost time.Duration) []*entry {
	if atMost <= 0 || len(batch) >= enough {
		return batch
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	for len(batch) < enough {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

// collect takes what is waiting already.
func (l *Ledger) collect(batch []*entry) []*entry {
	for len(batch) < maxBatch {
		select {
		case e := <-l.queue:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

func (l *Ledger) drain() error {
	for {
		batch := l.collect(nil)
		l.retry = time.Time{} // the last chance
		l.commit(batch)
		if len(batch) == 0 {
			l.fold(time.Now())
			return nil
		}
	}
}

// commit stores rows, the rows of requests that are open for long, and changed
// backend states in one transaction. What nobody waits for is kept for the next one
// where it fails.
func (l *Ledger) commit(batch []*entry) {
	started := time.Now()
	l.unsaved.collect(&l.options)
	if len(batch) == 0 && started.Before(l.retry) {
		return
	}
	open := l.dueOpen(started)
	if len(batch)+len(open) == 0 && l.unsaved.empty() {
		return
	}
	ctx := context.Background() // several requests wait for it, no one of them may end it
	l.taking(batch)
	err := l.keep(ctx, batch, open, started)
	if err == nil {
		l.took(batch)
		l.forget(open)
		l.unsaved.saved()
		l.retry = time.Time{}
	} else {
		again(open)
		l.retry = started.Add(retryAfter)
	}
	l.options.Observe(time.Since(started), len(batch), err)
	for _, e := range batch {
		e.done <- err
	}
}

// States returns the kept backend states, as JSON by name.
func (l *Ledger) States(ctx context.Context) (map[string]json.RawMessage, error) {
	return readStates(ctx, l.db.Read())
}
