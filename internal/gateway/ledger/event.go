package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"
)

// CooldownEvent is one cooldown of a backend. Backend and StartedAt, to the
// millisecond, name it: what comes later under the same name replaces it.
type CooldownEvent struct {
	Backend     string
	StartedAt   time.Time
	EndedAt     time.Time // zero while it lasts
	Consecutive int       // cooldowns in a row, this one included
	Cooldown    time.Duration
	Summary     string // of the answer that began it, for people
}

const upsertEvent = `INSERT INTO cooldown_events (started_at, backend, ended_at, consecutive_count, cooldown_seconds, response_summary) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET ended_at = excluded.ended_at, consecutive_count = excluded.consecutive_count, cooldown_seconds = excluded.cooldown_seconds, response_summary = excluded.response_summary`

// maxEvents bounds the events that wait for a store that cannot be written; the
// oldest go first.
const maxEvents = 1000

// unsaved is what nobody waits for, until a commit has held it.
type unsaved struct {
	states map[string][]byte
	events []CooldownEvent
}

func (u *unsaved) empty() bool { return len(u.states)+len(u.events) == 0 }

// collect takes what has changed. The newest state of a backend is the one to keep.
func (u *unsaved) collect(o *Options) {
	if states := o.States(); u.states == nil {
		u.states = states
	} else {
		maps.Copy(u.states, states)
	}
	if o.Events != nil {
		u.events = append(u.events, o.Events()...)
	}
	if extra := len(u.events) - maxEvents; extra > 0 {
		u.events = slices.Delete(u.events, 0, extra)
	}
}

func (u *unsaved) saved() { u.states, u.events = nil, nil }

func (u *unsaved) write(ctx context.Context, tx *sql.Tx, now time.Time) error {
	if err := upsertStates(ctx, tx, u.states, now); err != nil {
		return err
	}
	for _, e := range u.events {
		var ended any
		if !e.EndedAt.IsZero() {
			ended = e.EndedAt.UnixMilli()
		}
		if _, err := tx.ExecContext(ctx, upsertEvent, e.StartedAt.UnixMilli(), e.Backend, ended, e.Consecutive, e.Cooldown.Seconds(), e.Summary); err != nil {
			return fmt.Errorf("storing a cooldown of backend %s: %w", e.Backend, err)
		}
	}
	return nil
}

// Cooldowns returns the cooldowns that began in the window, newest first; those that
// come behind after, where that is given. Of the window, Backend and the times count.
func (l *Ledger) Cooldowns(ctx context.Context, w Window, after *CooldownEvent) ([]CooldownEvent, error) {
	var c conditions
	c.add(w.Backend != "", "backend = ?", w.Backend)
	c.add(!w.Since.IsZero(), "started_at >= ?", w.Since.UnixMilli())
	c.add(!w.Until.IsZero(), "started_at < ?", w.Until.UnixMilli())
	if after != nil {
		at := after.StartedAt.UnixMilli()
		c.add(true, "started_at <= ? AND (started_at < ? OR backend > ?)", at, at, after.Backend)
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT started_at, backend, ended_at, consecutive_count, cooldown_seconds, response_summary FROM cooldown_events WHERE `+
		c.where()+` ORDER BY started_at DESC, backend`+w.limit(), c.args...)
	if err != nil {
		return nil, fmt.Errorf("reading cooldowns: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []CooldownEvent{}
	for rows.Next() {
		var e CooldownEvent
		var started int64
		var ended sql.NullInt64
		var seconds float64
		if err := rows.Scan(&started, &e.Backend, &ended, &e.Consecutive, &seconds, &e.Summary); err != nil {
			return nil, fmt.Errorf("reading cooldowns: %w", err)
		}
		e.StartedAt, e.Cooldown = time.UnixMilli(started).UTC(), time.Duration(seconds*float64(time.Second))
		if ended.Valid {
			e.EndedAt = time.UnixMilli(ended.Int64).UTC()
		}
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading cooldowns: %w", err)
	}
	return out, nil
}
