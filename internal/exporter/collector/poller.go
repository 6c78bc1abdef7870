// Package collector reads the exporter's sources, each on a goroutine of its
// own, and keeps the last answer for the scrapes. A slow or dead source costs a
// scrape nothing; an answer is used for its TTL and no longer.
package collector

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Poller reads one source again and again.
type Poller[T any] struct {
	name     string
	interval time.Duration
	timeout  time.Duration
	read     func(context.Context) (T, error)
	log      *slog.Logger
	asked    chan struct{}

	mu   sync.Mutex
	last Answer[T]
}

// Answer is the last that a source said.
type Answer[T any] struct {
	Value   T             // of the last success
	At      time.Time     // when that success came; zero = never
	Took    time.Duration // of the last read, failed or not
	Err     error         // of the last read; nil = it succeeded
	Polled  bool          // at least one read ended
	expires time.Time
}

// Usable reports whether Value may still be used.
func (a Answer[T]) Usable(now time.Time) bool { return !a.At.IsZero() && now.Before(a.expires) }

// Up reports whether the last read succeeded and is still usable.
func (a Answer[T]) Up(now time.Time) bool { return a.Err == nil && a.Usable(now) }

// NewPoller makes a poller that reads every interval, each time for at most
// timeout. An answer may be used until two reads in a row have failed or hung.
func NewPoller[T any](name string, interval, timeout time.Duration, log *slog.Logger, read func(context.Context) (T, error)) *Poller[T] {
	return &Poller[T]{name: name, interval: interval, timeout: timeout, read: read, log: log, asked: make(chan struct{}, 1)}
}

// Name returns the source's name.
func (p *Poller[T]) Name() string { return p.name }

// Last returns the last answer.
func (p *Poller[T]) Last() Answer[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// Run polls until ctx ends.
func (p *Poller[T]) Run(ctx context.Context) error {
	ticker := time.NewTicker(p.interval)
	defer ticker.Stop()
	for {
		p.Poll(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.asked:
		case <-ticker.C:
		}
	}
}

// Ask makes Run read at once, for example after a reload.
func (p *Poller[T]) Ask() {
	select {
	case p.asked <- struct{}{}:
	default:
	}
}

// Poll reads once.
func (p *Poller[T]) Poll(ctx context.Context) {
	bounded, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	started := time.Now()
	value, err := p.read(bounded)
	now := time.Now()
	if ctx.Err() != nil {
		return // stopping: what was cut off says nothing about the source
	}
	p.mu.Lock()
	before := p.last
	p.last.Took, p.last.Err, p.last.Polled = now.Sub(started), err, true
	if err == nil {
		p.last.Value, p.last.At = value, now
		p.last.expires = now.Add(2*p.interval + 2*p.timeout)
	}
	p.mu.Unlock()
	switch {
	case err != nil && (before.Err == nil || !before.Polled):
		p.log.Warn("source went down", "source", p.name, "error", err)
	case err == nil && before.Err != nil:
		p.log.Info("source is back", "source", p.name)
	}
}
