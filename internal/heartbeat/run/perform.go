package run

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
)

// perform carries out a claimed run to its end.
func (e *Executor) perform(j job.Job, r ledger.Run) ledger.Run {
	end := liveness.Finished{Run: r.ID}
	log := ""
	agenda, err := e.o.Work.Beat(e.ctx, j.Agent)
	if err != nil {
		e.unremembered(&r, err)
	} else {
		log = e.decide(j, &r, agenda, &end)
	}
	r.FinishedAt = time.Now().UTC()
	end.At, end.Outcome = r.FinishedAt, r.Outcome
	e.finish(j, r, log, end)
	return r
}

// decide makes of the run what the agenda asks for, and returns its log.
func (e *Executor) decide(j job.Job, r *ledger.Run, agenda worklist.Agenda, end *liveness.Finished) (log string) {
	decision, reason := preflight.Decide(j, r.Trigger == ledger.TriggerDemand, agenda.Sources, agenda.Pending())
	switch decision {
	case preflight.Skip:
		r.Outcome, r.Reason = beat.OutcomeSkipped, string(reason)
		r.Detail = "none of its sources could be read" + unreadable(agenda.Sources)
	case preflight.Idle:
		r.Outcome, r.Reason = beat.OutcomeIdle, string(reason)
		r.Detail = e.idleSign(j, Rule(j), end)
		if agenda.Paused > 0 {
			r.Detail = strings.TrimPrefix(r.Detail+"; ", "; ") + fmt.Sprintf("%d of its tasks are paused", agenda.Paused)
		}
	case preflight.Call:
		agenda, err := e.o.Work.Spend(e.ctx, j.Agent, agenda)
		if err != nil {
			e.unremembered(r, err)
			return ""
		}
		var result driver.Result
		result, r.Attempt = e.call(j, *r, e.message(j, agenda))
		r.Outcome, r.Reason, r.Detail, r.ExitCode = result.Outcome, string(result.Reason), result.Detail, result.ExitCode
		log = result.Log
		if r.Outcome == beat.OutcomeOK {
			e.verify(j, r, end)
		}
	}
	return log
}

// unremembered ends a run whose tasks could not be accounted for: a call that is
// not accounted for could be one too many.
func (e *Executor) unremembered(r *ledger.Run, err error) {
	r.Outcome, r.Reason, r.Detail = beat.OutcomeSkipped, ReasonRecord, "its tasks could not be remembered"
	e.o.Log.Error("run skipped, its tasks could not be remembered", "run_id", r.ID, "error", err)
}

func unreadable(sources []beat.Source) string {
	var text strings.Builder
	for _, source := range sources {
		if source.State != beat.SourceOK {
			text.WriteString("; " + source.Name + ": " + source.Detail)
		}
	}
	return text.String()
}

// Rule is how a job is judged.
func Rule(j job.Job) liveness.Rule {
	return liveness.Rule{Due: j.Due, Grace: j.Grace, PingsIn: j.PingsIn()}
}

// idleSign looks for a free sign of life: the probe now, or a ping that is not
// older than interval + grace.
func (e *Executor) idleSign(j job.Job, rule liveness.Rule, end *liveness.Finished) string {
	sign := preflight.Probe(e.ctx, j.Agent.Probe)
	now := time.Now().UTC()
	facts, _ := e.o.Book.Facts(j.ID)
	switch {
	case sign.Alive:
		end.Sign = now
	case sign.Gone:
		end.Gone = true
	case !sign.Asked && rule.Fresh(facts.Sign, now):
		end.Sign = facts.Sign
	}
	return sign.Detail
}

// verify asks for a sign that is independent of the driver's own ok and newer
// than the run's start, where the agent has a probe.
func (e *Executor) verify(j job.Job, r *ledger.Run, end *liveness.Finished) {
	sign := preflight.Probe(e.ctx, j.Agent.Probe)
	if !sign.Asked {
		return
	}
	facts, _ := e.o.Book.Facts(j.ID)
	switch {
	case sign.Alive:
		end.Sign = time.Now().UTC()
	case facts.Sign.After(r.StartedAt):
		end.Sign = facts.Sign
	default:
		end.Gone = sign.Gone
		r.Outcome, r.Reason, r.Detail = beat.OutcomeUnverified, ReasonNoSign, sign.Detail
	}
}

// call calls the driver, again where a call had no effect.
func (e *Executor) call(j job.Job, r ledger.Run, message string) (result driver.Result, attempts int) {
	ctx, end := e.activate(j, r.ID)
	defer end()
	e.mu.Lock()
	limits := e.limits
	e.mu.Unlock()
	for attempt := 1; ; attempt++ {
		call := driver.Call{
			RunID: r.ID, Attempt: attempt, Agent: j.ID, Slot: r.ScheduledAt,
			Trigger: string(r.Trigger), Reason: r.Note, Message: message,
		}
		result = e.o.Exec.Run(ctx, j.Agent.Driver, call, func(p driver.Process) { e.started(r.ID, attempt, p) })
		if !result.Retryable || attempt > limits.Retries {
			return result, attempt
		}
		select {
		case <-time.After(limits.RetryBase << (attempt - 1)):
		case <-ctx.Done():
			return result, attempt
		}
	}
}

func (e *Executor) started(run string, attempt int, p driver.Process) {
	if err := e.o.Ledger.SetProcess(context.WithoutCancel(e.ctx), run, attempt, p.PID, p.Born); err != nil {
		// The process carries the run's mark, by which it is found after a
		// restart all the same.
		e.o.Log.Warn("process of a run not recorded", "run_id", run, "error", err)
	}
}

// activate makes the context of a driver call: it ends at the run's deadline,
// which Extend moves, or when heartbeat stops.
func (e *Executor) activate(j job.Job, id string) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(e.ctx)
	a := &active{timeout: j.Agent.Timeout}
	if a.timeout > 0 {
		a.timer = time.AfterFunc(a.timeout, func() { cancel(context.DeadlineExceeded) })
		a.deadline = time.Now().Add(a.timeout)
	}
	e.mu.Lock()
	e.gate(j.ID).active[id] = a
	e.mu.Unlock()
	return ctx, func() {
		e.mu.Lock()
		delete(e.gate(j.ID).active, id)
		if a.timer != nil {
			a.timer.Stop()
		}
		e.mu.Unlock()
		cancel(nil)
	}
}

// finish records the end of a run, for as long as it takes: a run without an
// outcome would count as interrupted.
func (e *Executor) finish(j job.Job, r ledger.Run, log string, end liveness.Finished) {
	pause := 100 * time.Millisecond
	for {
		err := e.o.Book.Change(j.ID, func(f liveness.Facts) liveness.Facts { return f.Ended(end) },
			func(f liveness.Facts) error { return e.o.Ledger.Finish(context.WithoutCancel(e.ctx), r, log, f) })
		if err == nil {
			break
		}
		e.o.Log.Error("end of a run not recorded, trying again", "run_id", r.ID, "outcome", string(r.Outcome), "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, 30*time.Second)
		case <-e.ctx.Done():
			return // ended as interrupted at the next start
		}
	}
	e.o.Metrics.finished(r)
	e.o.Changed(j.ID)
	e.o.Log.Info("run ended", "job", r.Job, "run_id", r.ID, "trigger", string(r.Trigger), "outcome", string(r.Outcome),
		"reason", r.Reason, "duration_ms", r.FinishedAt.Sub(r.StartedAt).Milliseconds())
}
