package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// sweepTarget is how long one deletion should take: requests wait for it. Twice
	// that is the bound; what comes out is seldom more than the target.
	sweepTarget = 10 * time.Millisecond
	firstSweep  = 100
	maxSweep    = 5000
	// sweepRest is how much longer than a deletion the pause after it is, so that
	// requests have most of the time for themselves.
	sweepRest = 4
)

// aged is a table whose lines go when they are old: in the order of their key, of
// which the first column says how old they are.
type aged struct {
	table string
	key   []string
	which string // of the old lines; "" = all
}

// counted are requests that the sums hold, so that no other is lost to them by
// an end of the process before the next fold. Those that are open count once they end.
const counted = ` AND status NOT IN ('pending', 'streaming') AND fold <> (SELECT number FROM folds)`

func requestsByAge() aged { return aged{"requests", []string{"id"}, counted} }
func pinsByAge() aged {
	return aged{"response_pins", []string{"created_at", "client", "response_id"}, ""}
}
func hourlyByAge() aged    { return aged{"hourly", []string{"hour", "backend", "model", "client"}, ""} }
func dailyByAge() aged     { return aged{"daily", []string{"day", "pool", "backend", "client"}, ""} }
func cooldownsByAge() aged { return aged{"cooldown_events", []string{"started_at", "backend"}, ""} }

// Sweep deletes the requests that have ended and the pins of responses from before, in
// batches. The sums keep what was deleted; what they could not take yet stays.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) error {
	if err := l.fresh(ctx); err != nil {
		return fmt.Errorf("deleting old requests: %w", err)
	}
	if err := l.sweep(ctx, requestsByAge(), before.UnixMilli()<<counterBits); err != nil {
		return fmt.Errorf("deleting old requests: %w", err)
	}
	if err := l.sweep(ctx, pinsByAge(), before.UnixMilli()); err != nil {
		return fmt.Errorf("deleting old pins: %w", err)
	}
	return nil
}

// SweepSums deletes the hours and days that were over before, and the cooldowns that
// began then, in batches.
func (l *Ledger) SweepSums(ctx context.Context, before time.Time) error {
	if err := l.sweep(ctx, hourlyByAge(), hourOf(before)); err != nil {
		return fmt.Errorf("deleting old hours: %w", err)
	}
	if err := l.sweep(ctx, dailyByAge(), dayOf(before, l.zone)); err != nil {
		return fmt.Errorf("deleting old days: %w", err)
	}
	if err := l.sweep(ctx, cooldownsByAge(), before.UnixMilli()); err != nil {
		return fmt.Errorf("deleting old cooldowns: %w", err)
	}
	return nil
}

// sweep deletes the lines whose first column is below the bound, until none is left.
func (l *Ledger) sweep(ctx context.Context, a aged, bound int64) error {
	for size := firstSweep; ; {
		var more bool
		var began time.Time
		err := l.db.Write(ctx, func(tx *sql.Tx) (err error) {
			began = time.Now()
			more, err = a.delete(ctx, tx, bound, size)
			return err
		})
		took := time.Since(began)
		if err != nil || !more {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(sweepRest * took):
		}
		size = nextSweep(size, took)
	}
}

// delete deletes the first lines below the bound, n of them, and reports whether
// there are more.
func (a *aged) delete(ctx context.Context, tx *sql.Tx, bound int64, n int) (more bool, err error) {
	key := strings.Join(a.key, ", ")
	last, into := make([]any, len(a.key)), make([]any, len(a.key))
	for i := range last {
		into[i] = &last[i]
	}
	err = tx.QueryRowContext(ctx, `SELECT `+key+` FROM `+a.table+` WHERE `+a.key[0]+` < ?`+a.which+` ORDER BY `+key+` LIMIT 1 OFFSET ?`, bound, n-1).Scan(into...)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		_, err = tx.ExecContext(ctx, `DELETE FROM `+a.table+` WHERE `+a.key[0]+` < ?`+a.which, bound) //nolint:gosec // names of our own
		return false, err
	case err != nil:
		return false, err
	}
	places := strings.TrimSuffix(strings.Repeat("?, ", len(last)), ", ")
	_, err = tx.ExecContext(ctx, `DELETE FROM `+a.table+` WHERE (`+key+`) <= (`+places+`)`+a.which, last...) //nolint:gosec // names of our own
	return true, err
}

// nextSweep is how many rows the next deletion takes, after one of size took so long.
// It grows by half at most, so that a slower part of the file is met with a step
// that is not far too large.
func nextSweep(size int, took time.Duration) int {
	fit := float64(size) * float64(sweepTarget) / float64(max(took, time.Microsecond))
	return max(1, int(min(fit, 1.5*float64(size)+1, maxSweep)))
}
