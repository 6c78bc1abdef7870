package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const columns = `id, request_id, status, http_status, class, model, backend, pool, client, attempts, started_at, duration_us, ttfb_us, input, output, cache_read, cache_write, cost, detail, timeline`

// The final row of a request replaces the one it got while it was open, and no other:
// a request counts once.
const insertRow = `INSERT INTO requests (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET request_id = excluded.request_id, status = excluded.status, http_status = excluded.http_status, class = excluded.class, model = excluded.model,
backend = excluded.backend, pool = excluded.pool, client = excluded.client, attempts = excluded.attempts, started_at = excluded.started_at, duration_us = excluded.duration_us,
ttfb_us = excluded.ttfb_us, input = excluded.input, output = excluded.output, cache_read = excluded.cache_read, cache_write = excluded.cache_write, cost = excluded.cost,
detail = excluded.detail, timeline = excluded.timeline WHERE requests.status IN ('pending', 'streaming')`

const upsertOpenRow = `INSERT INTO requests (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, backend = excluded.backend WHERE requests.status IN ('pending', 'streaming')`

const upsertPin = `INSERT INTO response_pins (response_id, backend, created_at) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET backend = excluded.backend, created_at = excluded.created_at`

const upsertState = `INSERT INTO backend_states (name, state, updated_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at`

// statements are prepared once: compiling one costs more than running it.
type statements struct {
	insert, hourly, daily, pin *sql.Stmt
}

func (s *statements) prepare(ctx context.Context, db *sqlstore.DB) error {
	for _, x := range []struct {
		into  **sql.Stmt
		query string
	}{{&s.insert, insertRow}, {&s.hourly, upsertHourly}, {&s.daily, upsertDaily}, {&s.pin, upsertPin}} {
		var err error
		if *x.into, err = db.Prepare(ctx, x.query); err != nil {
			return fmt.Errorf("preparing a statement: %w", err)
		}
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
	return []any{
		int64(r.ID), requestID, string(r.Status), r.HTTPStatus, string(r.Class), r.Model, r.Backend, r.Pool, r.Client, r.Attempts,
		r.StartedAt.UnixMilli(), r.Duration.Microseconds(), r.TTFB.Microseconds(),
		r.Usage.Input, r.Usage.Output, r.Usage.CacheRead, r.Usage.CacheWrite, int64(r.Cost), string(detail), timeline,
	}, nil
}

// store writes rows, and what they add to the rollups: all of it, or nothing where
// the transaction fails.
func (l *Ledger) store(ctx context.Context, tx *sql.Tx, batch []*entry) error {
	if len(batch) == 0 {
		return nil
	}
	defer l.rollups.forget()
	insert := tx.StmtContext(ctx, l.insert)
	for _, e := range batch {
		result, err := insert.ExecContext(ctx, e.args...)
		if err != nil {
			return fmt.Errorf("storing request %s: %w", e.id, err)
		}
		stored, err := result.RowsAffected()
		if err != nil {
			return fmt.Errorf("storing request %s: %w", e.id, err)
		}
		if e.ended && stored > 0 {
			l.rollups.add(&e.share)
		}
		if e.response != "" && e.backend != "" {
			if _, err := tx.StmtContext(ctx, l.pin).ExecContext(ctx, e.response, e.backend, e.at.UnixMilli()); err != nil {
				return fmt.Errorf("pinning the response of %s: %w", e.id, err)
			}
		}
	}
	return l.rollups.write(ctx, tx.StmtContext(ctx, l.hourly), tx.StmtContext(ctx, l.daily))
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

func newestID(ctx context.Context, db *sql.DB) (int64, error) {
	var id int64
	err := db.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM requests`).Scan(&id)
	return id, err
}

func readStates(ctx context.Context, db *sql.DB) (map[string]json.RawMessage, error) {
	rows, err := db.QueryContext(ctx, `SELECT name, state FROM backend_states`)
	if err != nil {
		return nil, fmt.Errorf("reading backend states: %w", err)
	}
	defer func() { _ = rows.Close() }()
	states := map[string]json.RawMessage{}
	for rows.Next() {
		var name, state string
		if err := rows.Scan(&name, &state); err != nil {
			return nil, fmt.Errorf("reading backend states: %w", err)
		}
		states[name] = json.RawMessage(state)
	}
	return states, rows.Err()
}

// ErrNotFound is returned where there is no such request.
var ErrNotFound = errors.New("no such request")

// Filter selects rows; zero fields select all.
type Filter struct {
	Status     Status
	Model      string
	Backend    string // that answered
	Client     string
	Class      llm.Class
	FailedOver bool // more than one call, or the only one failed
	Since      time.Time
	Before     ID // older than this one
	Limit      int
}

// List returns rows, newest first.
func (l *Ledger) List(ctx context.Context, f Filter) ([]Row, error) {
	var c conditions
	c.add(f.Status != "", "status = ?", string(f.Status))
	c.add(f.Model != "", "model = ?", f.Model)
	c.add(f.Backend != "", "backend = ?", f.Backend)
	c.add(f.Client != "", "client = ?", f.Client)
	c.add(f.Class != "", "class = ?", string(f.Class))
	c.add(f.FailedOver, "timeline IS NOT NULL AND attempts > 1")
	c.add(!f.Since.IsZero(), "id >= ?", f.Since.UnixMilli()<<counterBits)
	c.add(f.Before != 0, "id < ?", int64(f.Before))
	query := `SELECT ` + columns + ` FROM requests WHERE ` + c.where() + ` ORDER BY id DESC LIMIT ?`
	return l.query(ctx, query, append(c.args, f.Limit)...)
}

// Get returns the row that text names: a ledger id, or the client's request id, of
// which the newest row is meant. It is ErrNotFound where there is none.
func (l *Ledger) Get(ctx context.Context, text string) (Row, error) {
	if id, err := ParseID(text); err == nil {
		rows, err := l.query(ctx, `SELECT `+columns+` FROM requests WHERE id = ?`, int64(id))
		if err != nil || len(rows) > 0 {
			return first(rows, err)
		}
	}
	return first(l.query(ctx, `SELECT `+columns+` FROM requests WHERE request_id = ? ORDER BY id DESC LIMIT 1`, text))
}

func first(rows []Row, err error) (Row, error) {
	switch {
	case err != nil:
		return Row{}, err
	case len(rows) == 0:
		return Row{}, ErrNotFound
	default:
		return rows[0], nil
	}
}

func (l *Ledger) query(ctx context.Context, query string, args ...any) ([]Row, error) {
	out := []Row{}
	err := each(ctx, l.db.Read(), func(r *Row) { out = append(out, *r) }, query, args...)
	return out, err
}

// querier is a store or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// each gives every row that a query over columns finds to fn.
func each(ctx context.Context, db querier, fn func(*Row), query string, args ...any) error {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return fmt.Errorf("reading requests: %w", err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return fmt.Errorf("reading requests: %w", err)
		}
		fn(&r)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading requests: %w", err)
	}
	return nil
}

func scan(rows *sql.Rows) (Row, error) {
	var r Row
	var requestID, timeline sql.NullString
	var started, duration, ttfb int64
	var detail string
	err := rows.Scan(&r.ID, &requestID, &r.Status, &r.HTTPStatus, &r.Class, &r.Model, &r.Backend, &r.Pool, &r.Client, &r.Attempts,
		&started, &duration, &ttfb, &r.Usage.Input, &r.Usage.Output, &r.Usage.CacheRead, &r.Usage.CacheWrite, &r.Cost, &detail, &timeline)
	if err != nil {
		return r, err
	}
	r.RequestID, r.StartedAt = requestID.String, time.UnixMilli(started).UTC()
	r.Duration, r.TTFB = time.Duration(duration)*time.Microsecond, time.Duration(ttfb)*time.Microsecond
	if err := json.Unmarshal([]byte(detail), &r.Detail); err != nil {
		return r, fmt.Errorf("decoding request %s: %w", r.ID, err)
	}
	r.Usage.Reasoning, r.Usage.CacheWrite1h, r.Usage.Source = r.Detail.Reasoning, r.Detail.CacheWrite1h, r.Detail.UsageSource
	r.Label, r.ResponseID = r.Detail.Label, r.Detail.ResponseID
	if timeline.Valid {
		if err := json.Unmarshal([]byte(timeline.String), &r.Timeline); err != nil {
			return r, fmt.Errorf("decoding the timeline of %s: %w", r.ID, err)
		}
	}
	return r, nil
}

// Count returns how many rows there are, by status.
func (l *Ledger) Count(ctx context.Context) (map[Status]int64, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT status, count(*) FROM requests GROUP BY status`)
	if err != nil {
		return nil, fmt.Errorf("counting requests: %w", err)
	}
	defer func() { _ = rows.Close() }()
	counts := map[Status]int64{}
	for rows.Next() {
		var status Status
		var n int64
		if err := rows.Scan(&status, &n); err != nil {
			return nil, fmt.Errorf("counting requests: %w", err)
		}
		counts[status] = n
	}
	return counts, rows.Err()
}
