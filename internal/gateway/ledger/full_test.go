package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// TestAFullStore refuses rows whole, says so, and takes them again once there is
// space, without a restart.
func TestAFullStore(t *testing.T) {
	states, events := map[string][]byte{}, []CooldownEvent{}
	l, _, err := New(t.Context(), Options{
		URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "l.db")), Zone: china(), Observe: func(time.Duration, int, error) {},
		States: func() map[string][]byte { return states }, Events: func() []CooldownEvent { return events },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := newRandom(8)
	one := func() error { // a commit, without the loop
		e, err := newEntry(r.row(l), l.zone)
		if err != nil {
			t.Fatal(err)
		}
		l.commit([]*entry{e})
		l.fold(time.Now())
		return <-e.done
	}
	if err := one(); err != nil {
		t.Fatal(err)
	}
	limit(t, l, 1)
	stored := 1
	for err = nil; err == nil; stored++ {
		err = one()
	}
	stored--
	if !sqlstore.IsFull(err) {
		t.Errorf("a full store is not told apart: %v", err)
	}
	if err := l.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("readiness of a full store: %v", err)
	}
	open := Row{ID: l.NextID(time.Now()), Status: Pending, Model: strings.Repeat("m", 50_000), StartedAt: time.Now().Add(-time.Minute)}
	l.Begin(&open)
	states["b"] = []byte(`{"detail":"` + strings.Repeat("x", 50_000) + `"}`)
	events = []CooldownEvent{{Backend: "b", StartedAt: time.Unix(1_800_000_000, 0), Summary: strings.Repeat("s", 50_000)}}
	if err := one(); !sqlstore.IsFull(err) {
		t.Errorf("with what nobody waits for: %v", err)
	}
	if n := pending(l) + folded(t, l); n != int64(stored) {
		t.Errorf("%d requests, want %d", n, stored)
	}
	states, events = nil, nil
	limit(t, l, 1<<30)
	if err := one(); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if err := l.Ready(t.Context()); err != nil {
		t.Errorf("readiness with space again: %v", err)
	}
	if n := checkFolded(t, l); n != int64(stored+1) {
		t.Errorf("%d requests, want %d", n, stored+1)
	}
	kept, err := l.States(t.Context())
	cooldowns, cerr := l.Cooldowns(t.Context(), Window{}, nil)
	if err != nil || cerr != nil || len(kept) != 1 || len(cooldowns) != 1 {
		t.Errorf("states and cooldowns from when it was full: %d, %d, %v, %v", len(kept), len(cooldowns), err, cerr)
	}
	if row, err := l.Get(t.Context(), open.ID.String()); err != nil || row.Status != Pending {
		t.Errorf("the open request from when it was full: %v", err)
	}
}

// limit lets the store have so many pages, or as many as it has now.
func limit(t *testing.T, l *Ledger, pages int) {
	t.Helper()
	err := l.db.Write(t.Context(), func(tx *sql.Tx) error {
		var now int
		return tx.QueryRow(fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&now)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAFullDisk is the same by a limit of the system, in a process of its own: what
// cannot grow is the log.
func TestAFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	_, lines, end := childProcess(t, roleFull, path)
	for lines.Scan() {
		t.Log(lines.Text())
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	l, _, _ := started(t, path)
	if n := checkRollups(t, l); n < 3 {
		t.Errorf("%d requests", n)
	}
}

// playFull commits until the system refuses to let files grow, and then again when it
// does not any more.
func playFull(path string, out io.Writer) error {
	signal.Ignore(syscall.SIGXFSZ) // refused writes return an error then
	l, _, err := New(context.Background(), Options{
		URL: sqlstore.URL("sqlite:" + path), Zone: china(), Observe: func(time.Duration, int, error) {}, States: func() map[string][]byte { return nil },
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	r := newRandom(4)
	var limits syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limits); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 300_000, Max: limits.Max}); err != nil {
		return err
	}
	stored := 0
	for ; err == nil && stored < 10_000; stored++ {
		err = l.Commit(r.row(l), time.Minute, false)
	}
	_, _ = fmt.Fprintf(out, "after %d rows: %v; ready: %v\n", stored, err, l.Ready(ctx))
	if !sqlstore.IsFull(err) || l.Ready(ctx) == nil {
		return fmt.Errorf("a full disk is not told apart: %w", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limits); err != nil {
		return err
	}
	if err := l.Commit(r.row(l), time.Minute, false); err != nil {
		return fmt.Errorf("with space again: %w", err)
	}
	if err := l.Ready(ctx); err != nil {
		return fmt.Errorf("readiness with space again: %w", err)
	}
	cancel()
	return errors.Join(<-done, l.Close())
}
