package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

const columns = `id, request_id, status, http_status, class, model, backend, pool, client, attempts, started_at, duration_us, ttfb_us, input, output, cache_read, cache_write, cost, detail, timeline`

// The final row of a request replaces the one it got while it was open.
const insertRow = `INSERT OR REPLACE INTO requests (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

const upsertOpenRow = `INSERT INTO requests (` + columns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, backend = excluded.backend WHERE requests.status IN ('pending', 'streaming')`

const upsertState = `INSERT INTO backend_states (name, state, updated_at) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET state = excluded.state, updated_at = excluded.updated_at`

// arguments are the values of a row in the order of columns.
func arguments(r *Row) ([]any, error) {
	r.Detail.Reasoning, r.Detail.UsageSource = r.Usage.Reasoning, r.Usage.Source
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

func insertRows(ctx context.Context, insert *sql.Stmt, batch []entry) error {
	for _, e := range batch {
		if _, err := insert.ExecContext(ctx, e.args...); err != nil {
			return fmt.Errorf("storing request %s: %w", e.id, err)
		}
	}
	return nil
}

func upsertOpen(ctx context.Context, tx *sql.Tx, rows []*Row) error {
	for _, row := range rows {
		args, err := arguments(row)
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

func markInterrupted(ctx context.Context, tx *sql.Tx) (int64, error) {
	result, err := tx.ExecContext(ctx, `UPDATE requests SET status = 'interrupted' WHERE status IN ('pending', 'streaming')`)
	if err != nil {
		return 0, fmt.Errorf("marking interrupted requests: %w", err)
	}
	return result.RowsAffected()
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
	where, args := []string{"true"}, []any{}
	add := func(use bool, condition string, values ...any) {
		if use {
			where, args = append(where, condition), append(args, values...)
		}
	}
	add(f.Status != "", "status = ?", string(f.Status))
	add(f.Model != "", "model = ?", f.Model)
	add(f.Backend != "", "backend = ?", f.Backend)
	add(f.Client != "", "client = ?", f.Client)
	add(f.Class != "", "class = ?", string(f.Class))
	add(f.FailedOver, "timeline IS NOT NULL AND attempts > 1")
	add(!f.Since.IsZero(), "id >= ?", f.Since.UnixMilli()<<counterBits)
	add(f.Before != 0, "id < ?", int64(f.Before))
	query := `SELECT ` + columns + ` FROM requests WHERE ` + strings.Join(where, " AND ") + ` ORDER BY id DESC LIMIT ?`
	return l.query(ctx, query, append(args, f.Limit)...)
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
	rows, err := l.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []Row{}
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("reading requests: %w", err)
		}
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	return out, nil
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
	r.Usage.Reasoning, r.Usage.Source = r.Detail.Reasoning, r.Detail.UsageSource
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

// sweepBatch keeps one deletion short: commits of requests wait for it.
const sweepBatch = 200

// Sweep deletes what began before, in batches.
func (l *Ledger) Sweep(ctx context.Context, before time.Time) error {
	for {
		var deleted int64
		err := l.db.Write(ctx, func(tx *sql.Tx) error {
			result, err := tx.ExecContext(ctx, `DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE id < ? ORDER BY id LIMIT ?)`, before.UnixMilli()<<counterBits, sweepBatch)
			if err != nil {
				return fmt.Errorf("deleting old requests: %w", err)
			}
			deleted, err = result.RowsAffected()
			return err
		})
		if err != nil || deleted < sweepBatch {
			return err
		}
	}
}
