package ledger

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// TestWhoSeesARowSeesItInTheSums: many read rows, then sums, while others commit, and
// until after the end.
func TestWhoSeesARowSeesItInTheSums(t *testing.T) {
	l, _, stop := started(t, filepath.Join(t.TempDir(), "l.db"))
	var ended atomic.Bool
	var readers, writers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !ended.Load() {
				counts, err := l.Count(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				sums, err := l.Sums(t.Context(), Window{})
				if rows := counts[Completed] + counts[Failed] + counts[Cancelled] + counts[Interrupted]; err != nil || sums.Requests < rows {
					t.Errorf("%d requests in the sums of at least %d, %v", sums.Requests, rows, err)
					return
				}
			}
		})
	}
	for side := range uint64(2) {
		writers.Go(func() {
			for r, n := newRandom(31+side), 0; n < 700; n++ {
				commit(t, l, r.row(l))
			}
		})
	}
	writers.Wait()
	ended.Store(true)
	readers.Wait()
	stop()
}

// TestReadersOfAStoreThatStands: who reads sums while a commit stands waits as long as
// it wants to, and no longer; then all that was committed is there.
func TestReadersOfAStoreThatStands(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, _ := started(t, path)
	r := newRandom(41)
	commit(t, l, r.row(l))
	checkRollups(t, l)
	release := occupy(t, path)
	var wait sync.WaitGroup
	wait.Go(func() { commit(t, l, r.row(l)) })
	if !testtool.Eventually(t, l.behind.Load) {
		t.Fatal("no commit stands")
	}
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := l.Total(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a reader in a hurry: %v", err)
		}
		cancel()
	}
	for range 10 { // and some that have time
		wait.Go(func() {
			if _, err := l.Total(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	release()
	wait.Wait()
	if n := checkRollups(t, l); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

// occupy holds the store's lock for writing until release.
func occupy(t *testing.T, path string) (release func()) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(tx.Rollback(), db.Close()); err != nil {
			t.Error(err)
		}
	}
}

// TestReadersAtTheEnd get sums or an error, and none waits for what has ended.
func TestReadersAtTheEnd(t *testing.T) {
	for seed := range uint64(20) {
		l, _, stop := started(t, filepath.Join(t.TempDir(), "l.db"))
		var wait sync.WaitGroup
		var reads atomic.Int64
		for range 4 {
			wait.Go(func() {
				for {
					if _, err := l.Total(t.Context()); err != nil {
						return // closed
					}
					reads.Add(1)
				}
			})
		}
		for r, n := newRandom(seed), 0; n < 20 || reads.Load() == 0; n++ {
			commit(t, l, r.row(l))
		}
		stop()
		wait.Wait()
	}
}
