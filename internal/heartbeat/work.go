package heartbeat

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ping"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// sink gives due slots to the executor.
type sink struct{ app *App }

func (s sink) Fire(id string, slots []time.Time) { s.app.executor.Fire(id, slots) }
func (s sink) Missed(id string, m slot.Missed)   { s.app.executor.Missed(id, m) }

// Absent hands over to upkeep, which may be busy: an absence after an absence
// that was not yet looked at replaces it, from its beginning.
func (s sink) Absent(from, to time.Time) {
	select {
	case earlier := <-s.app.absences:
		from = earlier.from
	default:
	}
	s.app.absences <- absence{from, to}
}

// absence is a time in which nobody looked.
type absence struct{ from, to time.Time }

// PingJob implements [ping.Receiver].
func (a *App) PingJob(ctx context.Context, id string, e ping.Event) error {
	j, ok := a.job(id)
	if !ok {
		return ping.ErrUnknown
	}
	p := liveness.Ping{Kind: e.Kind, At: time.Now().UTC(), Run: e.Run}
	if open, _ := a.executor.InProgress(id); open > 0 && e.Kind == liveness.PingProgress {
		a.executor.Extend(id)
		p.Run = "" // it speaks of the run that heartbeat knows under a name of its own
	}
	err := a.book.Change(id, func(f liveness.Facts) liveness.Facts { return f.Pinged(p, j.Agent.Timeout) },
		func(f liveness.Facts) error {
			return a.ledger.AddPing(ctx, ledger.Ping{Job: id, At: p.At, Kind: e.Kind, ExitStatus: e.ExitStatus, Run: e.Run, Body: e.Body}, f)
		})
	if err != nil {
		return err
	}
	if e.Kind == liveness.PingStart && j.PingsIn() {
		if err := a.tasks.Started(ctx, j.Agent); err != nil {
			// The ping itself is recorded: it is answered as taken.
			a.log.Error("round of a reported run not recorded", "job", id, "error", err)
		}
	}
	a.states.touch()
	return nil
}

// PingCheck implements [ping.Receiver].
func (a *App) PingCheck(ctx context.Context, name string, e ping.Event) error {
	return a.watch.Ping(ctx, name, e.Kind, e.Body)
}

const (
	reapEvery   = 30 * time.Second
	rosterEvery = 5 * time.Second
	pruneEvery  = time.Hour
)

// upkeep does what comes up now and then: it notes that heartbeat is awake,
// looks after adopted processes and runs of other processes, follows the
// roster's file, and removes what is past its retention.
func (a *App) upkeep(ctx context.Context) error {
	a.awake(ctx)
	a.prune(ctx)
	awake, reap, roster, prune := time.NewTicker(awakeEvery), time.NewTicker(reapEvery), time.NewTicker(rosterEvery), time.NewTicker(pruneEvery)
	defer func() {
		for _, t := range []*time.Ticker{awake, reap, roster, prune} {
			t.Stop()
		}
	}()
	for {
		select {
		case <-ctx.Done():
			a.awake(context.WithoutCancel(ctx))
			return ctx.Err()
		case <-awake.C:
			a.awake(ctx)
		case off := <-a.absences:
			a.absent(ctx, off)
		case <-reap.C:
			a.exec.Reap()
			if err := a.executor.Recover(ctx, ""); err != nil && ctx.Err() == nil {
				a.log.Error("runs of another process not all ended", "error", err)
			}
		case <-roster.C:
			a.followRoster(ctx)
		case <-prune.C:
			a.prune(ctx)
		}
	}
}

func (a *App) awake(ctx context.Context) {
	if err := a.ledger.SetMark(ctx, ledger.MarkAwake, time.Now()); err != nil && ctx.Err() == nil {
		a.log.Error("mark not saved", "error", err)
	}
}

// absent makes up for a time in which this process did not run (a suspended
// machine, a clock that was set forward).
func (a *App) absent(ctx context.Context, off absence) {
	a.log.Warn("nobody looked at the clock for a while", "from", off.from, "to", off.to)
	a.watch.Absent(off.to)
	for _, j := range a.current().jobs {
		err := a.book.Change(j.ID, func(f liveness.Facts) liveness.Facts { return run.Rule(j).Off(f, off.from, off.to) },
			func(f liveness.Facts) error { return a.ledger.SaveFacts(ctx, j.ID, f) })
		if err != nil && ctx.Err() == nil {
			a.log.Error("absence not recorded", "job", j.ID, "error", err)
		}
	}
}

// followRoster reloads when the roster's file changed.
func (a *App) followRoster(ctx context.Context) {
	p := a.current()
	stamp := stampOf(string(p.config.Roster))
	if stamp == p.stamp || stamp == a.refused || stamp == (fileStamp{}) {
		return
	}
	if err := a.Reload(ctx); err != nil {
		a.refused = stamp
		a.log.Error("changed roster refused, the earlier one stays in force", "error", err)
		return
	}
	a.log.Info("changed roster is in force", "agents", len(a.current().roster.Agents))
}

func (a *App) prune(ctx context.Context) {
	before := func(keep time.Duration) time.Time {
		if keep <= 0 {
			return time.Time{}
		}
		return time.Now().Add(-keep)
	}
	r := a.current().config.Retention
	if err := a.ledger.Prune(ctx, before(r.Runs), before(r.Log)); err != nil && ctx.Err() == nil {
		a.log.Error("old runs not removed", "error", err)
	}
}

// upstreamEvery is how often the outside service is told that heartbeat works.
const upstreamEvery = time.Minute

// upstream tells an outside dead-man service that heartbeat works, as long as
// it does: its record can be read and written.
func (a *App) upstream(ctx context.Context) error {
	ticker := time.NewTicker(upstreamEvery)
	defer ticker.Stop()
	for {
		if url := a.current().config.UpstreamPing; url.IsSet() {
			if err := a.pingUpstream(ctx, url); err != nil && ctx.Err() == nil {
				a.log.Error("upstream not pinged", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func (a *App) pingUpstream(ctx context.Context, url redact.Secret) error {
	if err := a.ledger.Check(ctx); err != nil {
		return fmt.Errorf("left out, heartbeat is not well: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url.Reveal(), nil)
	if err != nil {
		return fmt.Errorf("upstream_ping: %w", redact.Error(err, url))
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("pinging upstream: %w", redact.Error(err, url))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("upstream answered %d", resp.StatusCode)
	}
	return nil
}
