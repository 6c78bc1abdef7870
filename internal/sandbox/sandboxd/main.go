// Sandboxd is the one binary of the stand-ins: Feishu, providers of language
// models, and a fleet of simulated agents. It is for trying the product and for
// tests; none of it is part of the four programs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	_ "time/tzdata" // rosters name zones, and images have no zone files
)

// command is one subcommand.
type command struct {
	name, summary, example string
	run                    func(ctx context.Context, fs *flag.FlagSet, args []string, out io.Writer) error
}

func commands() []command {
	return []command{
		{"feishu", "serves a Feishu stand-in: the API the bridge sends to, and a page that shows the chats",
			"sandboxd feishu -listen 127.0.0.1:9096 -snapshot data/sandbox/feishu.json", runFeishu},
		{"provider", "stands in for the providers of language models: OpenAI's dialect, with faults by a page or an API",
			"sandboxd provider -listen 127.0.0.1:9098 -backend primary-1 -backend fallback-1", runProvider},
		{"agents", "runs a simulated agent process for every agent of a roster, with a page to kill and revive them",
			"sandboxd agents -roster fleet.yaml -heartbeat http://127.0.0.1:9095 -ping-key-file secrets/ping_key -dir data/sandbox/agents", runAgents},
		{"agent", "is one simulated agent; started by `sandboxd agents`",
			"sandboxd agent -id coo -every 10m -heartbeat http://127.0.0.1:9095 -ping-key-file secrets/ping_key -dir data/sandbox/agents", runAgent},
		{"agent-task", "gives a task to a simulated agent: exit 0 when it answers, 1 when it is dead, hangs while it is stalled",
			"sandboxd agent-task -dir data/sandbox/agents -id coo", runTask},
		{"healthcheck", "asks a stand-in whether it works; for containers",
			"sandboxd healthcheck -url http://127.0.0.1:9096/health", runHealthcheck},
	}
}

// errUsage has been explained already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err := dispatch(ctx, os.Args[1:], os.Stderr)
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "sandboxd:", err)
		os.Exit(1)
	}
}

// dispatch runs the subcommand that args name. ctx ends with the first SIGTERM.
func dispatch(ctx context.Context, args []string, out io.Writer) error {
	all := commands()
	if len(args) == 0 {
		usage(out, all)
		return errUsage
	}
	if slices.Contains([]string{"-h", "-help", "--help", "help"}, args[0]) {
		usage(out, all)
		return nil
	}
	for _, c := range all {
		if c.name != args[0] {
			continue
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		fs.SetOutput(out)
		fs.Usage = func() {
			fmt.Fprintf(out, "sandboxd %s %s.\n\nExample:\n  %s\n\nFlags:\n", c.name, c.summary, c.example)
			fs.PrintDefaults()
		}
		return c.run(ctx, fs, args[1:], out)
	}
	fmt.Fprintf(out, "sandboxd: there is no subcommand %q\n\n", args[0])
	usage(out, all)
	return errUsage
}

func usage(out io.Writer, all []command) {
	fmt.Fprint(out, "sandboxd stands in for what is not there yet. Subcommands:\n\n")
	for _, c := range all {
		fmt.Fprintf(out, "  %-11s %s\n              %s\n", c.name, c.summary, c.example)
	}
	fmt.Fprint(out, "\n`sandboxd SUBCOMMAND -h` explains the flags.\n")
}

// parse reads flags; help has been shown when it returns a nil error and false.
func parse(fs *flag.FlagSet, args []string) (bool, error) {
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return false, nil
	case err != nil:
		return false, errUsage
	case fs.NArg() > 0:
		fmt.Fprintf(fs.Output(), "unexpected argument %q\n", fs.Arg(0))
		fs.Usage()
		return false, errUsage
	}
	return true, nil
}

// need reports the flags that are missing.
func need(fs *flag.FlagSet, names ...string) error {
	missing := false
	for _, name := range names {
		if fs.Lookup(name).Value.String() == "" {
			fmt.Fprintf(fs.Output(), "flag -%s is needed\n", name)
			missing = true
		}
	}
	if missing {
		fs.Usage()
		return errUsage
	}
	return nil
}
