package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// Channel is a kind of way to a receiver.
type Channel string

// The channels.
const (
	App      Channel = "app"
	Webhook  Channel = "webhook"
	OpenClaw Channel = "openclaw"
)

// Channels are a receiver's ways. With Failover the first is used, and each
// other one only while those before it fail.
type Channels struct {
	Ways     []Channel
	Failover bool
}

// Op is an operation that may have reached Feishu. It is stored before it is
// sent for the first time and removed once its outcome is known.
type Op struct {
	Kind     string     `json:"kind"` // create, patch, reply
	Sequence int        `json:"sequence"`
	UUID     string     `json:"uuid,omitempty"` // empty for patch, which has none
	Revision int64      `json:"revision"`       // of the card when it was first sent
	State    card.State `json:"state"`          // likewise
	FirstAt  time.Time  `json:"first_at"`
	LastAt   time.Time  `json:"last_at"`
	InDoubt  bool       `json:"in_doubt"` // some try may have been accepted
}

// Leg is what is known of one card on one channel.
type Leg struct {
	CardID  string  `json:"-"`
	Channel Channel `json:"-"`
	Lane    string  `json:"-"`

	PendingSince time.Time `json:"-"`
	NextAt       time.Time `json:"-"`
	Digest       string    `json:"-"` // id of the digest that tells of the card in its place; empty: none
	OfDigest     bool      `json:"-"` // the card is a digest itself

	Standby      bool       `json:"standby,omitempty"`    // used only when the way before it fails
	MessageID    string     `json:"message_id,omitempty"` // the living message
	MessageAt    time.Time  `json:"message_at,omitzero"`
	Former       time.Time  `json:"former,omitzero"`       // when the message before it was made, which can no longer be changed
	Sent         int64      `json:"sent"`                  // last confirmed revision of the card
	SentState    card.State `json:"sent_state,omitempty"`  // what it showed
	SentAlerts   []string   `json:"sent_alerts,omitempty"` // fingerprints that it showed as live
	SentReminder int        `json:"sent_reminder,omitempty"`
	SentRefires  int        `json:"sent_refires,omitempty"`
	Op           *Op        `json:"op,omitempty"`
	Sequence     int        `json:"sequence"`           // of the last operation
	Reply        string     `json:"reply,omitempty"`    // a thread reply that is due: resolved, firing
	Plain        bool       `json:"plain,omitempty"`    // the rich form was refused
	Text         bool       `json:"text,omitempty"`     // the plain card was refused too
	Repeated     bool       `json:"repeated,omitempty"` // the message may be a second one
	Failures     int        `json:"failures,omitempty"`
	FailingSince time.Time  `json:"failing_since,omitzero"`
	LastError    string     `json:"last_error,omitempty"`
	Dead         bool       `json:"dead,omitempty"`
	ReplayedAt   time.Time  `json:"replayed_at,omitzero"` // when its dead letter was last replayed
	Own          time.Time  `json:"own,omitzero"`         // when its first message was begun
	Soon         int64      `json:"soon,omitempty"`       // of a digest: when urgent news may be sent, in Unix milliseconds
	SentTotal    int        `json:"sent_total,omitempty"` // of a digest: how many groups it had taken in
}

// First reports whether the leg's next message is the card's first on its way:
// what a storm has to be spared of.
func (l Leg) First() bool {
	return !l.OfDigest && l.Own.IsZero() && l.MessageID == "" && l.Op == nil && (l.Sent == 0 || l.Digest != "")
}

// Lane names a receiver's channel.
func Lane(receiver string, c Channel) string { return receiver + "/" + string(c) }

// insertLegs makes a card's ways. One without any is a dead letter at once.
func insertLegs(ctx context.Context, tx *sql.Tx, c *card.Card, channels Channels) error {
	if len(channels.Ways) == 0 {
		return insertDead(ctx, tx, DeadLetter{
			CardID: c.ID, Receiver: c.Receiver, Reason: ReasonUnconfigured, Title: title(c), CreatedAt: c.OpenedAt,
			Detail: "the receiver has no credentials: set its app.receive_id with feishu.app_id and feishu.app_secret, or its webhook.url",
		})
	}
	for i, channel := range channels.Ways {
		leg := Leg{CardID: c.ID, Channel: channel, Lane: Lane(c.Receiver, channel), Standby: channels.Failover && i > 0, PendingSince: c.ChangedAt, NextAt: c.ChangedAt}
		body, err := json.Marshal(leg)
		if err != nil {
			return fmt.Errorf("encoding a leg: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO legs (card_id, channel, lane, rank, pending, pending_since, next_at, body)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			leg.CardID, leg.Channel, leg.Lane, card.Rank(c.Severity()), !leg.Standby, millis(leg.PendingSince), millis(leg.NextAt), string(body))
		if err != nil {
			return err
		}
	}
	return nil
}

// wakeLegs marks what shows the card as out of date: its message, or the digest
// that tells of it. A standby leg stays as it is; one that waits for its next try
// keeps its time and its place.
func wakeLegs(ctx context.Context, tx *sql.Tx, c *card.Card, rank int) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE legs SET rank = ?1, pending_since = CASE pending WHEN 1 THEN pending_since ELSE ?2 END, pending = 1
		WHERE card_id = ?3 AND digest IS NULL AND body ->> 'standby' IS NULL AND body ->> 'dead' IS NULL`, rank, millis(c.ChangedAt), c.ID)
	if err != nil {
		return err
	}
	return wakeDigests(ctx, tx, c, rank)
}

// Due returns the legs to be sent now, the most urgent and then the oldest
// first, leaving out the lanes named and cards that wait for a judgement.
func (s *Store) Due(ctx context.Context, now time.Time, blocked []string, limit int) ([]Leg, error) {
	args := []any{millis(now)}
	for _, lane := range blocked {
		args = append(args, lane)
	}
	args = append(args, limit)
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT l.card_id, l.channel, l.lane, l.pending_since, l.next_at, coalesce(l.digest, ''), c.lane IS NOT NULL, l.body
		FROM legs l JOIN cards c ON c.id = l.card_id
		WHERE l.pending = 1 AND l.next_at <= ? AND c.state NOT IN ('settling', 'discarded')`+notIn(len(blocked))+`
		ORDER BY l.rank, l.pending_since LIMIT ?`, args...)
	if err != nil {
		return nil, fmt.Errorf("listing what is due: %w", err)
	}
	return collectLegs(rows)
}

// NextDue returns when the next leg of the lanes not named becomes due; ok is
// false where none is pending.
func (s *Store) NextDue(ctx context.Context, now time.Time, blocked []string) (next time.Time, ok bool, err error) {
	args := []any{millis(now)}
	for _, lane := range blocked {
		args = append(args, lane)
	}
	var ms sql.NullInt64
	err = s.db.Read().QueryRowContext(ctx, `
		SELECT min(l.next_at) FROM legs l JOIN cards c ON c.id = l.card_id
		WHERE l.pending = 1 AND l.next_at > ? AND c.state NOT IN ('settling', 'discarded')`+notIn(len(blocked)), args...).Scan(&ms)
	if err != nil {
		return time.Time{}, false, fmt.Errorf("finding the next time to send: %w", err)
	}
	return fromMillis(ms.Int64), ms.Valid, nil
}

func notIn(n int) string {
	if n == 0 {
		return ""
	}
	return " AND l.lane NOT IN (?" + strings.Repeat(", ?", n-1) + ")"
}

// DueLeg reads one leg again, and reports whether it is still due: what Due
// listed may have been sent since.
func (s *Store) DueLeg(ctx context.Context, cardID string, channel Channel, now time.Time) (l Leg, due bool, err error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT l.card_id, l.channel, l.lane, l.pending_since, l.next_at, coalesce(l.digest, ''), c.lane IS NOT NULL, l.body
		FROM legs l JOIN cards c ON c.id = l.card_id
		WHERE l.card_id = ? AND l.channel = ? AND l.pending = 1 AND l.next_at <= ? AND c.state NOT IN ('settling', 'discarded')`, cardID, channel, millis(now))
	if err != nil {
		return Leg{}, false, fmt.Errorf("reading a leg: %w", err)
	}
	legs, err := collectLegs(rows)
	if err != nil || len(legs) == 0 {
		return Leg{}, false, err
	}
	return legs[0], true, nil
}

// OldestPending returns since when the oldest leg waits; ok is false where none
// does.
func (s *Store) OldestPending(ctx context.Context) (since time.Time, ok bool, err error) {
	var ms sql.NullInt64
	if err := s.db.Read().QueryRowContext(ctx, `
		SELECT min(l.pending_since) FROM legs l JOIN cards c ON c.id = l.card_id
		WHERE l.pending = 1 AND l.body ->> 'standby' IS NULL AND c.state NOT IN ('settling', 'discarded')`).Scan(&ms); err != nil {
		return time.Time{}, false, fmt.Errorf("finding the oldest pending leg: %w", err)
	}
	return fromMillis(ms.Int64), ms.Valid, nil
}

// Legs returns the ways of one card.
func (s *Store) Legs(ctx context.Context, cardID string) ([]Leg, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT l.card_id, l.channel, l.lane, l.pending_since, l.next_at, coalesce(l.digest, ''), c.lane IS NOT NULL, l.body
		FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.card_id = ? ORDER BY l.channel`, cardID)
	if err != nil {
		return nil, fmt.Errorf("listing legs: %w", err)
	}
	return collectLegs(rows)
}

func collectLegs(rows *sql.Rows) ([]Leg, error) {
	defer func() { _ = rows.Close() }()
	var legs []Leg
	for rows.Next() {
		var l Leg
		var since, next int64
		var body []byte
		if err := rows.Scan(&l.CardID, &l.Channel, &l.Lane, &since, &next, &l.Digest, &l.OfDigest, &body); err != nil {
			return nil, fmt.Errorf("reading a leg: %w", err)
		}
		if err := json.Unmarshal(body, &l); err != nil {
			return nil, fmt.Errorf("decoding a leg: %w", err)
		}
		l.PendingSince, l.NextAt = fromMillis(since), fromMillis(next)
		legs = append(legs, l)
	}
	return legs, rows.Err()
}

// Begin stores the operation that is about to be sent. Nothing is sent unless
// it returns nil.
// Where a digest told of the card until now, it no longer does.
func (s *Store) Begin(ctx context.Context, l Leg) error {
	if l.Digest == "" {
		return s.saveLeg(ctx, "storing an operation before it is sent", l, nil)
	}
	return s.saveLeg(ctx, "storing an operation before it is sent", l, func(tx *sql.Tx) error { return leaveDigest(ctx, tx, l) })
}

// Finish stores the outcome of a try. The leg stays pending while the card has
// a newer revision than the leg has sent, a reply is due, or again is set.
func (s *Store) Finish(ctx context.Context, l Leg, again bool) error {
	return s.saveLeg(ctx, "storing the outcome of an operation", l, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE legs SET next_at = ?1, pending = ?2 OR (NOT ?3 AND ?4 < (SELECT revision FROM cards WHERE id = ?5)),
				pending_since = CASE WHEN ?2 THEN pending_since ELSE (SELECT changed_at FROM cards WHERE id = ?5) END
			WHERE card_id = ?5 AND channel = ?6`,
			millis(l.NextAt), again || l.Reply != "", l.Dead, l.Sent, l.CardID, l.Channel)
		return err
	})
}

func (s *Store) saveLeg(ctx context.Context, what string, l Leg, also func(*sql.Tx) error) error {
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encoding a leg: %w", err)
	}
	err = s.batch(ctx, func(tx *sql.Tx) error {
		if _, err := tx.ExecContext(ctx, `UPDATE legs SET body = ? WHERE card_id = ? AND channel = ?`, string(body), l.CardID, l.Channel); err != nil {
			return err
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Arm makes the card's standby leg on the channel due at the given moment: the
// way before it fails. What a digest tells of is armed with it.
func (s *Store) Arm(ctx context.Context, cardID string, channel Channel, at time.Time) error {
	return s.standby(ctx, cardID, channel, true, at)
}

// Disarm takes [Store.Arm] back for all standby legs that were not used yet.
func (s *Store) Disarm(ctx context.Context, cardID string) error {
	return s.standby(ctx, cardID, "", false, time.Time{})
}

// standby changes the standby legs that are not as they are to be. A digest may
// tell of very many cards, so they are listed first, beside whatever is written
// meanwhile, and changed some at a time.
func (s *Store) standby(ctx context.Context, cardID string, channel Channel, pending bool, at time.Time) error {
	const changes = ` body ->> 'standby' = 1 AND (?1 = '' OR channel = ?1) AND (pending <> ?2 OR (?2 AND next_at > ?3))`
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT card_id FROM legs WHERE (card_id = ?4 OR card_id IN (SELECT card_id FROM legs WHERE digest = ?4)) AND`+changes, channel, pending, millis(at), cardID)
	if err != nil {
		return fmt.Errorf("listing standby ways: %w", err)
	}
	ids, err := collectIDs(rows)
	if err != nil {
		return err
	}
	for some := range slices.Chunk(ids, releaseChunk) {
		list, err := json.Marshal(some)
		if err != nil {
			return fmt.Errorf("encoding a list of cards: %w", err)
		}
		err = s.batch(ctx, func(tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, `UPDATE legs SET pending = ?2, next_at = CASE WHEN ?2 THEN ?3 ELSE next_at END WHERE card_id IN (SELECT value FROM json_each(?4)) AND`+changes,
				channel, pending, millis(at), string(list))
			return err
		})
		if err != nil {
			return fmt.Errorf("arming a standby way: %w", err)
		}
	}
	return nil
}

// Hasten makes all waiting legs of a lane due: its target answers again.
func (s *Store) Hasten(ctx context.Context, lane string, now time.Time) error {
	err := s.batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE legs SET next_at = ?1 WHERE pending = 1 AND lane = ?2 AND next_at > ?1
			AND body ->> 'standby' IS NULL AND coalesce(body ->> '$.op.kind', '') <> 'patch'`, millis(now), lane)
		return err
	})
	if err != nil {
		return fmt.Errorf("hastening a lane: %w", err)
	}
	return nil
}

// Nearer makes due what is to wait until after the last moment given; a standby
// leg is to wait until then.
func (s *Store) Nearer(ctx context.Context, now, last time.Time) error {
	err := s.batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE legs SET next_at = CASE WHEN body ->> 'standby' IS NULL THEN ?1 ELSE ?2 END, body = json_remove(body, '$.soon')
			WHERE pending = 1 AND next_at > ?2`, millis(now), millis(last))
		return err
	})
	if err != nil {
		return fmt.Errorf("shortening what waits for too long: %w", err)
	}
	return nil
}

// Connect gives open cards the ways that their receivers have by now, and
// closes the dead letters of receivers that had none. It returns how many cards
// got their first way.
func (s *Store) Connect(ctx context.Context, channels func(receiver string) Channels, now time.Time) (int, error) {
	connected := 0
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		connected = 0
		rows, err := tx.QueryContext(ctx, `
			SELECT body FROM cards WHERE closed_at IS NULL AND NOT EXISTS (SELECT 1 FROM legs WHERE card_id = cards.id)`)
		if err != nil {
			return err
		}
		cards, err := collectCards(rows)
		if err != nil {
			return err
		}
		for _, c := range cards {
			ways := channels(c.Receiver)
			if len(ways.Ways) == 0 {
				continue
			}
			connected++
			if err := insertLegs(ctx, tx, c, ways); err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, `UPDATE dead SET replayed_at = ? WHERE card_id = ? AND reason = ? AND replayed_at IS NULL`, millis(now), c.ID, ReasonUnconfigured); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("connecting open cards: %w", err)
	}
	return connected, nil
}
