package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// The final row of a request replaces the one it got while it was open, and no other:
// a request counts once.
const insertRow = `INSERT INTO requests (` + columns + `, fold) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET request_id = excluded.request_id, status = excluded.status, http_status = excluded.http_status, class = excluded.class, model = excluded.model,
backend = excluded.backend, pool = excluded.pool, client = excluded.client, attempts = excluded.attempts, started_at = excluded.started_at, duration_us = excluded.duration_us,
ttfb_us = excluded.ttfb_us, input = excluded.input, output = excluded.output, cache_read = excluded.cache_read, cache_write = excluded.cache_write, cost = excluded.cost,
detail = excluded.detail, timeline = excluded.timeline, fold = excluded.fold WHERE requests.status IN ('pending', 'streaming')`

const upsertOpenRow = `INSERT INTO requests (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, backend = excluded.backend WHERE requests.status IN ('pending', 'streaming')`

const upsertPin = `INSERT INTO response_pins (client, response_id, backend, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET backend = excluded.backend, created_at = excluded.created_at`

const upsertState = `INSERT INTO backend_states (name, state, updated_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at`

// statements are prepared once: compiling one costs more than running it.
type statements struct {
	insert, hourly, daily, pin *sql.Stmt
}

func (s *statements) prepare(ctx context.Context, db *sqlstore.DB) (err error) {
	if s.insert, err = db.Prepare(ctx, insertRow); err != nil {
		return fmt.Errorf("preparing rows: %w", err)
	}
	if s.hourly, err = db.Prepare(ctx, upsertHourly); err != nil {
		return fmt.Errorf("preparing hours: %w", err)
	}
	if s.daily, err = db.Prepare(ctx, upsertDaily); err != nil {
		return fmt.Errorf("preparing days: %w", err)
	}
	if s.pin, err = db.Prepare(ctx, upsertPin); err != nil {
		return fmt.Errorf("preparing pins: %w", err)
	}
	return nil
}

func (s *statements) close() error {
	var errs []error
	for _, statement := range []*sql.Stmt{s.insert, s.hourly, s.daily, s.pin} {
		if statement != nil {
			errs = append(errs, statement.Close())
		}
	}
	return errors.Join(errs...)
}

// entry is a row on its way into the store.
type entry struct {
	id       ID
	response string // that the row pins to its backend; "" = none
	client   string
	backend  string
	at       time.Time
	args     []any // of insertRow, but for the fold
	ended    bool
	share    share // of a row that has ended
	counts   bool  // it has ended, and the transaction at hand has stored it
	done     chan error
	state    atomic.Int32
}

// The states of an entry.
const (
	waiting   int32 = iota
	claimed         // it is being stored
	withdrawn       // its owner gave up, and said that it is not stored
)

// newEntry takes from the row all that is stored: its owner may change it later.
func newEntry(r *Row, zone *time.Location) (*entry, error) {
	args, err := arguments(r)
	if err != nil {
		return nil, err
	}
	e := &entry{id: r.ID, response: r.ResponseID, client: r.Client, backend: r.Backend, at: r.StartedAt, args: args, done: make(chan error, 1)}
	if e.ended = r.Status != Pending && r.Status != Streaming; e.ended {
		e.share = shareOf(r, zone)
	}
	return e, nil
}

// pins reports whether the row binds what follows its response to a backend.
func (e *entry) pins() bool { return e.response != "" && e.backend != "" }

// arguments are the values of a row in the order of columns.
func arguments(r *Row) ([]any, error) {
	r.Cost = min(r.Cost, maxCost)
	r.Detail.Reasoning, r.Detail.CacheWrite1h, r.Detail.UsageSource, r.Detail.ResponseID = r.Usage.Reasoning, r.Usage.CacheWrite1h, r.Usage.Source, r.ResponseID
	if r.Label != r.Model {
		r.Detail.Label = r.Label
	}
	detail, err := json.Marshal(r.Detail)
	if err != nil {
		return nil, fmt.Errorf("encoding request %s: %w", r.ID, err)
	}
	var requestID, timeline any
	if r.RequestID != "" {
		requestID = r.RequestID
	}
	if len(r.Timeline) > 0 {
		raw, err := json.Marshal(r.Timeline)
		if err != nil {
			return nil, fmt.Errorf("encoding the timeline of %s: %w", r.ID, err)
		}
		timeline = string(raw)
	}
	return append(make([]any, 0, 21), // and one for the fold
		int64(r.ID), requestID, string(r.Status), r.HTTPStatus, string(r.Class), r.Model, r.Backend, r.Pool, r.Client, r.Attempts,
		r.StartedAt.UnixMilli(), r.Duration.Microseconds(), r.TTFB.Microseconds(),
		r.Usage.Input, r.Usage.Output, r.Usage.CacheRead, r.Usage.CacheWrite, int64(r.Cost), string(detail), timeline,
	), nil
}

// keep commits rows, those of open requests, and what is unsaved: all of it, or
// nothing where it fails.
func (l *Ledger) keep(ctx context.Context, batch []*entry, open []dueRow, now time.Time) error {
	if len(batch) == 1 && len(open) == 0 && l.unsaved.empty() && !batch[0].pins() && l.lower(batch) == l.floor {
		return batch[0].insert(func(args ...any) (sql.Result, error) { return l.db.Exec(ctx, l.insert, args...) }, l.number)
	}
	return l.db.Write(ctx, func(tx *sql.Tx) error {
		if err := l.store(ctx, tx, batch); err != nil {
			return err
		}
		if err := upsertOpen(ctx, tx, open); err != nil {
			return err
		}
		return l.unsaved.write(ctx, tx, now)
	})
}

// store writes rows, and which fold adds them to the sums.
func (l *Ledger) store(ctx context.Context, tx *sql.Tx, batch []*entry) error {
	if len(batch) == 0 {
		return nil
	}
	insert := tx.StmtContext(ctx, l.insert)
	for _, e := range batch {
		if err := e.insert(func(args ...any) (sql.Result, error) { return insert.ExecContext(ctx, args...) }, l.number); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(batch, (*entry).pins) {
		if err := upsertPins(ctx, tx.StmtContext(ctx, l.pin), batch); err != nil {
			return err
		}
	}
	if floor := l.lower(batch); floor < l.floor {
		lowered := folding{number: l.number, floor: floor}
		return lowered.save(ctx, tx)
	}
	return nil
}

// insert writes the row, which the fold of that number adds to the sums, and notes
// whether it counts; a row that was withdrawn is left out.
func (e *entry) insert(exec func(args ...any) (sql.Result, error), fold int64) error {
	e.counts = false
	if !e.state.CompareAndSwap(waiting, claimed) && e.state.Load() == withdrawn {
		return nil
	}
	result, err := exec(append(e.args, fold)...)
	if err != nil {
		return fmt.Errorf("storing request %s: %w", e.id, err)
	}
	stored, err := result.RowsAffected()
	if err != nil {
		return fmt.Errorf("storing request %s: %w", e.id, err)
	}
	e.counts = e.ended && stored > 0
	return nil
}

func upsertPins(ctx context.Context, upsert *sql.Stmt, batch []*entry) error {
	for _, e := range batch {
		if !e.pins() || e.state.Load() == withdrawn {
			continue
		}
		if _, err := upsert.ExecContext(ctx, e.client, e.response, e.backend, e.at.UnixMilli()); err != nil {
			return fmt.Errorf("pinning the response of %s: %w", e.id, err)
		}
	}
	return nil
}

func upsertOpen(ctx context.Context, tx *sql.Tx, rows []dueRow) error {
	for _, row := range rows {
		args, err := arguments(row.Row)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, upsertOpenRow, args...); err != nil {
			return fmt.Errorf("storing open request %s: %w", row.ID, err)
		}
	}
	return nil
}

func upsertStates(ctx context.Context, tx *sql.Tx, states map[string][]byte, now time.Time) error {
	for name, state := range states {
		if _, err := tx.ExecContext(ctx, upsertState, name, string(state), now.UnixMilli()); err != nil {
			return fmt.Errorf("storing the state of backend %s: %w", name, err)
		}
	}
	return nil
}
