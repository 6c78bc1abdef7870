// Command stackctl runs the suite on this machine, in containers or without: up, down,
// status, demo, and the pieces that they are made of.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

type command struct {
	name, args, summary string
	run                 func(ctx context.Context, o options, args []string) error
}

type options struct {
	root   string
	name   string // of the suite: its folder under .run
	offset int
	json   bool
	hold   bool
	mode   string
}

func commands() []command {
	return []command{
		{"up", "", "build, prepare and start the suite; print the table", up},
		{"down", "", "stop the suite; leave no process", down},
		{"status", "", "print the table; exit 1 where something is not ready", status},
		{"demo", "", "run the sandbox beside any suite and play an incident", demo},
		{"start", "SERVICE", "start one service of the running suite", act("start")},
		{"stop", "SERVICE", "stop one service of the running suite", act("stop")},
		{"kill", "SERVICE", "end one service with SIGKILL", act("kill")},
		{"tools", "[NAME...]", "build the pinned tools into .bin", tools},
		{"build", "", "build the programs into .bin", build},
		{"supervise", "", "run the suite in the foreground (what up starts)", supervise},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "stackctl:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	offset, err := strconv.Atoi(envOr("PORT_OFFSET", "0"))
	if err != nil {
		return fmt.Errorf("PORT_OFFSET: expected a whole number, got %q", os.Getenv("PORT_OFFSET"))
	}
	o := options{}
	flags := flag.NewFlagSet("stackctl", flag.ExitOnError)
	flags.StringVar(&o.root, "root", ".", "`folder` of the repository")
	flags.StringVar(&o.name, "name", "up", "`name` of the suite: its data is in .run/NAME")
	flags.IntVar(&o.offset, "offset", offset, "added to every port; also PORT_OFFSET")
	flags.BoolVar(&o.json, "json", false, "status as JSON")
	flags.BoolVar(&o.hold, "hold", false, "demo: leave the suite running at the end until Ctrl-C")
	flags.StringVar(&o.mode, "mode", envOr("MODE", string(stack.Auto)), "auto (containers where a Docker engine is there), native or docker; also MODE")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "usage: stackctl [flags] COMMAND\n\n")
		for _, c := range commands() {
			fmt.Fprintf(flags.Output(), "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
		}
		fmt.Fprint(flags.Output(), "\nexample: stackctl stop exporter\n\nflags:\n")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return errors.New("expected a command")
	}
	for _, c := range commands() {
		if c.name == flags.Arg(0) {
			return c.run(ctx, o, flags.Args()[1:])
		}
	}
	return fmt.Errorf("unknown command %q; stackctl -h lists them", flags.Arg(0))
}

func (o options) layout() (stack.Layout, error) {
	root, err := stack.FindRoot(o.root)
	if err != nil {
		return stack.Layout{}, err
	}
	return stack.NewLayout(root, o.name, "127.0.0.1", o.offset), nil
}

func envOr(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
