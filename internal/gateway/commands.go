package gateway

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

const (
	programName = "gateway"
	// stopWithin bounds the whole of Stop; server.shutdown_grace, at most ten minutes,
	// says how long requests may go on.
	stopWithin = 11 * time.Minute
)

// Program is the command line.
func Program() program.Program {
	return program.Program{
		Name: programName, Summary: "Routes calls to language models around failing keys and providers.", Grace: stopWithin,
		New: func(env program.Env) (lifecycle.App, error) {
			file, err := env.RequireConfig(programName)
			if err != nil {
				return nil, err
			}
			return New(context.Background(), Options{ConfigFile: file, Log: env.Log})
		},
		Check:     checkConfig,
		HealthURL: healthURL,
		Commands: []program.Command{
			{Name: "client", Args: "create NAME", Summary: "Make a client and print its key, which is shown this once; the gateway may be running.", Example: "gateway client create opengineer --daily-budget 5", Setup: clientCommand},
			{Name: "backup", Summary: "Write a checked copy of the store; the gateway may be running.", Example: "gateway backup --to /mnt/safe/gateway.db", Setup: backupCommand},
			{Name: "restore", Args: "FILE", Summary: "Put a backup in the place of the store, after checking it; the gateway must not be running. The former store is kept.", Example: "gateway restore data/backups/gateway-20261130T020000.000Z.db", Setup: restoreCommand},
		},
	}
}

func load(env program.Env) (*Config, error) {
	file, err := env.RequireConfig(programName)
	if err != nil {
		return nil, err
	}
	return Load(file)
}

func healthURL(env program.Env) (string, error) {
	c, err := load(env)
	if err != nil {
		return "", err
	}
	return program.HealthURL(c.Server.Listen), nil
}

func checkConfig(_ context.Context, env program.Env) error {
	c, err := load(env)
	if err != nil {
		return err
	}
	text, err := confload.Masked(c)
	if err != nil {
		return err
	}
	out := bytes.NewBuffer(text)
	_, _ = fmt.Fprintln(out, "\n# not available in this version:") // a buffer takes everything
	for _, u := range c.unavailable() {
		_, _ = fmt.Fprintf(out, "#   %s: %s\n", u.Key, u.Feature)
	}
	_, err = env.Stdout.Write(out.Bytes())
	return err
}
