package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

const columns = `id, request_id, status, http_status, class, model, backend, pool, client, attempts, started_at, duration_us, ttfb_us, input, output, cache_read, cache_write, cost, detail, timeline`

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

// Pin returns the backend that holds the conversation of the client which the response
// is part of.
func (l *Ledger) Pin(ctx context.Context, client, responseID string) (backend string, ok bool, err error) {
	err = l.db.Read().QueryRowContext(ctx, `SELECT backend FROM response_pins WHERE client = ? AND response_id = ?`, client, responseID).Scan(&backend)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", false, nil
	case err != nil:
		return "", false, fmt.Errorf("reading the backend of a response: %w", err)
	default:
		return backend, true, nil
	}
}
