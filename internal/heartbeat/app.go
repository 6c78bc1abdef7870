package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/notify"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ping"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/boards"
)

const (
	// killGrace is how long a driver has between TERM and KILL.
	killGrace = 5 * time.Second
	// drainPatience is how long open runs may go on when heartbeat stops.
	drainPatience = 10 * time.Second
	// awakeEvery is how often heartbeat notes that it is awake.
	awakeEvery = 10 * time.Second
)

// Options says how an App is made.
type Options struct {
	ConfigFile string
	Log        *slog.Logger
}

// App is a running heartbeat.
type App struct {
	options  Options
	log      *slog.Logger
	server   *httpserve.Server
	registry *prometheus.Registry
	reloads  *metrics.Reload
	stack    lifecycle.Stack

	ledger   *ledger.Ledger
	book     *liveness.Book
	calls    boards.Lines
	survey   *preflight.Survey
	tasks    *worklist.Tracker
	exec     *driver.Exec
	executor *run.Executor
	loop     *slot.Loop
	watch    *watchdog.Watch
	queue    *notify.Queue
	pings    *ping.Handler
	states   *states
	absences chan absence
	refused  fileStamp // of a roster that could not be put into force; upkeep's own

	applying sync.Mutex // held over a whole Reload, pause or resume
	mu       sync.RWMutex
	plan     *plan
}

// New loads and checks the configuration and takes the address. Nothing is
// started.
func New(o Options) (*App, error) {
	p, err := load(o.ConfigFile)
	if err != nil {
		return nil, err
	}
	a := &App{options: o, log: o.Log, plan: p, registry: metrics.NewRegistry("heartbeat"), book: liveness.NewBook(), states: newStates(), absences: make(chan absence, 1)}
	a.reloads = metrics.NewReload(a.registry, "heartbeat")
	c := p.config
	a.server = httpserve.New(httpserve.Options{
		Program: "heartbeat", Listen: c.Server.Listen, Log: o.Log, Registry: a.registry,
		Admin: c.Server.Token, Read: c.Server.ReadToken, Reload: a.Reload,
	})
	if err := a.server.Bind(); err != nil {
		return nil, err
	}
	a.stack.Push("listener", a.server.Stop)
	return a, nil
}

// Addr returns the bound address.
func (a *App) Addr() string { return a.server.Addr() }

// Registry returns the registry served at /metrics; Start fills it.
func (a *App) Registry() *prometheus.Registry { return a.registry }

// Start opens the record, ends what an earlier process left open, and begins to
// beat and to answer. On failure everything is undone.
func (a *App) Start(ctx context.Context) error {
	if err := a.start(ctx); err != nil {
		return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (a *App) start(ctx context.Context) error {
	p := a.current()
	if err := a.open(ctx, p); err != nil {
		return err
	}
	if err := a.apply(ctx, p, true); err != nil {
		return err
	}
	a.warn(p)
	if err := a.executor.Recover(ctx, ""); err != nil {
		a.log.Error("runs of an earlier process not all ended", "error", err)
	}
	if err := a.routes(); err != nil {
		return err
	}
	a.registry.MustRegister(&collector{a})
	a.reloads.Observe(nil)
	a.stack.Go("notices", a.queue.Run)
	a.stack.Go("checks", a.watch.Run)
	a.stack.Go("upkeep", a.upkeep)
	a.stack.Go("tasks", a.followTasks)
	a.stack.Go("upstream ping", a.upstream)
	a.stack.Go("states", a.follow)
	a.stack.Push("runs", func(ctx context.Context) error { return a.executor.Stop(ctx, drainPatience) })
	a.stack.Go("schedule", func(ctx context.Context) error {
		a.loop.Run(ctx)
		return nil
	})
	if err := a.server.Start(); err != nil {
		return err
	}
	// Stopped first: no new work comes in while the rest unwinds.
	a.stack.Push("server", a.server.Stop)
	return nil
}

// open opens the record and makes the parts that work on it.
func (a *App) open(ctx context.Context, p *plan) error {
	path, err := p.config.Store.URL.Path()
	if err != nil {
		return err
	}
	unlock, err := sqlstore.Lock(path)
	if err != nil {
		return err
	}
	a.stack.Push("lock", func(context.Context) error { return unlock() })
	if a.ledger, err = ledger.Open(ctx, p.config.Store.URL); err != nil {
		return err
	}
	a.stack.Push("store", func(context.Context) error { return a.ledger.Close() })
	if a.exec, err = driver.NewExec(killGrace, p.config.secrets()...); err != nil {
		return err
	}
	a.calls = newLines(a.exec)
	a.survey = preflight.NewSurvey(p.sources(a.calls))
	a.stack.Push("task sources", a.survey.Close)
	if a.tasks, err = worklist.Open(ctx, a.ledger, a.survey, time.Now); err != nil {
		return err
	}
	a.executor = run.New(run.Options{
		Ledger: a.ledger, Book: a.book, Work: a.tasks, Exec: a.exec, Log: a.log, Metrics: run.NewMetrics(a.registry), KillGrace: killGrace,
		Returned: func(id string, at time.Time) { a.loop.Return(id, at) },
		Changed:  func(string) { a.states.touch() },
	})
	a.loop = slot.New(sink{a}, time.Now)
	a.queue = notify.NewQueue(a.ledger, a.exec, a.log, a.registry)
	a.watch = watchdog.New(a.ledger, a.log, time.Now, a.queue.Kick)
	a.pings = ping.New(a, a.log, a.registry)
	return nil
}

// Stop ends what Start began, in reverse. Open runs may go on for a while, then
// they are interrupted.
func (a *App) Stop(ctx context.Context) error { return a.stack.Unwind(ctx) }

// Reload reads the configuration and the roster again. On any problem nothing
// changes.
func (a *App) Reload(ctx context.Context) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	err := a.reload(ctx)
	a.reloads.Observe(err)
	return err
}

func (a *App) reload(ctx context.Context) error {
	p, err := load(a.options.ConfigFile)
	if err != nil {
		return err
	}
	was, is := a.current().config, p.config
	for _, fixed := range []struct {
		key  string
		same bool
	}{
		{"server.listen", was.Server.Listen == is.Server.Listen},
		{"server.token", was.Server.Token == is.Server.Token},
		{"server.read_token", was.Server.ReadToken == is.Server.ReadToken},
		{"store.url", was.Store.URL == is.Store.URL},
	} {
		if !fixed.same {
			return fmt.Errorf("%s cannot be changed while heartbeat runs: restart it", fixed.key)
		}
	}
	if err := a.apply(ctx, p, false); err != nil {
		return err
	}
	a.warn(p)
	return nil
}

// apply puts a plan into force. What can fail comes first.
func (a *App) apply(ctx context.Context, p *plan, starting bool) error {
	saved, err := a.ledger.Jobs(ctx)
	if err != nil {
		return err
	}
	awake, err := a.ledger.MarkOf(ctx, ledger.MarkAwake)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	var changed []ledger.Job
	records := map[string]ledger.Job{}
	for _, j := range p.jobs {
		record, known := saved[j.ID]
		before := record.ScheduleKey
		switch {
		case !known:
			record = ledger.Job{ID: j.ID, Kind: string(j.Kind), Cursor: now, Facts: liveness.Facts{FirstSeen: now}}
		case before != p.keys[j.ID]:
			record.Cursor = now // slots of a schedule that was not in force were never due
		}
		record.ScheduleKey = p.keys[j.ID]
		if starting && known && !awake.IsZero() {
			record.Facts = run.Rule(j).Off(record.Facts, awake, now)
		}
		if !known || before != record.ScheduleKey || starting {
			changed = append(changed, record)
		}
		records[j.ID] = record
	}
	if err := a.ledger.SaveJobs(ctx, changed); err != nil {
		return err
	}
	if err := a.watch.Set(ctx, p.config.Checks); err != nil {
		return err
	}
	for _, j := range p.jobs {
		a.book.Open(j.ID, records[j.ID].Facts)
	}
	a.setPlan(p)
	a.survey.Set(p.sources(a.calls))
	a.queue.Set(p.config.Notify)
	a.pings.Set(p.pingKeys())
	a.executor.Set(p.jobs, run.Limits{
		Total: p.config.Concurrency.Total, PerDriver: p.config.Concurrency.PerDriver,
		Retries: p.config.Retries.Max, RetryBase: p.config.Retries.Base,
	})
	a.schedule(records)
	a.states.touch()
	return nil
}

// schedule gives the loop all jobs that are not paused. A job that the loop
// does not know yet starts from its record's cursor, or from now.
func (a *App) schedule(records map[string]ledger.Job) {
	p := a.current()
	entries := make([]slot.Entry, 0, len(p.jobs))
	for _, j := range p.jobs {
		if facts, _ := a.book.Facts(j.ID); facts.Paused.IsZero() {
			entries = append(entries, slot.Entry{ID: j.ID, Schedule: j.Schedule, Key: p.keys[j.ID], Cursor: records[j.ID].Cursor})
		}
	}
	c := p.config.CatchUp
	a.loop.Set(entries, slot.CatchUp{Policy: c.Policy, Window: c.Window, Cap: c.Cap})
}

// setPaused pauses or resumes a job. Slots that pass meanwhile are not made up
// for.
func (a *App) setPaused(ctx context.Context, id string, paused bool) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	if _, ok := a.job(id); !ok {
		return run.ErrUnknownJob
	}
	err := a.book.Change(id, func(f liveness.Facts) liveness.Facts {
		switch {
		case !paused:
			f.Paused = time.Time{}
		case f.Paused.IsZero():
			f.Paused = time.Now().UTC()
		}
		return f
	}, func(f liveness.Facts) error { return a.ledger.SaveFacts(ctx, id, f) })
	if err != nil {
		return err
	}
	a.schedule(nil)
	a.states.touch()
	return nil
}

func (a *App) current() *plan {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.plan
}

func (a *App) setPlan(p *plan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.plan = p
}

func (a *App) job(id string) (job.Job, bool) {
	j, ok := a.current().byID[id]
	return j, ok
}

// warn says what is asked for and not done.
func (a *App) warn(p *plan) {
	for _, line := range Unavailable(p.config, p.roster) {
		a.log.Warn("not available in this version", "what", line)
	}
	for _, line := range p.config.Sources.boards().Unconfigured(p.roster) {
		a.log.Warn("task source is not configured", "what", line)
	}
	for name, target := range p.config.Notify {
		if !target.Configured() {
			a.log.Warn("notice target is not configured", "target", name)
		}
	}
}

func (p *plan) pingKeys() ping.Keys {
	keys := ping.Keys{Jobs: p.config.Server.PingKey, IDs: map[string]bool{}, Checks: map[string]redact.Secret{}}
	for _, j := range p.jobs {
		keys.IDs[j.ID] = true
	}
	for _, check := range p.config.Checks {
		keys.Checks[check.Name] = check.Key
	}
	return keys
}

// secrets are what is masked in the output of drivers.
func (c Config) secrets() []redact.Secret {
	all := []redact.Secret{
		c.Server.Token, c.Server.ReadToken, c.Server.PingKey, c.Gateway.Token, c.UpstreamPing,
	}
	all = append(all, c.Sources.boards().Secrets()...)
	for _, check := range c.Checks {
		all = append(all, check.Key)
	}
	for _, target := range c.Notify {
		all = append(all, target.FeishuWebhook, target.FeishuSecret, target.URL, target.Token)
	}
	set := all[:0]
	for _, secret := range all {
		if secret.IsSet() {
			set = append(set, secret)
		}
	}
	return set
}
