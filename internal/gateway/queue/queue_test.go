package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func join(t *testing.T, q *Queue, model string) *Ticket {
	t.Helper()
	ticket, err := q.Join(Line{Model: model})
	if err != nil {
		t.Fatal(err)
	}
	return ticket
}

// TestFirstComeFirstServed: of many who wait for the same, each is served in its turn,
// and only the first of a line ever tries.
func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &Queue{}
		q.Configure(100)
		var mu sync.Mutex
		var served []string
		var done sync.WaitGroup
		for i := range 20 {
			for _, key := range []string{"a", "b"} {
				ticket := join(t, q, key)
				done.Go(func() {
					defer ticket.Leave()
					if err := ticket.Wait(t.Context(), time.Second, time.Now().Add(time.Hour)); err != nil {
						t.Error(err)
					}
					mu.Lock()
					served = append(served, fmt.Sprintf("%s%02d", key, i))
					mu.Unlock()
				})
			}
		}
		if q.Depth() != 40 || !q.Busy(Line{Model: "a"}) || q.Busy(Line{Model: "c"}) {
			t.Errorf("depth %d", q.Depth())
		}
		done.Wait()
		for _, key := range []string{"a", "b"} {
			var line []string
			for _, s := range served {
				if s[:1] == key {
					line = append(line, s)
				}
			}
			if !slices.IsSorted(line) || len(line) != 20 {
				t.Errorf("served in the order %v", line)
			}
		}
		if q.Depth() != 0 || q.Busy(Line{Model: "a"}) || len(q.lines) != 0 {
			t.Errorf("left behind: %d, %v", q.Depth(), q.lines)
		}
	})
}

func TestWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &Queue{}
		if _, err := q.Join(Line{Model: "a"}); !errors.Is(err, ErrFull) {
			t.Errorf("a queue without room: %v", err)
		}
		q.Configure(2)
		began := time.Now()
		first, second := join(t, q, "a"), join(t, q, "a")
		if _, err := q.Join(Line{Model: "b"}); !errors.Is(err, ErrFull) {
			t.Errorf("beyond the depth: %v", err)
		}
		deadline := began.Add(10 * time.Second)
		if err := first.Wait(t.Context(), 3*time.Second, deadline); err != nil || time.Since(began) != 3*time.Second {
			t.Errorf("due after 3 s: %v after %s", err, time.Since(began))
		}
		if err := first.Wait(t.Context(), 20*time.Second, deadline); !errors.Is(err, ErrTimeout) || time.Since(began) != 10*time.Second {
			t.Errorf("at the deadline: %v after %s", err, time.Since(began))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := second.Wait(ctx, time.Hour, time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) {
			t.Errorf("a client that leaves: %v", err)
		}
		// The second is not woken by what is free, but by the first one's leaving.
		var err error
		var waited sync.WaitGroup
		waited.Go(func() { err = second.Wait(t.Context(), time.Hour, time.Now().Add(2*time.Hour)) })
		synctest.Wait()
		q.Wake()
		at := time.Now()
		time.Sleep(time.Second)
		first.Leave()
		waited.Wait()
		if err != nil || time.Since(at) != time.Second {
			t.Errorf("the next one: %v after %s", err, time.Since(at))
		}
		waited.Go(func() { err = second.Wait(t.Context(), time.Hour, time.Now().Add(2*time.Hour)) })
		synctest.Wait()
		q.Wake()
		waited.Wait()
		if err != nil || time.Since(at) != time.Second {
			t.Errorf("something free: %v after %s", err, time.Since(at))
		}
		second.Leave()
	})
}
