package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
)

// Recover ends the runs that a process which is gone left open, of one job or,
// for "", of all: first what is left of their processes is ended, then the run
// is recorded as interrupted. Runs of another process that lives are left
// alone, and keep their jobs from running here until Recover finds them ended.
func (e *Executor) Recover(ctx context.Context, id string) error {
	open, err := e.o.Ledger.OpenRuns(ctx, id)
	if err != nil {
		return err
	}
	foreign := map[string]map[string]bool{}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var problems []error
	for _, r := range open {
		switch {
		case r.RunnerPID == e.self.PID && r.RunnerBorn == e.self.Born:
			continue
		case driver.Alive(driver.Process{PID: r.RunnerPID, Born: r.RunnerBorn}):
			if foreign[r.Job] == nil {
				foreign[r.Job] = map[string]bool{}
			}
			foreign[r.Job][r.ID] = true
			continue
		}
		wg.Go(func() {
			if err := e.interrupt(ctx, r); err != nil {
				mu.Lock()
				defer mu.Unlock()
				problems = append(problems, err)
			}
		})
	}
	wg.Wait()
	e.setForeign(id, foreign)
	return errors.Join(problems...)
}

func (e *Executor) setForeign(id string, foreign map[string]map[string]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for job, g := range e.gates {
		if id == "" || id == job {
			g.foreign = map[string]bool{}
		}
	}
	for job, runs := range foreign {
		e.gate(job).foreign = runs
	}
}

func (e *Executor) interrupt(ctx context.Context, r ledger.Run) error {
	survivors, killing := e.o.Exec.EndSurvivors(r.ID, driver.Process{PID: r.PID, Born: r.Born})
	r.Outcome, r.Reason, r.FinishedAt = beat.OutcomeInterrupted, ReasonGone, time.Now().UTC()
	r.Detail = fmt.Sprintf("heartbeat ended while it ran; %d processes of it were ended", survivors)
	end := liveness.Finished{Run: r.ID, At: r.FinishedAt, Outcome: r.Outcome}
	err := e.o.Book.Change(r.Job, func(f liveness.Facts) liveness.Facts { return f.Ended(end) },
		func(f liveness.Facts) error { return e.o.Ledger.Finish(ctx, r, "", f) })
	if err != nil {
		return errors.Join(fmt.Errorf("recording an interrupted run: %w", err), killing)
	}
	e.o.Metrics.finished(r)
	e.o.Changed(r.Job)
	e.o.Log.Warn("run interrupted by a restart", "job", r.Job, "run_id", r.ID, "survivors_ended", survivors)
	return killing
}
