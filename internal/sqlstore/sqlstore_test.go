package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func migrations(n int) fstest.MapFS {
	all := fstest.MapFS{
		"00001_rows.sql": {Data: []byte("-- +goose Up\nCREATE TABLE rows (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);\n")},
		"00002_note.sql": {Data: []byte("-- +goose Up\nALTER TABLE rows ADD COLUMN note TEXT NOT NULL DEFAULT '';\n")},
	}
	if n == 1 {
		delete(all, "00002_note.sql")
	}
	return all
}

func open(t *testing.T, path string, version int) (*sqlstore.DB, error) {
	t.Helper()
	return sqlstore.Open(t.Context(), sqlstore.Options{URL: sqlstore.URL("sqlite:" + path), Migrations: migrations(version), FullSync: true})
}

func count(t *testing.T, db *sqlstore.DB) int {
	t.Helper()
	var n int
	if err := db.Read().QueryRowContext(t.Context(), "SELECT count(*) FROM rows").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func insert(name string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO rows (name) VALUES (?)", name)
		return err
	}
}

func TestOpenKeepsRowsAndModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "x y?.db")
	db, err := open(t, path, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), insert("a")); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for file, mode := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %o", file, info.Mode(), err, mode)
		}
	}
	db, err = open(t, path, 2)
	if err != nil {
		t.Fatal(err)
	}
	if n := count(t, db); n != 1 {
		t.Errorf("%d rows after reopening and migrating, want 1", n)
	}
	if backups, _ := filepath.Glob(path + ".before-2-*.bak"); len(backups) != 1 {
		t.Errorf("backups before the migration: %v, want one", backups)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err = open(t, path, 1); err == nil || !strings.Contains(err.Error(), "newer than version 1 of this program") {
		t.Errorf("opening a newer schema: %v", err)
	}
}

func TestPragmas(t *testing.T) {
	db, err := open(t, filepath.Join(t.TempDir(), "p.db"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"} {
			var got string
			if err := tx.QueryRow("PRAGMA " + pragma).Scan(&got); err != nil || got != want {
				t.Errorf("PRAGMA %s = %q, %v, want %q", pragma, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefusesDamageAndBadPlaces(t *testing.T) {
	dir := t.TempDir()
	damaged := filepath.Join(dir, "damaged.db")
	if err := os.WriteFile(damaged, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{damaged: "restore a backup", filepath.Join(file, "x.db"): "create it, give this user write access"} {
		if _, err := open(t, path, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	for _, u := range []sqlstore.URL{"", "sqlite:", "postgres://x", "data/x.db"} {
		if _, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: u}); err == nil || !strings.Contains(err.Error(), "sqlite:data/name.db") {
			t.Errorf("URL %q: %v", u, err)
		}
	}
}

func TestBatchIsolatesFailures(t *testing.T) {
	db, err := open(t, filepath.Join(t.TempDir(), "b.db"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	boom := errors.New("boom")
	const callers = 200
	results := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			results[i] = db.Batch(t.Context(), func(tx *sql.Tx) error {
				if err := insert(fmt.Sprint("row", i))(tx); err != nil {
					return err
				}
				switch i % 10 {
				case 1:
					return boom
				case 2:
					panic("bug")
				}
				return nil
			})
		})
	}
	wg.Wait()
	for i, err := range results {
		switch i % 10 {
		case 1:
			if !errors.Is(err, boom) {
				t.Errorf("caller %d: %v, want its own error", i, err)
			}
		case 2:
			if err == nil || !strings.Contains(err.Error(), "panic") {
				t.Errorf("caller %d: %v, want its panic as an error", i, err)
			}
		default:
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
	}
	if n := count(t, db); n != callers*8/10 {
		t.Errorf("%d rows, want %d: the failed ones only are undone", n, callers*8/10)
	}
	if err := db.Batch(t.Context(), insert("row0")); !sqlstore.IsUnique(err) {
		t.Errorf("a repeated name: %v, want a unique violation", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Batch(gone, insert("never")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a cancelled context: %v", err)
	}
}

func TestBatchAfterClose(t *testing.T) {
	db, err := open(t, filepath.Join(t.TempDir(), "c.db"), 2)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Batch(t.Context(), insert("late")); !errors.Is(err, sqlstore.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestFullDiskIsSaid(t *testing.T) {
	db, err := open(t, filepath.Join(t.TempDir(), "f.db"), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	limit := func(pages string) {
		if err := db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec("PRAGMA max_page_count=" + pages); return err }); err != nil {
			t.Fatal(err)
		}
	}
	limit("12")
	err = db.Batch(t.Context(), insert(strings.Repeat("x", 1<<20)))
	if !sqlstore.IsFull(err) {
		t.Fatalf("over the limit: %v, want full", err)
	}
	if err := db.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "full; free space") {
		t.Errorf("Check with a full disk: %v", err)
	}
	limit("100000")
	if err := db.Batch(t.Context(), insert("fits")); err != nil {
		t.Fatal(err)
	}
	if err := db.Check(t.Context()); err != nil {
		t.Errorf("Check after space was freed: %v", err)
	}
}
