package ledger

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// china has no daylight saving, so that SQL can tell its days.
const chinaOffset = 8 * 60 * 60

func china() *time.Location { return time.FixedZone("CST", chinaOffset) }

// started opens the ledger and runs it. stop ends it in order.
func started(t testing.TB, path string) (l *Ledger, interrupted int64, stop func()) {
	t.Helper()
	l, interrupted, err := New(context.Background(), Options{
		URL: sqlstore.URL("sqlite:" + path), Zone: china(), Observe: func(time.Duration, int, error) {}, States: func() map[string][]byte { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, interrupted, stop
}

// random makes rows of a month, of all outcomes.
type random struct{ *rand.Rand }

func newRandom(seed uint64) random { return random{rand.New(rand.NewPCG(seed, 7))} }

func (r random) of(options ...string) string { return options[r.IntN(len(options))] }

func (r random) row(l *Ledger) *Row {
	at := time.Date(2026, 10, 20, 0, 0, 0, 0, time.UTC).Add(time.Duration(r.Int64N(int64(30 * 24 * time.Hour))))
	row := &Row{
		ID: l.NextID(at), Status: Statuses()[2+r.IntN(4)], HTTPStatus: 200, Model: r.of("a", "b", "c"), Client: fmt.Sprintf("client-%d", r.IntN(20)), Attempts: 1,
		StartedAt: at, Duration: time.Duration(r.Int64N(int64(time.Minute))),
		Usage: llm.Usage{Input: r.Int64N(1000), Output: r.Int64N(1000), CacheRead: r.Int64N(100), CacheWrite: r.Int64N(100), Source: llm.Reported}, Cost: llm.Nano(r.Int64N(1e12)),
	}
	row.Usage.Reasoning = r.Int64N(row.Usage.Output + 1)
	if r.IntN(4) > 0 {
		n := r.IntN(6)
		row.Backend, row.Pool, row.TTFB = fmt.Sprintf("backend-%d", n), []string{"primary", "fallback"}[n%2], time.Duration(r.Int64N(int64(time.Second)))
	}
	if r.IntN(10) == 0 {
		row.Model, row.Label = fmt.Sprintf("invented-%d", r.IntN(1000)), "other"
	}
	if r.IntN(20) == 0 {
		row.Cost = 1 << 62 // of an absurd price
	}
	return row
}

// lines that are in one table and not in the sums of rows, or the other way round.
const (
	hourlyOfRows = `SELECT started_at / 3600000, backend, coalesce(json_extract(detail, '$.label'), model), client, count(*), sum(status IN ('failed', 'interrupted')), sum(input), sum(output),
sum(cache_read), sum(cache_write), sum(coalesce(json_extract(detail, '$.reasoning'), 0)), sum(cost), sum(duration_us), sum(ttfb_us), sum(ttfb_us > 0)
FROM requests WHERE status NOT IN ('pending', 'streaming') GROUP BY 1, 2, 3, 4`
	dailyOfRows = `SELECT (started_at / 1000 + 28800) / 86400, pool, backend, client, count(*), sum(status IN ('failed', 'interrupted')), sum(input), sum(output),
sum(cache_read), sum(cache_write), sum(coalesce(json_extract(detail, '$.reasoning'), 0)), sum(cost)
FROM requests WHERE status NOT IN ('pending', 'streaming') GROUP BY 1, 2, 3, 4`
)

// checkRollups says where rollups are not the sum of rows for who reads them now, and
// returns how many rows they hold.
func checkRollups(t testing.TB, l *Ledger) (requests int64) {
	t.Helper()
	if err := l.fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return checkFolded(t, l)
}

// checkFolded does the same for the sums as they are.
func checkFolded(t testing.TB, l *Ledger) (requests int64) {
	t.Helper()
	for table, sums := range map[string]string{"hourly": hourlyOfRows, "daily": dailyOfRows} {
		var missing, extra int
		query := fmt.Sprintf(`WITH want AS (%s) SELECT (SELECT count(*) FROM (SELECT * FROM want EXCEPT SELECT * FROM %s)), (SELECT count(*) FROM (SELECT * FROM %s EXCEPT SELECT * FROM want))`, sums, table, table)
		if err := l.db.Read().QueryRowContext(t.Context(), query).Scan(&missing, &extra); err != nil || missing+extra > 0 {
			t.Errorf("%s: %d lines are missing, %d are not the sum of rows, %v", table, missing, extra, err)
		}
	}
	if err := l.db.Read().QueryRowContext(t.Context(), `SELECT coalesce(sum(requests), 0) FROM hourly`).Scan(&requests); err != nil {
		t.Error(err)
	}
	return requests
}

// TestRollupsAreTheSumOfRows over random requests from many sides at once: also over
// requests that were open first, rows that come twice, an end without a drain in the
// middle, and a restart.
func TestRollupsAreTheSumOfRows(t *testing.T) {
	total := 100_000
	if testing.Short() {
		total = 10_000
	}
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, stop := started(t, path)
	half := total / 2
	load(t, l, 1, half)
	stale := openRows(t, l, 50)
	copied := copyStore(t, l, path)
	again, interrupted, stopAgain := started(t, copied)
	if interrupted != int64(len(stale)) {
		t.Errorf("%d requests were interrupted, want %d", interrupted, len(stale))
	}
	if n := checkRollups(t, again); n != int64(half+len(stale)) {
		t.Errorf("after the end in the middle: %d requests, want %d", n, half+len(stale))
	}
	stopAgain()
	for i, o := range stale { // the first process had not ended after all
		row := *o.row
		row.Status, row.Duration, row.Backend, row.Pool = Completed, time.Second, "late", "primary"
		if i%2 == 0 {
			commit(t, l, &row)
		}
		l.End(o)
	}
	load(t, l, 2, total-half)
	if n := checkRollups(t, l); n != int64(total+len(stale)/2) {
		t.Errorf("%d requests, want %d", n, total+len(stale)/2)
	}
	stop()
	l, interrupted, _ = started(t, path)
	if n := checkRollups(t, l); n != int64(total+len(stale)) || interrupted != int64(len(stale)/2) {
		t.Errorf("after a restart: %d requests, %d interrupted", n, interrupted)
	}
	if _, since, err := l.Reliability(t.Context(), Window{}); err != nil || since.IsZero() {
		t.Errorf("reliability is to be told of the newest %d requests, not since %s, %v", MaxReliabilityRows, since, err)
	}
}

func commit(t testing.TB, l *Ledger, row *Row) {
	if err := l.Commit(row, time.Minute, false); err != nil {
		t.Error(err)
	}
}

// load commits n rows from many sides, some of them twice.
func load(t *testing.T, l *Ledger, seed uint64, n int) {
	t.Helper()
	const sides = 64
	var left atomic.Int64
	left.Store(int64(n))
	var wait sync.WaitGroup
	for side := range sides {
		r := newRandom(seed<<32 + uint64(side))
		wait.Go(func() {
			for left.Add(-1) >= 0 {
				row := r.row(l)
				commit(t, l, row)
				if r.IntN(50) == 0 {
					row.Cost++
					commit(t, l, row)
				}
			}
		})
	}
	wait.Wait()
}

// openRows begins requests that are open for long, and waits until they have rows.
func openRows(t *testing.T, l *Ledger, n int) []*Open {
	t.Helper()
	r := newRandom(99)
	var all []*Open
	for range n {
		row := r.row(l)
		row.Status, row.Duration, row.TTFB, row.Usage, row.Cost = Pending, 0, 0, llm.Usage{}, 0
		all = append(all, l.Begin(row))
	}
	if !testtool.Eventually(t, func() bool {
		counts, err := l.Count(t.Context())
		return err == nil && counts[Pending] == int64(n)
	}) {
		t.Fatal("open requests get no rows")
	}
	return all
}

// copyStore copies the files as a power cut would leave them. The reader that is open
// meanwhile keeps the log from being cut.
func copyStore(t *testing.T, l *Ledger, path string) string {
	t.Helper()
	tx, err := l.db.Read().BeginTx(t.Context(), &sql.TxOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := newestID(t.Context(), l.db.Read()); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM daily`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		if err == nil {
			err = os.WriteFile(to+suffix, raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// refuse has every insert into the table fail, or every update of folds; or none any
// more.
func refuse(t *testing.T, l *Ledger, table string, on bool) {
	t.Helper()
	query := `DROP TRIGGER refuse`
	if on && table == "folds" {
		query = `CREATE TRIGGER refuse BEFORE UPDATE ON folds BEGIN SELECT raise(FAIL, 'refused'); END`
	} else if on {
		query = `CREATE TRIGGER refuse BEFORE INSERT ON ` + table + ` BEGIN SELECT raise(FAIL, 'refused'); END`
	}
	if err := l.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
		t.Fatal(err)
	}
}

// TestCommitsThatFailLeaveNoTrace in the sums of those that follow.
func TestCommitsThatFailLeaveNoTrace(t *testing.T) {
	l, _, _ := started(t, filepath.Join(t.TempDir(), "l.db"))
	r := newRandom(5)
	for _, table := range []string{"requests", "response_pins"} {
		refuse(t, l, table, true)
		row := r.row(l)
		row.ResponseID, row.Backend = "resp_1", "b"
		if err := l.Commit(row, time.Minute, false); err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%s refused: %v", table, err)
		}
		refuse(t, l, table, false)
		if _, err := l.Get(t.Context(), row.ID.String()); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s refused, and the row is there: %v", table, err)
		}
	}
	commit(t, l, r.row(l))
	if n := checkRollups(t, l); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
}

// TestAStoreWithoutRollupsGetsThem, once.
func TestAStoreWithoutRollupsGetsThem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, _, stop := started(t, path)
	load(t, l, 3, 500)
	checkRollups(t, l)
	if err := l.db.Write(t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(`DELETE FROM hourly; DELETE FROM daily`); return err }); err != nil {
		t.Fatal(err)
	}
	stop()
	for range 2 {
		l, _, stop := started(t, path)
		if n := checkRollups(t, l); n != 500 {
			t.Errorf("%d requests, want 500", n)
		}
		stop()
	}
}

func TestDaysOfAZone(t *testing.T) {
	for _, c := range []struct{ zone, at, date string }{
		{"Asia/Shanghai", "2026-11-22T15:59:59Z", "2026-11-22"},
		{"Asia/Shanghai", "2026-11-22T16:00:00Z", "2026-11-23"},
		{"Asia/Kathmandu", "2026-11-22T18:14:59Z", "2026-11-22"},
		{"Asia/Kathmandu", "2026-11-22T18:15:00Z", "2026-11-23"},
		{"America/New_York", "2026-11-01T03:59:59Z", "2026-10-31"}, // the clocks go back on the 1st
		{"America/New_York", "2026-11-02T04:59:59Z", "2026-11-01"},
		{"America/New_York", "2026-11-02T05:00:00Z", "2026-11-02"},
		{"UTC", "1969-12-31T23:59:59Z", "1969-12-31"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, c.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := dateOf(dayOf(at, zone)).Format(time.DateOnly); got != c.date {
			t.Errorf("%s in %s is %s, want %s", c.at, c.zone, got, c.date)
		}
	}
	if h := hourOf(time.Unix(-1, 0)); h != -1 {
		t.Errorf("the hour before 1970 is %d", h)
	}
}
