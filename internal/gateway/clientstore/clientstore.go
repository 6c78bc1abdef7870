// Package clientstore keeps the holders of client keys that the operations API made.
//
// Of a key it keeps the SHA-256 sum only: keys are long and random, so that nothing is
// gained by trying. Every change is one transaction with its entry in the audit trail.
package clientstore

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

var (
	// ErrExists is returned where a client of the name is there already.
	ErrExists = errors.New("a client of this name exists already")
	// ErrNotFound is returned where there is none of the name.
	ErrNotFound = errors.New("there is no client of this name")
)

// Settings are what may be changed of a client.
type Settings struct {
	RPM, TPM                   int       // 0 = no limit
	DailyBudget, MonthlyBudget float64   // units of the currency; 0 = no limit
	Models                     []string  // none = all
	Force                      []string  // capabilities that every backend of its requests must have
	Expires                    time.Time // zero = never
	Enabled                    bool
}

// Client is the holder of a key.
type Client struct {
	Name string
	Sum  [sha256.Size]byte // of its key
	Settings
	CreatedAt, UpdatedAt time.Time
}

const (
	keyPrefix = "fwk-"
	keyBytes  = 32
)

// NewKey makes a key, and its sum.
func NewKey() (redact.Secret, [sha256.Size]byte) {
	var raw [keyBytes]byte
	_, _ = rand.Read(raw[:]) // never fails: without randomness the process ends
	key := keyPrefix + base64.RawURLEncoding.EncodeToString(raw[:])
	return redact.Secret(key), sha256.Sum256([]byte(key))
}

// List returns the clients, sorted by name.
func List(ctx context.Context, db *sqlstore.DB) ([]Client, error) {
	rows, err := db.Read().QueryContext(ctx, `SELECT name, key_sum, rpm, tpm, daily_budget, monthly_budget, models, force, expires_at, enabled, created_at, updated_at FROM clients ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("reading clients: %w", err)
	}
	defer func() { _ = rows.Close() }()
	var out []Client
	for rows.Next() {
		c, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("reading clients: %w", err)
		}
		out = append(out, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading clients: %w", err)
	}
	return out, nil
}

func scan(rows *sql.Rows) (c Client, err error) {
	var sum []byte
	var models, force string
	var expires sql.NullInt64
	var created, updated int64
	if err := rows.Scan(&c.Name, &sum, &c.RPM, &c.TPM, &c.DailyBudget, &c.MonthlyBudget, &models, &force, &expires, &c.Enabled, &created, &updated); err != nil {
		return c, err
	}
	if len(sum) != len(c.Sum) {
		return c, fmt.Errorf("client %s: the sum of its key has %d bytes", c.Name, len(sum))
	}
	copy(c.Sum[:], sum)
	if err := errors.Join(json.Unmarshal([]byte(models), &c.Models), json.Unmarshal([]byte(force), &c.Force)); err != nil {
		return c, fmt.Errorf("client %s: %w", c.Name, err)
	}
	if expires.Valid {
		c.Expires = time.UnixMilli(expires.Int64).UTC()
	}
	c.CreatedAt, c.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return c, nil
}

// Insert adds a client. It is ErrExists where there is one of the name.
func Insert(ctx context.Context, db *sqlstore.DB, c Client, e audit.Entry) error {
	values, err := values(c.Settings)
	if err != nil {
		return err
	}
	args := append([]any{c.Name, c.Sum[:], c.CreatedAt.UnixMilli(), c.UpdatedAt.UnixMilli()}, values...)
	err = change(ctx, db, e, `INSERT INTO clients (name, key_sum, created_at, updated_at, rpm, tpm, daily_budget, monthly_budget, models, force, expires_at, enabled) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, args)
	if sqlstore.IsUnique(err) {
		return ErrExists
	}
	return err
}

// Update replaces the settings of a client. It is ErrNotFound where there is none.
func Update(ctx context.Context, db *sqlstore.DB, c Client, e audit.Entry) error {
	values, err := values(c.Settings)
	if err != nil {
		return err
	}
	return change(ctx, db, e, `UPDATE clients SET rpm = ?, tpm = ?, daily_budget = ?, monthly_budget = ?, models = ?, force = ?, expires_at = ?, enabled = ?, updated_at = ? WHERE name = ?`,
		append(values, c.UpdatedAt.UnixMilli(), c.Name))
}

// Delete removes a client; what it did stays in the ledger. It is ErrNotFound where
// there is none.
func Delete(ctx context.Context, db *sqlstore.DB, name string, e audit.Entry) error {
	return change(ctx, db, e, `DELETE FROM clients WHERE name = ?`, []any{name})
}

func change(ctx context.Context, db *sqlstore.DB, e audit.Entry, query string, args []any) error {
	return db.Write(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, query, args...)
		if err != nil {
			return fmt.Errorf("writing client %s: %w", e.Target, err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return fmt.Errorf("writing client %s: %w", e.Target, err)
		}
		if n == 0 {
			return ErrNotFound
		}
		return audit.Write(ctx, tx, e)
	})
}

// values are the settings in the order of the columns.
func values(s Settings) ([]any, error) {
	models, err := json.Marshal(append([]string{}, s.Models...))
	if err != nil {
		return nil, err
	}
	force, err := json.Marshal(append([]string{}, s.Force...))
	if err != nil {
		return nil, err
	}
	var expires any
	if !s.Expires.IsZero() {
		expires = s.Expires.UnixMilli()
	}
	return []any{s.RPM, s.TPM, s.DailyBudget, s.MonthlyBudget, string(models), string(force), expires, s.Enabled}, nil
}
