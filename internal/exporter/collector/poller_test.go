package collector

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const (
	pollEvery = 15 * time.Second
	readLimit = 5 * time.Second
	lifetime  = 2*pollEvery + 2*readLimit // of an answer
)

// source answers as it is told.
type source struct {
	mu    sync.Mutex
	reads int
	how   behaviour
}

type behaviour struct {
	err   error
	hangs bool // until the read's context ends
	deaf  bool // for an hour, whatever its context says
}

func (s *source) set(how behaviour) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = how
}

// count returns how many reads began.
func (s *source) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

func (s *source) read(ctx context.Context) (int, error) {
	s.mu.Lock()
	s.reads++
	n, how := s.reads, s.how
	s.mu.Unlock()
	switch {
	case how.deaf:
		time.Sleep(time.Hour)
	case how.hangs:
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return n, how.err
}

// run starts a poller on the source and ends it with the bubble.
func run(t *testing.T, s *source) (p *Poller[int], log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	p = NewPoller("heartbeat", pollEvery, readLimit, slog.New(slog.NewTextHandler(log, nil)), s.read)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := p.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return p, log
}

// after lets time pass and every goroutine settle.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestAnswersAreUsedForTheirLifetimeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		p, log := run(t, s)
		first := p.Last()
		if !first.Up(time.Now()) || first.Value != 1 {
			t.Fatalf("after the first read: %+v", first)
		}
		s.set(behaviour{err: errors.New("refused")})
		after(pollEvery)
		failed := p.Last()
		if failed.Up(time.Now()) || !failed.Usable(time.Now()) || failed.Value != 1 || failed.At != first.At {
			t.Errorf("after one failure the answer is still usable, and the source not up: %+v", failed)
		}
		after(lifetime - pollEvery - 1)
		if !p.Last().Usable(time.Now()) {
			t.Error("the answer ended before its lifetime")
		}
		after(1)
		if p.Last().Usable(time.Now()) {
			t.Error("the answer outlived its lifetime")
		}
		s.set(behaviour{})
		after(pollEvery)
		if back := p.Last(); !back.Up(time.Now()) || back.Value != s.count() {
			t.Errorf("after recovery: %+v", back)
		}
		if got := strings.Count(log.String(), "source went down"); got != 1 {
			t.Errorf("the log tells %d times that the source went down, want 1:\n%s", got, log)
		}
		if got := strings.Count(log.String(), "source is back"); got != 1 {
			t.Errorf("the log tells %d times that the source is back, want 1:\n%s", got, log)
		}
	})
}

func TestHangingSourceIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{how: behaviour{hangs: true}}
		p, _ := run(t, s)
		if p.Last().Polled {
			t.Fatal("the first read has not ended, but counts")
		}
		after(readLimit)
		if got := p.Last(); !got.Polled || !errors.Is(got.Err, context.DeadlineExceeded) || got.Took != readLimit || got.Usable(time.Now()) {
			t.Errorf("after the timeout: %+v", got)
		}
		s.set(behaviour{})
		after(pollEvery)
		if !p.Last().Up(time.Now()) {
			t.Errorf("after recovery: %+v", p.Last())
		}
	})
}

func TestSourceDeafToItsContextIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		p, _ := run(t, s)
		s.set(behaviour{deaf: true})
		after(pollEvery)    // the next read begins, and does not end in time
		after(lifetime - 1) // Last answers at once all the while
		if p.Last().Usable(time.Now()) {
			t.Error("an answer of before is used while the source hangs")
		}
		s.set(behaviour{})
		after(time.Hour)
		if !p.Last().Up(time.Now()) {
			t.Errorf("after recovery: %+v", p.Last())
		}
	})
}

func TestAskReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		p, _ := run(t, s)
		p.Ask()
		p.Ask() // never blocks, asked twice is asked once or twice
		synctest.Wait()
		if n := s.count(); n < 2 || n > 3 {
			t.Errorf("%d reads, want one or two more than the first", n)
		}
	})
}

func TestStoppingSaysNothingAboutTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		log := &bytes.Buffer{}
		p := NewPoller("heartbeat", pollEvery, readLimit, slog.New(slog.NewTextHandler(log, nil)), s.read)
		p.Poll(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		s.set(behaviour{hangs: true})
		done := make(chan struct{})
		go func() { defer close(done); p.Poll(ctx) }()
		synctest.Wait()
		cancel()
		<-done
		if got := p.Last(); got.Err != nil || !got.Up(time.Now()) || log.Len() > 0 {
			t.Errorf("a read cut off by the stop changed the answer: %+v, %s", got, log)
		}
	})
}
