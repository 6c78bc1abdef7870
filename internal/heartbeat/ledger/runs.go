package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
)

// Trigger says what made a run.
type Trigger string

// The triggers.
const (
	TriggerSlot   Trigger = "slot"
	TriggerDemand Trigger = "demand"
)

// Run is one execution. A run without Outcome is open.
type Run struct {
	ID          string       `json:"id"`
	Job         string       `json:"job"`
	ScheduledAt time.Time    `json:"scheduled_at"`
	Trigger     Trigger      `json:"trigger"`
	Note        string       `json:"note,omitempty"`
	StartedAt   time.Time    `json:"started_at"`
	FinishedAt  time.Time    `json:"finished_at,omitzero"`
	Outcome     beat.Outcome `json:"outcome,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	Detail      string       `json:"detail,omitempty"`
	ExitCode    int          `json:"exit_code"`
	Attempt     int          `json:"attempt"`

	PID        int   `json:"-"`
	Born       int64 `json:"-"`
	RunnerPID  int   `json:"-"`
	RunnerBorn int64 `json:"-"`
}

// Open reports whether the run has not ended.
func (r Run) Open() bool { return r.Outcome == "" }

// RunID is the id of the run of a slot: the same wherever it is asked for.
func RunID(job string, scheduledAt time.Time) string {
	return job + "-" + scheduledAt.UTC().Format("20060102T150405.000Z")
}

const runColumns = `id, job, scheduled_at, trigger, note, started_at, finished_at, outcome, reason, detail,
	exit_code, attempt, pid, born, runner_pid, runner_born`

// ErrClaimed says that the slot was used before.
var ErrClaimed = errors.New("slot is claimed already")

// Claim records a run as started, or as ended where it carries an outcome, and
// with it what is known of its job now. It returns ErrClaimed, and changes
// nothing, if the job's slot was claimed before.
func (l *Ledger) Claim(ctx context.Context, r Run, facts liveness.Facts) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO runs (`+runColumns+`)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			r.ID, r.Job, millis(r.ScheduledAt), string(r.Trigger), r.Note, millis(r.StartedAt), millis(r.FinishedAt),
			string(r.Outcome), r.Reason, r.Detail, r.ExitCode, r.Attempt, r.PID, r.Born, r.RunnerPID, r.RunnerBorn)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrClaimed)
		}
		if r.Trigger == TriggerSlot {
			_, err = tx.ExecContext(ctx, `UPDATE jobs SET cursor = max(cursor, ?) WHERE id = ?`, millis(r.ScheduledAt), r.Job)
			if err != nil {
				return err
			}
		}
		return saveFacts(ctx, tx, r.Job, facts)
	})
	if err != nil {
		return fmt.Errorf("claiming run %s: %w", r.ID, err)
	}
	return nil
}

// SetProcess records the process that a run's driver started.
func (l *Ledger) SetProcess(ctx context.Context, run string, attempt, pid int, born int64) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE runs SET attempt = ?, pid = ?, born = ? WHERE id = ? AND outcome = ''`, attempt, pid, born, run)
		return err
	})
	if err != nil {
		return fmt.Errorf("recording the process of run %s: %w", run, err)
	}
	return nil
}

// Finish ends an open run and records its log and what is known of its job. A
// run that has ended stays as it is.
func (l *Ledger) Finish(ctx context.Context, r Run, log string, facts liveness.Facts) error {
	err := l.db.Batch(ctx, func(tx *sql.Tx) error {
		result, err := tx.ExecContext(ctx, `UPDATE runs SET finished_at = ?, outcome = ?, reason = ?, detail = ?, exit_code = ?, attempt = ?
			WHERE id = ? AND outcome = ''`,
			millis(r.FinishedAt), string(r.Outcome), r.Reason, r.Detail, r.ExitCode, r.Attempt, r.ID)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		if log != "" {
			_, err := tx.ExecContext(ctx, `INSERT INTO run_logs (run, at, log) VALUES (?, ?, ?)`, r.ID, millis(r.FinishedAt), log)
			if err != nil {
				return err
			}
		}
		return saveFacts(ctx, tx, r.Job, facts)
	})
	if err != nil {
		return fmt.Errorf("ending run %s: %w", r.ID, err)
	}
	return nil
}

// OpenRuns returns the open runs of a job, or of all jobs for "".
func (l *Ledger) OpenRuns(ctx context.Context, job string) ([]Run, error) {
	return l.runs(ctx, `WHERE outcome = '' AND (? = '' OR job = ?) ORDER BY started_at`, job, job)
}

// Query selects runs; zero fields select all.
type Query struct {
	Job     string
	Outcome beat.Outcome
	Since   time.Time
	Limit   int // 0 = 100
}

// Runs returns runs, newest first.
func (l *Ledger) Runs(ctx context.Context, q Query) ([]Run, error) {
	conditions, args := []string{"1"}, []any{}
	add := func(condition string, arg any) {
		conditions, args = append(conditions, condition), append(args, arg)
	}
	if q.Job != "" {
		add("job = ?", q.Job)
	}
	if q.Outcome != "" {
		add("outcome = ?", string(q.Outcome))
	}
	if !q.Since.IsZero() {
		add("started_at >= ?", millis(q.Since))
	}
	if q.Limit <= 0 {
		q.Limit = 100
	}
	return l.runs(ctx, `WHERE `+strings.Join(conditions, " AND ")+` ORDER BY started_at DESC, id DESC LIMIT ?`, append(args, q.Limit)...)
}

// Run returns one run and its log; ok is false if there is none.
func (l *Ledger) Run(ctx context.Context, id string) (run Run, log string, ok bool, err error) {
	runs, err := l.runs(ctx, `WHERE id = ?`, id)
	if err != nil || len(runs) == 0 {
		return Run{}, "", false, err
	}
	err = l.db.Read().QueryRowContext(ctx, `SELECT log FROM run_logs WHERE run = ?`, id).Scan(&log)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Run{}, "", false, fmt.Errorf("reading the log of run %s: %w", id, err)
	}
	return runs[0], log, true, nil
}

func (l *Ledger) runs(ctx context.Context, where string, args ...any) ([]Run, error) {
	rows, err := l.db.Read().QueryContext(ctx, `SELECT `+runColumns+` FROM runs `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("reading runs: %w", err)
	}
	defer rows.Close()
	runs := []Run{}
	for rows.Next() {
		var r Run
		var scheduled, started, finished int64
		err := rows.Scan(&r.ID, &r.Job, &scheduled, &r.Trigger, &r.Note, &started, &finished, &r.Outcome, &r.Reason, &r.Detail,
			&r.ExitCode, &r.Attempt, &r.PID, &r.Born, &r.RunnerPID, &r.RunnerBorn)
		if err != nil {
			return nil, fmt.Errorf("reading runs: %w", err)
		}
		r.ScheduledAt, r.StartedAt, r.FinishedAt = fromMillis(scheduled), fromMillis(started), fromMillis(finished)
		runs = append(runs, r)
	}
	return runs, rows.Err()
}
