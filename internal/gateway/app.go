// Package gateway wires the routing gateway: its configuration, the data plane, the
// operations listener, the ledger and the state of the backends.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/gateway/attempt"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backup"
	"github.com/fleetwatch/fleetwatch/internal/gateway/clientstore"
	"github.com/fleetwatch/fleetwatch/internal/gateway/console"
	"github.com/fleetwatch/fleetwatch/internal/gateway/front"
	"github.com/fleetwatch/fleetwatch/internal/gateway/iplimit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/meter"
	"github.com/fleetwatch/fleetwatch/internal/gateway/probe"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const (
	headerTimeout  = 10 * time.Second
	keepAlive      = 2 * time.Minute // of idle connections of clients
	maxHeaderBytes = 64 << 10
	sweepEvery     = time.Hour
	// endPatience is how long requests may take to say that they were cut short.
	endPatience = 2 * time.Second
)

// Options says which configuration to run.
type Options struct {
	ConfigFile string
	Log        *slog.Logger
	// Now tells the time; nil = time.Now. What it returns must have a monotonic part,
	// which no setting of the clock moves.
	Now func() time.Time
}

// App is the running program. New makes it, Start runs it, Stop ends it.
type App struct {
	options  Options
	log      *slog.Logger
	now      func() time.Time
	current  atomic.Pointer[assembly]
	applying sync.Mutex // held over a whole Reload
	states   *states
	clients  *clients
	queue    *queue.Queue
	backups  *backup.Keeper
	prober   *probe.Prober
	ledger   *ledger.Ledger
	registry *prometheus.Registry
	metrics  *meter.Metrics
	reload   *metrics.Reload
	limiter  *iplimit.Limiter
	console  *console.Console
	server   *httpserve.Server // operations
	data     *http.Server      // of the data plane; of both where they share an address
	listener net.Listener
	stack    lifecycle.Stack

	requests context.Context //nolint:containedctx // the parent of every request's, so that Stop can end them
	end      context.CancelCauseFunc
}

// Load reads and checks a configuration file.
func Load(file string) (*Config, error) {
	c := DefaultConfig()
	if err := confload.Load(file, c); err != nil {
		return nil, err
	}
	if c.Backup.Dir == "" {
		path, err := c.Store.URL.Path()
		if err != nil {
			return nil, fmt.Errorf("store.url: %w", err)
		}
		c.Backup.Dir = confload.Path(filepath.Join(filepath.Dir(path), "backups"))
	}
	return c, nil
}

// New loads the configuration, opens the ledger and takes the addresses.
func New(ctx context.Context, o Options) (*App, error) {
	c, err := Load(o.ConfigFile)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &App{options: o, log: o.Log, now: o.Now, states: newStates(o.Log, o.Now), registry: metrics.NewRegistry(programName), limiter: &iplimit.Limiter{}, clients: newClients(), queue: &queue.Queue{}}
	a.states.freed = a.queue.Wake
	a.prober = &probe.Prober{Transport: transport(), Targets: a.probed, Authorize: authorizations(), Log: o.Log, Now: o.Now}
	a.requests, a.end = context.WithCancelCause(context.Background())
	built, err := assemble(c, nil, a.states.get, a.clients.get)
	if err != nil {
		return nil, err
	}
	if err := a.open(ctx, built); err != nil {
		return nil, errors.Join(err, a.stack.Unwind(ctx))
	}
	return a, nil
}

func (a *App) open(ctx context.Context, built *assembly) error {
	path, err := built.config.Store.URL.Path()
	if err != nil {
		return err
	}
	unlock, err := sqlstore.Lock(path)
	if err != nil {
		return err
	}
	a.stack.Push("lock", func(context.Context) error { return unlock() })
	a.backups = keeper(path, func() *Config { return a.current.Load().config }, a.log, a.now)
	a.metrics = meter.New(a.registry, built.config.Currency)
	book, interrupted, err := ledger.New(ctx, ledger.Options{
		URL: built.config.Store.URL, Zone: built.zone, States: a.states.take, Events: a.states.events, Observe: a.committed,
	})
	if err != nil {
		return err
	}
	a.ledger = book
	a.states.poke = book.Poke
	a.stack.Push("store", func(context.Context) error { return book.Close() })
	if interrupted > 0 {
		a.log.WarnContext(ctx, "requests of an earlier process never ended", "requests", interrupted)
	}
	kept, err := book.States(ctx)
	if err != nil {
		return err
	}
	stored, err := clientstore.List(ctx, book.Store())
	if err != nil {
		return err
	}
	if built, err = assemble(built.config, stored, a.states.get, a.clients.get); err != nil {
		return err
	}
	spent, err := a.spentBefore(ctx, built)
	if err != nil {
		return err
	}
	a.apply(built, spent)
	a.announce(built)
	a.states.restore(kept, built, a.now())
	a.reload = metrics.NewReload(a.registry, programName)
	a.reload.Observe(nil)
	a.registry.MustRegister(newCollector(a))
	return a.listen(built.config)
}

// committed observes a commit of the ledger. Its error reaches the requests that wait
// for it, which say so; without any, nobody else would.
func (a *App) committed(took time.Duration, rows int, err error) {
	a.metrics.Commit(took)
	if err != nil && rows == 0 {
		a.log.Error("storing what no request waits for failed", "error", err)
	}
}

// spentBefore is what clients that an assembly brings have spent by the ledger.
func (a *App) spentBefore(ctx context.Context, built *assembly) (map[string]ledger.Spend, error) {
	if len(a.clients.unknown(built)) == 0 {
		return nil, nil //nolint:nilnil // nobody is asked about
	}
	return a.ledger.Spent(ctx, a.now())
}

// apply puts an assembly into force. It cannot fail. spent is of spentBefore.
func (a *App) apply(built *assembly, spent map[string]ledger.Spend) {
	c := built.config
	a.states.adopt(built)
	a.clients.adopt(built, spent, a.now())
	a.queue.Configure(c.Routing.Queue.MaxDepth)
	a.limiter.Configure(c.IPRateLimit.MaxRequests, time.Duration(c.IPRateLimit.WindowMS)*time.Millisecond)
	a.metrics.Announce(built.models, built.plan.Clients.Names())
	a.current.Store(built)
}

// announce says what somebody may not expect of a configuration.
func (a *App) announce(built *assembly) {
	c := built.config
	for _, u := range c.unavailable() {
		if u.Set {
			a.log.Warn("setting has no effect: its feature is not available in this version", "key", u.Key, "feature", u.Feature)
		}
	}
	if len(built.backends) == 0 {
		a.log.Warn("no backend is configured: every request will be answered 404")
	}
	if c.Clients.Auth == authRequired && len(built.terms) == 0 {
		a.log.Warn("no client is declared or made and clients.auth is required: every request will be answered 401")
	}
	for _, x := range built.stored {
		if built.declares(x.Name) {
			a.log.Warn("the configuration declares a client that the API made too; what is declared is in force", "client", x.Name)
		}
	}
}

// listen makes the servers and takes their addresses.
func (a *App) listen(c *Config) error {
	together := c.Admin.Listen == c.Server.Listen && !freePort(c.Server.Listen)
	a.server = httpserve.New(httpserve.Options{
		Program: programName, Listen: c.Admin.Listen, Log: a.log, Registry: a.registry, Admin: c.Admin.Token, Read: c.Admin.ReadToken, Reload: a.Reload,
		Observe: func(route, method string, status int, took time.Duration) {
			a.metrics.HTTP(meter.ServiceOperations, method, route, status, took)
		},
	})
	a.server.Ready("ledger", a.ledgerReady)
	a.server.Ready("backends", a.backendsReady)
	if err := a.operations(c); err != nil {
		return err
	}
	handler := &front.Handler{
		Plan: func() *front.Plan { return a.current.Load().plan }, Endpoints: endpoints(), Ledger: a.ledger,
		Operations: a.AdminAddr, Walker: &attempt.Walker{Transport: transport(), Queue: a.queue, Now: a.now}, Metrics: a.metrics, Limiter: a.limiter, Log: a.log, Now: a.now, Health: a.server.Router(),
	}
	if together {
		operations := a.server.Handler()
		return a.bind(c.Server.Listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, dataPrefix) {
				handler.ServeHTTP(w, r)
				return
			}
			operations.ServeHTTP(w, r)
		}))
	}
	if err := a.server.Bind(); err != nil {
		return err
	}
	a.stack.Push("operations", a.server.Stop)
	return a.bind(c.Server.Listen, handler)
}

const dataPrefix = "/v1/"

// freePort reports whether the address leaves the port to the system.
func freePort(listen string) bool {
	_, port, err := net.SplitHostPort(listen)
	return err == nil && port == "0"
}

// bind takes the address of the data plane.
func (a *App) bind(address string, handler http.Handler) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("address %s is in use: stop the program that listens there, or set server.listen to another port", address)
	case err != nil:
		return fmt.Errorf("listening on %s: %w; set server.listen to host:port of this machine", address, err)
	}
	a.listener = front.Refusals(listener, func(status int) { a.metrics.Refused(meter.ServiceData, status) })
	a.data = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: keepAlive, MaxHeaderBytes: maxHeaderBytes,
		BaseContext: func(net.Listener) context.Context { return a.requests }, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	a.stack.Push("data address", func(context.Context) error {
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
	return nil
}

// transport is how backends are called: connections are kept, answers are not
// decompressed, redirects are not followed (RoundTrip never does).
func transport() *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2: true, MaxIdleConns: 1024, MaxIdleConnsPerHost: 256, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		DisableCompression: true, MaxResponseHeaderBytes: maxHeaderBytes, ReadBufferSize: 1 << 10, WriteBufferSize: 512, // streams hold both, and idle ones are many
	}
}

// Addr is the address of the data plane, host:port.
func (a *App) Addr() string { return a.listener.Addr().String() }

// AdminAddr is the address of the operations listener, host:port.
func (a *App) AdminAddr() string {
	if address := a.server.Addr(); address != "" {
		return address
	}
	return a.Addr() // it serves both
}

// Registry is what /metrics serves.
func (a *App) Registry() *prometheus.Registry { return a.registry }
