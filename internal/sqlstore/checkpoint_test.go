package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

const mebibyte = 1 << 20

// openBlobs opens a store of blobs that copies beside its commits.
func openBlobs(t *testing.T, limit int64) *sqlstore.DB {
	t.Helper()
	return openBlobsAt(t, filepath.Join(t.TempDir(), "b.db"), limit)
}

func openBlobsAt(t *testing.T, path string, limit int64) *sqlstore.DB {
	t.Helper()
	db, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: sqlstore.URL("sqlite:" + path), WALLimit: limit, Migrations: blobSchema()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func writeBlob(t *testing.T, db *sqlstore.DB, size int) {
	t.Helper()
	err := db.Write(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT INTO blobs (data) VALUES (?)", bytes.Repeat([]byte{7}, size))
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestCommitsAreCopiedBeside: no commit does it, and yet it is done.
func TestCommitsAreCopiedBeside(t *testing.T) {
	db := openBlobs(t, 1<<40)
	var pages int
	err := db.Write(t.Context(), func(tx *sql.Tx) error { return tx.QueryRow("PRAGMA wal_autocheckpoint").Scan(&pages) })
	if err != nil || pages != 0 {
		t.Errorf("commits copy after %d pages, %v", pages, err)
	}
	for range 8 {
		writeBlob(t, db, mebibyte)
	}
	if !testtool.Eventually(t, func() bool { return db.SizeBytes()["db"] >= 8*mebibyte }) {
		t.Errorf("nothing is copied: %v", db.SizeBytes())
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestTheLogIsCutUnderLoad, although there is no moment without a commit.
func TestTheLogIsCutUnderLoad(t *testing.T) {
	db := openBlobs(t, mebibyte)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for range 1 << 14 { // 256 MiB at most
			if ctx.Err() != nil {
				return
			}
			writeBlob(t, db, 16<<10)
		}
	})
	peak := int64(0)
	cut := testtool.Eventually(t, func() bool {
		now := db.SizeBytes()["wal"]
		peak = max(peak, now)
		return peak > 2*mebibyte && now < peak/2
	})
	stop()
	load.Wait()
	if !cut {
		t.Errorf("the log grew to %d bytes and was never cut", peak)
	}
}

// TestAReaderDelaysTheCutOnly: as long as it reads an old state the log has to stay,
// and commits go on.
func TestAReaderDelaysTheCutOnly(t *testing.T) {
	db := openBlobs(t, mebibyte)
	writeBlob(t, db, 1)
	tx, err := db.Read().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM blobs").Scan(&n); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		writeBlob(t, db, mebibyte)
	}
	if size := db.SizeBytes()["wal"]; size < 8*mebibyte {
		t.Errorf("the log is cut to %d bytes under a reader", size)
	}
	if err := tx.QueryRow("SELECT count(*) FROM blobs").Scan(&n); err != nil || n != 1 {
		t.Errorf("the reader sees %d rows, %v", n, err)
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if !testtool.Eventually(t, func() bool { return db.SizeBytes()["wal"] <= mebibyte }) {
		t.Errorf("the log stays at %d bytes with nobody reading", db.SizeBytes()["wal"])
	}
	if err := db.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSingleStatementsAreCopiedToo, and are told of where they fail.
func TestSingleStatementsAreCopiedToo(t *testing.T) {
	db := openBlobs(t, 1<<40)
	insert, err := db.Prepare(t.Context(), "INSERT INTO blobs (id, data) VALUES (?, ?)")
	if err != nil {
		t.Fatal(err)
	}
	defer insert.Close()
	for i := range 8 {
		result, err := db.Exec(t.Context(), insert, i, bytes.Repeat([]byte{7}, mebibyte))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := result.RowsAffected(); n != 1 || err != nil {
			t.Errorf("%d rows, %v", n, err)
		}
	}
	if !testtool.Eventually(t, func() bool { return db.SizeBytes()["db"] >= 8*mebibyte }) {
		t.Errorf("nothing is copied: %v", db.SizeBytes())
	}
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		var now int
		return tx.QueryRow("PRAGMA max_page_count = 1").Scan(&now)
	})
	if err != nil {
		t.Fatal(err)
	}
	for err = nil; err == nil; {
		_, err = db.Exec(t.Context(), insert, nil, bytes.Repeat([]byte{7}, mebibyte))
	}
	if !sqlstore.IsFull(err) || db.Check(t.Context()) == nil {
		t.Errorf("a full store: %v, check %v", err, db.Check(t.Context()))
	}
}
