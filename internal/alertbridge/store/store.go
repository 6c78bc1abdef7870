// Package store keeps cards, what was sent of them, dead letters and the audit
// trail in one SQLite file. All SQL of the program stands here.
//
// What a method has returned nil for survives kill -9 and a loss of power.
package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrTooManyCards is returned where accepting would open more cards than
// Options.MaxOpen.
var ErrTooManyCards = errors.New("too many open cards")

// ErrNotFound is returned where the thing asked for does not exist.
var ErrNotFound = errors.New("not found")

// Options says which file to open.
type Options struct {
	URL     sqlstore.URL
	MaxOpen int // open cards; 0 = no limit
}

// Store is an open store. Its methods may be used from several goroutines.
type Store struct {
	db      *sqlstore.DB
	maxOpen int64
	open    atomic.Int64 // open cards, as committed
	full    atomic.Bool  // the last write failed for want of space
}

// Open opens the file and brings its schema up to date.
func Open(ctx context.Context, o Options) (*Store, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading migrations: %w", err)
	}
	db, err := sqlstore.Open(ctx, sqlstore.Options{URL: o.URL, Migrations: files, FullSync: true})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, maxOpen: int64(o.MaxOpen)}
	var open int64
	if err := db.Read().QueryRowContext(ctx, `SELECT count(*) FROM cards WHERE closed_at IS NULL AND lane IS NULL`).Scan(&open); err != nil {
		return nil, errors.Join(fmt.Errorf("counting open cards: %w", err), db.Close())
	}
	s.open.Store(open)
	return s, nil
}

// Close waits for running writes and closes the file.
func (s *Store) Close() error { return s.db.Close() }

// Ready says why nothing can be stored, nil while it can.
func (s *Store) Ready(ctx context.Context) error {
	if s.full.Load() {
		return errors.New("the disk is full: alerts are answered with 503 until there is space")
	}
	if err := s.db.Read().QueryRowContext(ctx, `SELECT 1`).Err(); err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	return nil
}

// batch is one write that shares its commit. It always runs to its end, so that
// its outcome is known: ctx gives values only.
func (s *Store) batch(ctx context.Context, fn func(*sql.Tx) error) error {
	err := s.db.Batch(context.WithoutCancel(ctx), fn)
	s.full.Store(sqlstore.IsFull(err))
	return err
}

// Card returns a card by its id, or ErrNotFound.
func (s *Store) Card(ctx context.Context, id string) (*card.Card, error) {
	return scanCard(s.db.Read().QueryRowContext(ctx, `SELECT body FROM cards WHERE id = ?`, id))
}

// Filter chooses cards of a list.
type Filter struct {
	Receiver string // empty: all
	State    string // empty: all
	Limit    int
}

// Cards lists the cards that changed last.
func (s *Store) Cards(ctx context.Context, f Filter) ([]*card.Card, error) {
	rows, err := s.db.Read().QueryContext(ctx, `
		SELECT body FROM cards
		WHERE (?1 = '' OR receiver = ?1) AND (?2 = '' OR state = ?2) AND state <> 'discarded'
		ORDER BY changed_at DESC, id DESC LIMIT ?3`, f.Receiver, f.State, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("listing cards: %w", err)
	}
	return collectCards(rows)
}

// Counts returns how many open cards each receiver has in each state.
func (s *Store) Counts(ctx context.Context) (map[[2]string]int, error) {
	rows, err := s.db.Read().QueryContext(ctx, `SELECT receiver, state, count(*) FROM cards WHERE closed_at IS NULL AND lane IS NULL GROUP BY receiver, state`)
	if err != nil {
		return nil, fmt.Errorf("counting cards: %w", err)
	}
	return collectCounts(rows)
}

func collectCounts(rows *sql.Rows) (map[[2]string]int, error) {
	defer func() { _ = rows.Close() }()
	counts := map[[2]string]int{}
	for rows.Next() {
		var a, b string
		var n int
		if err := rows.Scan(&a, &b, &n); err != nil {
			return nil, fmt.Errorf("reading counts: %w", err)
		}
		counts[[2]string{a, b}] = n
	}
	return counts, rows.Err()
}

func collectCards(rows *sql.Rows) ([]*card.Card, error) {
	defer func() { _ = rows.Close() }()
	var cards []*card.Card
	for rows.Next() {
		c, err := scanCard(rows)
		if err != nil {
			return nil, err
		}
		cards = append(cards, c)
	}
	return cards, rows.Err()
}

func scanCard(row interface{ Scan(...any) error }) (*card.Card, error) {
	var body []byte
	switch err := row.Scan(&body); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("reading a card: %w", err)
	}
	c := &card.Card{}
	if err := json.Unmarshal(body, c); err != nil {
		return nil, fmt.Errorf("decoding a card: %w", err)
	}
	return c, nil
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// nullMillis stores a zero time as NULL.
func nullMillis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return millis(t)
}

// sweepChunk bounds one deletion, so that accepting notifications never waits for long.
const sweepChunk = 200

// Sweep deletes closed cards, replayed or old dead letters and audit entries
// that are older than the given moments, some at a time. Cards that are still to be
// sent stay, and those whose dead letters can be replayed.
func (s *Store) Sweep(ctx context.Context, delivered, dead time.Time) error {
	for _, step := range []struct {
		query  string
		before time.Time
	}{
		{`DELETE FROM dead WHERE id IN (SELECT id FROM dead WHERE created_at < ? LIMIT ?)`, dead},
		{`DELETE FROM cards WHERE id IN (SELECT id FROM cards WHERE closed_at < ?
			AND (state = 'discarded' OR NOT EXISTS (SELECT 1 FROM legs WHERE card_id = cards.id AND pending = 1))
			AND id NOT IN (SELECT card_id FROM dead WHERE replayed_at IS NULL) LIMIT ?)`, delivered},
		{`DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? LIMIT ?)`, dead},
		{`DELETE FROM presses WHERE event_id IN (SELECT event_id FROM presses WHERE at < ? LIMIT ?)`, dead},
		// What a kill left of digests that have ended.
		{`UPDATE legs SET digest = NULL WHERE (card_id, channel) IN (
			SELECT card_id, channel FROM legs WHERE digest IN (SELECT id FROM cards WHERE lane IS NOT NULL AND closed_at < ?) LIMIT ?)`, delivered},
	} {
		err := s.chunks(ctx, "deleting what is past its retention", func(tx *sql.Tx) (int64, error) {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			r, err := tx.ExecContext(ctx, step.query, millis(step.before), sweepChunk)
			if err != nil {
				return 0, err
			}
			return r.RowsAffected()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Fact returns a remembered value, "" where there is none.
func (s *Store) Fact(ctx context.Context, name string) (string, error) {
	var value string
	err := s.db.Read().QueryRowContext(ctx, `SELECT value FROM facts WHERE name = ?`, name).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("reading fact %s: %w", name, err)
	}
	return value, nil
}

// SetFact remembers a value.
func (s *Store) SetFact(ctx context.Context, name, value string) error {
	err := s.batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
		return err
	})
	if err != nil {
		return fmt.Errorf("storing fact %s: %w", name, err)
	}
	return nil
}
