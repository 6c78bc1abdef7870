// Package exporter is the program that tells healthy agents from stuck ones, by
// independent signals, as Prometheus series.
//
// The one thing that it must never do is say healthy without evidence: a source
// that does not answer makes its series absent and the agents unknown.
package exporter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/exporter/page"
	"github.com/fleetwatch/fleetwatch/internal/exporter/verdict"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
)

// rosterCheck is how often the roster's file is looked at for a change.
const rosterCheck = 5 * time.Second

// Options says how to run the exporter.
type Options struct {
	ConfigFile string
	Host       string // wins over the configuration's host
	Log        *slog.Logger
}

// App is a running exporter.
type App struct {
	options  Options
	settings atomic.Pointer[settings]
	server   *httpserve.Server
	reloads  *metrics.Reload
	beats    *collector.Poller[collector.Beats]
	watches  *collector.Poller[collector.Watched]
	traffic  *collector.Poller[collector.Traffic]
	boards   []collector.Board // none where heartbeat reads them
	stack    lifecycle.Stack
	registry *prometheus.Registry
}

// New loads the configuration and binds the address. Nothing runs yet.
func New(o Options) (*App, error) {
	a, err := build(o)
	if err != nil {
		return nil, err
	}
	if err := a.server.Bind(); err != nil {
		return nil, err
	}
	return a, nil
}

func build(o Options) (*App, error) {
	loaded, err := load(o.ConfigFile, o.Host)
	if err != nil {
		return nil, err
	}
	a := &App{options: o, registry: metrics.NewRegistry("exporter")}
	a.settings.Store(&loaded)
	c := loaded.config
	a.reloads = metrics.NewReload(a.registry, "exporter")
	a.reloads.Observe(nil)
	if c.Heartbeat.URL != "" && c.Host == "" {
		a.beats = collector.NewPoller("heartbeat", c.MinInterval, c.Timeout, o.Log, a.readHeartbeat)
	}
	if c.Gateway.URL != "" && c.Host == "" {
		reader := collector.NewGatewayReader(c.Gateway.URL, c.Window)
		a.traffic = collector.NewPoller("gateway", c.MinInterval, c.Timeout, o.Log, reader.Read)
	}
	if c.readsBoards() {
		a.boards = a.newBoards(c.Sources)
	}
	a.watches = collector.NewPoller("watch", c.MinInterval, c.Timeout, o.Log, a.readWatches)
	requests := newRequests(a.registry)
	a.registry.MustRegister(collector.NewFleet(a.View))
	a.server = httpserve.New(httpserve.Options{
		Program: "exporter", Listen: c.Server.Listen, Log: o.Log, Registry: a.registry, Admin: c.Server.Token,
		Reload: a.Reload, Observe: func(_, _ string, status int, _ time.Duration) { requests.WithLabelValues(strconv.Itoa(status)).Inc() },
	})
	a.server.Ready("sources", a.ready)
	overview, err := page.New(a.View, o.Log)
	if err != nil {
		return nil, err
	}
	overview.Routes(a.server.Router())
	a.server.ExtendHealth(a.health)
	return a, nil
}

// newRequests makes the kept counter of the predecessor.
func newRequests(r prometheus.Registerer) *prometheus.CounterVec {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "http_requests_total", Help: "Requests to the exporter itself, by status code.",
	}, []string{"status"})
	requests.WithLabelValues("200")
	r.MustRegister(requests)
	return requests
}

// Start polls the sources and serves.
func (a *App) Start(context.Context) error {
	a.warn()
	if a.beats != nil {
		a.stack.Go("heartbeat poller", a.beats.Run)
	}
	a.stack.Go("watch poller", a.watches.Run)
	if a.traffic != nil {
		a.stack.Go("gateway poller", a.traffic.Run)
	}
	for _, board := range a.boards {
		a.stack.Go(board.Name()+" poller", board.Run)
	}
	a.stack.Go("roster watcher", a.followRoster)
	if err := a.server.Start(); err != nil {
		return err
	}
	a.stack.Push("http server", a.server.Stop)
	return nil
}

func (a *App) warn() {
	if os.Getenv(portVariable) != "" {
		a.options.Log.Warn("EXPORTER_PORT is read for compatibility; set server.listen instead")
	}
	for _, line := range a.settings.Load().unavailable() {
		a.options.Log.Warn("not available", "what", line)
	}
}

// Stop ends what Start began.
func (a *App) Stop(ctx context.Context) error { return a.stack.Unwind(ctx) }

// Addr returns the bound address.
func (a *App) Addr() string { return a.server.Addr() }

// Registry returns the registry served at /metrics.
func (a *App) Registry() *prometheus.Registry { return a.registry }

// Reload reads configuration and roster again. A bad file changes nothing. A
// change of server.*, gateway, sources, window, min_interval or timeout needs a restart
// and says so.
func (a *App) Reload(context.Context) error {
	loaded, err := load(a.options.ConfigFile, a.options.Host)
	if err == nil {
		err = restartNeeded(a.settings.Load().config, loaded.config)
	}
	a.reloads.Observe(err)
	if err != nil {
		return err
	}
	a.settings.Store(&loaded)
	a.watches.Ask()
	if a.beats != nil {
		a.beats.Ask()
	}
	for _, board := range a.boards {
		board.Ask()
	}
	return nil
}

func restartNeeded(before, after Config) error {
	if before.Server != after.Server || before.MinInterval != after.MinInterval || before.Timeout != after.Timeout ||
		before.Host != after.Host || before.Gateway != after.Gateway || before.Sources != after.Sources || before.Window != after.Window || (before.Heartbeat.URL == "") != (after.Heartbeat.URL == "") {
		return errors.New("server, host, gateway, sources, window, min_interval, timeout and whether heartbeat.url is set are read at start only; restart the exporter")
	}
	return nil
}

// followRoster reloads when the roster's file changes; mounts and editors
// replace files, so it looks at the path and not at an open file.
func (a *App) followRoster(ctx context.Context) error {
	ticker := time.NewTicker(rosterCheck)
	defer ticker.Stop()
	seen := stamp(string(a.settings.Load().config.Roster))
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		now := stamp(string(a.settings.Load().config.Roster))
		if now == seen {
			continue
		}
		seen = now
		if err := a.Reload(ctx); err != nil {
			a.options.Log.Error("the roster changed but cannot be used, the earlier one stays in force", "error", err)
			continue
		}
		a.options.Log.Info("roster reloaded", "agents", len(a.settings.Load().roster.Agents))
	}
}

func stamp(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return "absent"
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size())
}

func (a *App) readHeartbeat(ctx context.Context) (collector.Beats, error) {
	c := a.settings.Load().config.Heartbeat
	return collector.ReadHeartbeat(ctx, beat.Client{URL: c.URL, Token: c.Token.Reveal()})
}

func (a *App) readWatches(ctx context.Context) (collector.Watched, error) {
	s := a.settings.Load()
	return collector.ReadWatches(ctx, s.roster.Agents, s.config.Host)
}

// View weighs what is known now. It never waits for a source.
func (a *App) View() collector.View {
	s, now := a.settings.Load(), time.Now()
	view := collector.View{Host: s.config.Host}
	var beats collector.Answer[collector.Beats]
	if a.beats != nil {
		beats = a.beats.Last()
		view.Sources = append(view.Sources, sourceView("heartbeat", beats, now))
	}
	watches := a.watches.Last()
	view.Sources = append(view.Sources, sourceView("watch", watches, now))
	var traffic collector.Answer[collector.Traffic]
	if a.traffic != nil {
		traffic = a.traffic.Last()
		view.Sources = append(view.Sources, sourceView("gateway", traffic, now))
	}
	view.Sources = append(view.Sources, a.boardViews(s.roster, now)...)
	beatNow := now
	if beats.Usable(now) {
		beatNow = beats.Value.Now()
	}
	for _, agent := range s.roster.Agents {
		if s.config.Host != "" && agent.Host != s.config.Host {
			continue
		}
		v := collector.AgentView{Agent: agent, Now: beatNow}
		if beats.Usable(now) {
			v.Beat = beats.Value.Agents[agent.ID]
		}
		if v.Work = collector.WorkOf(v.Beat, beatNow); a.beats == nil {
			v.Work = collector.WorkOn(a.boards, agent, now)
		}
		if watches.Usable(now) {
			v.Watches = watches.Value[agent.ID]
		}
		if traffic.Usable(now) && agent.GatewayClient != "" {
			v.Traffic = traffic.Value[agent.GatewayClient]
		}
		v.Verdict = verdict.Of(verdict.Signals{HeartbeatKnown: beats.Usable(now), Beat: v.Beat, Now: beatNow, Watches: v.Watches, AllFailed: v.Traffic.AllFailed()})
		view.Agents = append(view.Agents, v)
	}
	return view
}

func sourceView[T any](name string, answer collector.Answer[T], now time.Time) collector.SourceView {
	return collector.SourceView{Name: name, Polled: answer.Polled, Up: answer.Up(now), At: answer.At, Took: answer.Took, Err: answer.Err}
}

func (a *App) ready(context.Context) error {
	var down []error
	for _, s := range a.View().Sources {
		switch {
		case !s.Polled:
			return fmt.Errorf("source %s was not read yet", s.Name)
		case !s.Up:
			down = append(down, fmt.Errorf("source %s is down", s.Name))
		}
	}
	if len(down) > 0 {
		return httpserve.Degraded(errors.Join(down...))
	}
	return nil
}

// health is the predecessor's body: cache ages in seconds, -1 where a source
// never answered.
func (a *App) health() map[string]any {
	oldest, bySource := -1.0, map[string]float64{}
	for _, s := range a.View().Sources {
		age := -1.0
		if !s.At.IsZero() {
			age = time.Since(s.At).Seconds()
		}
		bySource[s.Name], oldest = age, max(oldest, age)
	}
	return map[string]any{"cache_age": oldest, "cache_age_by_source": bySource, "timestamp": time.Now().UTC().Format(time.RFC3339)}
}
