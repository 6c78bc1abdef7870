package heartbeat

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// Program describes heartbeat's command line.
func Program() program.Program {
	return program.Program{
		Name:    "heartbeat",
		Summary: "beats every agent on schedule, takes pings, and says which agents live",
		New: func(env program.Env) (lifecycle.App, error) {
			file, err := env.RequireConfig("heartbeat")
			if err != nil {
				return nil, err
			}
			return New(Options{ConfigFile: file, Log: env.Log})
		},
		Check:     checkConfig,
		HealthURL: healthURL,
		Commands: []program.Command{
			{
				Name: "run", Args: "AGENT", Example: "heartbeat run coo --wait --timeout 10m",
				Summary: "Beat an agent now, through the running server or, if none runs, in this process. " +
					"With --wait the exit code is the outcome: 0 ok or idle, 1 failed, 2 usage, 3 unverified, 4 timeout, 5 skipped, 6 interrupted.",
				Setup: setupRun,
			},
			{Name: "list", Summary: "List agents and jobs with their schedules.", Example: "heartbeat list --json", Setup: setupList},
			{Name: "status", Args: "[AGENT]", Summary: "Show the state of the fleet or of one agent.", Example: "heartbeat status coo --json", Setup: setupStatus},
			{Name: "runs", Args: "[AGENT]", Summary: "Show the history of runs.", Example: "heartbeat runs coo --since 24h --outcome failed", Setup: setupRuns},
			{Name: "health", Args: "AGENT", Summary: "Exit with 0 if the agent is up or started, else with 1.", Example: "heartbeat health coo", Setup: setupHealth},
			{Name: "check", Args: "AGENT", Summary: "Read an agent's task sources now and show what they say; its driver is not called.", Example: "heartbeat check coo", Setup: setupCheck},
			{
				Name: "pause", Args: "AGENT [TASK]", Example: "heartbeat pause coo", Setup: setupPaused("pause"),
				Summary: "Leave out the slots of an agent (--all: of all), or one of its tasks, until it is resumed.",
			},
			{
				Name: "resume", Args: "AGENT [TASK]", Example: "heartbeat resume opengineer 'list#deploy-1'", Setup: setupPaused("resume"),
				Summary: "Beat a paused agent (--all: all of them) again, or release one of its tasks, as one that reached its round limit.",
			},
		},
	}
}

func configOf(env program.Env) (*plan, error) {
	file, err := env.RequireConfig("heartbeat")
	if err != nil {
		return nil, err
	}
	return load(file)
}

func healthURL(env program.Env) (string, error) {
	p, err := configOf(env)
	if err != nil {
		return "", err
	}
	return program.HealthURL(p.config.Server.Listen), nil
}

// checkConfig prints what is in force and what is not available.
func checkConfig(_ context.Context, env program.Env) error {
	p, err := configOf(env)
	if err != nil {
		return err
	}
	masked, err := confload.Masked(p.config)
	if err != nil {
		return fmt.Errorf("printing the configuration: %w", err)
	}
	out := env.Stdout
	_, _ = fmt.Fprintf(out, "%s\n# roster %s: %d agents, timezone %s\n", masked, p.config.Roster, len(p.roster.Agents), p.roster.Location)
	for _, line := range Unavailable(p.config, p.roster) {
		_, _ = fmt.Fprintf(out, "# not available in this version: %s\n", line)
	}
	for _, line := range p.config.Sources.boards().Unconfigured(p.roster) {
		_, _ = fmt.Fprintf(out, "# not configured: %s\n", line)
	}
	for name, target := range p.config.Notify {
		if !target.Configured() {
			_, _ = fmt.Fprintf(out, "# not configured: notice target %s reaches nobody\n", name)
		}
	}
	for _, check := range p.config.Checks {
		if !check.Key.IsSet() {
			_, _ = fmt.Fprintf(out, "# not configured: check %s has no key, nobody can ping it\n", check.Name)
		}
	}
	if !p.config.Server.PingKey.IsSet() {
		_, _ = fmt.Fprintln(out, "# not configured: server.ping_key is empty, agents cannot ping in")
	}
	return nil
}

// ExitCode is the exit code that mirrors an outcome.
func ExitCode(outcome beat.Outcome) int {
	switch outcome {
	case beat.OutcomeOK, beat.OutcomeIdle:
		return 0
	case beat.OutcomeUnverified:
		return 3
	case beat.OutcomeTimeout:
		return 4
	case beat.OutcomeSkipped:
		return 5
	case beat.OutcomeInterrupted:
		return 6
	case beat.OutcomeFailed:
	}
	return 1
}

const defaultWait = 15 * time.Minute

func setupRun(set *flag.FlagSet) program.Run {
	wait := set.Bool("wait", false, "wait for the end; the exit code is the outcome")
	timeout := set.Duration("timeout", defaultWait, "how long to wait at most; past it the run goes on in the server and the exit code is 4; without a server the run is interrupted, 6")
	reason := set.String("reason", "", "why, for the history and the driver")
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 1 {
			return program.Usagef("expected one agent, like: heartbeat run coo --wait")
		}
		p, err := configOf(env)
		if err != nil {
			return err
		}
		id := env.Args[0]
		if !p.known(id) {
			return program.Usagef("%s is neither in the roster %s nor in jobs: of %s", id, p.config.Roster, env.ConfigFile)
		}
		ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
		defer stop()
		d := demand{id: id, reason: *reason, wait: *wait, timeout: *timeout}
		ended, err := d.byServer(ctx, p)
		if errors.Is(err, errNoServer) {
			ended, err = d.alone(ctx, p, env.Log)
		}
		if err != nil {
			return err
		}
		return report(env, ended, *wait)
	}
}

// report prints how a run ended, or that it began, and sets the exit code.
func report(env program.Env, r ledger.Run, waited bool) error {
	if r.Open() {
		_, _ = fmt.Fprintf(env.Stdout, "%s started\n", r.ID)
		if waited {
			return program.Exit{Code: ExitCode(beat.OutcomeTimeout), Err: fmt.Errorf("run %s has not ended in time; it goes on, see: heartbeat runs %s", r.ID, r.Job)}
		}
		return nil
	}
	_, _ = fmt.Fprintf(env.Stdout, "%s %s", r.ID, r.Outcome)
	if r.Reason != "" {
		_, _ = fmt.Fprintf(env.Stdout, " (%s)", r.Reason)
	}
	if r.Detail != "" {
		_, _ = fmt.Fprintf(env.Stdout, ": %s", r.Detail)
	}
	_, _ = fmt.Fprintln(env.Stdout)
	if code := ExitCode(r.Outcome); code != 0 {
		return program.Exit{Code: code}
	}
	return nil
}
