package slot

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
)

// ledger is a sink with the store's promise: a slot is claimed once.
type ledger struct {
	mu      sync.Mutex
	runs    map[string][]time.Time
	twice   int
	missed  map[string]int
	absent  int
	maxLate time.Duration
	now     func() time.Time
}

func newLedger(now func() time.Time) *ledger {
	return &ledger{runs: map[string][]time.Time{}, missed: map[string]int{}, now: now}
}

func (l *ledger) Fire(id string, slots []time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range slots {
		if slices.ContainsFunc(l.runs[id], at.Equal) {
			l.twice++
			continue
		}
		l.runs[id] = append(l.runs[id], at)
		l.maxLate = max(l.maxLate, l.now().Sub(at))
	}
}

func (l *ledger) Missed(id string, missed Missed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.missed[id] += missed.Count
}

func (l *ledger) Absent(time.Time, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.absent++
}

func TestTenThousandJobsForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newLedger(time.Now)
		loop := New(sink, time.Now)
		start := time.Now()
		var entries []Entry
		for i := range 10_000 {
			id := fmt.Sprintf("agent-%d", i)
			every := time.Duration(1+i%10) * time.Minute
			entries = append(entries, Entry{ID: id, Schedule: job.Every{Interval: every, Offset: job.Spread(id, every)}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { loop.Run(ctx) })
		loop.Set(entries, CatchUp{Policy: Latest, Window: time.Hour})
		time.Sleep(time.Hour)
		synctest.Wait()
		cancel()
		wg.Wait()

		for _, entry := range entries {
			want := Due(entry.Schedule, start, time.Now(), CatchUp{Policy: All, Cap: 1000}).Run
			if got := sink.runs[entry.ID]; !slices.EqualFunc(got, want, time.Time.Equal) {
				t.Fatalf("%s: got %d slots, want %d", entry.ID, len(got), len(want))
			}
		}
		if sink.twice+len(sink.missed)+sink.absent != 0 || sink.maxLate != 0 {
			t.Errorf("twice %d, missed %d, absent %d, latest by %v", sink.twice, len(sink.missed), sink.absent, sink.maxLate)
		}
	})
}

// wall is a wall clock that can be stepped and stopped, over the bubble's time.
type wall struct {
	mu   sync.Mutex
	step time.Duration
}

func (w *wall) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.step)
}

func (w *wall) set(step time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.step += step
}

func TestClockStepsAndSuspend(t *testing.T) {
	tests := []struct {
		name   string
		policy Policy
		step   time.Duration
		// after the step, an hour goes by; slots are every 10 minutes
		wantRuns, wantMissed, wantAbsent int
	}{
		{"steady", Latest, 0, 12, 0, 0},
		{"forward 2h or suspended, latest", Latest, 2 * time.Hour, 13, 11, 1},
		{"forward 2h, skip", Skip, 2 * time.Hour, 12, 12, 1},
		{"forward 2h, all with cap 3 inside the window", All, 2 * time.Hour, 15, 9, 1},
		// Two hours back lies before the first slot, so all six are new ones.
		{"back 2h", Latest, -2 * time.Hour, 12, 0, 0},
		// Three slots come twice, and run once.
		{"back 30m", Latest, -30 * time.Minute, 9, 0, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				clock := &wall{}
				sink := newLedger(clock.now)
				loop := New(sink, clock.now)
				loop.Set([]Entry{{ID: "coo", Schedule: job.Every{Interval: 10 * time.Minute}}},
					CatchUp{Policy: test.policy, Window: time.Hour, Cap: 3})
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { loop.Run(ctx) })
				time.Sleep(time.Hour + time.Minute)
				clock.set(test.step)
				time.Sleep(time.Hour)
				synctest.Wait()
				cancel()
				wg.Wait()
				if got := len(sink.runs["coo"]); got != test.wantRuns {
					t.Errorf("runs: got %d, want %d", got, test.wantRuns)
				}
				if got := sink.missed["coo"]; got != test.wantMissed {
					t.Errorf("missed: got %d, want %d", got, test.wantMissed)
				}
				if sink.absent != test.wantAbsent {
					t.Errorf("absences: got %d, want %d", sink.absent, test.wantAbsent)
				}
			})
		})
	}
}

// A clock that was wrong by two hours and is put right must not cost two hours
// of beats: only the slots that ran in the wrong time are used up.
func TestClockGlitchForwardAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &wall{}
		sink := newLedger(clock.now)
		loop := New(sink, clock.now)
		loop.Set([]Entry{{ID: "coo", Schedule: job.Every{Interval: 10 * time.Minute}}}, CatchUp{Policy: Latest, Window: time.Hour})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { loop.Run(ctx) })
		time.Sleep(time.Minute)
		clock.set(2 * time.Hour)
		time.Sleep(time.Minute)
		clock.set(-2 * time.Hour)
		time.Sleep(time.Hour)
		synctest.Wait()
		cancel()
		wg.Wait()
		if got := len(sink.runs["coo"]); got != 7 {
			t.Errorf("got %d runs, want 1 in the wrong time and 6 after it", got)
		}
	})
}

func TestCatchUp(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 10, 0, time.UTC)
	every := job.Every{Interval: 10 * time.Minute}
	tests := []struct {
		name        string
		cursor      time.Duration // before now
		now         time.Duration // after 12:00:10
		c           CatchUp
		run, missed int
	}{
		{"nothing due", 5 * time.Second, 0, CatchUp{Policy: Latest}, 0, 0},
		{"one on time, skip", time.Minute, 0, CatchUp{Policy: Skip}, 1, 0},
		{"newest on time, older missed, skip", time.Hour, 0, CatchUp{Policy: Skip}, 1, 5},
		{"newest late, skip", time.Hour, time.Minute, CatchUp{Policy: Skip}, 0, 6},
		{"newest late, latest", time.Hour, time.Minute, CatchUp{Policy: Latest, Window: time.Hour}, 1, 5},
		{"all up to the cap", time.Hour, time.Minute, CatchUp{Policy: All, Window: time.Hour, Cap: 3}, 3, 3},
		{"all, window shorter than the cap", time.Hour, time.Minute, CatchUp{Policy: All, Window: 15 * time.Minute, Cap: 3}, 2, 4},
		{"latest, outside the window", time.Hour, 9 * time.Minute, CatchUp{Policy: Latest, Window: 5 * time.Minute}, 0, 6},
		{"latest, no window", time.Hour, 9 * time.Minute, CatchUp{Policy: Latest}, 1, 5},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			plan := Due(every, now.Add(-test.cursor), now.Add(test.now), test.c)
			if len(plan.Run) != test.run || plan.Missed.Count != test.missed {
				t.Errorf("got %d run, %d missed; want %d, %d", len(plan.Run), plan.Missed.Count, test.run, test.missed)
			}
		})
	}
}

func TestALongAbsenceIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	plan := Due(job.Every{Interval: time.Second}, now.AddDate(-1, 0, 0), now, CatchUp{Policy: Latest, Window: time.Hour})
	if len(plan.Run) != 1 || !plan.Run[0].Equal(now) || !plan.Missed.More {
		t.Errorf("got %+v", plan)
	}
}

func TestReloadKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newLedger(time.Now)
		loop := New(sink, time.Now)
		tenMinutes := Entry{ID: "coo", Key: "10m", Schedule: job.Every{Interval: 10 * time.Minute}}
		catchUp := CatchUp{Policy: Latest, Window: time.Hour}
		loop.Set([]Entry{tenMinutes}, catchUp)
		loop.Step()
		time.Sleep(15 * time.Minute)
		// The old cursor of the entry must not win over the place in the loop.
		loop.Step()
		reread := tenMinutes
		reread.Cursor = time.Now().Add(-time.Hour)
		loop.Set([]Entry{reread}, catchUp)
		loop.Step()
		if len(sink.runs["coo"]) != 1 || sink.missed["coo"] != 0 {
			t.Fatalf("after a reload: %v, missed %d", sink.runs, sink.missed["coo"])
		}
		minute := Entry{ID: "coo", Key: "1m", Schedule: job.Every{Interval: time.Minute}, Cursor: time.Now().Add(-time.Hour)}
		loop.Set([]Entry{minute}, catchUp)
		loop.Step()
		if len(sink.runs["coo"]) != 1 || sink.missed["coo"] != 0 {
			t.Errorf("a changed schedule made up for slots that never were: %v, missed %d", sink.runs, sink.missed["coo"])
		}
		time.Sleep(time.Minute)
		loop.Step()
		if len(sink.runs["coo"]) != 2 {
			t.Errorf("the changed schedule is not followed: %v", sink.runs)
		}
	})
}

func TestAReturnedSlotComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sink := newLedger(time.Now)
		loop := New(sink, time.Now)
		loop.Set([]Entry{{ID: "coo", Schedule: job.Every{Interval: 10 * time.Minute}}}, CatchUp{Policy: Latest, Window: time.Hour})
		time.Sleep(10 * time.Minute)
		loop.Step()
		at := sink.runs["coo"][0]
		sink.runs["coo"] = nil
		loop.Return("coo", at)
		time.Sleep(OnTime)
		loop.Step()
		if len(sink.runs["coo"]) != 1 || !sink.runs["coo"][0].Equal(at) {
			t.Errorf("got %v, want %v again", sink.runs["coo"], at)
		}
	})
}
