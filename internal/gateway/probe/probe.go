// Package probe asks backends now and then whether they are there, in the way that
// costs nothing: it lists their models. What it finds ranks backends, and gives a key
// that was refused a trial once it is taken again. It never asks for a completion.
package probe

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

const (
	// refusedEvery is how often a backend is asked whose key is refused: not to look
	// like somebody who tries keys out.
	refusedEvery = 5 * time.Minute
	tick         = 100 * time.Millisecond // how exactly intervals are kept, at most
	maxRead      = 64 << 10               // of an answer, so that its connection is kept
	together     = 8                      // probes at the same time
)

// Plan is what is to be probed.
type Plan struct {
	Backends []*backend.Backend
	Interval time.Duration // 0 = never
	Timeout  time.Duration
	Path     string // below the base URL
}

// Prober probes until Run ends.
type Prober struct {
	Transport http.RoundTripper
	Targets   func() Plan // at the moment
	Authorize map[dialect.Name]func(http.Header, redact.Secret)
	Log       *slog.Logger
	Now       func() time.Time // as time.Now, with a monotonic part

	last map[string]time.Time // by backend; of Run alone
}

// Run probes every backend at the interval of the plan, until ctx ends.
func (p *Prober) Run(ctx context.Context) error {
	p.last = map[string]time.Time{}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			p.round(ctx, now)
		}
	}
}

// round probes what is due, and returns when all have answered.
func (p *Prober) round(ctx context.Context, now time.Time) {
	plan := p.Targets()
	if plan.Interval == 0 {
		return
	}
	var group sync.WaitGroup
	places := make(chan struct{}, together)
	for _, b := range plan.Backends {
		if b.Disabled || now.Sub(p.last[b.Name]) < p.every(b, plan.Interval, now) {
			continue
		}
		p.last[b.Name] = now
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			p.one(ctx, plan, b)
		})
	}
	group.Wait()
}

func (p *Prober) every(b *backend.Backend, interval time.Duration, now time.Time) time.Duration {
	if b.Snapshot(now).Status == backend.Error {
		return max(interval, min(refusedEvery, 5*interval))
	}
	return interval
}

// one probes a backend and tells its state.
func (p *Prober) one(ctx context.Context, plan Plan, b *backend.Backend) {
	found, err := p.ask(ctx, plan, b)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		p.Log.DebugContext(ctx, "a free probe failed", "backend", b.Name, "error", redact.Error(err, b.Key))
	}
	b.Probed(found, p.Now())
}

// ask lists the models of a backend; the error says why the finding is ProbeFailed.
func (p *Prober) ask(ctx context.Context, plan Plan, b *backend.Backend) (backend.Probe, error) {
	ctx, cancel := context.WithTimeout(ctx, plan.Timeout)
	defer cancel()
	target := *b.BaseURL
	target.Path += plan.Path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return backend.ProbeFailed, fmt.Errorf("making a probe: %w", err)
	}
	maps.Copy(request.Header, b.Headers)
	p.Authorize[b.Dialects[0]](request.Header, b.Key)
	response, err := p.Transport.RoundTrip(request) // follows no redirect
	if err != nil {
		return backend.ProbeFailed, fmt.Errorf("probing: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxRead)); err != nil {
		return backend.ProbeFailed, fmt.Errorf("reading a probe's answer: %w", err)
	}
	switch status := response.StatusCode; {
	case status == http.StatusOK:
		return backend.ProbeTaken, nil
	case status >= http.StatusInternalServerError, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return backend.ProbeFailed, fmt.Errorf("a probe was answered with status %d", status)
	default:
		return backend.ProbeSilent, nil
	}
}
