package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/agents"
)

// keyEnv holds the ping key where no file is given.
const keyEnv = "HEARTBEAT_PING_KEY"

// pingKey reads the key from the file, or else from the environment.
func pingKey(file string) (redact.Secret, error) {
	if file == "" {
		if key := os.Getenv(keyEnv); key != "" {
			return redact.Secret(key), nil
		}
		return "", errors.New("no ping key: set -ping-key-file, or " + keyEnv)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading the ping key: %w", err)
	}
	key := strings.TrimSpace(string(raw))
	if key == "" {
		return "", fmt.Errorf("reading the ping key: %s is empty", file)
	}
	return redact.Secret(key), nil
}

func runAgents(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error {
	address := fs.String("listen", "127.0.0.1:9097", "host:port to listen on")
	roster := fs.String("roster", "fleet.yaml", "`file` that names the agents")
	heartbeat := fs.String("heartbeat", "http://127.0.0.1:9095", "base `URL` of heartbeat")
	keyFile := fs.String("ping-key-file", "", "`file` with the ping key; empty reads "+keyEnv)
	dir := fs.String("dir", "", "`folder` for pid files and sockets")
	tasks := fs.String("tasks", "", "`folder` for the documents of the agents whose roster entry has some; empty: tasks in -dir")
	gateway := fs.String("gateway", "", "base `URL` of the gateway that the agents ask; empty: they ask nothing")
	keyDir := fs.String("client-key-dir", "", "`folder` with each agent's client key in client_ID")
	model := fs.String("model", "deepseek-v4-pro", "`model` that the agents ask for")
	replaced := fs.String("gateway-unused", "", "`NAMES` of the settings that put another gateway's backends there; when there are any, the agents ask nothing")
	unused := unusedFlag(fs)
	format := fs.String("log.format", "text", "text or json")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if err := need(fs, "dir"); err != nil {
		return err
	}
	if strings.TrimSpace(*unused) != "" {
		return runUnused(ctx, *address, *unused, *format, out)
	}
	log, err := obslog.New(out, "info", *format)
	if err != nil {
		return err
	}
	if _, err := pingKey(*keyFile); err != nil {
		return err
	}
	keys, err := filepath.Abs(*keyDir)
	if err != nil {
		return fmt.Errorf("finding the client keys: %w", err)
	}
	if strings.TrimSpace(*replaced) != "" {
		*gateway = ""
	}
	asking := []string{"-gateway", *gateway, "-client-key-dir", keys, "-model", *model}
	if *tasks == "" {
		*tasks = filepath.Join(*dir, "tasks")
	}
	argv, err := agentArgv(*heartbeat, *keyFile, *tasks, asking)
	if err != nil {
		return err
	}
	known, err := fleet.Load(*roster)
	if err != nil {
		return err
	}
	members, err := agents.FromRoster(known, time.Now())
	if err != nil {
		return err
	}
	supervisor, err := agents.New(agents.Options{Members: members, Dir: *dir, Tasks: *tasks, Argv: argv, Log: log})
	if err != nil {
		return err
	}
	web, err := agents.NewWeb(supervisor, redact.Host(*heartbeat), log)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, *address)
	if err != nil {
		return err
	}
	if err := supervisor.Start(ctx); err != nil {
		return err
	}
	return serve(ctx, listener, web, log, func() error { return supervisor.Stop(context.WithoutCancel(ctx)) })
}

// agentArgv returns how an agent's process is called: this program, run in the
// agents' folder, so that sockets have short names however long the path is.
func agentArgv(heartbeat, keyFile, tasks string, asking []string) (func(agents.Member) []string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if keyFile != "" {
		if keyFile, err = filepath.Abs(keyFile); err != nil {
			return nil, fmt.Errorf("finding the ping key: %w", err)
		}
	}
	if tasks, err = filepath.Abs(tasks); err != nil {
		return nil, fmt.Errorf("finding the tasks: %w", err)
	}
	return func(m agents.Member) []string {
		argv := []string{self, "agent", "-id", m.ID, "-every", m.Every.String(), "-heartbeat", heartbeat, "-ping-key-file", keyFile, "-dir", "."}
		if m.Works {
			argv = append(argv, "-tasks", filepath.Join(tasks, m.ID))
		}
		return append(argv, asking...)
	}, nil
}

func runAgent(ctx context.Context, fs *flag.FlagSet, args []string, _ io.Writer) error {
	id := fs.String("id", "", "agent `id`")
	every := fs.Duration("every", 10*time.Minute, "time between two beats")
	heartbeat := fs.String("heartbeat", "http://127.0.0.1:9095", "base `URL` of heartbeat")
	keyFile := fs.String("ping-key-file", "", "`file` with the ping key; empty reads "+keyEnv)
	dir := fs.String("dir", "", "`folder` for the agent's socket")
	tasks := fs.String("tasks", "", "`folder` with the documents that the agent works on; empty: it has none")
	gateway := fs.String("gateway", "", "base `URL` of the gateway; empty: the agent asks nothing")
	keyDir := fs.String("client-key-dir", "", "`folder` with the agent's client key in client_ID")
	model := fs.String("model", "deepseek-v4-pro", "`model` to ask for")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if err := need(fs, "id", "dir"); err != nil {
		return err
	}
	if *every <= 0 {
		return fmt.Errorf("flag -every: expected more than 0, got %s", *every)
	}
	key, err := pingKey(*keyFile)
	if err != nil {
		return err
	}
	p := &agents.Process{ID: *id, Every: *every, Heartbeat: *heartbeat, Key: key, Dir: *dir, Tasks: *tasks, Report: os.Stdout}
	if *gateway != "" {
		clientKey, err := pingKey(filepath.Join(*keyDir, "client_"+*id))
		if err != nil {
			return fmt.Errorf("the client key: %w", err)
		}
		p.Asking = agents.Asking{Gateway: *gateway, Key: clientKey, Model: *model, Every: *every}
	}
	return p.Run(ctx)
}

func runTask(ctx context.Context, fs *flag.FlagSet, args []string, _ io.Writer) error {
	id := fs.String("id", "", "agent `id`")
	dir := fs.String("dir", "", "`folder` of the agents, as given to `sandboxd agents`")
	timeout := fs.Duration("timeout", 0, "give up after this time; 0 waits until killed")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if err := need(fs, "id", "dir"); err != nil {
		return err
	}
	if *timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *timeout)
		defer cancel()
	}
	// Sockets have short names only from inside their folder.
	if err := os.Chdir(*dir); err != nil {
		return fmt.Errorf("entering the agents' folder: %w", err)
	}
	return agents.Task(ctx, ".", *id)
}
