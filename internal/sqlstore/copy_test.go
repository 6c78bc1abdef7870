package sqlstore_test

import (
	"bytes"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func blobSchema() fs.FS {
	return fstest.MapFS{"00001_blobs.sql": {Data: []byte("-- +goose Up\nCREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB NOT NULL);\n")}}
}

// blobs counts what a store holds.
func blobs(t *testing.T, path string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT count(*) FROM blobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCommitsDoNotWaitForACopy, and the copy is whole.
func TestCommitsDoNotWaitForACopy(t *testing.T) {
	dir := t.TempDir()
	db := openBlobsAt(t, filepath.Join(dir, "b.db"), 1<<40)
	for range 64 {
		writeBlob(t, db, mebibyte)
	}
	var copying, committed sync.WaitGroup
	began := make(chan struct{})
	copying.Go(func() {
		close(began)
		if err := sqlstore.Copy(t.Context(), filepath.Join(dir, "b.db"), filepath.Join(dir, "copy.db")); err != nil {
			t.Error(err)
		}
	})
	<-began
	during := 0
	done := make(chan struct{})
	committed.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
				writeBlob(t, db, 1)
				during++
			}
		}
	})
	copying.Wait()
	close(done)
	committed.Wait()
	if during < 2 {
		t.Errorf("%d commits while 64 MiB were copied", during)
	}
	if version, err := sqlstore.Verify(t.Context(), filepath.Join(dir, "copy.db"), blobSchema(), "blobs"); version != 1 || err != nil {
		t.Errorf("the copy: version %d, %v", version, err)
	}
	if n := blobs(t, filepath.Join(dir, "copy.db")); n < 64 {
		t.Errorf("%d blobs in the copy", n)
	}
	if info, err := os.Stat(filepath.Join(dir, "copy.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode: %v, %v", info, err)
	}
	if err := sqlstore.Copy(t.Context(), filepath.Join(dir, "none.db"), filepath.Join(dir, "copy2.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a copy of nothing: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "none.db")); err == nil {
		t.Error("copying makes a store")
	}
}

func TestVerifyTellsWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string, content []byte) {
		if err := os.WriteFile(file(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	db := openBlobsAt(t, file("b.db"), 1<<40)
	for range 16 {
		writeBlob(t, db, 8<<10)
	}
	if err := sqlstore.Copy(t.Context(), file("b.db"), file("good.db")); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(file("good.db"))
	if err != nil {
		t.Fatal(err)
	}
	write("text.db", []byte(strings.Repeat("no database at all ", 1000)))
	write("empty.db", nil)
	write("short.db", good[:len(good)/2])
	damaged := bytes.Clone(good)
	for i := 4096; i < 3*4096; i++ {
		damaged[i] ^= 0x5a
	}
	write("damaged.db", damaged)
	write("inuse.db", good)
	write("inuse.db-wal", []byte("commits"))
	for name, want := range map[string]string{
		"none.db": "no such file", "text.db": "not a store", "empty.db": "no table", "short.db": "damaged", "damaged.db": "damaged", "inuse.db": "not whole",
	} {
		if _, err := sqlstore.Verify(t.Context(), file(name), blobSchema(), "blobs"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
	}
	if _, err := sqlstore.Verify(t.Context(), file("good.db"), blobSchema(), "cards"); err == nil || !strings.Contains(err.Error(), "no table cards") {
		t.Errorf("of another program: %v", err)
	}
	if _, err := sqlstore.Verify(t.Context(), file("good.db"), fstest.MapFS{}, "blobs"); err == nil || !strings.Contains(err.Error(), "version 1") {
		t.Errorf("of a newer program: %v", err)
	}
	if now, err := os.ReadFile(file("good.db")); err != nil || !bytes.Equal(now, good) {
		t.Error("looking at a file changed it")
	}
}

// TestReplace keeps the former store, with what its log holds, and leaves no log that
// would be taken for the new store's.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "b.db"), filepath.Join(dir, "backup.db")
	db := openBlobsAt(t, path, 1<<40)
	writeBlob(t, db, 10)
	if err := sqlstore.Copy(t.Context(), path, backup); err != nil {
		t.Fatal(err)
	}
	writeBlob(t, db, 10)
	writeBlob(t, db, 10)
	raw, err := os.ReadFile(path + "-wal")
	if err != nil || len(raw) == 0 {
		t.Fatalf("no log to lose: %v", err)
	}
	crashed := filepath.Join(dir, "crashed.db") // as a process that was killed leaves it
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(crashed+suffix, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)
	former, err := sqlstore.Replace(t.Context(), crashed, backup, now)
	if err != nil || former != crashed+".before-restore-20261130T020000.000Z" {
		t.Fatalf("%q, %v", former, err)
	}
	if n := blobs(t, crashed); n != 1 {
		t.Errorf("%d blobs after the restore, want 1", n)
	}
	if n := blobs(t, former); n != 3 {
		t.Errorf("%d blobs in the former store, want 3", n)
	}
	fresh := filepath.Join(dir, "fresh.db")
	if former, err := sqlstore.Replace(t.Context(), fresh, backup, now); former != "" || err != nil {
		t.Errorf("where there was none: %q, %v", former, err)
	}
	if n := blobs(t, fresh); n != 1 {
		t.Errorf("%d blobs where there was none, want 1", n)
	}
	orphan := filepath.Join(dir, "orphan.db") // the file is gone, its log is not
	if err := os.WriteFile(orphan+"-wal", raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.Replace(t.Context(), orphan, backup, now); err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, orphan); n != 1 {
		t.Errorf("%d blobs beside a log of another store, want 1", n)
	}
	damaged := filepath.Join(dir, "damaged.db")
	for name, content := range map[string]string{damaged: "not a database", damaged + "-wal": "its log"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	former, err = sqlstore.Replace(t.Context(), damaged, backup, now)
	if err != nil {
		t.Fatal(err)
	}
	if n := blobs(t, damaged); n != 1 {
		t.Errorf("%d blobs in the place of a damaged store, want 1", n)
	}
	if raw, err := os.ReadFile(former); err != nil || string(raw) != "not a database" {
		t.Errorf("the damaged store: %q, %v", raw, err)
	}
	if _, err := sqlstore.Replace(t.Context(), path, filepath.Join(dir, "none.db"), now); err == nil {
		t.Error("no error for a backup that is not there")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.incoming")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestReplaceWaitsForNoReader: with one in the way of the log the store stays as it is,
// and nothing of it is lost.
func TestReplaceWaitsForNoReader(t *testing.T) {
	dir := t.TempDir()
	path, backup := filepath.Join(dir, "b.db"), filepath.Join(dir, "backup.db")
	db := openBlobsAt(t, path, 1<<40)
	writeBlob(t, db, 10)
	if err := sqlstore.Copy(t.Context(), path, backup); err != nil {
		t.Fatal(err)
	}
	tx, err := db.Read().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM blobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	writeBlob(t, db, 10)
	if former, err := sqlstore.Replace(t.Context(), path, backup, time.Now()); err == nil || former != "" {
		t.Errorf("replaced under a reader: %q, %v", former, err)
	}
	if n := blobs(t, path); n != 2 {
		t.Errorf("%d blobs afterwards, want 2", n)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "b.db.*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
