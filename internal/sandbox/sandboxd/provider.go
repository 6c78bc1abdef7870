package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/obslog"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// list is a repeatable flag.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	*l = append(*l, value)
	return nil
}

func runProvider(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	var backends, models list
	address := fs.String("listen", "127.0.0.1:9098", "host:port to listen on")
	pace := fs.Duration("pace", 20*time.Millisecond, "time between the words of a stream")
	words := fs.Int("words", 12, "words of an answer")
	unused := unusedFlag(fs)
	format := fs.String("log.format", "text", "text or json")
	fs.Var(&backends, "backend", "`NAME` of a backend to play, at http://ADDRESS/NAME; repeatable")
	fs.Var(&models, "model", "native `ID` that is offered; repeatable; none offers every model")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if err := need(fs, "backend"); err != nil {
		return err
	}
	if strings.TrimSpace(*unused) != "" {
		return runUnused(ctx, *address, *unused, *format, out)
	}
	if *words < 1 || *pace < 0 {
		return fmt.Errorf("flags -words and -pace: expected at least 1 and 0")
	}
	log, err := obslog.New(out, "info", *format)
	if err != nil {
		return err
	}
	server, err := provider.New(provider.Options{Backends: backends, Models: models, Words: *words, Pace: *pace, Log: log})
	if err != nil {
		return fmt.Errorf("starting the provider stand-in: %w", err)
	}
	listener, err := listen(ctx, *address)
	if err != nil {
		return err
	}
	return serve(ctx, listener, server, log, server.Close)
}
