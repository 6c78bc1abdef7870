package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func opened(t *testing.T, path string) (*Ledger, func()) {
	t.Helper()
	states := map[string][]byte{"b": []byte(`{"level":2}`)}
	l, _, err := New(t.Context(), Options{
		URL: sqlstore.URL("sqlite:" + path), Observe: func(time.Duration, int, error) {},
		States: func() map[string][]byte { out := states; states = nil; return out },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	stop := sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return l, stop
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, stop := opened(t, path)
	now := time.Now().UTC().Truncate(time.Millisecond)
	price := llm.Price{Input: 1, CacheWrite: 4}
	row := Row{
		ID: l.NextID(now), RequestID: "mine", Status: Failed, HTTPStatus: 502, Class: llm.Timeout, Model: "m", Backend: "b", Pool: "p", Client: "c", Attempts: 2,
		StartedAt: now, Duration: 1500 * time.Millisecond, TTFB: 20 * time.Millisecond, Usage: llm.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 1, CacheWrite1h: 2, Source: llm.Estimated}, Cost: 7, Label: "other", ResponseID: "resp_1",
		Detail:   Detail{Dialect: "openai", Stream: true, NativeID: "n", Provider: "x", ClientIP: "127.0.0.1", UserAgent: "u", Code: "k", Error: "e", Price: &price, UsageSource: llm.Estimated, Reasoning: 1, CacheWrite1h: 2, Label: "other", ResponseID: "resp_1"},
		Timeline: []Attempt{{Outcome: OutcomeSkipped, Backend: "a", Skip: "cooling"}, {Outcome: OutcomeFailed, Backend: "b", Class: llm.Timeout, Started: time.Millisecond, Duration: time.Second}},
	}
	if err := l.Commit(&row, time.Minute, false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{row.ID.String(), "mine", row.ID.RequestID()} {
		got, err := l.Get(t.Context(), name)
		if diff := cmp.Diff(row, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	if _, err := l.Get(t.Context(), "other"); !errors.Is(err, ErrNotFound) {
		t.Errorf("another: %v", err)
	}
	states, err := l.States(t.Context())
	if err != nil || string(states["b"]) != `{"level":2}` {
		t.Errorf("states %s, %v", states, err)
	}
	if err := l.Sweep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if rows, err := l.List(t.Context(), Filter{Limit: 9}); err != nil || len(rows) != 1 {
		t.Errorf("a row of now was swept: %v", err)
	}
	if err := l.Sweep(t.Context(), now.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if rows, err := l.List(t.Context(), Filter{Limit: 9}); err != nil || len(rows) != 0 {
		t.Errorf("an old row is left: %v", err)
	}
	stop()
	again, _ := opened(t, path)
	if id := again.NextID(time.Unix(0, 0)); id <= 0 {
		t.Errorf("id %d", id)
	}
}

// TestAnOpenRowHidesNoFinalOne, in whatever order the two are stored.
func TestAnOpenRowHidesNoFinalOne(t *testing.T) {
	l, _ := opened(t, filepath.Join(t.TempDir(), "l.db"))
	row := Row{ID: l.NextID(time.Now()), StartedAt: time.Now().Add(-time.Minute), Status: Pending, Model: "m"}
	open := l.Begin(&row)
	open.Streams("b")
	if l.OpenRequests() != 1 {
		t.Error("not open")
	}
	due := l.dueOpen(time.Now())
	if len(due) != 1 || due[0].Status != Streaming || due[0].Backend != "b" || len(l.dueOpen(time.Now())) != 0 {
		t.Fatalf("due %+v", due)
	}
	final := row
	final.Status = Completed
	if err := l.Commit(&final, time.Minute, false); err != nil {
		t.Fatal(err)
	}
	open.written = "" // the sweep comes late
	l.Poke()
	if err := l.Commit(&Row{ID: l.NextID(time.Now()), Status: Failed}, time.Minute, false); err != nil {
		t.Fatal(err)
	}
	l.End(open)
	if got, err := l.Get(t.Context(), row.ID.String()); err != nil || got.Status != Completed {
		t.Errorf("%+v, %v", got.Status, err)
	}
}

func TestOpenRowsBecomeInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l.db")
	l, stop := opened(t, path)
	id := l.NextID(time.Now())
	if err := l.Commit(&Row{ID: id, Status: Pending}, time.Minute, false); err != nil {
		t.Fatal(err)
	}
	stop()
	again, n, err := New(t.Context(), Options{URL: sqlstore.URL("sqlite:" + path)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, err := again.Get(t.Context(), id.String()); err != nil || got.Status != Interrupted || n != 1 {
		t.Errorf("%s, %d, %v", got.Status, n, err)
	}
	if total, err := again.Total(t.Context()); err != nil || total.Requests != 1 || total.Errors != 1 {
		t.Errorf("it counts as %+v, %v", total, err)
	}
	if next := again.NextID(time.Unix(1, 0)); next <= id {
		t.Errorf("with the clock set back: %s after %s", next, id)
	}
}

func TestCommitDoesNotWaitForEver(t *testing.T) {
	l, _, err := New(t.Context(), Options{URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "l.db"))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Commit(&Row{ID: 1}, time.Millisecond, false); !errors.Is(err, ErrSlow) {
		t.Errorf("nobody commits: %v", err)
	}
}

func TestIDs(t *testing.T) {
	l := &Ledger{}
	now := time.Now()
	before := ID(0)
	for range 1000 {
		id := l.NextID(now)
		if id <= before || before != 0 && id.String() <= before.String() {
			t.Fatalf("%s after %s", id, before)
		}
		for _, text := range []string{id.String(), id.RequestID()} {
			if got, err := ParseID(text); err != nil || got != id {
				t.Fatalf("ParseID(%s) = %d, %v", text, got, err)
			}
		}
		before = id
	}
	if got := before.Time(); got.UnixMilli() != now.UnixMilli() {
		t.Errorf("made at %s, says %s", now, got)
	}
	for _, text := range []string{"", "gwr_", "gwr_0000000000000", "gwr_ZZZZZZZZZZZZZ", "gwr_abcdefghijklm", "req_01HZX0000000000000000000AB", before.String() + "0"} {
		if id, err := ParseID(text); err == nil {
			t.Errorf("ParseID(%q) = %d", text, id)
		}
	}
	if raw, err := json.Marshal(Detail{}); err != nil || string(raw) != "{}" {
		t.Errorf("an empty detail is %s", raw)
	}
}

// TestWhatIsGivenUpIsNotThere: where certainty is wanted, a row whose owner gave up is
// not stored later; one that was being stored is waited for.
func TestWhatIsGivenUpIsNotThere(t *testing.T) {
	for _, certain := range []bool{false, true} {
		l, _, err := New(t.Context(), Options{URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "l.db")), States: func() map[string][]byte { return nil }, Observe: func(time.Duration, int, error) {}})
		if err != nil {
			t.Fatal(err)
		}
		row := Row{ID: l.NextID(time.Now()), Status: Completed, StartedAt: time.Now()}
		if err := l.Commit(&row, time.Millisecond, certain); !errors.Is(err, ErrSlow) { // nothing runs yet
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- l.Run(ctx) }()
		other := Row{ID: l.NextID(time.Now()), Status: Completed, StartedAt: time.Now()}
		if err := l.Commit(&other, time.Minute, certain); err != nil {
			t.Fatal(err)
		}
		_, err = l.Get(t.Context(), row.ID.String())
		if there := err == nil; there == certain {
			t.Errorf("certain %t: the row is there: %t (%v)", certain, there, err)
		}
		if sums, err := l.Total(t.Context()); err != nil || sums.Requests != map[bool]int64{false: 2, true: 1}[certain] {
			t.Errorf("certain %t: sums %+v, %v", certain, sums, err)
		}
		stop()
		if err := errors.Join(<-done, l.Close()); err != nil {
			t.Error(err)
		}
	}
}
