package lifecycle_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
)

func TestUnwindIsLIFOAndWhole(t *testing.T) {
	var s lifecycle.Stack
	var order []string
	for _, name := range []string{"store", "server", "loop"} {
		s.Push(name, func(context.Context) error {
			order = append(order, name)
			if name == "server" {
				return errors.New("boom")
			}
			return nil
		})
	}
	err := s.Unwind(t.Context())
	if !slices.Equal(order, []string{"loop", "server", "store"}) {
		t.Errorf("order = %v", order)
	}
	if err == nil || !strings.Contains(err.Error(), "stopping server: boom") {
		t.Errorf("err = %v", err)
	}
	if err := s.Unwind(t.Context()); err != nil || len(order) != 3 {
		t.Errorf("a second Unwind: %v, %v", err, order)
	}
}

func TestGoWaitsForItsLoop(t *testing.T) {
	var s lifecycle.Stack
	ended := false
	s.Go("loop", func(ctx context.Context) error { <-ctx.Done(); ended = true; return ctx.Err() })
	if err := s.Unwind(t.Context()); err != nil || !ended {
		t.Errorf("Unwind = %v, ended = %v", err, ended)
	}
	s.Go("failing", func(context.Context) error { return errors.New("boom") })
	if err := s.Unwind(t.Context()); err == nil {
		t.Error("a loop's error was lost")
	}
}

type app struct {
	started, reloaded chan struct{}
	stopping          chan struct{}
	hold              chan struct{}
}

func (a *app) Start(context.Context) error  { close(a.started); return nil }
func (a *app) Reload(context.Context) error { a.reloaded <- struct{}{}; return nil }
func (a *app) Stop(context.Context) error   { close(a.stopping); <-a.hold; return nil }

func TestRunFollowsSignals(t *testing.T) {
	for _, second := range []bool{false, true} {
		a := &app{make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})}
		done := make(chan error, 1)
		go func() { done <- lifecycle.Run(t.Context(), a, time.Minute, slog.New(slog.DiscardHandler)) }()
		<-a.started
		send := func(s syscall.Signal) {
			if err := syscall.Kill(os.Getpid(), s); err != nil {
				t.Fatal(err)
			}
		}
		send(syscall.SIGHUP)
		<-a.reloaded
		send(syscall.SIGTERM)
		<-a.stopping
		if second {
			send(syscall.SIGTERM)
			if err := <-done; err == nil {
				t.Error("a second signal did not end the program at once")
			}
			close(a.hold)
			continue
		}
		close(a.hold)
		if err := <-done; err != nil {
			t.Errorf("drained: %v", err)
		}
	}
}
