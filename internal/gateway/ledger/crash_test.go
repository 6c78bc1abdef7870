package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// TestKilledUnderLoad kills a process that commits. Whatever it said is committed is
// there, and the sums hold.
func TestKilledUnderLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	command, lines, end := childProcess(t, roleLoad, path)
	var ids []string
	for len(ids) < 3000 && lines.Scan() {
		ids = append(ids, lines.Text())
	}
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		ids = append(ids, lines.Text())
	}
	end()
	if len(ids) < 3000 {
		t.Fatalf("the process ended after %d rows", len(ids))
	}
	l, _, _ := started(t, path)
	for _, id := range ids[:len(ids)-1] { // the last line may be cut
		if _, err := l.Get(t.Context(), id); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
	}
	if n := checkRollups(t, l); n < int64(len(ids)-1) {
		t.Errorf("%d requests in the sums, %d were committed", n, len(ids))
	}
}

// TestKilledInRetention kills a process that commits, reads sums, and deletes all that
// has ended, again and again. The sums are those of the rows that are left and of the
// deleted ones, which the store counts.
func TestKilledInRetention(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, stop := started(t, path)
	err := l.db.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`CREATE TABLE gone (n INTEGER); INSERT INTO gone VALUES (0); CREATE TRIGGER gone AFTER DELETE ON requests BEGIN UPDATE gone SET n = n + 1; END`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	rounds, deleted := 8, int64(0)
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		command, lines, end := childProcess(t, roleRetention, path)
		for n := 0; n < 300+100*round && lines.Scan(); n++ {
		}
		if err := command.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
		}
		end()
		l, _, stop := started(t, path)
		var left, gone, sums int64
		err := l.db.Read().QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM requests), (SELECT n FROM gone), (SELECT sum(requests) FROM hourly)`).Scan(&left, &gone, &sums)
		if err != nil || sums != left+gone {
			t.Errorf("round %d: %d requests in the sums, %d are left and %d deleted, %v", round, sums, left, gone, err)
		}
		deleted = gone
		stop()
	}
	if deleted == 0 {
		t.Error("nothing was deleted")
	}
}

// playRetention commits for ever, beside readers and deletions.
func playRetention(path string, out io.Writer) error {
	return play(path, out, func(l *Ledger) error {
		for {
			if _, err := l.Total(context.Background()); err != nil {
				return err
			}
			if err := l.Sweep(context.Background(), ID(l.last.Load()).Time().Add(time.Hour)); err != nil {
				return err
			}
		}
	})
}

// playLoad commits for ever, and says what is committed.
func playLoad(path string, out io.Writer) error {
	return play(path, out, func(*Ledger) error { select {} })
}

// play commits for ever, and does something else beside.
func play(path string, out io.Writer, beside func(*Ledger) error) error {
	l, _, err := New(context.Background(), Options{
		URL: sqlstore.URL("sqlite:" + path), Zone: china(), Observe: func(time.Duration, int, error) {}, States: func() map[string][]byte { return nil },
	})
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	var mu sync.Mutex
	for side := range 16 {
		go func() {
			for r := newRandom(uint64(side)); ; {
				row := r.row(l)
				if err := l.Commit(row, time.Minute, false); err != nil {
					failed <- err
					return
				}
				mu.Lock()
				_, _ = fmt.Fprintln(out, row.ID)
				mu.Unlock()
			}
		}()
	}
	go func() { failed <- l.Run(context.Background()) }()
	go func() { failed <- beside(l) }()
	return <-failed
}
