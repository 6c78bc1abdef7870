// Package lifecycle starts and stops programs in order.
//
// What is started is pushed on a [Stack] and unwound in reverse. [Run] drives a
// program by signals: SIGTERM and SIGINT drain it, a second one ends it at
// once, SIGHUP reloads its configuration.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Stack holds what must be stopped, in the order it was started. The zero value
// is ready.
type Stack struct {
	mu    sync.Mutex
	steps []step
}

type step struct {
	name string
	stop func(context.Context) error
}

// Push adds a stop step.
func (s *Stack) Push(name string, stop func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps = append(s.steps, step{name, stop})
}

// Go runs loop until its context is cancelled by Unwind, which then waits for
// it to return. A loop's error other than its cancellation is part of Unwind's.
func (s *Stack) Go(name string, loop func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- loop(ctx) }()
	s.Push(name, func(stopping context.Context) error {
		cancel()
		select {
		case err := <-done:
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		case <-stopping.Done():
			return stopping.Err()
		}
	})
}

// Unwind runs every step in reverse order, each even where an earlier one
// failed, and empties the stack.
func (s *Stack) Unwind(ctx context.Context) error {
	s.mu.Lock()
	steps := s.steps
	s.steps = nil
	s.mu.Unlock()
	var all []error
	for _, step := range slices.Backward(steps) {
		if err := step.stop(ctx); err != nil {
			all = append(all, fmt.Errorf("stopping %s: %w", step.name, err))
		}
	}
	return errors.Join(all...)
}

// App is a program that can be run.
type App interface {
	Start(ctx context.Context) error
	Reload(ctx context.Context) error
	Stop(ctx context.Context) error
}

// Run starts app and returns when it was stopped by a signal or by ctx, after
// at most grace for draining. A second signal returns at once.
func Run(ctx context.Context, app App, grace time.Duration, log *slog.Logger) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := app.Start(ctx); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return stop(app, grace, signals, log)
		case s := <-signals:
			if s != syscall.SIGHUP {
				log.Info("stopping", "signal", s.String(), "grace", grace.String())
				return stop(app, grace, signals, log)
			}
			if err := app.Reload(ctx); err != nil {
				log.Error("reload failed, nothing was changed", "error", err)
				continue
			}
			log.Info("configuration reloaded")
		}
	}
}

func stop(app App, grace time.Duration, signals <-chan os.Signal, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- app.Stop(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			log.Warn("second signal, ending at once")
			return errors.New("ended by a second signal before all work was drained")
		}
	}
}
