package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// unclaimed tells cards of groups that nobody has taken on, for any receiver.
const unclaimed = ` NOT EXISTS (SELECT 1 FROM cards o WHERE o.group_key = cards.group_key AND o.closed_at IS NULL AND o.acked = 1)`

// Escalable returns the receiver's firing cards that nobody has taken on, of which
// as many steps are done, and which were opened by then; the most urgent first.
// Those that a digest tells of come once they have a card of their own on any way.
func (s *Store) Escalable(ctx context.Context, receiver string, steps int, opened time.Time, limit int) ([]*card.Card, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT body FROM cards WHERE closed_at IS NULL AND state = 'firing' AND acked = 0 AND receiver = ? AND steps = ? AND opened_at <= ? AND lane IS NULL
			AND (NOT EXISTS (SELECT 1 FROM legs WHERE card_id = cards.id AND digest IS NOT NULL)
				OR EXISTS (SELECT 1 FROM legs WHERE card_id = cards.id AND digest IS NULL AND body ->> 'own' IS NOT NULL)) AND`+unclaimed+`
		ORDER BY rank, opened_at, id LIMIT ?`, receiver, steps, millis(opened), limit)
	if err != nil {
		return nil, fmt.Errorf("listing what is to be escalated: %w", err)
	}
	return collectCards(rows)
}

// Unclaimed reports whether a step of the card is still to be done: it fires,
// nobody has taken it or another receiver's card of its group on, and as many
// steps are done as when it was listed.
func (s *Store) Unclaimed(ctx context.Context, c *card.Card) (bool, error) {
	var one int
	err := s.db.Read().QueryRowContext(ctx, `SELECT 1 FROM cards WHERE id = ? AND closed_at IS NULL AND state = 'firing' AND acked = 0 AND steps = ? AND`+unclaimed, c.ID, len(c.Escalations)).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking whether a card is taken on: %w", err)
	}
	return true, nil
}

// Escalate notes a step of the card, with its place in the audit trail. Where to
// is not empty, that receiver gets a card of its own, unless it has one of the
// group. It reports false, and does nothing, where the step is no longer to be
// done.
func (s *Store) Escalate(ctx context.Context, listed *card.Card, e card.Escalation, channels func(receiver string) Channels) (done bool, err error) {
	opened := 0
	err = s.batch(ctx, func(tx *sql.Tx) error {
		done, opened = false, 0
		c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ? AND`+unclaimed, listed.ID))
		if errors.Is(err, ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		if !c.Escalating() || len(c.Escalations) != len(listed.Escalations) {
			return nil
		}
		if e.To != "" {
			if opened, err = escalateTo(ctx, tx, c, e, channels); err != nil {
				return err
			}
		}
		c.Escalated(e)
		done = true
		if err := updateCard(ctx, tx, c, true); err != nil {
			return err
		}
		return insertAudit(ctx, tx, AuditEntry{At: e.At, Actor: "bridge", Action: "escalate_" + e.Step, Target: c.ID, Detail: e.To + e.Failure})
	})
	if err != nil {
		return false, fmt.Errorf("storing a step of an escalation: %w", err)
	}
	s.open.Add(int64(opened))
	return done, nil
}

func escalateTo(ctx context.Context, tx *sql.Tx, c *card.Card, e card.Escalation, channels func(receiver string) Channels) (opened int, err error) {
	var generation, open int
	if err := tx.QueryRowContext(ctx, `
		SELECT coalesce(max(generation), 0), count(*) FILTER (WHERE closed_at IS NULL) FROM cards WHERE receiver = ? AND group_key = ?`, e.To, c.GroupKey).Scan(&generation, &open); err != nil || open > 0 {
		return 0, err
	}
	x := c.For(e.To, e.At)
	x.ID, x.Generation = ulid.Make().String(), generation+1
	if err := insertCard(ctx, tx, x); err != nil {
		return 0, err
	}
	return 1, insertLegs(ctx, tx, x, channels(e.To))
}

// Spend counts n towards what may be spent of a channel on a day, or reports
// false where it would be more than most.
func (s *Store) Spend(ctx context.Context, day, channel string, n, most int) (ok bool, err error) {
	err = s.batch(ctx, func(tx *sql.Tx) error {
		spent := 0
		err := tx.QueryRowContext(ctx, `SELECT spent FROM urgents WHERE day = ? AND channel = ?`, day, channel).Scan(&spent)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if ok = spent+n <= most; !ok {
			return nil
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM urgents WHERE day < ?`, day); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO urgents (day, channel, spent) VALUES (?, ?, ?) ON CONFLICT (day, channel) DO UPDATE SET spent = spent + excluded.spent`, day, channel, n)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("counting what is spent on urgent messages: %w", err)
	}
	return ok, nil
}
