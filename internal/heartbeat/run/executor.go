// Package run carries out runs: it claims a slot, finds out whether there is
// something to do, calls the driver, and records how it ended.
//
// It promises: the driver of a slot is started only after the run's row is
// committed, so that a kill at any moment leaves either no start or an open row
// that a later process ends as interrupted; every claimed run gets an outcome;
// a slot that is not run because of an earlier run is recorded as skipped.
package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
)

// The reasons of skipped runs that this package gives.
const (
	ReasonOverlap    = "overlap"    // another run of the job was open
	ReasonSuperseded = "superseded" // a later slot took its place in the queue
	ReasonMissed     = "missed"     // it came due while nobody looked and is not made up for
	ReasonNoSign     = "no_sign"    // unverified: no independent sign of life
	ReasonGone       = "interrupted_by_restart"
	ReasonRecord     = "store_failed" // what the agent has to do could not be remembered
)

// ErrStopping is why runs are interrupted when heartbeat stops.
var ErrStopping = errors.New("heartbeat is stopping")

// ErrUnknownJob says that there is no such job.
var ErrUnknownJob = errors.New("no such agent or job")

// Work knows what agents have to do.
type Work interface {
	// Beat accounts for one beat of the agent and returns what there is to do.
	Beat(ctx context.Context, agent fleet.Agent) (worklist.Agenda, error)
	// Spend accounts for a call that names the tasks of the agenda, before it is
	// made, and returns what it may name.
	Spend(ctx context.Context, agent fleet.Agent, agenda worklist.Agenda) (worklist.Agenda, error)
}

// Options says what an Executor works with.
type Options struct {
	Ledger  *ledger.Ledger
	Book    *liveness.Book
	Work    Work
	Exec    *driver.Exec
	Log     *slog.Logger
	Metrics *Metrics
	// Returned takes back a slot that could not be claimed because the
	// record could not be written.
	Returned func(id string, at time.Time)
	// Changed is told of every job whose facts or runs changed.
	Changed func(id string)
	// KillGrace is how long a driver has between TERM and KILL.
	KillGrace time.Duration
}

// Limits bound what runs at the same time and how often a call is retried.
type Limits struct {
	Total     int // drivers at the same time; 0 = no limit
	PerDriver map[string]int
	Retries   int           // after the first call, of calls that had no effect
	RetryBase time.Duration // doubled with each retry
}

// Executor carries out runs. Its methods may be called from any goroutine.
type Executor struct {
	o      Options
	self   driver.Process
	ctx    context.Context //nolint:containedctx // the life of all runs; ended by Stop
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	stopping bool
	jobs     map[string]job.Job
	gates    map[string]*gate
	limits   Limits
	slots    map[string]*semaphore.Weighted // by driver, "" = total
}

// gate is the state of one job's runs.
type gate struct {
	open    int
	queued  time.Time // the slot that waits, with queue_latest
	active  map[string]*active
	foreign map[string]bool // open runs of other living processes
}

// active is a run whose driver can be given more time.
type active struct {
	timeout  time.Duration
	timer    *time.Timer
	deadline time.Time
}

// New returns an executor without jobs.
func New(o Options) *Executor {
	ctx, cancel := context.WithCancelCause(context.Background())
	e := &Executor{
		o: o, ctx: ctx, cancel: cancel, self: driver.Process{PID: os.Getpid(), Born: driver.Born(os.Getpid())},
		jobs: map[string]job.Job{}, gates: map[string]*gate{},
	}
	e.Set(nil, Limits{})
	return e
}

// Set replaces jobs and limits. Runs that are open go on as they began.
func (e *Executor) Set(jobs []job.Job, limits Limits) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.jobs = make(map[string]job.Job, len(jobs))
	for _, j := range jobs {
		e.jobs[j.ID] = j
	}
	e.limits = limits
	e.slots = map[string]*semaphore.Weighted{}
	if limits.Total > 0 {
		e.slots[""] = semaphore.NewWeighted(int64(limits.Total))
	}
	for name, n := range limits.PerDriver {
		if n > 0 {
			e.slots[name] = semaphore.NewWeighted(int64(n))
		}
	}
}

// Stop waits for open runs, with patience, then interrupts them. No run begins
// any more.
func (e *Executor) Stop(ctx context.Context, patience time.Duration) error {
	e.mu.Lock()
	e.stopping = true
	e.mu.Unlock()
	done := make(chan struct{})
	go func() {
		e.wg.Wait()
		close(done)
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	e.cancel(ErrStopping)
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("interrupting runs: %w", ctx.Err())
	}
}

// begin accounts for one more goroutine, unless the executor is stopping.
func (e *Executor) begin() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopping {
		return false
	}
	e.wg.Add(1)
	return true
}

func (e *Executor) goIf(fn func()) {
	if !e.begin() {
		return
	}
	go func() {
		defer e.wg.Done()
		fn()
	}()
}

// Fire runs slots of one job one after the other; it does not block.
func (e *Executor) Fire(id string, slots []time.Time) {
	e.goIf(func() {
		for _, at := range slots {
			e.slot(id, at)
		}
	})
}

// Missed records slots that are not run; it does not block.
func (e *Executor) Missed(id string, m slot.Missed) {
	e.goIf(func() {
		count := fmt.Sprint(m.Count)
		if m.More {
			count = "at least " + count
		}
		detail := fmt.Sprintf("%s slots from %s to %s", count, m.First.Format(time.RFC3339), m.Last.Format(time.RFC3339))
		e.skip(id, m.Last, ReasonMissed, detail, m.Count)
	})
}

func (e *Executor) slot(id string, at time.Time) {
	j, ok := e.job(id)
	if !ok {
		return
	}
	switch e.enter(j, at) {
	case entryRefused:
		e.skip(id, at, ReasonOverlap, "another run is open", 1)
		return
	case entryQueued:
		return
	case entryOpen:
	}
	for more := true; more; at, more = e.leave(id) {
		e.runSlot(j, at)
	}
}

func (e *Executor) runSlot(j job.Job, at time.Time) {
	release, err := e.acquire(j)
	if err != nil {
		return // stopping: the slot is not claimed, and due again after the restart
	}
	defer release()
	r := e.newRun(j, ledger.TriggerSlot, at, "")
	if err := e.claim(j, r); err != nil {
		if !errors.Is(err, ledger.ErrClaimed) {
			e.o.Log.Error("slot not claimed, will be tried again", "job", j.ID, "slot", at, "error", err)
			e.o.Returned(j.ID, at)
		}
		return
	}
	e.o.Metrics.delay.Observe(max(0, time.Since(at).Seconds()))
	e.perform(j, r)
}

// Demand claims a run for a person, now, whatever the limits. It returns when
// the row is committed; done gives the run as it ended. A run that the overlap
// policy refuses has ended already, as skipped.
func (e *Executor) Demand(id, note string) (claimed ledger.Run, done <-chan ledger.Run, err error) {
	j, ok := e.job(id)
	if !ok {
		return ledger.Run{}, nil, ErrUnknownJob
	}
	if !e.begin() {
		return ledger.Run{}, nil, ErrStopping
	}
	result := make(chan ledger.Run, 1)
	if e.enter(j, time.Time{}) != entryOpen {
		defer e.wg.Done()
		r := e.newRun(j, ledger.TriggerDemand, time.Now(), note)
		r.Outcome, r.Reason, r.Detail, r.FinishedAt = beat.OutcomeSkipped, ReasonOverlap, "another run is open", r.StartedAt
		r, err = e.claimNear(j, r)
		result <- r
		return r, result, err
	}
	r, err := e.claimNear(j, e.newRun(j, ledger.TriggerDemand, time.Now(), note))
	if err != nil {
		at, more := e.leave(j.ID)
		e.goOn(j, at, more)
		e.wg.Done()
		return ledger.Run{}, nil, err
	}
	go func() {
		defer e.wg.Done()
		ended := e.perform(j, r)
		at, more := e.leave(j.ID) // before the result: who has it may demand again
		result <- ended
		e.goOn(j, at, more)
	}()
	return r, result, nil
}

// goOn runs what queued behind a stay that was left.
func (e *Executor) goOn(j job.Job, at time.Time, more bool) {
	for ; more; at, more = e.leave(j.ID) {
		e.runSlot(j, at)
	}
}

func (e *Executor) newRun(j job.Job, trigger ledger.Trigger, at time.Time, note string) ledger.Run {
	at = at.UTC().Truncate(time.Millisecond)
	return ledger.Run{
		ID: ledger.RunID(j.ID, at), Job: j.ID, ScheduledAt: at, Trigger: trigger, Note: note,
		StartedAt: time.Now().UTC(), ExitCode: -1, RunnerPID: e.self.PID, RunnerBorn: e.self.Born,
	}
}

// claim commits the row of a run. A driver that is about to be called opens a
// run in the job's facts too.
func (e *Executor) claim(j job.Job, r ledger.Run) error {
	err := e.o.Book.Change(j.ID, func(f liveness.Facts) liveness.Facts {
		switch {
		case !r.Open():
			return f.Ended(liveness.Finished{Run: r.ID, At: r.FinishedAt, Outcome: r.Outcome})
		case j.PingsIn():
			return f
		}
		return f.Began(r.ID, r.StartedAt, e.longest(j))
	}, func(f liveness.Facts) error { return e.o.Ledger.Claim(context.WithoutCancel(e.ctx), r, f) })
	if err == nil {
		e.o.Metrics.claimed(r)
		e.o.Changed(j.ID)
	}
	return err
}

// longest is how long a run can take before its process is certain to be gone.
func (e *Executor) longest(j job.Job) time.Duration {
	if j.Agent.Timeout <= 0 {
		return 0
	}
	const margin = 15 * time.Second
	return j.Agent.Timeout + e.o.KillGrace + margin
}

// claimNear claims a run at its time or, if that slot is used, just after it.
func (e *Executor) claimNear(j job.Job, r ledger.Run) (ledger.Run, error) {
	const tries = 100
	var err error
	for range tries {
		if err = e.claim(j, r); !errors.Is(err, ledger.ErrClaimed) {
			return r, err
		}
		r.ScheduledAt = r.ScheduledAt.Add(time.Millisecond)
		r.ID = ledger.RunID(j.ID, r.ScheduledAt)
	}
	return r, err
}

func (e *Executor) skip(id string, at time.Time, reason, detail string, count int) {
	j, ok := e.job(id)
	if !ok {
		return
	}
	r := e.newRun(j, ledger.TriggerSlot, at, "")
	r.Outcome, r.Reason, r.Detail, r.FinishedAt = beat.OutcomeSkipped, reason, detail, r.StartedAt
	err := e.claim(j, r)
	switch {
	case err == nil:
		e.o.Metrics.skips.WithLabelValues(id, reason).Add(float64(count - 1)) // claim counted one
	case !errors.Is(err, ledger.ErrClaimed):
		e.o.Log.Error("skipped slot not recorded", "job", id, "slot", at, "reason", reason, "error", err)
	}
}

func (e *Executor) job(id string) (job.Job, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	j, ok := e.jobs[id]
	return j, ok
}

// acquire waits for the right to call the job's driver.
func (e *Executor) acquire(j job.Job) (release func(), err error) {
	if j.PingsIn() {
		return func() {}, nil
	}
	e.mu.Lock()
	held := []*semaphore.Weighted{e.slots[j.Agent.Driver.Type], e.slots[""]}
	e.mu.Unlock()
	var taken []*semaphore.Weighted
	release = func() {
		for _, s := range taken {
			s.Release(1)
		}
	}
	for _, s := range held {
		if s == nil {
			continue
		}
		if err := s.Acquire(e.ctx, 1); err != nil {
			release()
			return nil, err
		}
		taken = append(taken, s)
	}
	return release, nil
}
