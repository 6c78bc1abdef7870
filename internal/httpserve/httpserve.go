// Package httpserve is the HTTP server that every program is.
//
// Each response, errors included, carries x-request-id; each finished request
// is one log line that names its route template, never its path (paths hold
// ping keys). /health, /ready, /metrics and POST /-/reload are there by
// themselves. Errors are {"error":{"code","message","request_id"}}.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Defaults of Options.
const (
	defaultMaxBody    = 1 << 20
	headerTimeout     = 10 * time.Second
	bodyTimeout       = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	readyCheckTimeout = 2 * time.Second
)

// Options says what a server listens on and what it needs.
type Options struct {
	Program  string               // for /health and messages
	Listen   string               // host:port; port 0 picks a free one
	Log      *slog.Logger         // required
	Registry *prometheus.Registry // served at /metrics; required
	MaxBody  int64                // bytes of a request body; 0 = 1 MiB
	Admin    redact.Secret        // token of RequireAdmin and /-/reload
	Read     redact.Secret        // token that RequireRead accepts beside Admin
	Reload   func(context.Context) error
	// Observe is told of every finished request, where set.
	Observe func(route, method string, status int, took time.Duration)
}

// Server is an HTTP server with the routes of its program.
type Server struct {
	options  Options
	router   *mux.Router
	http     *http.Server
	listener net.Listener
	started  time.Time
	draining chan struct{}
	drain    sync.Once
	served   chan error
	mu       sync.Mutex
	checks   []readyCheck

	extraHealth func() map[string]any
}

// New makes a server with the shared routes. Nothing listens yet.
func New(o Options) *Server {
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	s := &Server{options: o, router: mux.NewRouter(), started: time.Now(), draining: make(chan struct{}), served: make(chan error, 1)}
	s.router.Use(nameRoute)
	s.router.NotFoundHandler = http.HandlerFunc(notFound)
	s.router.MethodNotAllowedHandler = http.HandlerFunc(methodNotAllowed)
	s.router.HandleFunc("/health", s.health).Methods(http.MethodGet, http.MethodHead)
	s.router.HandleFunc("/ready", s.ready).Methods(http.MethodGet, http.MethodHead)
	s.router.Handle("/metrics", promhttp.HandlerFor(o.Registry, promhttp.HandlerOpts{EnableOpenMetrics: true, Registry: o.Registry})).Methods(http.MethodGet, http.MethodHead)
	if o.Reload != nil {
		s.router.Handle("/-/reload", s.RequireAdmin(http.HandlerFunc(s.reload))).Methods(http.MethodPost)
	}
	s.http = &http.Server{
		Handler:           s.root(),
		ReadHeaderTimeout: headerTimeout, ReadTimeout: bodyTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	s.http.RegisterOnShutdown(s.beginDrain)
	return s
}

// Handler returns what Start serves, for a program that serves it by a server of its own.
func (s *Server) Handler() http.Handler { return s.http.Handler }

// Router returns the router that the program's own routes are added to, before
// Start.
func (s *Server) Router() *mux.Router { return s.router }

// Draining is closed when the server begins to stop: long responses (event
// streams) end then.
func (s *Server) Draining() <-chan struct{} { return s.draining }

func (s *Server) beginDrain() { s.drain.Do(func() { close(s.draining) }) }

// Bind takes the address. Its error is one line that says what to do.
func (s *Server) Bind() error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", s.options.Listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("address %s is in use: stop the program that listens there, or set server.listen to another port", s.options.Listen)
	case err != nil:
		return fmt.Errorf("listening on %s: %w; set server.listen to host:port of this machine", s.options.Listen, err)
	}
	s.listener = listener
	return nil
}

// Addr returns the bound address, host:port; "" before Bind.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Start serves in the background, binding first if Bind was not called.
func (s *Server) Start() error {
	if s.listener == nil {
		if err := s.Bind(); err != nil {
			return err
		}
	}
	go func() { s.served <- s.http.Serve(s.listener) }()
	s.options.Log.Info("listening", "address", s.Addr())
	return nil
}

// Stop lets running requests finish until ctx ends, then closes them. It may be
// called without Start.
func (s *Server) Stop(ctx context.Context) error {
	s.beginDrain()
	if s.listener == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("draining %s: %w", s.options.Program, err), s.http.Close())
	}
	// Shutdown closes only listeners that Serve has seen.
	if closing := s.listener.Close(); closing != nil && !errors.Is(closing, net.ErrClosed) {
		err = errors.Join(err, closing)
	}
	return err
}
