package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// judgeChunk bounds how many cards one transaction judges, so that accepting
// notifications never waits for long.
const judgeChunk = 200

// OpenCards returns the ids of open cards that show alerts of their own: all of
// them, or only those that wait for a judgement.
func (s *Store) OpenCards(ctx context.Context, waitingOnly bool) ([]string, error) {
	query := `SELECT id FROM cards WHERE closed_at IS NULL AND lane IS NULL`
	if waitingOnly {
		query = `SELECT id FROM cards WHERE waiting = 1 AND closed_at IS NULL`
	}
	rows, err := s.db.Read().QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("listing open cards: %w", err)
	}
	return collectIDs(rows)
}

func collectIDs(rows *sql.Rows) ([]string, error) {
	defer func() { _ = rows.Close() }()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, fmt.Errorf("reading a card's id: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// Judge compares the cards with what Alertmanager says and stores the outcome.
// It returns how many show something else now.
func (s *Store) Judge(ctx context.Context, ids []string, snapshot card.Snapshot) (int, error) {
	total := 0
	for len(ids) > 0 {
		n := min(judgeChunk, len(ids))
		changed, err := s.judge(ctx, ids[:n], snapshot)
		if err != nil {
			return total, fmt.Errorf("judging cards: %w", err)
		}
		total += changed
		ids = ids[n:]
	}
	return total, nil
}

func (s *Store) judge(ctx context.Context, ids []string, snapshot card.Snapshot) (changed int, err error) {
	closed := 0
	err = s.batch(ctx, func(tx *sql.Tx) error {
		changed, closed = 0, 0
		for _, id := range ids {
			differs, ended, err := judgeOne(ctx, tx, id, snapshot)
			switch {
			case errors.Is(err, ErrNotFound):
				continue // closed since it was listed
			case err != nil:
				return err
			}
			changed += differs
			closed += ended
		}
		return nil
	})
	if err == nil {
		s.open.Add(int64(-closed))
	}
	return changed, err
}

func judgeOne(ctx context.Context, tx *sql.Tx, id string, snapshot card.Snapshot) (changed, closed int, err error) {
	c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ? AND closed_at IS NULL`, id))
	if err != nil {
		return 0, 0, err
	}
	before, err := json.Marshal(c)
	if err != nil {
		return 0, 0, fmt.Errorf("encoding a card: %w", err)
	}
	differs := c.Judge(snapshot)
	after, err := json.Marshal(c)
	if err != nil {
		return 0, 0, fmt.Errorf("encoding a card: %w", err)
	}
	if bytes.Equal(before, after) {
		return 0, 0, nil
	}
	if differs {
		changed = 1
	}
	if c.Closed() {
		closed = 1
	}
	return changed, closed, updateCard(ctx, tx, c, differs)
}
