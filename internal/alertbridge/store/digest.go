package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// A leg is held while a digest tells of its card: legs.digest names it, and the
// leg is not pending. Whatever changes of the card makes a new revision of the
// digest, which the leg's mark remembers; so the leg is told of exactly when the
// digest's own leg has sent that revision.

// digestSpan is how long a digest takes groups in: a storm that goes on makes a
// message that people see again, not one far up in the chat.
const digestSpan = time.Hour

// digestRank has digests sent before anything else: one of them tells of many.
const digestRank = -1

// Ranks of held legs whose cards do not fire, or are closed: beyond every
// severity's, so that the others are found without looking at these.
const (
	calmRank = 8
	overRank = 9
)

// heldRank is the rank of a held leg of the card. One that settles keeps its own.
func heldRank(c *card.Card, rank int) int {
	switch {
	case c.Closed():
		return overRank
	case c.State == card.StateFiring || c.State == card.StateSettling:
		return rank
	default:
		return calmRank
	}
}

// laneOf is the lane of a digest, NULL for an ordinary card.
func laneOf(c *card.Card) any {
	if c.Digest == nil {
		return nil
	}
	return c.Digest.Lane
}

// subject is what a digest says about a card, in a line.
func subject(c *card.Card) string {
	names := c.Subjects()
	rest := ""
	if len(names) > 3 {
		rest = fmt.Sprintf(" (+%d)", len(names)-3)
		names = names[:3]
	}
	runes := []rune(strings.Join(names, ", "))
	return string(runes[:min(len(runes), 120)]) + rest
}

// Hold has a digest of the lane tell of legs that have sent nothing yet, until
// [Store.Promote] makes them due. Those that are no longer pending, or have begun
// a message of their own, are left alone. It reports whether a digest was opened:
// one that was opened after young takes them in even if all that it told of is over.
func (s *Store) Hold(ctx context.Context, receiver string, channel Channel, legs []Leg, now, young time.Time) (opened bool, err error) {
	err = s.batch(ctx, func(tx *sql.Tx) error {
		opened = false
		d, fresh, err := currentDigest(ctx, tx, receiver, channel, now, young)
		if err != nil {
			return err
		}
		held, urgent, err := hold(ctx, tx, d, channel, legs)
		if err != nil || held == 0 {
			return err
		}
		if fresh {
			opened = true
			if err := tx.QueryRowContext(ctx, `SELECT coalesce(body ->> 'external_url', '') FROM cards WHERE id = ?`, legs[0].CardID).Scan(&d.ExternalURL); err != nil {
				return err
			}
			if err := insertDigest(ctx, tx, d, channel); err != nil {
				return err
			}
		}
		d.Digest.Total += held
		return changeDigest(ctx, tx, d, urgent, now)
	})
	if err != nil {
		return false, fmt.Errorf("putting cards into a digest: %w", err)
	}
	return opened, nil
}

// hold moves the legs and returns how many are new in a digest.
func hold(ctx context.Context, tx *sql.Tx, d *card.Card, channel Channel, legs []Leg) (held int, urgent bool, err error) {
	mark := d.Revision + 1
	for _, l := range legs {
		if l.Digest != "" {
			// Its digest tells of it already; there is still no room for a card.
			if _, err := tx.ExecContext(ctx, `UPDATE legs SET pending = 0 WHERE card_id = ? AND channel = ? AND digest IS NOT NULL`, l.CardID, channel); err != nil {
				return 0, false, err
			}
			continue
		}
		var rank int
		err := tx.QueryRowContext(ctx, `
			UPDATE legs SET digest = ?, mark = ?, pending = 0, body = json_remove(body, '$.standby')
			WHERE card_id = ? AND channel = ? AND pending = 1 AND digest IS NULL
				AND body ->> 'own' IS NULL AND body ->> 'message_id' IS NULL AND body ->> 'op' IS NULL
			RETURNING rank`, d.ID, mark, l.CardID, channel).Scan(&rank)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			continue
		case err != nil:
			return 0, false, err
		}
		held++
		urgent = urgent || rank == 0
	}
	return held, urgent, nil
}

// currentDigest is the lane's digest that takes groups in, or a fresh one: where
// there is none, it is too old, or all that it tells of is over and it is not young.
func currentDigest(ctx context.Context, tx *sql.Tx, receiver string, channel Channel, now, young time.Time) (d *card.Card, fresh bool, err error) {
	lane := Lane(receiver, channel)
	d, err = scanCard(tx.QueryRowContext(ctx, `
		SELECT d.body FROM cards d WHERE d.lane = ? AND d.closed_at IS NULL AND d.opened_at > ?
			AND EXISTS (SELECT 1 FROM legs WHERE card_id = d.id AND body ->> 'dead' IS NULL)
			AND (d.opened_at > ? OR EXISTS (SELECT 1 FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.digest = d.id AND l.rank < ? AND c.state = 'firing'))
		ORDER BY d.id DESC LIMIT 1`, lane, millis(now.Add(-digestSpan)), millis(young), calmRank))
	if errors.Is(err, ErrNotFound) {
		return card.OpenDigest(ulid.Make().String(), receiver, lane, now), true, nil
	}
	return d, false, err
}

func insertDigest(ctx context.Context, tx *sql.Tx, d *card.Card, channel Channel) error {
	if err := insertCard(ctx, tx, d); err != nil {
		return err
	}
	if err := insertLegs(ctx, tx, d, Channels{Ways: []Channel{channel}}); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `UPDATE legs SET rank = ? WHERE card_id = ?`, digestRank, d.ID)
	return err
}

// changeDigest stores a digest of which something has changed and has it sent:
// at its pace, or sooner where the news is urgent.
func changeDigest(ctx context.Context, tx *sql.Tx, d *card.Card, urgent bool, now time.Time) error {
	d.Revision++
	d.ChangedAt = now
	if err := updateCard(ctx, tx, d, false); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE legs SET pending_since = CASE pending WHEN 1 THEN pending_since ELSE ?1 END, pending = 1,
			next_at = CASE WHEN ?2 AND coalesce(body ->> 'soon', 0) > 0 THEN min(next_at, body ->> 'soon') ELSE next_at END
		WHERE card_id = ?3 AND body ->> 'dead' IS NULL`, millis(now), urgent, d.ID)
	return err
}

// digestsOf are the digests that tell of a card, by channel.
func digestsOf(ctx context.Context, tx *sql.Tx, cardID string) (map[string]string, error) {
	rows, err := tx.QueryContext(ctx, `SELECT digest, channel FROM legs WHERE card_id = ? AND digest IS NOT NULL`, cardID)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	digests := map[string]string{}
	for rows.Next() {
		var id, channel string
		if err := rows.Scan(&id, &channel); err != nil {
			return nil, err
		}
		digests[channel] = id
	}
	return digests, rows.Err()
}

// wakeDigests passes a change of a card on to the digests that tell of it.
func wakeDigests(ctx context.Context, tx *sql.Tx, c *card.Card, rank int) error {
	digests, err := digestsOf(ctx, tx, c.ID)
	if err != nil {
		return err
	}
	for channel, id := range digests {
		d, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ? AND closed_at IS NULL`, id))
		if errors.Is(err, ErrNotFound) {
			// It has told its end: the card speaks for itself again.
			if _, err := tx.ExecContext(ctx, `UPDATE legs SET digest = NULL, pending = 1, rank = ? WHERE card_id = ? AND channel = ?`, rank, c.ID, channel); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("reading digest %s: %w", id, err)
		}
		// What was made due and no longer fires gets no card after all.
		if _, err := tx.ExecContext(ctx, `UPDATE legs SET rank = ?1, mark = ?2, pending = pending AND ?3 WHERE card_id = ?4 AND channel = ?5`,
			heldRank(c, rank), d.Revision+1, c.State == card.StateFiring, c.ID, channel); err != nil {
			return err
		}
		if err := changeDigest(ctx, tx, d, rank == 0 && c.State == card.StateFiring, c.ChangedAt); err != nil {
			return err
		}
	}
	return nil
}

// leaveDigest is for a leg that begins a message of its own.
func leaveDigest(ctx context.Context, tx *sql.Tx, l Leg) error {
	d, err := scanCard(tx.QueryRowContext(ctx, `
		SELECT body FROM cards WHERE id = (SELECT digest FROM legs WHERE card_id = ? AND channel = ?)`, l.CardID, l.Channel))
	if errors.Is(err, ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE legs SET digest = NULL WHERE card_id = ? AND channel = ?`, l.CardID, l.Channel); err != nil {
		return err
	}
	d.Digest.Carded++
	return changeDigest(ctx, tx, d, false, l.Own)
}

// Promote makes held legs of a lane due whose cards still fire, the most urgent
// first, n at the most, and returns how many.
func (s *Store) Promote(ctx context.Context, lane string, n int, now time.Time) (promoted int, err error) {
	err = s.batch(ctx, func(tx *sql.Tx) error {
		r, err := tx.ExecContext(ctx, `
			UPDATE legs SET pending = 1, pending_since = ?1, next_at = ?1 WHERE (card_id, channel) IN (
				SELECT l.card_id, l.channel FROM legs l JOIN cards c ON c.id = l.card_id
				WHERE l.lane = ?2 AND l.digest IS NOT NULL AND l.pending = 0 AND l.rank < ?4 AND c.state = 'firing' ORDER BY l.rank, l.pending_since LIMIT ?3)`,
			millis(now), lane, n, calmRank)
		if err != nil {
			return err
		}
		count, err := r.RowsAffected()
		promoted = int(count)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("making cards of a digest due: %w", err)
	}
	return promoted, nil
}

// Holding reports whether legs of the lane are held whose cards still fire.
func (s *Store) Holding(ctx context.Context, lane string) (bool, error) {
	var one int
	err := s.db.Read().QueryRowContext(ctx, `
		SELECT 1 FROM legs l JOIN cards c ON c.id = l.card_id
		WHERE l.lane = ? AND l.digest IS NOT NULL AND l.pending = 0 AND l.rank < ? AND c.state = 'firing' LIMIT 1`, lane, calmRank).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for held cards: %w", err)
	}
	return true, nil
}

// Digested returns how many open cards of each receiver a digest tells of in
// their place.
func (s *Store) Digested(ctx context.Context) (map[string]int, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT c.receiver, '', count(DISTINCT c.id) FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.digest IS NOT NULL AND c.closed_at IS NULL GROUP BY c.receiver`)
	if err != nil {
		return nil, fmt.Errorf("counting cards in digests: %w", err)
	}
	counts, err := collectCounts(rows)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for key, n := range counts {
		out[key[0]] = n
	}
	return out, nil
}

// Begun returns when each lane began first messages of cards since a moment.
func (s *Store) Begun(ctx context.Context, since time.Time) (map[string][]time.Time, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT lane, body ->> 'own' FROM legs WHERE body ->> 'own' IS NOT NULL AND (body ->> 'own') >= ? ORDER BY 2`, since.UTC().Format(time.RFC3339Nano))
	if err != nil {
		return nil, fmt.Errorf("listing what was begun lately: %w", err)
	}
	defer func() { _ = rows.Close() }()
	begun := map[string][]time.Time{}
	for rows.Next() {
		var lane, text string
		if err := rows.Scan(&lane, &text); err != nil {
			return nil, fmt.Errorf("reading what was begun lately: %w", err)
		}
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return nil, fmt.Errorf("reading when a card was begun: %w", err)
		}
		begun[lane] = append(begun[lane], at)
	}
	return begun, rows.Err()
}

// EndDigest closes a digest of which no group is open any more, unless it was
// opened between young and now, and returns it as it is now.
func (s *Store) EndDigest(ctx context.Context, id string, now, young time.Time) (d *card.Card, err error) {
	err = s.batch(ctx, func(tx *sql.Tx) error {
		if d, err = scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, id)); err != nil || d.Closed() || (d.OpenedAt.After(young) && !d.OpenedAt.After(now)) {
			return err
		}
		var open int
		err := tx.QueryRowContext(ctx, `SELECT count(*) FROM (SELECT 1 FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.digest = ? AND l.rank < ? AND c.closed_at IS NULL LIMIT 1)`, id, overRank).Scan(&open)
		if err != nil || open > 0 {
			return err
		}
		d.EndDigest(now)
		return updateCard(ctx, tx, d, false)
	})
	if err != nil {
		return nil, fmt.Errorf("looking whether a digest is over: %w", err)
	}
	return d, nil
}

// FinishDigest is [Store.Finish] for a digest that was sent: the next one goes
// out at every, or at soon where a critical group that fires was not in it. One of
// which nothing is open goes out until it has told its end.
func (s *Store) FinishDigest(ctx context.Context, l Leg, soon, every time.Time) error {
	l.Soon = soon.UnixMilli()
	return s.saveLeg(ctx, "storing that a digest was sent", l, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE legs SET
				next_at = CASE WHEN EXISTS (
					SELECT 1 FROM legs m JOIN cards c ON c.id = m.card_id WHERE m.digest = ?1 AND m.rank = 0 AND m.mark > ?2 AND c.state = 'firing') THEN ?3 ELSE ?4 END,
				pending = ?2 < (SELECT revision FROM cards WHERE id = ?1)
					OR EXISTS (SELECT 1 FROM cards WHERE id = ?1 AND closed_at IS NULL)
					AND NOT EXISTS (SELECT 1 FROM legs m JOIN cards c ON c.id = m.card_id WHERE m.digest = ?1 AND m.rank < ?6 AND c.closed_at IS NULL),
				pending_since = (SELECT changed_at FROM cards WHERE id = ?1)
			WHERE card_id = ?1 AND channel = ?5`,
			l.CardID, l.Sent, millis(soon), millis(every), l.Channel, overRank)
		return err
	})
}

// releaseChunk bounds one transaction over the legs of a digest.
const releaseChunk = 500

// Release frees the legs of a digest that has told its end.
func (s *Store) Release(ctx context.Context, digest string) error {
	return s.chunks(ctx, "releasing what a digest told of", func(tx *sql.Tx) (int64, error) {
		r, err := tx.ExecContext(ctx, `
			UPDATE legs SET digest = NULL WHERE (card_id, channel) IN (SELECT card_id, channel FROM legs WHERE digest = ? LIMIT ?)`, digest, releaseChunk)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	})
}

// BuryDigest gives a digest up, and with it the way of each card that it told of:
// a dead letter each, and the way after it, if any, is made due. A digest that was
// shown leaves one of its own.
func (s *Store) BuryDigest(ctx context.Context, d *card.Card, l Leg, next Channel, reason Reason, detail string, now time.Time) error {
	letter := DeadLetter{Receiver: d.Receiver, Channel: l.Channel, Reason: reason, Detail: detail, CreatedAt: now}
	l.Dead, l.LastError, l.Op, l.Reply = true, detail, nil, ""
	return s.chunks(ctx, "giving up a digest and what it told of", func(tx *sql.Tx) (int64, error) {
		buried, err := buryHeld(ctx, tx, d.ID, l.Channel, next, letter)
		if err != nil || buried == releaseChunk {
			return buried, err
		}
		// It ends together with the last of them, so that it takes none in between.
		return 0, buryDigest(ctx, tx, l, letter)
	})
}

// buryDigest ends a digest. One that was shown leaves a letter too: what it shows
// is wrong until that is replayed.
func buryDigest(ctx context.Context, tx *sql.Tx, l Leg, letter DeadLetter) error {
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encoding a leg: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `UPDATE legs SET pending = 0, body = ? WHERE card_id = ? AND channel = ?`, string(body), l.CardID, l.Channel); err != nil {
		return err
	}
	if letter.CardID, letter.Title = l.CardID, "digest"; l.MessageID != "" {
		if err := insertDead(ctx, tx, letter); err != nil {
			return err
		}
	}
	d, err := scanCard(tx.QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, l.CardID))
	if err != nil || d.Closed() {
		return err
	}
	d.EndDigest(letter.CreatedAt)
	return updateCard(ctx, tx, d, false)
}

func buryHeld(ctx context.Context, tx *sql.Tx, digest string, channel, next Channel, letter DeadLetter) (int64, error) {
	rows, err := tx.QueryContext(ctx, `SELECT c.body FROM legs l JOIN cards c ON c.id = l.card_id WHERE l.digest = ? AND l.channel = ? LIMIT ?`, digest, channel, releaseChunk)
	if err != nil {
		return 0, err
	}
	cards, err := collectCards(rows)
	if err != nil {
		return 0, err
	}
	for _, c := range cards {
		if _, err := tx.ExecContext(ctx, `
			UPDATE legs SET digest = NULL, pending = 0, body = json_set(body, '$.dead', json('true'), '$.last_error', ?) WHERE card_id = ? AND channel = ?`,
			letter.Detail, c.ID, channel); err != nil {
			return 0, err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE legs SET pending = 1, next_at = ? WHERE card_id = ? AND channel = ? AND body ->> 'standby' = 1`, millis(letter.CreatedAt), c.ID, next); err != nil {
			return 0, err
		}
		letter.CardID, letter.Title = c.ID, title(c)
		if err := insertDead(ctx, tx, letter); err != nil {
			return 0, err
		}
	}
	return int64(len(cards)), nil
}

// chunks repeats a change in transactions of its own until it changes nothing.
func (s *Store) chunks(ctx context.Context, what string, change func(*sql.Tx) (int64, error)) error {
	for {
		changed := int64(0)
		err := s.batch(ctx, func(tx *sql.Tx) (err error) {
			changed, err = change(tx)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if changed == 0 {
			return nil
		}
	}
}
