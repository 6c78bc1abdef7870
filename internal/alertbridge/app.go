// Package alertbridge wires the bridge from Alertmanager to Feishu: its
// configuration, its endpoint, its store and the loops that deliver and judge.
package alertbridge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/escalate"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/operate"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/reconcile"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/webhook"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// sweepEvery is how often what is past its retention is deleted.
const sweepEvery = time.Hour

// Options says which configuration to run.
type Options struct {
	ConfigFile string
	Log        *slog.Logger
}

// App is the running program. New makes it, Start runs it, Stop ends it.
type App struct {
	options    Options
	log        *slog.Logger
	current    atomic.Pointer[assembly]
	applying   sync.Mutex // held by a reload from reading the file to its end
	reload     *metrics.Reload
	store      *store.Store
	server     *httpserve.Server
	dispatcher *deliver.Dispatcher
	reconciler *reconcile.Reconciler
	webhooks   *webhook.Metrics
	buttons    *buttons
	escalator  *escalate.Escalator
	templates  *templateReport
	registry   *prometheus.Registry
	stack      lifecycle.Stack
}

// Load reads and checks a configuration file. WEBHOOK_PORT, as the sidecar that
// came before read it, replaces the port.
func Load(file string, log *slog.Logger) (*Config, error) {
	c := DefaultConfig()
	if err := confload.Load(file, c); err != nil {
		return nil, err
	}
	if port := os.Getenv("WEBHOOK_PORT"); port != "" {
		host, _, ok := strings.Cut(c.Server.Listen, ":")
		if !ok {
			return nil, fmt.Errorf("server.listen: expected host:port, got %q", c.Server.Listen)
		}
		c.Server.Listen = host + ":" + port
		log.Warn("WEBHOOK_PORT is deprecated, set server.listen instead", "listen", c.Server.Listen)
	}
	return c, nil
}

// New loads the configuration, opens the store and takes the address.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{options: o, log: o.Log}
	config, err := Load(o.ConfigFile, o.Log)
	if err != nil {
		return nil, err
	}
	built, err := assemble(config, o.Log)
	if err != nil {
		return nil, err
	}
	a.current.Store(built)
	if err := a.open(ctx, built); err != nil {
		return nil, errors.Join(err, a.stack.Unwind(ctx))
	}
	return a, nil
}

// open takes the store, which nobody else may serve, and makes what works on it.
func (a *App) open(ctx context.Context, built *assembly) error {
	config := built.config
	path, err := config.Store.URL.Path()
	if err != nil {
		return err
	}
	unlock, err := sqlstore.Lock(path)
	if err != nil {
		return err
	}
	a.stack.Push("lock", func(context.Context) error { return unlock() })
	if a.store, err = store.Open(ctx, store.Options{URL: config.Store.URL, MaxOpen: config.Store.MaxOpenCards}); err != nil {
		return err
	}
	a.stack.Push("store", func(context.Context) error { return a.store.Close() })
	return a.wire(ctx, built)
}

// wire makes the parts and connects them. Nothing runs yet.
func (a *App) wire(ctx context.Context, built *assembly) error {
	registry := metrics.NewRegistry("alertbridge")
	a.registry = registry
	a.reload = metrics.NewReload(registry, "alertbridge")
	a.reload.Observe(nil)
	a.templates = newTemplateReport(registry, a.log)
	a.templates.attach(built)
	a.dispatcher = deliver.New(a.store, a.log, deliver.NewMetrics(registry), built.deliver)
	var err error
	a.reconciler, err = reconcile.New(a.store, a.log, registry, a.dispatcher.Wake, built.config.reconcile())
	if err != nil {
		return err
	}
	if a.buttons, err = a.newButtons(ctx, registry, built); err != nil {
		return err
	}
	a.escalator = escalate.New(a.store, a.log, registry, a.dispatcher.Wake, built.escalation())
	a.webhooks = webhook.NewMetrics(registry)
	a.announce(built)
	registry.MustRegister(newCollector(a))
	return a.listen(built.config, registry)
}

func (a *App) listen(c *Config, registry *prometheus.Registry) error {
	a.server = httpserve.New(httpserve.Options{
		Program: "alertbridge", Listen: c.Server.Listen, Log: a.log, Registry: registry,
		MaxBody: int64(c.Server.MaxBody), Admin: c.Server.AdminToken, Reload: a.Reload,
	})
	a.server.Ready("store", a.store.Ready)
	a.server.Ready("receivers", a.receiversReady)
	a.server.Ready("feishu", a.dispatcher.Ready)
	a.server.Ready("alertmanager", a.reconciler.Ready)
	a.server.Ready("callbacks", a.buttons.ready)
	a.server.Ready("templates", a.templates.ready)
	hook := &webhook.Handler{Store: a.store, Config: a.routing, Metrics: a.webhooks, Log: a.log, Accepted: a.accepted}
	guarded := hook.Guard(func(r *http.Request) bool { return httpserve.Authorized(r, a.current.Load().config.Server.Token) })
	a.server.Router().Handle("/webhook", guarded).Methods(http.MethodPost)
	a.server.Router().Handle("/webhook/{receiver}", guarded).Methods(http.MethodPost)
	api := &operate.Handler{Store: a.store, Config: a.dispatcher.Config, Wake: a.dispatcher.Wake, Log: a.log}
	api.Routes(a.server.Router(), a.server.RequireAdmin)
	return a.server.Bind()
}

func (a *App) routing() (webhook.Router, func(string) store.Channels) {
	built := a.current.Load()
	return built.table, built.deliver.Channels
}

// accepted passes on what a notification changed.
func (a *App) accepted(x store.Accepted) {
	if x.Waiting {
		a.reconciler.Poke()
	}
	if x.Changed > 0 {
		a.dispatcher.Wake()
	}
}

func (a *App) receiversReady(context.Context) error {
	if names := a.current.Load().config.unconfigured(); len(names) > 0 {
		return httpserve.Degraded(fmt.Errorf("without credentials, their alerts become dead letters: %s", strings.Join(names, ", ")))
	}
	return nil
}

// announce says once what a person has to know of a configuration.
func (a *App) announce(built *assembly) {
	for _, u := range built.config.unavailable() {
		a.log.Warn("setting has no effect in this way of running", "key", u.Key, "reason", u.Reason)
	}
	for _, remark := range built.config.templateRemarks(built.deliver.Renderer) {
		a.log.Warn("templates need a look", "remark", remark)
	}
	for _, r := range built.config.Receivers {
		a.webhooks.Announce(r.Name)
		if !built.config.configured(r) {
			a.log.Warn("receiver has no credentials, its alerts become dead letters", "receiver", r.Name)
		}
	}
	for key, link := range map[string]string{"links.grafana": built.config.Links.Grafana, "links.runbooks": built.config.Links.Runbooks} {
		if u, err := url.Parse(link); err == nil && link != "" && httpserve.IsLoopback(u.Hostname()+":0") {
			a.log.Warn("link leads to this machine only, nobody else can open it", "key", key)
		}
	}
}

// Addr is the bound address, host:port.
func (a *App) Addr() string { return a.server.Addr() }

// Registry is what /metrics serves.
func (a *App) Registry() *prometheus.Registry { return a.registry }

// Start runs the program until Stop.
func (a *App) Start(ctx context.Context) error {
	connected, err := a.store.Connect(ctx, a.current.Load().deliver.Channels, time.Now())
	if err != nil {
		return err
	}
	if connected > 0 {
		a.log.InfoContext(ctx, "open cards got a way to their receiver", "cards", connected)
	}
	if err := a.buttons.redraw(ctx, a.current.Load().look()); err != nil {
		return err
	}
	a.stack.Go("dispatcher", func(ctx context.Context) error { a.dispatcher.Run(ctx); return nil })
	a.stack.Go("reconciler", func(ctx context.Context) error { a.reconciler.Run(ctx); return nil })
	a.buttons.start(&a.stack)
	a.stack.Go("escalator", func(ctx context.Context) error { a.escalator.Run(ctx); return nil })
	a.stack.Go("sweeper", a.sweep)
	if err := a.server.Start(); err != nil {
		return err
	}
	a.stack.Push("server", a.server.Stop)
	return nil
}

// Stop drains requests and calls under way and closes the store. What is not
// sent yet is sent after the next start.
func (a *App) Stop(ctx context.Context) error { return a.stack.Unwind(ctx) }

// Reload takes over the configuration file, or nothing of it where anything is
// wrong. The address and the store are taken over by a restart only.
func (a *App) Reload(ctx context.Context) (err error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	defer func() { a.reload.Observe(err) }()
	config, err := Load(a.options.ConfigFile, a.log)
	if err != nil {
		return err
	}
	built, err := assemble(config, a.log)
	if err != nil {
		return err
	}
	a.templates.attach(built)
	old := a.current.Load().config
	for key, changed := range map[string]bool{
		"server.listen": config.Server.Listen != old.Server.Listen, "server.max_body": config.Server.MaxBody != old.Server.MaxBody,
		"server.admin_token": config.Server.AdminToken != old.Server.AdminToken, "store": config.Store != old.Store,
	} {
		if changed {
			a.log.WarnContext(ctx, "setting is taken over by a restart only", "key", key)
		}
	}
	if err := a.reconciler.Configure(config.reconcile()); err != nil {
		return err
	}
	if err := a.buttons.configure(built); err != nil {
		return err
	}
	a.escalator.Configure(built.escalation())
	a.current.Store(built)
	a.templates.reset()
	a.announce(built)
	a.dispatcher.Configure(built.deliver)
	if err := a.buttons.redraw(ctx, built.look()); err != nil {
		return err
	}
	if _, err := a.store.Connect(ctx, built.deliver.Channels, time.Now()); err != nil {
		return err
	}
	return a.dispatcher.Retry(ctx)
}

// sweep deletes what is past its retention, now and then.
func (a *App) sweep(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		keep := a.current.Load().config.Retention
		now := time.Now()
		if err := a.store.Sweep(ctx, now.Add(-keep.Delivered), now.Add(-keep.Dead)); err != nil && ctx.Err() == nil {
			a.log.ErrorContext(ctx, "deleting old cards failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
