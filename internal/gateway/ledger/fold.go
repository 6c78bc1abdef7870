package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// foldEvery is how far the sums may be behind the rows where nobody reads them. A
	// fold costs as much as several commits of one row, and nobody waits for it.
	foldEvery = time.Second
	// foldDepth is how far below the newest id a fold sets the floor: a request that
	// ends later than this after it began lowers the floor in its own commit.
	foldDepth = int64(time.Minute/time.Millisecond) << counterBits
)

// folding brings the sums up to date with the rows that were stored since the last
// fold. What is kept here is in the store as well, by the numbers that rows carry, so
// that a process that dies loses nothing of it: see settle.
type folding struct {
	asked   chan chan<- struct{} // readers that need the sums now
	stopped chan struct{}        // closed when Run has returned
	behind  atomic.Bool          // rows are stored, or are being stored, that the sums do not hold

	// Of Run alone, once New has returned.
	pending *rollups  // what the sums lack
	number  int64     // of the next fold
	floor   int64     // no row of it has a smaller id
	due     time.Time // of the next fold
}

func newFolding() folding {
	return folding{asked: make(chan chan<- struct{}), stopped: make(chan struct{}), pending: newRollups()}
}

// lower returns the floor that a commit of the rows needs.
func (f *folding) lower(batch []*entry) int64 {
	floor := f.floor
	for _, e := range batch {
		if e.ended {
			floor = min(floor, int64(e.id))
		}
	}
	return floor
}

// taking notes that rows are about to be stored: readers of the store may see them
// before took is told.
func (f *folding) taking(batch []*entry) {
	if slices.ContainsFunc(batch, func(e *entry) bool { return e.ended }) {
		f.behind.Store(true)
	}
}

// took notes that a commit holds the rows.
func (f *folding) took(batch []*entry) {
	f.floor = f.lower(batch)
	for _, e := range batch {
		if e.counts {
			f.pending.add(&e.share)
		}
	}
}

// fold adds what is pending to the sums, all of it or nothing. What could not be added
// stays pending.
func (l *Ledger) fold(now time.Time) {
	if l.pending.empty() {
		l.behind.Store(false)
		return
	}
	ctx := context.Background() // its end is of use to every reader, no one of them may end it
	next := folding{number: l.number + 1, floor: l.last.Load() - foldDepth}
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		if err := l.pending.write(ctx, tx.StmtContext(ctx, l.hourly), tx.StmtContext(ctx, l.daily)); err != nil {
			return err
		}
		return next.save(ctx, tx)
	})
	if err != nil {
		l.due = now.Add(retryAfter)
		l.options.Observe(time.Since(now), 0, fmt.Errorf("adding requests to the sums: %w", err))
		return
	}
	l.pending.forget()
	l.number, l.floor, l.due = next.number, next.floor, now.Add(foldEvery)
	l.behind.Store(false)
}

// save stores which fold comes next.
func (f *folding) save(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `UPDATE folds SET number = ?, floor = ?`, f.number, f.floor); err != nil {
		return fmt.Errorf("storing the number of a fold: %w", err)
	}
	return nil
}

// fresh makes the sums equal to the rows that are stored. Where the store cannot be
// written the sums stay behind by what was stored in the second before that began, or
// a little more; Observe is told of it.
func (f *folding) fresh(ctx context.Context) error {
	if !f.behind.Load() {
		return nil
	}
	done := make(chan struct{})
	select {
	case f.asked <- done:
	case <-f.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const selectOpen = `SELECT ` + columns + ` FROM requests WHERE status IN ('pending', 'streaming')`

const selectEnded = `SELECT ` + columns + ` FROM requests WHERE status NOT IN ('pending', 'streaming')`

// settle takes over what an earlier process left: rows that no sum holds yet, which
// are those since its last fold, or all where a store is from before there were sums;
// and rows that never ended. It returns how many the latter were.
func (l *Ledger) settle(ctx context.Context, tx *sql.Tx) (interrupted int64, err error) {
	defer l.pending.forget()
	if err := l.unfolded(ctx, tx); err != nil {
		return 0, err
	}
	err = each(ctx, tx, func(r *Row) {
		r.Status = Interrupted
		l.take(r)
		interrupted++
	}, selectOpen)
	if err != nil || l.pending.empty() {
		return 0, err // a start that finds all in order needs no space on the disk
	}
	if _, err := tx.ExecContext(ctx, `UPDATE requests SET status = 'interrupted' WHERE status IN ('pending', 'streaming')`); err != nil {
		return 0, fmt.Errorf("marking interrupted requests: %w", err)
	}
	if err := l.pending.write(ctx, tx.StmtContext(ctx, l.hourly), tx.StmtContext(ctx, l.daily)); err != nil {
		return 0, err
	}
	l.number, l.floor = l.number+1, l.last.Load()-foldDepth
	return interrupted, l.save(ctx, tx)
}

// unfolded takes the rows that have ended and that the sums do not hold.
func (l *Ledger) unfolded(ctx context.Context, tx *sql.Tx) error {
	var summed bool
	err := tx.QueryRowContext(ctx, `SELECT number, floor, EXISTS (SELECT 1 FROM daily) OR EXISTS (SELECT 1 FROM hourly) FROM folds`).Scan(&l.number, &l.floor, &summed)
	if err != nil {
		return fmt.Errorf("looking for sums: %w", err)
	}
	if !summed {
		return each(ctx, tx, l.take, selectEnded)
	}
	return each(ctx, tx, l.take, selectEnded+` AND id >= ? AND fold = ?`, l.floor, l.number)
}

func (l *Ledger) take(r *Row) {
	x := shareOf(r, l.zone)
	l.pending.add(&x)
}
