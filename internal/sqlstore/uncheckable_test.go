package sqlstore

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A full disk must never be answered by the advice to give the file up.
func TestOnlyADamagedFileIsGivenUp(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "full.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	_, full := db.ExecContext(t.Context(), "CREATE TABLE t (a)")
	if full == nil {
		t.Fatal("one page held a table")
	}
	if text := uncheckable(full).Error(); !strings.Contains(text, "free some") || strings.Contains(text, "move the file away") {
		t.Errorf("a full disk: %s", text)
	}
	path := filepath.Join(t.TempDir(), "rubbish.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	rubbish, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rubbish.Close() })
	var result string
	damaged := rubbish.QueryRowContext(t.Context(), "PRAGMA quick_check(1)").Scan(&result)
	if damaged == nil {
		t.Fatal("rubbish passed as a database")
	}
	if text := uncheckable(damaged).Error(); !strings.Contains(text, "restore a backup") {
		t.Errorf("rubbish: %s", text)
	}
}
