// Package ledger is heartbeat's durable record: jobs and what is known of them,
// runs, pings, checks and notices, in one SQLite file.
//
// It promises: what a method returned nil for survives kill -9 and a loss of
// power; a slot is claimed at most once, whoever asks; a run ends once. Times
// are stored in UTC with a precision of one millisecond.
package ledger

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Ledger is the open record. Its methods may be called from any goroutine.
type Ledger struct {
	db *sqlstore.DB
}

// Open opens the record at a URL like sqlite:data/heartbeat.db, and makes it if
// it is not there.
func Open(ctx context.Context, url sqlstore.URL) (*Ledger, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	db, err := sqlstore.Open(ctx, sqlstore.Options{URL: url, Migrations: files, FullSync: true})
	if err != nil {
		return nil, err
	}
	return &Ledger{db: db}, nil
}

// Close commits what is under way and closes the file.
func (l *Ledger) Close() error { return l.db.Close() }

// Check says whether the record can be read and written.
func (l *Ledger) Check(ctx context.Context) error { return l.db.Check(ctx) }

// Job is what is kept of a job over restarts.
type Job struct {
	ID          string
	Kind        string
	ScheduleKey string
	Cursor      time.Time
	Facts       liveness.Facts
}

// Jobs returns every job that was ever saved, by id.
func (l *Ledger) Jobs(ctx context.Context) (map[string]Job, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT id, kind, schedule_key, cursor, facts FROM jobs`)
	if err != nil {
		return nil, fmt.Errorf("reading jobs: %w", err)
	}
	defer rows.Close()
	jobs := map[string]Job{}
	for rows.Next() {
		var job Job
		var cursor int64
		var facts string
		if err := rows.Scan(&job.ID, &job.Kind, &job.ScheduleKey, &cursor, &facts); err != nil {
			return nil, fmt.Errorf("reading jobs: %w", err)
		}
		job.Cursor = fromMillis(cursor)
		if err := json.Unmarshal([]byte(facts), &job.Facts); err != nil {
			return nil, fmt.Errorf("reading what is known of %s: %w", job.ID, err)
		}
		jobs[job.ID] = job
	}
	return jobs, rows.Err()
}

// SaveJobs inserts or replaces jobs, all or none.
func (l *Ledger) SaveJobs(ctx context.Context, jobs []Job) error {
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		for _, job := range jobs {
			facts, err := json.Marshal(job.Facts)
			if err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, `INSERT INTO jobs (id, kind, schedule_key, cursor, facts) VALUES (?, ?, ?, ?, ?)
				ON CONFLICT (id) DO UPDATE SET kind = excluded.kind, schedule_key = excluded.schedule_key,
				cursor = excluded.cursor, facts = excluded.facts`,
				job.ID, job.Kind, job.ScheduleKey, millis(job.Cursor), string(facts))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("saving jobs: %w", err)
	}
	return nil
}

// SaveFacts replaces what is known of one job.
func (l *Ledger) SaveFacts(ctx context.Context, id string, facts liveness.Facts) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error { return saveFacts(ctx, tx, id, facts) })
	if err != nil {
		return fmt.Errorf("saving what is known of %s: %w", id, err)
	}
	return nil
}

func saveFacts(ctx context.Context, tx *sql.Tx, id string, facts liveness.Facts) error {
	raw, err := json.Marshal(facts)
	if err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `UPDATE jobs SET facts = ? WHERE id = ?`, string(raw), id)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		return errors.Join(fmt.Errorf("job %s is not in the record", id), err)
	}
	return nil
}

// Ping is one ping as received.
type Ping struct {
	Job        string
	At         time.Time
	Kind       liveness.Kind
	ExitStatus int // -1 if the ping had none
	Run        string
	Body       string
}

// AddPing records a ping together with what it made known.
func (l *Ledger) AddPing(ctx context.Context, p Ping, facts liveness.Facts) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO pings (job, at, kind, exit_status, rid, body) VALUES (?, ?, ?, ?, ?, ?)`,
			p.Job, millis(p.At), string(p.Kind), p.ExitStatus, p.Run, p.Body)
		if err != nil {
			return err
		}
		return saveFacts(ctx, tx, p.Job, facts)
	})
	if err != nil {
		return fmt.Errorf("recording a ping of %s: %w", p.Job, err)
	}
	return nil
}

// Mark names a time that is kept, such as when heartbeat was last awake.
type Mark string

// MarkAwake is when heartbeat last said that it is awake.
const MarkAwake Mark = "awake"

// SetMark keeps a time under a name.
func (l *Ledger) SetMark(ctx context.Context, name Mark, at time.Time) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO marks (name, value) VALUES (?, ?)
			ON CONFLICT (name) DO UPDATE SET value = excluded.value`, string(name), millis(at))
		return err
	})
	if err != nil {
		return fmt.Errorf("saving mark %s: %w", name, err)
	}
	return nil
}

// MarkOf returns a kept time, zero if there is none.
func (l *Ledger) MarkOf(ctx context.Context, name Mark) (time.Time, error) {
	var value int64
	err := l.db.Read().QueryRowContext(ctx, `SELECT value FROM marks WHERE name = ?`, string(name)).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading mark %s: %w", name, err)
	}
	return fromMillis(value), nil
}

// Prune removes runs, and logs and pings, that ended before the given times; a
// zero time removes nothing. What is open stays.
func (l *Ledger) Prune(ctx context.Context, runs, logs time.Time) error {
	err := l.db.Write(ctx, func(tx *sql.Tx) error {
		for _, old := range []struct {
			before time.Time
			query  string
		}{
			{runs, `DELETE FROM runs WHERE started_at < ? AND outcome <> ''`},
			{logs, `DELETE FROM run_logs WHERE at < ?`},
			{logs, `DELETE FROM pings WHERE at < ?`},
			{logs, `DELETE FROM notices WHERE created_at < ? AND result <> ''`},
		} {
			if old.before.IsZero() {
				continue
			}
			if _, err := tx.ExecContext(ctx, old.query, millis(old.before)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing what is past its retention: %w", err)
	}
	return nil
}

func millis(at time.Time) int64 {
	if at.IsZero() {
		return 0
	}
	return at.UnixMilli()
}

func fromMillis(value int64) time.Time {
	if value == 0 {
		return time.Time{}
	}
	return time.UnixMilli(value).UTC()
}
