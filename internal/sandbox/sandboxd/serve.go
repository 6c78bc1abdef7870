package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// grace is how long requests may take to end at a stop.
const grace = 5 * time.Second

// listen binds an address and says what to do when it is taken.
func listen(ctx context.Context, address string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("port of %s is in use: stop what listens there, or choose another with -listen", address)
	}
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", address, err)
	}
	return listener, nil
}

// serve answers on the listener until ctx ends; release is called first then, so
// that streams and hanging requests let go.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, log *slog.Logger, release func() error) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	log.Info("listening", "url", "http://"+listener.Addr().String()+"/")
	var err error
	select {
	case err = <-failed:
		return errors.Join(fmt.Errorf("serving: %w", err), release())
	case <-ctx.Done():
	}
	log.Info("stopping")
	err = release()
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if shut := server.Shutdown(stop); shut != nil {
		err = errors.Join(err, server.Close())
	}
	if ended := <-failed; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}
