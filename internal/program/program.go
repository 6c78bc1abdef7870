// Package program is the command line that the four programs share: flags,
// finding the configuration file, logging, subcommands and exit codes.
//
// Exit codes: 0 done, 1 failed, 2 the command line or the configuration is
// wrong. A subcommand may use others through [Exit].
package program

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"
	_ "time/tzdata" // programs know every zone on machines without zone files

	_ "golang.org/x/crypto/x509roots/fallback" // and have roots where the system has none

	"github.com/fleetwatch/fleetwatch/internal/buildinfo"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

// Program describes one of the programs.
type Program struct {
	Name    string // as in cmd/NAME and NAME.yaml
	Summary string // one sentence
	// New makes the app that serve runs, its address already bound.
	New func(Env) (lifecycle.App, error)
	// Check prints the configuration in force and what is not available.
	Check func(context.Context, Env) error
	// HealthURL returns where /health of this configuration answers.
	HealthURL func(Env) (string, error)
	Grace     time.Duration // for draining on SIGTERM
	// Flags registers flags of the program's own that every command knows.
	Flags    func(*flag.FlagSet)
	Commands []Command // beside serve, check-config and healthcheck
}

// Command is a subcommand.
type Command struct {
	Name    string
	Args    string // shown after the name, for example AGENT
	Summary string
	Example string
	// Setup registers the command's flags and returns what runs it.
	Setup func(*flag.FlagSet) Run
}

// Run is what a subcommand does. env.Args are its positional arguments.
type Run func(ctx context.Context, env Env) error

// Env is what a command works with.
type Env struct {
	ConfigFile string
	Args       []string
	Log        *slog.Logger
	Stdin      io.Reader
	Stdout     io.Writer
	Stderr     io.Writer
}

// Exit is an error with an exit code of its own. An empty Err prints nothing.
type Exit struct {
	Code int
	Err  error
}

func (e Exit) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

func (e Exit) Unwrap() error { return e.Err }

// Usagef is an error of the command line; exit code 2.
func Usagef(format string, args ...any) error {
	return Exit{Code: 2, Err: fmt.Errorf(format, args...)}
}

type global struct {
	config, level, format string
	version               bool
}

func (g *global) register(fs *flag.FlagSet, name string) {
	fs.StringVar(&g.config, "config", g.config, "configuration `FILE`; default /etc/fleetwatch/"+name+".yaml, then ./"+name+".yaml")
	fs.StringVar(&g.level, "log.level", g.level, "debug, info, warn or error; also LOG_LEVEL")
	fs.StringVar(&g.format, "log.format", g.format, "text or json; also LOG_FORMAT")
	fs.BoolVar(&g.version, "version", g.version, "print the version and end")
}

// Main runs the program with args (without the program's own name) and returns
// its exit code.
func Main(ctx context.Context, p Program, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := p.run(ctx, args, Env{Stdin: stdin, Stdout: stdout, Stderr: stderr})
	var exit Exit
	var problems *confload.Errors
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &exit):
		if exit.Err != nil {
			_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.Name, exit.Err)
		}
		return exit.Code
	case errors.As(err, &problems):
		_, _ = fmt.Fprintf(stderr, "%v\n%s: the configuration has %d problem(s); nothing was started\n", err, p.Name, len(problems.Problems))
		return 2
	default:
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", p.Name, err)
		return 1
	}
}

func (p Program) run(ctx context.Context, args []string, env Env) error {
	g := global{level: envOr("LOG_LEVEL", "info"), format: envOr("LOG_FORMAT", "text")}
	name := "serve"
	top := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	top.SetOutput(io.Discard)
	g.register(top, p.Name)
	p.ownFlags(top)
	if err := top.Parse(args); errors.Is(err, flag.ErrHelp) {
		p.usage(env.Stdout, top)
		return err
	} else if err != nil {
		return Usagef("%w; %s -h lists the flags", err, p.Name)
	}
	rest := top.Args()
	if len(rest) > 0 {
		name, rest = rest[0], rest[1:]
	}
	if name == "help" {
		p.usage(env.Stdout, top)
		return nil
	}
	command, err := p.command(name)
	if err != nil {
		return err
	}
	return p.runCommand(ctx, command, &g, rest, env)
}

func (p Program) runCommand(ctx context.Context, c Command, g *global, args []string, env Env) error {
	set := flag.NewFlagSet(p.Name+" "+c.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	g.register(set, p.Name)
	p.ownFlags(set)
	run := c.Setup(set)
	var err error
	env.Args, err = interleaved(set, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		_, _ = fmt.Fprintf(env.Stdout, "usage: %s %s [flags] %s\n\n%s\n\nexample:\n  %s\n\nflags:\n", p.Name, c.Name, c.Args, c.Summary, c.Example)
		set.SetOutput(env.Stdout)
		set.PrintDefaults()
		return err
	case err != nil:
		return Usagef("%w; %s %s -h lists the flags", err, p.Name, c.Name)
	case g.version:
		b := buildinfo.Get()
		_, _ = fmt.Fprintf(env.Stdout, "fleetwatch %s %s (revision %s, %s)\n", p.Name, b.Version, b.Revision, b.GoVersion)
		return nil
	}
	if env.Log, err = obslog.New(env.Stderr, g.level, g.format); err != nil {
		return Usagef("%w", err)
	}
	if env.ConfigFile, err = p.findConfig(g.config); err != nil {
		return err
	}
	return run(ctx, env)
}

func (p Program) ownFlags(set *flag.FlagSet) {
	if p.Flags != nil {
		p.Flags(set)
	}
}

// findConfig returns the file given, or the first default that exists; "" where
// none does, which only commands that need no file accept.
func (p Program) findConfig(given string) (string, error) {
	if given != "" {
		if _, err := os.Stat(given); err != nil {
			return "", Usagef("-config: %w", err)
		}
		return given, nil
	}
	for _, path := range []string{"/etc/fleetwatch/" + p.Name + ".yaml", p.Name + ".yaml"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", Usagef("looking for the configuration: %w", err)
		}
	}
	return "", nil
}

// RequireConfig returns the configuration file, or an error that says where it
// was looked for.
func (e Env) RequireConfig(name string) (string, error) {
	if e.ConfigFile == "" {
		return "", Usagef("no configuration: looked for /etc/fleetwatch/%s.yaml and ./%s.yaml; give -config FILE", name, name)
	}
	return e.ConfigFile, nil
}

// interleaved parses flags before, between and after positional arguments; what
// follows -- is positional.
func interleaved(set *flag.FlagSet, args []string) ([]string, error) {
	var tail []string
	for i, a := range args {
		if a == "--" {
			args, tail = args[:i], args[i+1:]
			break
		}
	}
	var positional []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return append(positional, tail...), nil
		}
		positional, args = append(positional, set.Arg(0)), set.Args()[1:]
	}
}

func envOr(name, fallback string) string {
	if v := strings.TrimSpace(os.Getenv(name)); v != "" {
		return v
	}
	return fallback
}
