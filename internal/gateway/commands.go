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
