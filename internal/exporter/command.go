package exporter

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// Program returns the exporter's command line.
func Program() program.Program {
	var host string
	options := func(env program.Env) (Options, error) {
		file, err := env.RequireConfig("exporter")
		return Options{ConfigFile: file, Host: host, Log: env.Log}, err
	}
	return program.Program{
		Name:    "exporter",
		Summary: "agent health for Prometheus, from independent signals; unknown is never healthy",
		Flags: func(fs *flag.FlagSet) {
			fs.StringVar(&host, "host", host, "watch the roster's agents with this `host:` only, and export their agent_up")
		},
		New: func(env program.Env) (lifecycle.App, error) {
			o, err := options(env)
			if err != nil {
				return nil, err
			}
			return New(o)
		},
		Check: func(_ context.Context, env program.Env) error {
			o, err := options(env)
			if err != nil {
				return err
			}
			return check(o, env)
		},
		HealthURL: func(env program.Env) (string, error) {
			o, err := options(env)
			if err != nil {
				return "", err
			}
			loaded, err := load(o.ConfigFile, o.Host)
			return program.HealthURL(loaded.config.Server.Listen), err
		},
		Grace: 10 * time.Second,
		Commands: []program.Command{
			{Name: "once", Summary: "Read every source once and print the scrape.", Example: "exporter once | promtool check metrics",
				Setup: func(*flag.FlagSet) program.Run {
					return func(ctx context.Context, env program.Env) error { return reading(ctx, env, options, printScrape) }
				}},
			{Name: "explain", Args: "AGENT", Summary: "Print every signal of an agent and the verdict with its reasons.", Example: "exporter explain opengineer",
				Setup: func(*flag.FlagSet) program.Run {
					return func(ctx context.Context, env program.Env) error { return reading(ctx, env, options, printVerdict) }
				}},
		},
	}
}

func check(o Options, env program.Env) error {
	loaded, err := load(o.ConfigFile, o.Host)
	if err != nil {
		return err
	}
	text, err := confload.Masked(loaded.config)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(env.Stdout, "# in force, from %s\n%s# roster: %d agents\n", o.ConfigFile, text, len(loaded.roster.Agents))
	for _, line := range loaded.unavailable() {
		_, _ = fmt.Fprintf(env.Stdout, "# not available: %s\n", line)
	}
	return nil
}

// reading reads every source once, without a server, and prints.
func reading(ctx context.Context, env program.Env, options func(program.Env) (Options, error), show func(*App, program.Env) error) error {
	o, err := options(env)
	if err != nil {
		return err
	}
	a, err := build(o)
	if err != nil {
		return err
	}
	if a.beats != nil {
		a.beats.Poll(ctx)
	}
	a.watches.Poll(ctx)
	if a.traffic != nil {
		a.traffic.Poll(ctx)
	}
	for _, board := range a.boards {
		board.Poll(ctx)
	}
	return show(a, env)
}

func printScrape(a *App, env program.Env) error {
	families, err := a.registry.Gather()
	if err != nil {
		return fmt.Errorf("gathering: %w", err)
	}
	for _, family := range families {
		if _, err := expfmt.MetricFamilyToText(env.Stdout, family); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	return nil
}

func printVerdict(a *App, env program.Env) error {
	if len(env.Args) != 1 {
		return program.Usagef("expected one agent id, for example: exporter explain opengineer")
	}
	view := a.View()
	var ids []string
	for _, agent := range view.Agents {
		if agent.Agent.ID == env.Args[0] {
			explain(env, agent, view)
			return nil
		}
		ids = append(ids, agent.Agent.ID)
	}
	return program.Usagef("no agent %q in the roster; expected one of %s", env.Args[0], strings.Join(ids, ", "))
}

func explain(env program.Env, agent collector.AgentView, view collector.View) {
	_, _ = fmt.Fprintf(env.Stdout, "%s (%s): %s, %s\n", agent.Agent.ID, agent.Agent.Label, agent.Verdict.State, agent.Verdict.Reason)
	for _, why := range agent.Verdict.Why {
		_, _ = fmt.Fprintf(env.Stdout, "  %s\n", why)
	}
	for _, s := range view.Sources {
		state := "up"
		if s.Err != nil {
			state = "down: " + s.Err.Error()
		}
		_, _ = fmt.Fprintf(env.Stdout, "source %s: %s (read in %s)\n", s.Name, state, s.Took.Round(time.Millisecond))
	}
}
