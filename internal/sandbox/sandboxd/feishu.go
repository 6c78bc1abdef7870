package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/obslog"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// keptMessages bounds the snapshot, which is written as a whole.
const keptMessages = 2000

// names is a repeatable flag ID=NAME.
type names map[string]string

func (n names) String() string { return "" }

func (n names) Set(value string) error {
	id, name, ok := strings.Cut(value, "=")
	if !ok || id == "" || name == "" {
		return fmt.Errorf("expected ID=NAME, got %q", value)
	}
	n[id] = name
	return nil
}

func runFeishu(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	people, bots := names{}, names{}
	address := fs.String("listen", "127.0.0.1:9096", "host:port to listen on")
	snapshot := fs.String("snapshot", "", "`file` that keeps the chats over a restart; empty keeps them in memory only")
	limits := fs.Bool("limits", true, "enforce Feishu's published rate limits")
	unused := unusedFlag(fs)
	format := fs.String("log.format", "text", "text or json")
	fs.Var(people, "name", "`ID=NAME` shown for a receive id, like ou_oncall=值班工程师; repeatable")
	fs.Var(bots, "bot", "`TOKEN=NAME` shown for a custom bot's hook token; repeatable")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if strings.TrimSpace(*unused) != "" {
		return runUnused(ctx, *address, *unused, *format, out)
	}
	log, err := obslog.New(out, "info", *format)
	if err != nil {
		return err
	}
	opts := feishu.Options{SnapshotPath: *snapshot, MaxMessages: keptMessages, Names: people, Bots: map[string]feishu.Bot{}, Log: log}
	for token, name := range bots {
		opts.Bots[token] = feishu.Bot{Name: name}
	}
	if *limits {
		opts.Limits = feishu.PublishedLimits()
	}
	listener, err := listen(ctx, *address)
	if err != nil {
		return err
	}
	server, err := feishu.New(opts)
	if err != nil {
		return fmt.Errorf("starting the Feishu stand-in: %w", err)
	}
	return serve(ctx, listener, server, log, server.Close)
}
