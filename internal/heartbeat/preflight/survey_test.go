package preflight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// asked is a source whose answers a test gives.
type asked struct {
	calls atomic.Int64
	mu    sync.Mutex
	err   error
	hang  chan struct{} // nil: answers at once
	deaf  bool          // does not end with its context
}

func (a *asked) read(ctx context.Context, _ fleet.Agent) ([]tasksource.Task, error) {
	a.calls.Add(1)
	a.mu.Lock()
	err, hang, deaf := a.err, a.hang, a.deaf
	a.mu.Unlock()
	if hang != nil && deaf {
		<-hang
	} else if hang != nil {
		select {
		case <-hang:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return []tasksource.Task{{Source: "documents", ID: "a", State: tasksource.Todo, DependsOn: []string{"b"}}, {Source: "documents", ID: "b", State: tasksource.Done}}, err
}

func (a *asked) set(err error, hang chan struct{}, deaf bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err, a.hang, a.deaf = err, hang, deaf
}

func surveyed(t *testing.T, a *asked) (*Survey, fleet.Agent) {
	s := NewSurvey([]Source{{Name: "documents", Cache: time.Minute, Timeout: 5 * time.Second, Read: a.read}})
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s, fleet.Agent{ID: "coo", Sources: fleet.Sources{Documents: &fleet.DocumentSource{Globs: []string{"*"}}}}
}

func state(r Reading) string {
	return fmt.Sprintf("%s %d tasks", r.Sources[0].State, len(r.Tasks))
}

func TestOneReadPerCachePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		s, agent := surveyed(t, a)
		for range 60 {
			if got := s.Read(t.Context(), agent, false); state(got) != "ok 2 tasks" || !got.Tasks[0].Workable() {
				t.Fatalf("got %+v", got)
			}
			time.Sleep(10 * time.Second)
		}
		if n := a.calls.Load(); n != 10 {
			t.Errorf("%d reads in ten minutes with a cache of one", n)
		}
		s.Read(t.Context(), agent, true)
		if n := a.calls.Load(); n != 11 {
			t.Errorf("a fresh reading was not read: %d", n)
		}
	})
}

// TestASourceThatHangsIsUnknown within its timeout, is not asked a second time
// behind the first, and is known again once it answers.
func TestASourceThatHangsIsUnknown(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			a := &asked{}
			s, agent := surveyed(t, a)
			first := s.Read(t.Context(), agent, true)
			go1 := make(chan struct{})
			a.set(nil, go1, deaf)
			began := time.Now()
			got := s.Read(t.Context(), agent, true)
			if state(got) != "unknown 0 tasks" || time.Since(began) != 5*time.Second || got.Sources[0].Detail != "no answer within 5s: does not answer" {
				t.Errorf("deaf %v: %+v after %s", deaf, got, time.Since(began))
			}
			if !got.Sources[0].LastSuccess.Equal(first.Sources[0].LastSuccess) {
				t.Error("the last success is lost")
			}
			if stat := s.Stats()["documents"]; stat.Up || stat.Took != 5*time.Second {
				t.Errorf("stats %+v", stat)
			}
			if deaf {
				s.Read(t.Context(), agent, true)
				if n := a.calls.Load(); n != 2 {
					t.Errorf("%d reads: a second one waits behind the one that hangs", n)
				}
			}
			a.set(nil, nil, false)
			close(go1)
			synctest.Wait()
			if got := s.Read(t.Context(), agent, true); state(got) != "ok 2 tasks" || !s.Stats()["documents"].Up {
				t.Errorf("answers again: %+v", got)
			}
		})
	}
}

func TestCallersShareARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		s, agent := surveyed(t, a)
		hang := make(chan struct{})
		a.set(nil, hang, false)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := s.Read(t.Context(), agent, true); state(got) != "ok 2 tasks" {
					t.Errorf("got %+v", got)
				}
			})
		}
		synctest.Wait()
		close(hang)
		wg.Wait()
		if n := a.calls.Load(); n != 1 {
			t.Errorf("%d reads for 20 callers at once", n)
		}
	})
}

func TestAnErrorHasNoTasks(t *testing.T) {
	a := &asked{}
	a.set(errors.New("broken"), nil, false)
	s, agent := surveyed(t, a)
	agent.Sources.Multica = &fleet.AssigneeSource{}
	got := s.Read(t.Context(), agent, false)
	if len(got.Tasks) != 0 || len(got.Sources) != 2 {
		t.Fatalf("got %+v", got)
	}
	for i, want := range []beat.Source{{Name: "multica", Detail: "not available in this version"}, {Name: "documents", Detail: "broken"}} {
		want.State = beat.SourceUnknown
		if got.Sources[i] != want {
			t.Errorf("got %+v, want %+v", got.Sources[i], want)
		}
	}
	if stats := s.Stats(); stats["documents"].Up || stats["multica"].Up || len(stats) != 2 {
		t.Errorf("stats %+v", stats)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.set(nil, make(chan struct{}), false)
	if got := s.Read(ctx, agent, true); got.Sources[1].State != beat.SourceUnknown {
		t.Errorf("a caller that gave up: %+v", got)
	}
}
