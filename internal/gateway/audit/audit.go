// Package audit is the record of who changed what by the operations API.
//
// An entry is written in the transaction of the change it tells of, so that there is
// no change without one. No entry holds a secret.
package audit

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Action names what was done.
type Action string

// The actions.
const (
	CreateClient Action = "create_client"
	UpdateClient Action = "update_client"
	DeleteClient Action = "delete_client"
	ResetBackend Action = "reset_backend"
	MakeBackup   Action = "make_backup"
)

// Entry is one change.
type Entry struct {
	ID        int64     `json:"id"`
	At        time.Time `json:"at"`
	Actor     string    `json:"actor"`
	Remote    string    `json:"remote"`
	Action    Action    `json:"action"`
	Target    string    `json:"target"`
	Detail    string    `json:"detail"`
	RequestID string    `json:"request_id"`
}

// Write adds the entry to a transaction.
func Write(ctx context.Context, tx *sql.Tx, e Entry) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO audit (at, actor, remote, action, target, detail, request_id) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		e.At.UnixMilli(), e.Actor, e.Remote, string(e.Action), e.Target, e.Detail, e.RequestID)
	if err != nil {
		return fmt.Errorf("writing the audit trail: %w", err)
	}
	return nil
}

// Record adds an entry for what is not kept in the store.
func Record(ctx context.Context, db *sqlstore.DB, e Entry) error {
	return db.Write(ctx, func(tx *sql.Tx) error { return Write(ctx, tx, e) })
}

// List returns entries, newest first, of those with a smaller id than before; 0 = from
// the newest.
func List(ctx context.Context, db *sqlstore.DB, before int64, limit int) ([]Entry, error) {
	if before == 0 {
		before = 1<<63 - 1
	}
	rows, err := db.Read().QueryContext(ctx, `SELECT id, at, actor, remote, action, target, detail, request_id FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?`, before, limit)
	if err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []Entry{}
	for rows.Next() {
		var e Entry
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.Actor, &e.Remote, &e.Action, &e.Target, &e.Detail, &e.RequestID); err != nil {
			return nil, fmt.Errorf("reading the audit trail: %w", err)
		}
		e.At = time.UnixMilli(at).UTC()
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading the audit trail: %w", err)
	}
	return out, nil
}
