package worklist_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// rig is a tracker over a real record and real documents, with a clock of its own.
type rig struct {
	*worklist.Tracker
	t     *testing.T
	dir   string
	url   sqlstore.URL
	now   time.Time
	agent fleet.Agent
	close func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), now: time.Now(), agent: fleet.Agent{ID: "coo", TaskTimeout: 20 * time.Minute, MaxRounds: 3}}
	r.url = sqlstore.URL("sqlite:" + filepath.Join(r.dir, "heartbeat.db"))
	r.agent.Sources.Documents = &fleet.DocumentSource{Globs: []string{"*.md"}}
	r.start()
	return r
}

// start opens the record, as a new process would.
func (r *rig) start() {
	r.t.Helper()
	record, err := ledger.Open(r.t.Context(), r.url)
	if err != nil {
		r.t.Fatal(err)
	}
	survey := preflight.NewSurvey([]preflight.Source{{Name: documents.Name, Timeout: time.Minute, Read: func(ctx context.Context, a fleet.Agent) ([]tasksource.Task, error) {
		return documents.Read(ctx, r.dir, a.Sources.Documents.Globs)
	}}})
	if r.Tracker, err = worklist.Open(r.t.Context(), record, survey, func() time.Time { return r.now }); err != nil {
		r.t.Fatal(err)
	}
	r.close = sync.OnceFunc(func() {
		if err := errors.Join(survey.Close(context.WithoutCancel(r.t.Context())), record.Close()); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(r.close)
}

func (r *rig) restart() {
	r.close()
	r.start()
}

func (r *rig) write(text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, "list.md"), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// call is one beat whose agenda is called.
func (r *rig) call() worklist.Agenda {
	r.t.Helper()
	a, err := r.Beat(r.t.Context(), r.agent)
	if err != nil {
		r.t.Fatal(err)
	}
	if a, err = r.Spend(r.t.Context(), r.agent, a); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r *rig) look() worklist.Picture {
	r.t.Helper()
	p, _, err := r.Look(r.t.Context(), r.agent, true)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

func titles(tasks []worklist.Task) string {
	var out []string
	for _, task := range tasks {
		out = append(out, task.Title)
	}
	return strings.Join(out, " ")
}

func TestTheAgenda(t *testing.T) {
	for name, c := range map[string]struct {
		text, now, next string
		waiting         int
	}{
		"nothing":                     {"", "", "", 0},
		"done alone":                  {"- [x] a", "", "", 0},
		"the next":                    {"- [ ] a ^1\n- [ ] b ^2", "a", "b", 0},
		"what is in progress first":   {"- [ ] a\n- [-] b\n- [-] c ^0", "c b", "a", 0},
		"blocked and in review":       {"- [!] a\n- [?] b", "", "", 1},
		"waits":                       {"---\ndepends_on: other\n---\n- [ ] a", "", "", 1},
		"waits, but it was begun all": {"---\ndepends_on: other\n---\n- [-] a", "a", "", 0},
	} {
		r := newRig(t)
		r.write(c.text)
		a, err := r.Beat(t.Context(), r.agent)
		if err != nil || titles(a.Now) != c.now || titles(a.Next) != c.next || len(a.Waiting) != c.waiting || a.Pending() != len(a.Now)+len(a.Next) {
			t.Errorf("%s: now %q, next %q, %d waiting, %v", name, titles(a.Now), titles(a.Next), len(a.Waiting), err)
		}
	}
}

// TestATaskAtItsLimitIsNeverNamed: not by a beat, not by a recovery, not after a
// restart, until a person releases it.
func TestATaskAtItsLimitIsNeverNamed(t *testing.T) {
	r := newRig(t)
	r.write("- [-] a ^1\n- [ ] b ^2\n")
	for round := 1; round <= 3; round++ {
		if a := r.call(); titles(a.Now) != "a" || a.Now[0].Record.Rounds != round {
			t.Fatalf("round %d: %+v", round, a.Now)
		}
	}
	if a := r.call(); titles(a.Now) != "b" || titles(a.Next) != "" {
		t.Fatalf("at the limit: now %q, next %q", titles(a.Now), titles(a.Next))
	}
	r.restart()
	r.now = r.now.Add(time.Hour)
	for range 3 { // suspected, confirmed: no recovery names it
		if a := r.call(); strings.Contains(titles(a.Now)+titles(a.Next), "a") || a.Recovery {
			t.Fatalf("after a restart: %+v", a)
		}
	}
	tasks, rounds := r.look().Wire(3)
	if rounds != 3 || !tasks[0].Paused || !tasks[0].Stalled || tasks[0].Rounds != 3 {
		t.Errorf("shown as %+v, %d", tasks[0], rounds)
	}
	if err := r.Release(t.Context(), r.agent, "list#nothing"); !errors.Is(err, worklist.ErrUnknownTask) {
		t.Errorf("got %v", err)
	}
	if err := r.Release(t.Context(), r.agent, "list#1"); err != nil {
		t.Fatal(err)
	}
	r.write("- [-] a ^1\n  a note: progress\n")
	if a := r.call(); titles(a.Now) != "a" || a.Now[0].Record.Rounds != 1 {
		t.Errorf("released: %+v", a)
	}
	if err := r.Pause(t.Context(), r.agent, "list#1"); err != nil {
		t.Fatal(err)
	}
	if a := r.call(); titles(a.Now) != "" {
		t.Errorf("paused by a person: %+v", a)
	}
}

// TestWhatIsPausedMeanwhileIsNotNamed: a pause between the beat and its call.
func TestWhatIsPausedMeanwhileIsNotNamed(t *testing.T) {
	r := newRig(t)
	r.write("- [-] a ^1\n- [-] b ^2\n")
	agenda, err := r.Beat(t.Context(), r.agent)
	if err != nil || titles(agenda.Now) != "a b" {
		t.Fatalf("got %+v, %v", agenda, err)
	}
	if err := r.Pause(t.Context(), r.agent, "list#1"); err != nil {
		t.Fatal(err)
	}
	if agenda, err = r.Spend(t.Context(), r.agent, agenda); err != nil || titles(agenda.Now) != "b" {
		t.Errorf("named %q, %v", titles(agenda.Now), err)
	}
	if p := r.Picture(r.agent); p.Tasks[0].Record.Rounds != 0 || p.Tasks[1].Record.Rounds != 1 {
		t.Errorf("got %+v", p.Tasks)
	}
}

// TestRecoveryIsDueOncePerStall, also over a restart.
func TestRecoveryIsDueOncePerStall(t *testing.T) {
	r := newRig(t)
	r.agent.MaxRounds = 0
	r.write("- [-] stuck ^1\n- [-] fine ^2\n")
	recoveries := func(beats int) (n int) {
		for range beats {
			r.now = r.now.Add(time.Minute)
			a := r.call()
			if a.Recovery {
				n++
				if titles(a.Now) != "stuck" {
					t.Fatalf("the recovery names %q", titles(a.Now))
				}
			}
		}
		return n
	}
	r.look()
	r.now = r.now.Add(30 * time.Minute)
	r.write("- [-] stuck ^1\n- [-] fine ^2\n  progress\n")
	if err := os.Chtimes(filepath.Join(r.dir, "list.md"), r.now, r.now); err != nil {
		t.Fatal(err)
	}
	if n := recoveries(1); n != 0 {
		t.Error("recovered on a suspicion")
	}
	r.restart()
	if n := recoveries(5); n != 1 {
		t.Errorf("%d recoveries of one stall", n)
	}
	r.restart()
	if n := recoveries(5); n != 0 {
		t.Errorf("%d recoveries more after a restart", n)
	}
	r.write("- [-] stuck ^1\n  unstuck\n- [ ] fine ^2\n")
	if n := recoveries(1); n != 0 {
		t.Errorf("%d recoveries after progress", n)
	}
	r.now = r.now.Add(30 * time.Minute)
	if n := recoveries(5); n != 1 {
		t.Errorf("%d recoveries of the second stall", n)
	}
}

// TestUnknownIsNeverNoWork: a source that cannot be read is unknown with a reason,
// and what is remembered stays.
func TestUnknownIsNeverNoWork(t *testing.T) {
	r := newRig(t)
	if p := r.Picture(r.agent); len(p.Sources) != 1 || p.Sources[0].State != beat.SourceUnknown {
		t.Errorf("before the first reading: %+v", p)
	}
	r.write("- [-] a ^1\n")
	r.call()
	r.call()
	r.write("- [-] a ^1\n- [>] what\n")
	a := r.call()
	if len(a.Sources) != 1 || a.Sources[0].State != beat.SourceUnknown || !strings.Contains(a.Sources[0].Detail, "list.md: line 2") || a.Pending() != 0 {
		t.Errorf("got %+v", a)
	}
	if a.Sources[0].LastSuccess.IsZero() {
		t.Error("when it was last read is lost")
	}
	r.write("- [-] a ^1\n")
	if a := r.call(); len(a.Now) != 1 || a.Now[0].Record.Rounds != 3 {
		t.Errorf("readable again: %+v", a.Now)
	}
}

// TestAVanishedTaskKeepsItsRounds for some days: a file may be away for a moment.
func TestAVanishedTaskKeepsItsRounds(t *testing.T) {
	r := newRig(t)
	again := func() int {
		r.write("")
		r.look()
		r.write("- [-] a ^1\n")
		return r.look().Tasks[0].Record.Rounds
	}
	r.write("- [-] a ^1\n")
	r.call()
	if n := again(); n != 1 {
		t.Errorf("away for a moment: %d rounds", n)
	}
	r.now = r.now.Add(8 * 24 * time.Hour)
	if n := again(); n != 0 {
		t.Errorf("away for a week: %d rounds", n)
	}
	r.call()
	r.write("- [x] a ^1\n")
	r.look()
	r.restart()
	r.write("- [-] a ^1\n")
	if p := r.look(); p.Tasks[0].Record.Rounds != 0 {
		t.Errorf("done and begun again: %d rounds", p.Tasks[0].Record.Rounds)
	}
}

func TestAReportedRunIsARoundOfWhatIsInProgress(t *testing.T) {
	r := newRig(t)
	r.write("- [-] a ^1\n- [ ] b ^2\n")
	r.look()
	for range 5 {
		if err := r.Started(t.Context(), r.agent); err != nil {
			t.Fatal(err)
		}
	}
	tasks, _ := r.Picture(r.agent).Wire(3)
	if tasks[0].Rounds != 3 || !tasks[0].Paused || tasks[1].Rounds != 0 {
		t.Errorf("got %+v", tasks)
	}
}

// failing is a store that cannot be written.
type failing struct{ worklist.Store }

var errFull = errors.New("disk full")

func (failing) SaveTasks(context.Context, []worklist.Record, []worklist.Record) error { return errFull }
func (failing) Tasks(context.Context) ([]worklist.Record, error)                      { return nil, nil }

type fixed preflight.Reading

func (f fixed) Read(context.Context, fleet.Agent, bool) preflight.Reading {
	return preflight.Reading(f)
}

func TestWhatCannotBeRememberedIsUnknown(t *testing.T) {
	reading := fixed{Tasks: []tasksource.Task{{Source: "documents", ID: "a", State: tasksource.Todo, Mark: "x"}}, Sources: []beat.Source{{Name: "documents", State: beat.SourceOK}}}
	tracker, err := worklist.Open(t.Context(), failing{}, reading, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	agent := fleet.Agent{ID: "coo", Sources: fleet.Sources{Documents: &fleet.DocumentSource{}}}
	if _, err := tracker.Beat(t.Context(), agent); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	if p := tracker.Picture(agent); p.Sources[0].State != beat.SourceUnknown || len(p.Tasks) != 0 {
		t.Errorf("got %+v", p)
	}
}
