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

// Press is a button that a person pressed.
type Press struct {
	EventID   string // Feishu's; a second one of the same id changes nothing
	At        time.Time
	Actor     string // open id
	Action    string
	CardID    string
	MessageID string // the message that shows the button
	Detail    string // for the audit trail
	// Refused is the result where the press is refused whatever the card shows;
	// empty: the card decides.
	Refused string
	// Results where the card cannot be asked: there is none of the id, its
	// generation has ended, or another message shows it now.
	Unknown, Closed, Superseded string
	// Apply changes the open card and returns the result.
	Apply func(*card.Card) string
}

// Press takes a press over, durably, with its place in the audit trail. It
// returns the result; for an event that was heard before, the result of the
// first time, and repeated.
func (s *Store) Press(ctx context.Context, p Press) (result string, repeated bool, err error) {
	err = s.batch(ctx, func(tx *sql.Tx) error {
		repeated = false
		err := tx.QueryRowContext(ctx, `SELECT result FROM presses WHERE event_id = ?`, p.EventID).Scan(&result)
		if err == nil {
			repeated = true
			return nil
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if result, err = decide(ctx, tx, p); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `INSERT INTO presses (event_id, at, result) VALUES (?, ?, ?)`, p.EventID, millis(p.At), result); err != nil {
			return err
		}
		return insertAudit(ctx, tx, AuditEntry{At: p.At, Actor: p.Actor, Action: p.Action, Target: p.CardID, Detail: result + " " + p.Detail, RequestID: p.EventID})
	})
	if err != nil {
		return "", false, fmt.Errorf("storing a press: %w", err)
	}
	return result, repeated, nil
}

func decide(ctx context.Context, tx *sql.Tx, p Press) (string, error) {
	if p.Refused != "" {
		return p.Refused, nil
	}
	c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, p.CardID))
	switch {
	case errors.Is(err, ErrNotFound):
		return p.Unknown, nil
	case err != nil:
		return "", err
	case c.Closed():
		return p.Closed, nil
	}
	living, err := livingMessage(ctx, tx, c.ID)
	if err != nil {
		return "", err
	}
	// A message whose creation is still in doubt has no id here yet.
	if living != "" && living != p.MessageID {
		return p.Superseded, nil
	}
	revision := c.Revision
	result := p.Apply(c)
	if c.Revision == revision {
		return result, nil
	}
	if err := updateCard(ctx, tx, c, true); err != nil {
		return "", err
	}
	// Whatever is waited for concerns what was asked before.
	_, err = tx.ExecContext(ctx, `UPDATE cards SET act_at = 0 WHERE id = ?`, c.ID)
	return result, err
}

// livingMessage is the app's message that shows the card now, "" where none is
// known.
func livingMessage(ctx context.Context, tx *sql.Tx, cardID string) (string, error) {
	var id sql.NullString
	err := tx.QueryRowContext(ctx, `SELECT body ->> 'message_id' FROM legs WHERE card_id = ? AND channel = ?`, cardID, App).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	return id.String, nil
}

// Acting returns cards of which something is to be done in Alertmanager now, the
// longest due first.
func (s *Store) Acting(ctx context.Context, now time.Time, limit int) ([]*card.Card, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT body FROM cards WHERE acting = 1 AND act_at <= ? ORDER BY act_at, id LIMIT ?`, millis(now), limit)
	if err != nil {
		return nil, fmt.Errorf("listing what is to be done in Alertmanager: %w", err)
	}
	return collectCards(rows)
}

// NextActing returns when something is to be done in Alertmanager next; ok is
// false where nothing is.
func (s *Store) NextActing(ctx context.Context) (at time.Time, ok bool, err error) {
	var ms sql.NullInt64
	if err := s.db.Read().QueryRowContext(ctx, `SELECT min(act_at) FROM cards WHERE acting = 1`).Scan(&ms); err != nil {
		return time.Time{}, false, fmt.Errorf("finding what is to be done in Alertmanager: %w", err)
	}
	return fromMillis(ms.Int64), ms.Valid, nil
}

// Acted changes the card's hold of that id, with an entry in the audit trail
// where its action is not empty, and has the card looked at again not before
// again if something is still to be done. A hold that is no longer the card's is
// left alone.
func (s *Store) Acted(ctx context.Context, cardID, hold string, again time.Time, change func(*card.Hold), entry AuditEntry) error {
	err := s.batch(ctx, func(tx *sql.Tx) error {
		c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, cardID))
		if errors.Is(err, ErrNotFound) {
			return nil // past its retention
		} else if err != nil {
			return err
		}
		revision := c.Revision
		if !c.Change(hold, entry.At, change) {
			return nil
		}
		if err := updateCard(ctx, tx, c, c.Revision != revision); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE cards SET act_at = ? WHERE id = ?`, millis(again), c.ID); err != nil || entry.Action == "" {
			return err
		}
		return insertAudit(ctx, tx, entry)
	})
	if err != nil {
		return fmt.Errorf("storing what was done in Alertmanager: %w", err)
	}
	return nil
}

// Secret returns the remembered value, made by the function the first time. It
// stays the same for as long as the file.
func (s *Store) Secret(ctx context.Context, name string, create func() string) (string, error) {
	var value string
	err := s.batch(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING`, name, create()); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, `SELECT value FROM facts WHERE name = ?`, name).Scan(&value)
	})
	if err != nil {
		return "", fmt.Errorf("making %s: %w", name, err)
	}
	return value, nil
}

// factLook names the look of open cards.
const factLook = "look"

// Redraw has open cards sent again if they were last sent in another look, such
// as with other buttons or templates, and returns how many. Before the first time the look is
// "".
func (s *Store) Redraw(ctx context.Context, look string, now time.Time) (int, error) {
	last, err := s.Fact(ctx, factLook)
	if err != nil || last == look {
		return 0, err
	}
	ids, err := s.OpenCards(ctx, false)
	if err != nil {
		return 0, err
	}
	total := len(ids)
	for len(ids) > 0 {
		n := min(judgeChunk, len(ids))
		if err := s.redraw(ctx, ids[:n], now); err != nil {
			return 0, fmt.Errorf("redrawing cards: %w", err)
		}
		ids = ids[n:]
	}
	return total, s.SetFact(ctx, factLook, look)
}

func (s *Store) redraw(ctx context.Context, ids []string, now time.Time) error {
	return s.batch(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ? AND closed_at IS NULL`, id))
			switch {
			case errors.Is(err, ErrNotFound):
				continue // closed since it was listed
			case err != nil:
				return err
			}
			c.Revision++
			c.ChangedAt = now
			if err := updateCard(ctx, tx, c, true); err != nil {
				return err
			}
		}
		return nil
	})
}

func insertAudit(ctx context.Context, tx *sql.Tx, e AuditEntry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (id, at, actor, action, target, detail, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		ulid.Make().String(), millis(e.At), e.Actor, e.Action, e.Target, e.Detail, e.RequestID)
	return err
}
