package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
)

// maxBatch bounds how many callers share one commit.
const maxBatch = 512

type batched struct {
	ctx  context.Context //nolint:containedctx // travels with its call through the queue
	fn   func(*sql.Tx) error
	done chan error
}

// Batch runs fn in a transaction that it may share with concurrent callers, so
// that many small durable writes cost one commit. It returns after that commit.
// Each fn has a savepoint of its own: where it fails, only its own work is
// undone. A failing commit fails every caller in it. Where ctx ends first,
// Batch returns its error and fn may or may not be committed.
func (db *DB) Batch(ctx context.Context, fn func(*sql.Tx) error) error {
	b := batched{ctx: ctx, fn: fn, done: make(chan error, 1)}
	select {
	case <-db.stopped:
		return ErrClosed
	default:
	}
	select {
	case db.queue <- b:
	case <-db.stopped:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-b.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-db.closed:
		select { // closed between queueing and the last batch
		case err := <-b.done:
			return err
		default:
			return ErrClosed
		}
	}
}

func (db *DB) batchLoop() {
	defer close(db.closed)
	for {
		select {
		case first := <-db.queue:
			db.commit(db.collect(first))
		case <-db.stopped:
			for {
				select {
				case first := <-db.queue:
					db.commit(db.collect(first))
				default:
					return
				}
			}
		}
	}
}

// collect takes what is waiting already; it never waits for more, so an idle
// store commits a single write at once.
func (db *DB) collect(first batched) []batched {
	batch := []batched{first}
	for len(batch) < maxBatch {
		select {
		case b := <-db.queue:
			batch = append(batch, b)
		default:
			return batch
		}
	}
	return batch
}

func (db *DB) commit(batch []batched) {
	results := make([]error, len(batch))
	err := db.Write(context.Background(), func(tx *sql.Tx) error {
		for i, b := range batch {
			if results[i] = b.ctx.Err(); results[i] != nil {
				continue
			}
			var broken error
			if results[i], broken = savepoint(tx, b.fn); broken != nil {
				return broken
			}
		}
		return nil
	})
	for i, b := range batch {
		if err != nil {
			b.done <- err
			continue
		}
		b.done <- results[i]
	}
}

// savepoint runs fn; failed is fn's own error, after which the transaction is
// as before, broken means that the transaction cannot go on.
func savepoint(tx *sql.Tx, fn func(*sql.Tx) error) (failed, broken error) {
	if _, err := tx.ExecContext(context.Background(), "SAVEPOINT one"); err != nil {
		return nil, fmt.Errorf("setting a savepoint: %w", err)
	}
	failed = guarded(tx, fn)
	if failed != nil {
		if _, err := tx.ExecContext(context.Background(), "ROLLBACK TO one"); err != nil {
			return failed, fmt.Errorf("rolling back after %w: %w", failed, err)
		}
	}
	if _, err := tx.ExecContext(context.Background(), "RELEASE one"); err != nil {
		return failed, fmt.Errorf("releasing a savepoint: %w", err)
	}
	return failed, nil
}

// guarded turns a panic of one caller's function into that caller's error, so
// that it cannot take the others' writes with it.
func guarded(tx *sql.Tx, fn func(*sql.Tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a store write: %v", p)
		}
	}()
	return fn(tx)
}
