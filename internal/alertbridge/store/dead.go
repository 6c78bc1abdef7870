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

// Reason is why a card could not be delivered.
type Reason string

// The reasons of dead letters.
const (
	ReasonUnconfigured Reason = "unconfigured" // the receiver has no credentials
	ReasonTarget       Reason = "target"       // Feishu refuses the recipient for good
	ReasonContent      Reason = "content"      // Feishu refuses the card in every form
	ReasonMaxAge       Reason = "max_age"      // closed, and not delivered in time
	ReasonRemoved      Reason = "removed"      // the receiver or channel is no longer configured
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{ReasonUnconfigured, ReasonTarget, ReasonContent, ReasonMaxAge, ReasonRemoved}
}

// DeadLetter is a card that was given up on one channel.
type DeadLetter struct {
	ID         string    `json:"id"`
	CardID     string    `json:"card_id"`
	Receiver   string    `json:"receiver"`
	Channel    Channel   `json:"channel"` // empty: the receiver has none
	Reason     Reason    `json:"reason"`
	Detail     string    `json:"detail"`
	Title      string    `json:"title"`
	CreatedAt  time.Time `json:"created_at"`
	ReplayedAt time.Time `json:"replayed_at,omitzero"`
}

// title names a card in lists, without any rendering.
func title(c *card.Card) string {
	name := c.GroupLabels["alertname"]
	if len(c.Alerts) > 0 {
		if s := c.Alerts[0].Annotations["summary"]; s != "" {
			return s
		}
		if name == "" {
			name = c.Alerts[0].Labels["alertname"]
		}
	}
	return name
}

func insertDead(ctx context.Context, tx *sql.Tx, d DeadLetter) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO dead (id, card_id, receiver, channel, reason, detail, title, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		ulid.Make().String(), d.CardID, d.Receiver, d.Channel, d.Reason, d.Detail, d.Title, millis(d.CreatedAt))
	return err
}

// Bury gives a leg up and keeps a dead letter of it.
func (s *Store) Bury(ctx context.Context, c *card.Card, l Leg, reason Reason, detail string, now time.Time) error {
	l.Dead, l.LastError, l.Op, l.Reply = true, detail, nil, ""
	return s.saveLeg(ctx, "storing a dead letter", l, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE legs SET pending = 0 WHERE card_id = ? AND channel = ?`, l.CardID, l.Channel); err != nil {
			return err
		}
		return insertDead(ctx, tx, DeadLetter{CardID: c.ID, Receiver: c.Receiver, Channel: l.Channel, Reason: reason, Detail: detail, Title: title(c), CreatedAt: now})
	})
}

// Dead lists dead letters, the youngest first; replayed ones only if all is set.
func (s *Store) Dead(ctx context.Context, all bool, limit int) ([]DeadLetter, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT id, card_id, receiver, channel, reason, detail, title, created_at, replayed_at FROM dead
		WHERE ?1 OR replayed_at IS NULL ORDER BY created_at DESC, id DESC LIMIT ?2`, all, limit)
	if err != nil {
		return nil, fmt.Errorf("listing dead letters: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var letters []DeadLetter
	for rows.Next() {
		var d DeadLetter
		var created int64
		var replayed sql.NullInt64
		if err := rows.Scan(&d.ID, &d.CardID, &d.Receiver, &d.Channel, &d.Reason, &d.Detail, &d.Title, &created, &replayed); err != nil {
			return nil, fmt.Errorf("reading a dead letter: %w", err)
		}
		d.CreatedAt = fromMillis(created)
		if replayed.Valid {
			d.ReplayedAt = fromMillis(replayed.Int64)
		}
		letters = append(letters, d)
	}
	return letters, rows.Err()
}

// DeadCounts returns how many dead letters wait for each reason.
func (s *Store) DeadCounts(ctx context.Context) (map[Reason]int, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT reason, '', count(*) FROM dead WHERE replayed_at IS NULL GROUP BY reason`)
	if err != nil {
		return nil, fmt.Errorf("counting dead letters: %w", err)
	}
	counts, err := collectCounts(rows)
	if err != nil {
		return nil, err
	}
	out := map[Reason]int{}
	for key, n := range counts {
		out[Reason(key[0])] = n
	}
	return out, nil
}

// Replay makes a dead letter's card due again in its present state. It returns
// ErrNotFound where there is no such letter, it was replayed already, or its
// card is past its retention.
func (s *Store) Replay(ctx context.Context, id string, channels func(receiver string) Channels, now time.Time) error {
	err := s.batch(ctx, func(tx *sql.Tx) error {
		var cardID, receiver string
		var channel Channel
		err := tx.QueryRowContext(ctx, `SELECT card_id, receiver, channel FROM dead WHERE id = ? AND replayed_at IS NULL`, id).Scan(&cardID, &receiver, &channel)
		if errors.Is(err, sql.ErrNoRows) {
			return ErrNotFound
		} else if err != nil {
			return err
		}
		c, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, cardID))
		if err != nil {
			return err
		}
		if c.Digest == nil { // a digest is of one way
			if err := insertLegs(ctx, tx, c, channels(receiver)); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, `
			UPDATE legs SET pending = 1, next_at = ?1, pending_since = ?1,
				body = json_remove(body, '$.dead', '$.failures', '$.failing_since', '$.plain', '$.text')
			WHERE card_id = ?2 AND channel = ?3 AND body ->> 'dead' = 1`, millis(now), cardID, channel); err != nil {
			return err
		}
		// A card that is over long since is as young as its replay.
		if _, err := tx.ExecContext(ctx, `UPDATE legs SET body = json_set(body, '$.replayed_at', ?1) WHERE card_id = ?2 AND (channel = ?3 OR ?3 = '')`,
			now.UTC().Format(time.RFC3339Nano), cardID, channel); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE dead SET replayed_at = ? WHERE id = ?`, millis(now), id)
		return err
	})
	if err != nil {
		return fmt.Errorf("replaying dead letter %s: %w", id, err)
	}
	return nil
}

// AuditEntry is one thing that a person did.
type AuditEntry struct {
	ID        string    `json:"id"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Action    string    `json:"action"`
	Target    string    `json:"target"`
	Detail    string    `json:"detail"`
	RequestID string    `json:"request_id"`
}

// Record adds an entry to the audit trail.
func (s *Store) Record(ctx context.Context, e AuditEntry) error {
	err := s.batch(ctx, func(tx *sql.Tx) error { return insertAudit(ctx, tx, e) })
	if err != nil {
		return fmt.Errorf("writing the audit trail: %w", err)
	}
	return nil
}

// Audit lists the last entries, the youngest first.
func (s *Store) Audit(ctx context.Context, limit int) ([]AuditEntry, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT id, at, actor, action, target, detail, request_id FROM audit ORDER BY at DESC, id DESC LIMIT ?`, limit)
	if err != nil {
		return nil, fmt.Errorf("listing the audit trail: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var entries []AuditEntry
	for rows.Next() {
		var e AuditEntry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.Actor, &e.Action, &e.Target, &e.Detail, &e.RequestID); err != nil {
			return nil, fmt.Errorf("reading an audit entry: %w", err)
		}
		e.At = fromMillis(at)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}
