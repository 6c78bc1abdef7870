package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// Intake is one notification and how it is to be distributed.
type Intake struct {
	Group  map[string]string
	Notice card.Notice
	// Receivers names who is told of an alert; empty means dropped by
	// configuration.
	Receivers func(labels map[string]string) []string
	// Channels names a receiver's ways in order of preference; empty means that
	// it is not configured.
	Channels func(receiver string) Channels
}

// Accepted is what became of an intake.
type Accepted struct {
	Opened  int  // cards opened
	Changed int  // cards whose face changed, new ones included
	Waiting bool // a card waits for a judgement
	Ignored int  // alerts that only repeat what a closed card has told
	Dropped int  // alerts that no receiver is told of
}

// Accept takes a notification over, durably, before it returns nil. Concurrent
// calls share a commit.
func (s *Store) Accept(ctx context.Context, in Intake) (Accepted, error) {
	if s.maxOpen > 0 && s.open.Load() >= s.maxOpen && !s.known(ctx, in) {
		return Accepted{}, ErrTooManyCards
	}
	var out Accepted
	closed := 0
	err := s.batch(ctx, func(tx *sql.Tx) error {
		var err error
		out, closed, err = accept(ctx, tx, in)
		return err
	})
	if err != nil {
		return Accepted{}, fmt.Errorf("storing a notification: %w", err)
	}
	s.open.Add(int64(out.Opened - closed))
	return out, nil
}

// known reports whether the group has an open card: those go on being served
// when no new ones are taken.
func (s *Store) known(ctx context.Context, in Intake) bool {
	var one int
	err := s.db.Read().QueryRowContext(ctx, `SELECT 1 FROM cards WHERE group_key = ? AND closed_at IS NULL LIMIT 1`, card.GroupKey(in.Group)).Scan(&one)
	return err == nil
}

func accept(ctx context.Context, tx *sql.Tx, in Intake) (Accepted, int, error) {
	key := card.GroupKey(in.Group)
	rows, err := tx.QueryContext(ctx, `SELECT body FROM cards WHERE group_key = ? AND closed_at IS NULL`, key)
	if err != nil {
		return Accepted{}, 0, err
	}
	open, err := collectCards(rows)
	if err != nil {
		return Accepted{}, 0, err
	}
	var out Accepted
	closed := 0
	notices := distribute(in, open, &out)
	for _, receiver := range slices.Sorted(maps.Keys(notices)) {
		notice := *notices[receiver]
		i := slices.IndexFunc(open, func(c *card.Card) bool { return c.Receiver == receiver })
		if i < 0 {
			err = acceptNew(ctx, tx, in, receiver, key, notice, &out)
		} else {
			err = acceptKnown(ctx, tx, open[i], notice, &out)
			if open[i].Closed() {
				closed++
			}
		}
		if err != nil {
			return Accepted{}, 0, err
		}
	}
	return out, closed, nil
}

// distribute makes one notice per receiver. Beside those that the routing names,
// every receiver that has the alert on an open card hears of it: routing may
// depend on the time of day, and who saw it fire must see it end.
func distribute(in Intake, open []*card.Card, out *Accepted) map[string]*card.Notice {
	notices := map[string]*card.Notice{}
	for _, a := range in.Notice.Alerts {
		names := in.Receivers(a.Labels)
		for _, c := range open {
			if c.Has(a.Fingerprint) && !slices.Contains(names, c.Receiver) {
				names = append(names, c.Receiver)
			}
		}
		if len(names) == 0 {
			out.Dropped++
		}
		for _, name := range names {
			if notices[name] == nil {
				n := in.Notice
				n.Alerts = nil
				notices[name] = &n
			}
			notices[name].Alerts = append(notices[name].Alerts, a)
		}
	}
	return notices
}

func acceptNew(ctx context.Context, tx *sql.Tx, in Intake, receiver, key string, n card.Notice, out *Accepted) error {
	previous, err := scanCard(tx.QueryRowContext(ctx, `
		SELECT body FROM cards WHERE receiver = ? AND group_key = ? ORDER BY generation DESC LIMIT 1`, receiver, key))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	generation := 1
	if previous != nil {
		generation = previous.Generation + 1
	}
	told := previous
	if previous != nil && previous.State == card.StateDiscarded {
		// A discarded generation told nothing; the one before it did.
		if told, err = lastTold(ctx, tx, receiver, key, generation); err != nil {
			return err
		}
	}
	c := card.Open(receiver, in.Group, n, told)
	if c == nil {
		out.Ignored += len(n.Alerts)
		return nil
	}
	c.ID, c.Generation = ulid.Make().String(), generation
	if err := insertCard(ctx, tx, c); err != nil {
		return err
	}
	if err := insertLegs(ctx, tx, c, in.Channels(receiver)); err != nil {
		return err
	}
	out.Opened++
	out.Changed++
	out.Waiting = out.Waiting || c.Waiting()
	return nil
}

// lastTold is the last generation before the given one that was shown, nil where
// there is none.
func lastTold(ctx context.Context, tx *sql.Tx, receiver, key string, before int) (*card.Card, error) {
	c, err := scanCard(tx.QueryRowContext(ctx, `
		SELECT body FROM cards WHERE receiver = ? AND group_key = ? AND generation < ? AND state <> 'discarded'
		ORDER BY generation DESC LIMIT 1`, receiver, key, before))
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // no generation was told
	}
	return c, err
}

func acceptKnown(ctx context.Context, tx *sql.Tx, c *card.Card, n card.Notice, out *Accepted) error {
	var previous *card.Card
	if slices.ContainsFunc(n.Alerts, func(a card.Alert) bool { return a.Status == card.Resolved && !c.Has(a.Fingerprint) }) {
		var err error
		if previous, err = lastTold(ctx, tx, c.Receiver, c.GroupKey, c.Generation); err != nil {
			return err
		}
	}
	changed := c.Apply(n, previous)
	if changed {
		out.Changed++
	}
	out.Waiting = out.Waiting || c.Waiting()
	return updateCard(ctx, tx, c, changed)
}

func insertCard(ctx context.Context, tx *sql.Tx, c *card.Card) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a card: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO cards (id, receiver, group_key, generation, state, rank, revision, waiting, opened_at, changed_at, closed_at, lane, alertname, severity, subject, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.ID, c.Receiver, c.GroupKey, c.Generation, c.State, card.Rank(c.Severity()), c.Revision, c.Waiting(), millis(c.OpenedAt), millis(c.ChangedAt), nullMillis(c.ClosedAt),
		laneOf(c), c.Name(), c.Severity(), subject(c), string(body))
	return err
}

// updateCard stores a card; where its face changed, everything that shows it is
// to be sent again.
func updateCard(ctx context.Context, tx *sql.Tx, c *card.Card, changed bool) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encoding a card: %w", err)
	}
	rank := card.Rank(c.Severity())
	_, err = tx.ExecContext(ctx, `UPDATE cards SET state = ?, rank = ?, revision = ?, waiting = ?, acting = ?, acked = ?, steps = ?, changed_at = ?, closed_at = ?, severity = ?, subject = ?, body = ? WHERE id = ?`,
		c.State, rank, c.Revision, c.Waiting(), c.Acting(), c.Ack != nil, len(c.Escalations), millis(c.ChangedAt), nullMillis(c.ClosedAt), c.Severity(), subject(c), string(body), c.ID)
	if err != nil || !changed {
		return err
	}
	return wakeLegs(ctx, tx, c, rank)
}
