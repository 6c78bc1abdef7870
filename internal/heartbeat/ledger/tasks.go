package ledger

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
)

// Tasks returns what is remembered of the tasks of all agents.
func (l *Ledger) Tasks(ctx context.Context) ([]worklist.Record, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT agent, source, id, mark, state, started_at, progress_at, stall, rounds, paused_at, seen_at FROM tasks`)
	if err != nil {
		return nil, fmt.Errorf("reading tasks: %w", err)
	}
	defer rows.Close()
	var out []worklist.Record
	for rows.Next() {
		var r worklist.Record
		var started, progress, paused, seen int64
		if err := rows.Scan(&r.Agent, &r.Source, &r.ID, &r.Mark, &r.State, &started, &progress, &r.Stall, &r.Rounds, &paused, &seen); err != nil {
			return nil, fmt.Errorf("reading tasks: %w", err)
		}
		r.StartedAt, r.ProgressAt, r.PausedAt, r.SeenAt = fromMillis(started), fromMillis(progress), fromMillis(paused), fromMillis(seen)
		out = append(out, r)
	}
	return out, rows.Err()
}

// SaveTasks inserts or replaces what is remembered of tasks, and forgets others,
// all or none.
func (l *Ledger) SaveTasks(ctx context.Context, keep, forget []worklist.Record) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		for _, r := range keep {
			_, err := tx.ExecContext(ctx, `INSERT INTO tasks (agent, source, id, mark, state, started_at, progress_at, stall, rounds, paused_at, seen_at)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
				ON CONFLICT (agent, source, id) DO UPDATE SET mark = excluded.mark, state = excluded.state, started_at = excluded.started_at,
				progress_at = excluded.progress_at, stall = excluded.stall, rounds = excluded.rounds, paused_at = excluded.paused_at, seen_at = excluded.seen_at`,
				r.Agent, r.Source, r.ID, r.Mark, string(r.State), millis(r.StartedAt), millis(r.ProgressAt), string(r.Stall), r.Rounds, millis(r.PausedAt), millis(r.SeenAt))
			if err != nil {
				return err
			}
		}
		for _, r := range forget {
			if _, err := tx.ExecContext(ctx, `DELETE FROM tasks WHERE agent = ? AND source = ? AND id = ?`, r.Agent, r.Source, r.ID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving tasks: %w", err)
	}
	return nil
}
