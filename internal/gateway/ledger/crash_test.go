package ledger

import (
	"context"
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

// playLoad commits for ever, and says what is committed.
func playLoad(path string, out io.Writer) error {
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
	return <-failed
}
