package ledger

import (
	"context"
	"database/sql"
	"fmt"
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

const (
	sweepRequests  = `DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE id < ? ORDER BY id LIMIT ?)`
	sweepPins      = `DELETE FROM response_pins WHERE response_id IN (SELECT response_id FROM response_pins WHERE created_at < ? ORDER BY created_at LIMIT ?)`
	sweepHourly    = `DELETE FROM hourly WHERE (hour, backend, model, client) IN (SELECT hour, backend, model, client FROM hourly WHERE hour < ? ORDER BY hour LIMIT ?)`
	sweepDaily     = `DELETE FROM daily WHERE (day, pool, backend, client) IN (SELECT day, pool, backend, client FROM daily WHERE day < ? ORDER BY day LIMIT ?)`
	sweepCooldowns = `DELETE FROM cooldown_events WHERE (started_at, backend) IN (SELECT started_at, backend FROM cooldown_events WHERE started_at < ? ORDER BY started_at LIMIT ?)`
)

// Sweep deletes the requests and the pins of responses from before, in batches.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) error {
	if err := l.sweep(ctx, sweepRequests, before.UnixMilli()<<counterBits); err != nil {
		return fmt.Errorf("deleting old requests: %w", err)
	}
	if err := l.sweep(ctx, sweepPins, before.UnixMilli()); err != nil {
		return fmt.Errorf("deleting old pins: %w", err)
	}
	return nil
}

// SweepSums deletes the hours and days that were over before, and the cooldowns that
// began then, in batches.
func (l *Ledger) SweepSums(ctx context.Context, before time.Time) error {
	if err := l.sweep(ctx, sweepHourly, hourOf(before)); err != nil {
		return fmt.Errorf("deleting old hours: %w", err)
	}
	if err := l.sweep(ctx, sweepDaily, dayOf(before, l.zone)); err != nil {
		return fmt.Errorf("deleting old days: %w", err)
	}
	if err := l.sweep(ctx, sweepCooldowns, before.UnixMilli()); err != nil {
		return fmt.Errorf("deleting old cooldowns: %w", err)
	}
	return nil
}

// sweep deletes until nothing is left, by a query that takes a bound and how many
// rows at most.
func (l *Ledger) sweep(ctx context.Context, query string, bound int64) error {
	for size := firstSweep; ; {
		var deleted int64
		var began time.Time
		err := l.db.Write(ctx, func(tx *sql.Tx) error {
			began = time.Now()
			result, err := tx.ExecContext(ctx, query, bound, size)
			if err != nil {
				return err
			}
			deleted, err = result.RowsAffected()
			return err
		})
		took := time.Since(began)
		if err != nil || deleted < int64(size) {
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

// nextSweep is how many rows the next deletion takes, after one of size took so long.
// It grows by half at most, so that a slower part of the file is met with a step
// that is not far too large.
func nextSweep(size int, took time.Duration) int {
	fit := float64(size) * float64(sweepTarget) / float64(max(took, time.Microsecond))
	return max(1, int(min(fit, 1.5*float64(size)+1, maxSweep)))
}
