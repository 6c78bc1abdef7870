package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/front"
	"github.com/fleetwatch/fleetwatch/internal/gateway/probe"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

// Start runs the program until Stop.
func (a *App) Start(context.Context) error {
	a.stack.Go("ledger", a.ledger.Run)
	a.stack.Go("retention", a.sweep)
	a.stack.Go("backups", a.backups.Run)
	a.stack.Go("probes", a.prober.Run)
	a.stack.Go("memory", a.tidy)
	a.stack.Go("console", a.console.Run)
	if a.server.Addr() != "" {
		if err := a.server.Start(); err != nil {
			return err
		}
		a.stack.Push("operations requests", a.server.Stop)
	}
	served := make(chan error, 1)
	go func() { served <- a.data.Serve(a.listener) }()
	a.log.Info("listening", "address", a.Addr())
	// Stopped first, while everything that requests need still works.
	a.stack.Push("requests", func(ctx context.Context) error {
		err := a.drain(ctx)
		if serving := <-served; !errors.Is(serving, http.ErrServerClosed) {
			err = errors.Join(err, serving)
		}
		return err
	})
	return nil
}

// Stop lets requests finish for server.shutdown_grace, ends what is left with an
// error that says so, and closes the ledger.
func (a *App) Stop(ctx context.Context) error {
	err := a.stack.Unwind(ctx)
	a.end(front.ErrStopping)
	return err
}

// drain ends the data plane, and the operations' event streams where they share its
// address.
func (a *App) drain(ctx context.Context) error {
	if a.server.Addr() == "" {
		if err := a.server.Stop(ctx); err != nil {
			return err
		}
	}
	grace, cancel := context.WithTimeout(ctx, a.current.Load().config.Server.ShutdownGrace)
	defer cancel()
	if a.data.Shutdown(grace) == nil {
		return nil
	}
	open := a.ledger.OpenRequests()
	a.log.Warn("requests are cut short, they are still open after the grace", "requests", open)
	a.end(front.ErrStopping)
	rest, cancelRest := context.WithTimeout(context.WithoutCancel(ctx), endPatience)
	defer cancelRest()
	if err := a.data.Shutdown(rest); err != nil {
		return errors.Join(fmt.Errorf("ending open requests: %w", err), a.data.Close())
	}
	return nil
}

// Reload takes over the configuration file, or nothing of it where anything is
// wrong. Requests under way end with the configuration they began with. Addresses,
// tokens and the store are taken over by a restart only.
func (a *App) Reload(ctx context.Context) (err error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	defer func() { a.reload.Observe(err) }()
	c, err := Load(a.options.ConfigFile)
	if err != nil {
		return err
	}
	before := a.current.Load()
	old := before.config
	given := *c
	c.Currency, c.Timezone = old.Currency, old.Timezone
	built, err := assemble(c, before.stored, a.states.get, a.clients.get)
	if err != nil {
		return err
	}
	for key, changed := range map[string]bool{
		"server.listen": c.Server.Listen != old.Server.Listen, "admin": c.Admin != old.Admin, "store.url": c.Store.URL != old.Store.URL, "currency": given.Currency != old.Currency, "timezone": given.Timezone != old.Timezone,
	} {
		if changed {
			a.log.WarnContext(ctx, "setting is taken over by a restart only", "key", key)
		}
	}
	spent, err := a.spentBefore(ctx, built)
	if err != nil {
		return err
	}
	a.apply(built, spent)
	a.announce(built)
	return nil
}

// ledgerReady says whether requests can be recorded; where they are answered without
// that, it does not make the gateway unready.
func (a *App) ledgerReady(ctx context.Context) error {
	err := a.ledger.Ready(ctx)
	if err != nil && !a.current.Load().plan.LedgerClose {
		return httpserve.Degraded(err)
	}
	return err
}

// backendsReady names the models that no backend can serve now.
func (a *App) backendsReady(context.Context) error {
	built, now := a.current.Load(), a.now()
	if len(built.backends) == 0 {
		return httpserve.Degraded(errors.New("no backend is configured"))
	}
	var without []string
	for _, model := range built.models {
		some := false
		for _, c := range built.plan.Table.Candidates(model) {
			some = some || c.Available(model, now)
		}
		if !some {
			without = append(without, model)
		}
	}
	if len(without) > 0 {
		return httpserve.Degraded(fmt.Errorf("no backend can be asked for %s", strings.Join(without, ", ")))
	}
	return nil
}

// probed is what free probes are to look at.
func (a *App) probed() probe.Plan {
	c := a.current.Load()
	h := c.config.Health
	return probe.Plan{Backends: c.backends, Interval: h.Interval, Timeout: h.Timeout, Path: h.Path}
}

// sweep deletes rows that are past their retention, now and then.
func (a *App) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if keep := a.current.Load().config.Retention.Requests; keep > 0 {
			if err := a.ledger.Sweep(ctx, a.now().Add(-keep)); err != nil && ctx.Err() == nil {
				a.log.ErrorContext(ctx, "deleting old requests failed", "error", err)
			}
		}
		if keep := a.current.Load().config.Retention.Hourly; keep > 0 {
			if err := a.ledger.SweepSums(ctx, a.now().Add(-keep)); err != nil && ctx.Err() == nil {
				a.log.ErrorContext(ctx, "deleting old sums failed", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
