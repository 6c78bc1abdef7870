// Package sqlstore opens the programs' SQLite files.
//
// One file has one writing connection and a pool of readers, in WAL mode. What
// Write or Batch returned nil for survives kill -9; with Options.FullSync it
// survives a loss of power as well. Schemas only move forward: Open applies
// what is pending, after a backup of the file, and refuses a schema newer than
// the program.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// URL names a store: sqlite:PATH. PATH is relative to the configuration file.
type URL string

const scheme = "sqlite:"

// Rebase makes the path absolute; see confload.Rebaser.
func (u *URL) Rebase(dir string) {
	path, ok := strings.CutPrefix(string(*u), scheme)
	if ok && path != "" && !filepath.IsAbs(path) {
		*u = URL(scheme + filepath.Join(dir, path))
	}
}

// Path returns the file, or an error that says what a store's URL looks like.
func (u URL) Path() (string, error) {
	path, ok := strings.CutPrefix(string(u), scheme)
	if !ok || path == "" {
		return "", fmt.Errorf("expected a store like sqlite:data/name.db, got %q", string(u))
	}
	return path, nil
}

// Options says which file to open and how.
type Options struct {
	URL        URL
	Migrations fs.FS // goose *.sql files at its root, numbered from 00001
	FullSync   bool  // synchronous=FULL: commits survive a loss of power
	// WALLimit is for stores whose commits are waited for. 0: SQLite copies commits
	// from its write-ahead log into the file now and then, as a part of a commit.
	// Above: that is done beside the commits, and where the log has grown beyond so
	// many bytes nevertheless, a commit waits until it is cut.
	WALLimit int64
}

// DB is an open store. Its methods may be used from several goroutines.
type DB struct {
	path    string
	write   *sql.DB
	read    *sql.DB
	queue   chan batched
	stopped chan struct{}
	closed  chan struct{}
	full    atomic.Bool
	copier  *copier // nil where SQLite's own checkpoints are used
}

// ErrClosed is what Batch returns after Close.
var ErrClosed = errors.New("store is closed")

// Open opens the store, creating folder (0700) and file (0600) as needed,
// checks its integrity, and brings its schema up to date. ctx bounds the
// opening only.
func Open(ctx context.Context, o Options) (*DB, error) {
	path, err := o.URL.Path()
	if err != nil {
		return nil, err
	}
	if err := prepare(path); err != nil {
		return nil, err
	}
	db := &DB{path: path, queue: make(chan batched, maxBatch), stopped: make(chan struct{}), closed: make(chan struct{})}
	var pragmas []string
	if o.WALLimit > 0 {
		pragmas = append(pragmas, "wal_autocheckpoint(0)")
	}
	if db.write, err = open(path, o.FullSync, 1, busyTimeout, pragmas...); err != nil {
		return nil, err
	}
	if db.read, err = open(path, o.FullSync, 4, busyTimeout); err != nil {
		return nil, errors.Join(err, db.write.Close())
	}
	if err := db.verify(ctx, o.Migrations); err != nil {
		return nil, errors.Join(fmt.Errorf("opening store %s: %w", path, err), db.write.Close(), db.read.Close())
	}
	if o.WALLimit > 0 {
		if db.copier, err = newCopier(path, o); err != nil {
			return nil, errors.Join(err, db.write.Close(), db.read.Close())
		}
		go db.copier.run(db.stopped)
	}
	go db.batchLoop()
	return db, nil
}

// busyTimeout is how long a connection waits for another's lock.
const busyTimeout = 10 * time.Second

// prepare makes the folder and the file, so that their modes are ours.
func prepare(path string) error {
	if err := folder(path); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Clean(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unusable(path, err)
	}
	return f.Close()
}

// folder makes the folder of the store.
func folder(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return unusable(path, err)
	}
	return nil
}

func unusable(path string, err error) error {
	return fmt.Errorf("data folder %s is not usable: %w; create it, give this user write access, or set store.url", filepath.Dir(path), err)
}

func open(path string, full bool, connections int, busy time.Duration, pragmas ...string) (*sql.DB, error) {
	synchronous := "NORMAL"
	if full {
		synchronous = "FULL"
	}
	query := url.Values{"_txlock": {"immediate"}, "_pragma": append([]string{
		fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()), "journal_mode(WAL)", "synchronous(" + synchronous + ")", "foreign_keys(1)",
	}, pragmas...)}
	dsn := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", path, err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

func (db *DB) verify(ctx context.Context, migrations fs.FS) error {
	var result string
	if err := db.write.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&result); err != nil {
		return uncheckable(err)
	}
	if result != "ok" {
		return fmt.Errorf("the file is damaged (%s); restore a backup, or move it away to start anew", result)
	}
	return db.migrate(ctx, migrations)
}

func (db *DB) migrate(ctx context.Context, migrations fs.FS) error {
	provider, err := goose.NewProvider(goose.DialectSQLite3, db.write, migrations, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	have, err := provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading schema version: %w", err)
	}
	sources := provider.ListSources()
	newest := sources[len(sources)-1].Version
	if have > newest {
		return fmt.Errorf("its schema is version %d, newer than version %d of this program; run the newer program, or restore the backup made before the upgrade", have, newest)
	}
	if have == newest {
		return nil
	}
	if have > 0 {
		backup := fmt.Sprintf("%s.before-%d-%s.bak", db.path, newest, time.Now().UTC().Format("20060102T150405"))
		if err := db.Backup(ctx, backup); err != nil {
			return fmt.Errorf("backing up before the migration: %w", err)
		}
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating the schema from version %d to %d: %w", have, newest, err)
	}
	return nil
}

// Backup writes a consistent copy of the store to path, which must not exist. Commits
// wait for it; [Copy] is for those that must not.
func (db *DB) Backup(ctx context.Context, path string) error { return vacuumInto(ctx, db.write, path) }

// Read returns the pool of readers.
func (db *DB) Read() *sql.DB { return db.read }

// Write runs fn in one transaction on the writing connection and commits it.
// Where fn or the commit fails nothing of it stays.
func (db *DB) Write(ctx context.Context, fn func(*sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return db.note(fmt.Errorf("beginning a transaction: %w", err))
	}
	if err := fn(tx); err != nil {
		_ = tx.Rollback() // the transaction ends either way; fn's error is the one to tell
		return db.note(err)
	}
	if err := tx.Commit(); err != nil {
		return db.note(fmt.Errorf("committing: %w", err))
	}
	if db.copier != nil {
		db.copier.wrote()
	}
	return db.note(nil)
}

// Exec runs a statement of Prepare as a transaction of its own, for less than Write
// costs. Where it fails nothing of it stays.
func (db *DB) Exec(ctx context.Context, statement *sql.Stmt, args ...any) (sql.Result, error) {
	result, err := statement.ExecContext(ctx, args...)
	if err == nil && db.copier != nil {
		db.copier.wrote()
	}
	return result, db.note(err)
}

// Prepare prepares a statement for use inside Write, by tx.Stmt: compiling it costs
// more than running it once. The caller closes it before the store.
func (db *DB) Prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	return db.write.PrepareContext(ctx, query)
}

// note remembers whether the disk is full, for Check.
func (db *DB) note(err error) error {
	if err == nil {
		db.full.Store(false)
	} else if IsFull(err) {
		db.full.Store(true)
	}
	return err
}

// Check is a readiness check: whether the store answers, and whether its disk
// was full at the last write.
func (db *DB) Check(ctx context.Context) error {
	if db.full.Load() {
		return fmt.Errorf("the disk of %s is full; free space there", filepath.Dir(db.path))
	}
	if db.copier != nil {
		if err := db.copier.failure(); err != nil {
			return err
		}
	}
	var one int
	if err := db.read.QueryRowContext(ctx, "SELECT 1").Scan(&one); err != nil {
		return fmt.Errorf("reading the store: %w", err)
	}
	return nil
}

// IsFull reports whether err means that the disk, or the file's limit, is full.
func IsFull(err error) bool {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		switch se.Code() {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE, sqlite3.SQLITE_IOERR_TRUNCATE:
			return true
		}
	}
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// uncheckable says what to do about a file whose integrity could not be checked.
// Only a damaged one is to be given up.
func uncheckable(err error) error {
	switch {
	case IsFull(err):
		return fmt.Errorf("no space left on the disk: %w; free some, the file itself is not damaged", err)
	case isDamage(err):
		return fmt.Errorf("checking integrity: %w; restore a backup, or move the file away to start anew", err)
	default:
		return fmt.Errorf("checking integrity: %w", err)
	}
}

// isDamage reports whether err says that the file is no sound database.
func isDamage(err error) bool {
	se, ok := errors.AsType[*sqlite.Error](err)
	return ok && (se.Code()&0xff == sqlite3.SQLITE_CORRUPT || se.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// IsUnique reports whether err is a breach of a UNIQUE or PRIMARY KEY constraint.
func IsUnique(err error) bool {
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// SizeBytes returns the size of each of the store's files by its ending: db,
// wal.
func (db *DB) SizeBytes() map[string]int64 {
	sizes := map[string]int64{}
	for kind, suffix := range map[string]string{"db": "", "wal": "-wal"} {
		if info, err := os.Stat(db.path + suffix); err == nil {
			sizes[kind] = info.Size()
		}
	}
	return sizes
}

// Close commits what Batch has accepted and closes the file.
func (db *DB) Close() error {
	close(db.stopped)
	<-db.closed
	var err error
	if db.copier != nil {
		err = db.copier.close()
	}
	return errors.Join(err, db.read.Close(), db.write.Close())
}
