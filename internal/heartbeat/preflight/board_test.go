package preflight

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// wall is a source of all whose answers a test gives.
type wall struct {
	calls atomic.Int64
	takes time.Duration
	mu    sync.Mutex
	board tasksource.Board
	err   error
	hangs bool
	deaf  chan struct{} // nil: ends with its context
}

func (w *wall) all(ctx context.Context) (tasksource.Board, error) {
	w.calls.Add(1)
	w.mu.Lock()
	w.board.Index()
	board, err, takes, deaf := w.board, w.err, w.takes, w.deaf
	if w.hangs {
		takes = 24 * time.Hour
	}
	w.mu.Unlock()
	if deaf != nil {
		<-deaf
	}
	select {
	case <-time.After(takes):
		return board, err
	case <-ctx.Done():
		return tasksource.Board{}, ctx.Err()
	}
}

func (w *wall) change(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// hung returns a survey with the source, and fifteen agents that name it.
func hung(t *testing.T, w *wall) (*Survey, []fleet.Agent) {
	s := NewSurvey([]Source{{Name: "workboard", Cache: time.Minute, Timeout: 30 * time.Second, All: w.all, Assignee: func(a fleet.Agent) string { return a.Sources.WorkBoard.Agent }}})
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	var agents []fleet.Agent
	for i := range 15 {
		id := fmt.Sprintf("a%d", i)
		agents = append(agents, fleet.Agent{ID: id, Sources: fleet.Sources{WorkBoard: &fleet.AgentSource{Agent: "claw-" + id}}})
	}
	return s, agents
}

// tell returns an agent's part in one line.
func tell(r Reading) string {
	text := string(r.Sources[0].State)
	for _, task := range r.Tasks {
		text += fmt.Sprintf(" %s%v", task.ID, task.BlockedBy)
		if task.Cycle {
			text += "!"
		}
	}
	return text
}

// TestOneCallForTheWholeFleet in a cache's time, however often each agent is looked
// at, and no look waits for the next call while the last answer does.
func TestOneCallForTheWholeFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{takes: 25 * time.Second, board: tasksource.Board{Tasks: []tasksource.Task{{ID: "1", Assignee: "claw-a0", State: tasksource.Todo}}}}
		s, agents := hung(t, w)
		began, waited := time.Now(), time.Duration(0)
		for time.Since(began) < 24*time.Hour {
			var wg sync.WaitGroup
			for i, agent := range agents {
				wg.Go(func() {
					want := "ok"
					if i == 0 {
						want = "ok 1[]"
					}
					if got := tell(s.Read(t.Context(), agent, false)); got != want {
						t.Errorf("%s: %s, want %s", agent.ID, got, want)
					}
				})
			}
			at := time.Now()
			wg.Wait()
			waited += time.Since(at)
			time.Sleep(10 * time.Second)
		}
		if n := w.calls.Load(); n < 24*60*2/3 || n > 24*60 {
			t.Errorf("%d calls in a day with a cache of a minute", n)
		}
		if waited != 25*time.Second {
			t.Errorf("looks waited %s, want the first call alone", waited)
		}
		if stat := s.Stats()["workboard"]; !stat.Up || stat.Took != 25*time.Second {
			t.Errorf("stats %+v", stat)
		}
	})
}

// TestAFailureIsKeptShorter than an answer, and is unknown for everybody.
func TestAFailureIsKeptShorter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{err: errors.New("exit status 1")}
		s, agents := hung(t, w)
		for range 60 {
			for _, agent := range agents {
				if got := s.Read(t.Context(), agent, false); tell(got) != "unknown" || got.Sources[0].Detail != "exit status 1" {
					t.Fatalf("got %+v", got)
				}
			}
			time.Sleep(time.Second)
		}
		if n := w.calls.Load(); n != 4 {
			t.Errorf("%d calls in a minute that failed", n)
		}
		w.change(func() { w.err = nil })
		time.Sleep(time.Minute)
		s.Read(t.Context(), agents[0], false)
		synctest.Wait()
		if got := tell(s.Read(t.Context(), agents[1], false)); got != "ok" || !s.Stats()["workboard"].Up {
			t.Errorf("answers again: %s", got)
		}
	})
}

// TestASourceOfAllThatHangs becomes unknown, never "nothing to do" for longer than
// its last answer may be used; it is asked one call after the other, and is known
// again once it answers.
func TestASourceOfAllThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{takes: time.Second}
		s, agents := hung(t, w)
		if got := tell(s.Read(t.Context(), agents[0], false)); got != "ok" {
			t.Fatal(got)
		}
		w.change(func() { w.hangs = true })
		hangsSince := time.Now()
		for tell(s.Read(t.Context(), agents[0], false)) == "ok" {
			time.Sleep(time.Second)
		}
		if age := time.Since(hangsSince); age > 2*time.Minute {
			t.Errorf("unknown after %s", age)
		}
		if got := s.Read(t.Context(), agents[7], false); !strings.Contains(got.Sources[0].Detail, "no answer within 30s") || s.Stats()["workboard"].Up {
			t.Errorf("got %+v", got.Sources)
		}
		began := time.Now()
		for time.Since(began) < 10*time.Minute {
			at := time.Now()
			if got := tell(s.Read(t.Context(), agents[3], false)); got != "unknown" {
				t.Fatalf("got %s", got)
			}
			if waited := time.Since(at); waited > 0 {
				t.Fatalf("a look waited %s for what hangs", waited)
			}
			time.Sleep(5 * time.Second)
		}
		w.change(func() { w.hangs = false })
		time.Sleep(time.Minute)
		s.Read(t.Context(), agents[0], false)
		time.Sleep(2 * time.Second)
		if got := tell(s.Read(t.Context(), agents[0], false)); got != "ok" {
			t.Errorf("answers again: %s", got)
		}
	})
}

// TestASourceOfAllThatIsDeaf to the end of its time is unknown all the same, and no
// second call is made behind the one that does not end.
func TestASourceOfAllThatIsDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wall{takes: time.Second}
		s, agents := hung(t, w)
		s.Read(t.Context(), agents[0], false)
		w.change(func() { w.deaf = make(chan struct{}) })
		defer close(w.deaf)
		since := time.Now()
		for tell(s.Read(t.Context(), agents[0], false)) == "ok" {
			if time.Sleep(time.Second); time.Since(since) > time.Hour {
				t.Fatal("an old answer is used for ever")
			}
		}
		if age := time.Since(since); age > 2*time.Minute+30*time.Second {
			t.Errorf("unknown after %s", age)
		}
		time.Sleep(time.Hour)
		if got := tell(s.Read(t.Context(), agents[0], false)); got != "unknown" || w.calls.Load() != 2 {
			t.Errorf("%s after %d calls", got, w.calls.Load())
		}
	})
}

// TestPartsOfABoard: an agent gets his own tasks; what they wait for may be anybody's;
// one whose task is not understood is unknown, and the others are not.
func TestPartsOfABoard(t *testing.T) {
	w := &wall{board: tasksource.Board{Tasks: []tasksource.Task{
		{ID: "met", Assignee: "claw-a0", State: tasksource.Todo, DependsOn: []string{"theirs"}},
		{ID: "theirs", Assignee: "claw-a1", State: tasksource.Done},
		{ID: "unmet", Assignee: "claw-a0", State: tasksource.Todo, DependsOn: []string{"open"}},
		{ID: "open", Assignee: "claw-a1", State: tasksource.Todo, DependsOn: []string{"unmet"}},
		{ID: "nobody's", State: tasksource.Todo},
	}}}
	w.board.AddFault("claw-a2", errors.New("card 9: status"))
	s, agents := hung(t, w)
	for i, want := range []string{"ok met[] unmet[open]!", "ok theirs[] open[unmet]!", "unknown", "ok"} {
		if got := tell(s.Read(t.Context(), agents[i], false)); got != want {
			t.Errorf("%s: %s, want %s", agents[i].ID, got, want)
		}
	}
	if s.Stats()["workboard"].Up {
		t.Error("a source with a task that is not understood is up")
	}
	w.change(func() { w.board.Faults = nil })
	for _, agent := range agents {
		if got := s.Read(t.Context(), agent, true); got.Sources[0].State != beat.SourceOK {
			t.Errorf("%+v", got.Sources)
		}
	}
	if !s.Stats()["workboard"].Up {
		t.Error("understood again, and still down")
	}
}
