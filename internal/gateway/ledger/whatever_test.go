package ledger

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// history is what a ledger was told, beside the ledger: what its sums must be.
type history struct {
	t     *testing.T
	r     random
	path  string
	l     *Ledger
	zone  *time.Location
	sums  *rollups   // that a fold has taken
	ahead []Row      // ended and stored since
	ended []Row      // all that are still there
	begun []*Open    // of requests that have not ended
	shown map[ID]Row // of begun, as stored
}

// TestTheSumsWhateverHappens plays long random lives of a ledger: rows alone and
// together, twice, late, given up, of requests that were open; commits and folds that
// fail; clocks that jump; retention that reaches what has just ended; ends without a
// word, and starts in another timezone. The sums are those of all that was stored.
func TestTheSumsWhateverHappens(t *testing.T) {
	lives, steps := uint64(20), 150
	if testing.Short() {
		lives, steps = 3, 80
	}
	for seed := range lives {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			h := &history{t: t, r: newRandom(seed), path: filepath.Join(t.TempDir(), "l.db"), sums: newRollups(), shown: map[ID]Row{}}
			h.start()
			defer func() { _ = h.l.Close() }()
			acts := []func(){h.one, h.one, h.several, h.twice, h.givenUp, h.begin, h.end, h.end, h.show, h.refuseRows, h.refuseFold, h.jump, h.retention, h.fold, h.die}
			for range steps {
				acts[h.r.IntN(len(acts))]()
			}
			h.fold()
			h.die()
		})
	}
}

func (h *history) start() {
	h.zone = []*time.Location{china(), time.UTC, time.FixedZone("", -7*60*60)}[h.r.IntN(3)]
	l, interrupted, err := New(h.t.Context(), Options{
		URL: sqlstore.URL("sqlite:" + h.path), Zone: h.zone, States: func() map[string][]byte { return nil }, Observe: func(time.Duration, int, error) {},
	})
	if err != nil {
		h.t.Fatal(err)
	}
	h.l = l
	if interrupted != int64(len(h.shown)) {
		h.t.Errorf("%d requests were interrupted, want %d", interrupted, len(h.shown))
	}
	for _, row := range h.shown {
		row.Status = Interrupted
		h.ahead, h.ended = append(h.ahead, row), append(h.ended, row)
	}
	h.begun, h.shown = nil, map[ID]Row{}
	h.took()
	h.check()
}

// die ends the process without a word.
func (h *history) die() {
	if err := h.l.Close(); err != nil {
		h.t.Error(err)
	}
	h.start()
}

// took notes that the sums hold everything, by the days of the zone.
func (h *history) took() {
	for _, row := range h.ahead {
		x := shareOf(&row, h.zone)
		h.sums.add(&x)
	}
	h.ahead = nil
}

// store makes a commit of rows that have ended, of which some may have been stored
// before.
func (h *history) store(rows ...*Row) error {
	var batch []*entry
	for _, row := range rows {
		e, err := newEntry(row, h.zone)
		h.must(err)
		batch = append(batch, e)
	}
	return h.commit(batch...)
}

// commit makes a commit, and notes which open requests have rows since.
func (h *history) commit(batch ...*entry) error {
	h.l.commit(batch)
	for _, o := range h.begun {
		if o.written != "" {
			h.shown[o.row.ID] = *o.row
		}
	}
	var errs []error
	for _, e := range batch {
		errs = append(errs, <-e.done)
	}
	return errors.Join(errs...)
}

// add stores rows that have ended.
func (h *history) add(rows ...*Row) {
	h.must(h.store(rows...))
	for _, row := range rows {
		h.ahead, h.ended = append(h.ahead, *row), append(h.ended, *row)
		delete(h.shown, row.ID)
	}
}

func (h *history) row() *Row { return h.r.row(h.l) }

func (h *history) one() { h.add(h.row()) }

func (h *history) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Error(err)
	}
}

func (h *history) several() {
	rows := []*Row{h.row(), h.row(), h.row()}
	rows[1].ResponseID = "resp"
	h.add(rows[:1+h.r.IntN(3)]...)
}

// twice stores again what has ended before, with other figures.
func (h *history) twice() {
	if len(h.ended) == 0 {
		return
	}
	row := h.ended[h.r.IntN(len(h.ended))]
	row.Cost++
	h.must(h.store(&row))
}

// givenUp lets the owner of a row go before it is stored.
func (h *history) givenUp() {
	e, err := newEntry(h.row(), h.zone)
	h.must(err)
	e.state.Store(withdrawn)
	h.must(h.commit(e))
}

func (h *history) begin() {
	row := h.row()
	row.Status, row.Duration, row.TTFB, row.Usage, row.Cost = Pending, 0, 0, llm.Usage{}, 0
	h.begun = append(h.begun, h.l.Begin(row))
}

// show stores the rows of what is open.
func (h *history) show() { h.must(h.commit()) }

// end stores a request that began before, maybe long ago.
func (h *history) end() {
	if len(h.begun) == 0 {
		return
	}
	i := h.r.IntN(len(h.begun))
	o := h.begun[i]
	row := *o.row
	row.Status, row.Duration, row.Cost = Completed, time.Second, 5
	h.begun = slices.Delete(h.begun, i, i+1)
	h.add(&row)
	h.l.End(o)
}

// refusing runs fn while the store refuses an operation on a table.
func (h *history) refusing(on, how string, fn func()) {
	run := func(query string) {
		if err := h.l.db.Write(h.t.Context(), func(tx *sql.Tx) error { _, err := tx.Exec(query); return err }); err != nil {
			h.t.Fatal(err)
		}
	}
	run(`CREATE TRIGGER refuse ` + on + ` BEGIN SELECT raise(` + how + `, 'refused'); END`)
	fn()
	run(`DROP TRIGGER refuse`)
}

func (h *history) how() string { return h.r.of("ABORT", "ROLLBACK") }

func (h *history) refuseRows() {
	h.refusing(h.r.of("AFTER INSERT ON requests", "BEFORE INSERT ON requests"), h.how(), func() {
		rows := []*Row{h.row(), h.row()}
		if err := h.store(rows[:1+h.r.IntN(2)]...); err == nil {
			h.t.Error("a row that is refused is taken for stored")
		}
	})
}

func (h *history) refuseFold() {
	h.one()
	h.refusing(h.r.of("AFTER INSERT ON hourly", "AFTER UPDATE ON hourly", "BEFORE INSERT ON daily", "AFTER UPDATE ON folds"), h.how(), func() {
		h.l.fold(time.Now())
		if !h.l.behind.Load() { // the refused part was not needed
			h.took()
		}
	})
	h.one()
}

// jump moves the clock by hours. Where it goes back, ids go on.
func (h *history) jump() {
	h.l.NextID(ID(h.l.last.Load()).Time().Add(time.Duration(h.r.IntN(49)-24) * time.Hour))
}

// retention deletes all that may go, whatever its age.
func (h *history) retention() {
	if err := h.l.sweep(h.t.Context(), requestsByAge(), h.l.last.Load()+1); err != nil {
		h.t.Error(err)
	}
	h.ended = nil
}

func (h *history) fold() {
	h.l.fold(time.Now())
	h.took()
	h.check()
}

// check compares every line of the sums.
func (h *history) check() {
	h.t.Helper()
	if diff := cmp.Diff(h.sums.lines(), stored(h.t, h.l)); diff != "" {
		h.t.Fatalf("the sums are not those of what was stored:\n%s", diff)
	}
}

// lines are the requests and costs of each hour and day.
func (r *rollups) lines() map[string][2]int64 {
	all := map[string][2]int64{}
	for k, s := range r.hourly {
		all[fmt.Sprint("hour ", k.hour, k.backend, k.model, k.client)] = [2]int64{s.Requests, int64(s.Cost)}
	}
	for k, s := range r.daily {
		all[fmt.Sprint("day ", k.day, k.pool, k.backend, k.client)] = [2]int64{s.Requests, int64(s.Cost)}
	}
	return all
}

// stored are the lines of the store.
func stored(t *testing.T, l *Ledger) map[string][2]int64 {
	t.Helper()
	all := map[string][2]int64{}
	for kind, query := range map[string]string{
		"hour ": `SELECT hour || backend || model || client, requests, cost FROM hourly`, "day ": `SELECT day || pool || backend || client, requests, cost FROM daily`,
	} {
		rows, err := l.db.Read().QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		for rows.Next() {
			var key string
			var line [2]int64
			if err := rows.Scan(&key, &line[0], &line[1]); err != nil {
				t.Error(err)
			}
			all[kind+key] = line
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
