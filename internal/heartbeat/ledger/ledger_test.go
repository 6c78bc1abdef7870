package ledger

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func open(t *testing.T, jobs ...string) (*Ledger, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "heartbeat.db")
	l, err := Open(t.Context(), sqlstore.URL("sqlite:"+path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	for _, id := range jobs {
		if err := l.SaveJobs(t.Context(), []Job{{ID: id, Cursor: epoch, Facts: liveness.Facts{FirstSeen: epoch}}}); err != nil {
			t.Fatal(err)
		}
	}
	return l, path
}

func slotRun(job string, at time.Time) Run {
	return Run{ID: RunID(job, at), Job: job, ScheduledAt: at, Trigger: TriggerSlot, StartedAt: at.Add(time.Second), ExitCode: -1}
}

func TestASlotIsClaimedOnceByWhoeverAsks(t *testing.T) {
	l, path := open(t, "coo")
	other, err := Open(t.Context(), sqlstore.URL("sqlite:"+path))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	var won, lost atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			err := []*Ledger{l, other}[i%2].Claim(t.Context(), slotRun("coo", epoch.Add(time.Minute)), liveness.Facts{Start: epoch})
			switch {
			case err == nil:
				won.Add(1)
			case errors.Is(err, ErrClaimed):
				lost.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 || lost.Load() != 39 {
		t.Errorf("claimed %d times, refused %d times", won.Load(), lost.Load())
	}
}

func TestClaimMovesTheCursorAndARefusedOneChangesNothing(t *testing.T) {
	l, _ := open(t, "coo")
	at := epoch.Add(10 * time.Minute)
	if err := l.Claim(t.Context(), slotRun("coo", at), liveness.Facts{FirstSeen: epoch, Start: at}); err != nil {
		t.Fatal(err)
	}
	err := l.Claim(t.Context(), slotRun("coo", at), liveness.Facts{FirstSeen: epoch, Start: at.Add(time.Hour)})
	if !errors.Is(err, ErrClaimed) {
		t.Fatalf("got %v", err)
	}
	if err := l.Claim(t.Context(), slotRun("coo", epoch.Add(5*time.Minute)), liveness.Facts{FirstSeen: epoch, Start: at}); err != nil {
		t.Fatal(err)
	}
	jobs, err := l.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := jobs["coo"]; !got.Cursor.Equal(at) || !got.Facts.Start.Equal(at) {
		t.Errorf("got %+v", got)
	}
}

func TestARunEndsOnce(t *testing.T) {
	l, _ := open(t, "coo")
	run := slotRun("coo", epoch)
	if err := l.Claim(t.Context(), run, liveness.Facts{}); err != nil {
		t.Fatal(err)
	}
	if runs, err := l.OpenRuns(t.Context(), "coo"); err != nil || len(runs) != 1 {
		t.Fatalf("got %v, %v", runs, err)
	}
	for _, outcome := range []beat.Outcome{beat.OutcomeOK, beat.OutcomeInterrupted} {
		run.Outcome, run.FinishedAt = outcome, epoch.Add(time.Minute)
		if err := l.Finish(t.Context(), run, "log of "+string(outcome), liveness.Facts{RunOutcome: outcome}); err != nil {
			t.Fatal(err)
		}
	}
	got, log, ok, err := l.Run(t.Context(), run.ID)
	if err != nil || !ok || got.Outcome != beat.OutcomeOK || log != "log of ok" {
		t.Errorf("got %+v, %q, %v, %v", got, log, ok, err)
	}
	jobs, _ := l.Jobs(t.Context())
	if jobs["coo"].Facts.RunOutcome != beat.OutcomeOK {
		t.Errorf("facts %+v", jobs["coo"].Facts)
	}
	if runs, err := l.OpenRuns(t.Context(), ""); err != nil || len(runs) != 0 {
		t.Errorf("got %v, %v", runs, err)
	}
}

func TestQueryAndPrune(t *testing.T) {
	l, _ := open(t, "a", "b")
	for i := range 6 {
		run := slotRun([]string{"a", "b"}[i%2], epoch.Add(time.Duration(i)*time.Hour))
		run.Outcome = beat.Outcomes()[i%3]
		if i == 5 {
			run.Outcome = ""
		}
		if err := l.Claim(t.Context(), run, liveness.Facts{}); err != nil {
			t.Fatal(err)
		}
	}
	tests := map[string]struct {
		query Query
		want  int
	}{
		"all":     {Query{}, 6},
		"job":     {Query{Job: "a"}, 3},
		"outcome": {Query{Outcome: beat.OutcomeOK}, 2},
		"since":   {Query{Since: epoch.Add(3 * time.Hour)}, 3},
		"limit":   {Query{Limit: 2}, 2},
		"both":    {Query{Job: "b", Since: epoch.Add(4 * time.Hour)}, 1},
	}
	for name, test := range tests {
		got, err := l.Runs(t.Context(), test.query)
		if err != nil || len(got) != test.want {
			t.Errorf("%s: got %d, %v; want %d", name, len(got), err, test.want)
		}
	}
	if err := l.Prune(t.Context(), epoch.Add(100*time.Hour), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got, _ := l.Runs(t.Context(), Query{}); len(got) != 1 || !got[0].Open() {
		t.Errorf("after pruning: %+v", got)
	}
}

func TestNoticesKeepTheirOrderPerTarget(t *testing.T) {
	l, _ := open(t)
	for i := range 4 {
		notice := Notice{Check: "w", Target: []string{"bot", "mail"}[i%2], Body: fmt.Sprint(i), CreatedAt: epoch}
		if err := l.SaveCheck(t.Context(), "w", fmt.Sprint(i), []Notice{notice}); err != nil {
			t.Fatal(err)
		}
	}
	bodies := func() (out string) {
		notices, err := l.OpenNotices(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range notices {
			out += n.Body
		}
		return out
	}
	if got := bodies(); got != "01" {
		t.Fatalf("got %q", got)
	}
	if err := l.RetryNotice(t.Context(), 1, epoch.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := l.EndNotice(t.Context(), 2, "sent", epoch); err != nil {
		t.Fatal(err)
	}
	if got := bodies(); got != "03" {
		t.Errorf("got %q", got)
	}
	if state, err := l.CheckState(t.Context(), "w"); err != nil || state != "3" {
		t.Errorf("got %q, %v", state, err)
	}
}
