package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Notice is one message to one target.
type Notice struct {
	ID        int64
	Check     string
	Target    string
	Body      string
	CreatedAt time.Time
	Attempts  int
	NextAt    time.Time
}

// CheckState returns the saved state of a check, "" if there is none.
func (l *Ledger) CheckState(ctx context.Context, name string) (string, error) {
	var state string
	err := l.db.Read().QueryRowContext(ctx, `SELECT state FROM checks WHERE name = ?`, name).Scan(&state)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading check %s: %w", name, err)
	}
	return state, nil
}

// SaveCheck replaces the state of a check and adds the notices that the change
// makes, all or none.
func (l *Ledger) SaveCheck(ctx context.Context, name, state string, notices []Notice) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO checks (name, state) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET state = excluded.state`, name, state)
		if err != nil {
			return err
		}
		for _, n := range notices {
			_, err := tx.ExecContext(ctx, `INSERT INTO notices (check_name, target, body, created_at, next_at) VALUES (?, ?, ?, ?, ?)`,
				n.Check, n.Target, n.Body, millis(n.CreatedAt), millis(n.CreatedAt))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving check %s: %w", name, err)
	}
	return nil
}

// OpenNotices returns the oldest undelivered notice of each target: notices of
// one target are delivered in their order.
func (l *Ledger) OpenNotices(ctx context.Context) ([]Notice, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT id, check_name, target, body, created_at, attempts, next_at FROM notices
		WHERE id IN (SELECT min(id) FROM notices WHERE result = '' GROUP BY target)`)
	if err != nil {
		return nil, fmt.Errorf("reading notices: %w", err)
	}
	defer rows.Close()
	var out []Notice
	for rows.Next() {
		var n Notice
		var created, next int64
		if err := rows.Scan(&n.ID, &n.Check, &n.Target, &n.Body, &created, &n.Attempts, &next); err != nil {
			return nil, fmt.Errorf("reading notices: %w", err)
		}
		n.CreatedAt, n.NextAt = fromMillis(created), fromMillis(next)
		out = append(out, n)
	}
	return out, rows.Err()
}

// RetryNotice records a failed delivery that will be tried again.
func (l *Ledger) RetryNotice(ctx context.Context, id int64, next time.Time) error {
	return l.updateNotice(ctx, id, `UPDATE notices SET attempts = attempts + 1, next_at = ? WHERE id = ?`, millis(next))
}

// EndNotice records that nothing more will be done about a notice.
func (l *Ledger) EndNotice(ctx context.Context, id int64, result string, at time.Time) error {
	return l.updateNotice(ctx, id, `UPDATE notices SET attempts = attempts + 1, result = ?, done_at = ? WHERE id = ?`, result, millis(at))
}

func (l *Ledger) updateNotice(ctx context.Context, id int64, query string, args ...any) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, query, append(args, id)...)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording the delivery of notice %d: %w", id, err)
	}
	return nil
}
