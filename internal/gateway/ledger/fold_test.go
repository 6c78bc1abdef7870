package ledger

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// unrun opens a ledger whose commits and folds the test makes, and tells what failed.
// end leaves the store as a process does that dies.
func unrun(t *testing.T, path string) (l *Ledger, failures *[]string, end func()) {
	t.Helper()
	failures = new([]string)
	l, _, err := New(t.Context(), Options{
		URL: sqlstore.URL("sqlite:" + path), Zone: china(), States: func() map[string][]byte { return nil },
		Observe: func(_ time.Duration, _ int, err error) {
			if err != nil {
				*failures = append(*failures, err.Error())
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	end = sync.OnceFunc(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return l, failures, end
}

// storeRows puts rows into one commit.
func storeRows(t *testing.T, l *Ledger, rows ...*Row) {
	t.Helper()
	var batch []*entry
	for _, r := range rows {
		e, err := newEntry(r, l.zone)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, e)
	}
	l.commit(batch)
	for _, e := range batch {
		if err := <-e.done; err != nil {
			t.Fatal(err)
		}
	}
}

// pending is how many requests wait for the next fold.
func pending(l *Ledger) (n int64) {
	for _, s := range l.pending.hourly {
		n += s.Requests
	}
	return n
}

// folded is how many requests the sums hold.
func folded(t *testing.T, l *Ledger) (n int64) {
	t.Helper()
	if err := l.db.Read().QueryRowContext(t.Context(), `SELECT coalesce(sum(requests), 0) FROM hourly`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatIsNotFoldedIsFoundAtStart, once, wherever the process ended: before the
// first fold, after some, with rows whose requests began long before, and with a fold
// that failed.
func TestWhatIsNotFoldedIsFoundAtStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, failures, end := unrun(t, path)
	r, stored := newRandom(11), int64(0)
	ends := func(name string) { // without a word; the next process goes on
		t.Helper()
		end()
		l, failures, end = unrun(t, path)
		if n := checkFolded(t, l); n != stored || pending(l) != 0 || l.behind.Load() {
			t.Errorf("%s: %d requests in the sums and %d pending, want %d", name, n, pending(l), stored)
		}
	}
	add := func(n int) {
		for range n {
			storeRows(t, l, r.row(l), r.row(l))
			stored += 2
		}
	}
	add(5)
	ends("before the first fold")
	l.fold(time.Now())
	add(5)
	l.fold(time.Now())
	add(3)
	ends("some rows after a fold")
	add(2)
	l.fold(time.Now())
	ends("right after a fold")

	old := r.row(l)
	for range 3 {
		l.last.Add(2 * foldDepth) // the clock goes on by two minutes
		add(1)
		l.fold(time.Now())
	}
	if int64(old.ID) >= l.floor {
		t.Fatal("the request is not below the floor")
	}
	storeRows(t, l, r.row(l), old, r.row(l)) // it has run for long
	stored += 3
	ends("with a request that began long before the last fold")

	add(1)
	refuse(t, l, "daily", true)
	l.fold(time.Now())
	if len(*failures) != 1 || !strings.Contains((*failures)[0], "refused") || pending(l) != 2 || !l.behind.Load() {
		t.Errorf("a fold that fails: told of %q, %d pending", *failures, pending(l))
	}
	if n := folded(t, l); n != stored-2 {
		t.Errorf("a fold that fails leaves %d requests in the hours, want %d", n, stored-2)
	}
	add(1)
	refuse(t, l, "daily", false)
	ends("after a fold that failed")
	add(1)
	refuse(t, l, "hourly", true)
	l.fold(time.Now())
	refuse(t, l, "hourly", false)
	add(1)
	l.fold(time.Now())
	if n := checkFolded(t, l); n != stored || l.behind.Load() {
		t.Errorf("the fold after one that failed: %d requests, want %d", n, stored)
	}
}

// TestAStoreFromBeforeFolds keeps its sums, and its rows count once.
func TestAStoreFromBeforeFolds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, end := unrun(t, path)
	r := newRandom(12)
	for range 20 {
		storeRows(t, l, r.row(l))
	}
	l.fold(time.Now())
	for _, query := range []string{`ALTER TABLE requests DROP COLUMN fold`, `DROP TABLE folds`, `DELETE FROM goose_db_version WHERE version_id >= 3`, `DROP TABLE clients`, `DROP TABLE audit`} {
		if err := l.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
			t.Fatal(err)
		}
	}
	end()
	l, _, end = unrun(t, path)
	if n := checkFolded(t, l); n != 20 {
		t.Errorf("%d requests, want 20", n)
	}
	storeRows(t, l, r.row(l))
	end()
	l, _, _ = unrun(t, path)
	if n := checkFolded(t, l); n != 21 {
		t.Errorf("%d requests, want 21", n)
	}
}

// TestAStartThatFindsAllInOrderWritesNothing, so that it succeeds on a full disk.
func TestAStartThatFindsAllInOrderWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, end := unrun(t, path)
	r := newRandom(14)
	storeRows(t, l, r.row(l), r.row(l))
	l.fold(time.Now())
	refuse(t, l, "folds", true)
	end()
	for range 2 {
		l, _, end = unrun(t, path)
		if n := checkFolded(t, l); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		end()
	}
	l, _, _ = unrun(t, path)
	refuse(t, l, "folds", false)
	storeRows(t, l, r.row(l))
	l.fold(time.Now())
	if n := checkFolded(t, l); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

// TestTheSumsAreReadAsTheRowsAre: who has seen a commit sees it in every sum, and
// without a reader they follow by themselves.
func TestTheSumsAreReadAsTheRowsAre(t *testing.T) {
	l, _, stop := started(t, filepath.Join(t.TempDir(), "l.db"))
	r := newRandom(13)
	for i := int64(1); i <= 200; i++ {
		row := r.row(l)
		row.StartedAt, row.Cost = at(11, 22, 10, 0), 1
		commit(t, l, row)
		for name, read := range map[string]func() (int64, error){
			"hours": func() (n int64, err error) {
				all, err := l.Hourly(t.Context(), Window{}, nil)
				for _, h := range all {
					n += h.Requests
				}
				return n, err
			},
			"days": func() (n int64, err error) {
				all, err := l.Daily(t.Context(), Window{}, nil)
				for _, d := range all {
					n += d.Requests
				}
				return n, err
			},
			"sums":  func() (int64, error) { s, err := l.Sums(t.Context(), Window{}); return s.Requests, err },
			"total": func() (int64, error) { s, err := l.Total(t.Context()); return s.Requests, err },
			"spent": func() (n int64, err error) {
				all, err := l.Spent(t.Context(), at(11, 22, 10, 0))
				for _, s := range all {
					n += int64(s.Day)
				}
				return n, err
			},
		} {
			if i%5 == int64(len(name))%5 || i == 200 { // each has its turn to be the first
				if n, err := read(); n != i || err != nil {
					t.Fatalf("%s of %d requests: %d, %v", name, i, n, err)
				}
			}
		}
	}
	commit(t, l, r.row(l))
	if !testtool.Eventually(t, func() bool { return folded(t, l) == 201 }) {
		t.Errorf("nobody reads, and the sums hold %d requests of 201", folded(t, l))
	}
	commit(t, l, r.row(l))
	stop()
}

// TestReadersDoNotHang where nobody folds any more.
func TestReadersDoNotHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f := newFolding()
		f.behind.Store(true)
		if err := f.fresh(ctx); err == nil {
			t.Error("no error for a reader whose time is over")
		}
		go func() { // asked, and then it takes too long
			<-f.asked
		}()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.fresh(ctx); err == nil {
			t.Error("no error for a reader whose time is over meanwhile")
		}
		close(f.stopped)
		if err := f.fresh(t.Context()); err != nil {
			t.Errorf("after the end: %v", err)
		}
	})
}
