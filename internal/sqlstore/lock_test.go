package sqlstore_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "x.db")
	if served, err := sqlstore.Served(path); served || err != nil {
		t.Errorf("before there is anything: %t, %v", served, err)
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("asking leaves a trace: %v", err)
	}
	unlock, err := sqlstore.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.Lock(path); !errors.Is(err, sqlstore.ErrServed) {
		t.Errorf("a second lock: %v", err)
	}
	if served, err := sqlstore.Served(path); !served || err != nil {
		t.Errorf("while it is locked: %t, %v", served, err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	for range 2 { // asking takes nothing
		if served, err := sqlstore.Served(path); served || err != nil {
			t.Errorf("afterwards: %t, %v", served, err)
		}
	}
	if unlock, err = sqlstore.Lock(path); err != nil {
		t.Fatal(err)
	}
	if err := unlock(); err != nil {
		t.Error(err)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlstore.Lock(filepath.Join(blocked, "x.db")); err == nil {
		t.Error("no error for a folder that cannot be made")
	}
}
