package program

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
)

// healthTimeout bounds the healthcheck subcommand.
const healthTimeout = 5 * time.Second

func (p Program) all() []Command {
	plain := func(run Run) func(*flag.FlagSet) Run {
		return func(*flag.FlagSet) Run {
			return func(ctx context.Context, env Env) error {
				if len(env.Args) > 0 {
					return Usagef("unexpected argument %q", env.Args[0])
				}
				return run(ctx, env)
			}
		}
	}
	return append([]Command{
		{Name: "serve", Summary: "Run the program (the default).", Example: p.Name + " -config " + p.Name + ".yaml", Setup: plain(p.serve)},
		{Name: "check-config", Summary: "Check the configuration and print what is in force, secrets masked.", Example: p.Name + " check-config -config " + p.Name + ".yaml", Setup: plain(p.Check)},
		{Name: "healthcheck", Summary: "Ask the running program for /health; exit code 0 if it answers. For containers.", Example: p.Name + " healthcheck", Setup: plain(p.healthcheck)},
	}, p.Commands...)
}

func (p Program) command(name string) (Command, error) {
	var names []string
	for _, c := range p.all() {
		if c.Name == name {
			return c, nil
		}
		names = append(names, c.Name)
	}
	return Command{}, Usagef("unknown command %q; expected one of %s", name, strings.Join(names, ", "))
}

func (p Program) usage(w io.Writer, flags *flag.FlagSet) {
	_, _ = fmt.Fprintf(w, "%s: %s\n\nusage: %s [flags] [command]\n\ncommands:\n", p.Name, p.Summary, p.Name)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, c := range p.all() {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", strings.TrimSpace(c.Name+" "+c.Args), c.Summary)
		_, _ = fmt.Fprintf(table, "  \te.g. %s\n", c.Example)
	}
	_ = table.Flush()
	_, _ = fmt.Fprintf(w, "\nflags:\n")
	flags.SetOutput(w)
	flags.PrintDefaults()
}

func (p Program) serve(ctx context.Context, env Env) error {
	app, err := p.New(env)
	if err != nil {
		return err
	}
	grace := p.Grace
	if grace == 0 {
		grace = 30 * time.Second
	}
	return lifecycle.Run(ctx, app, grace, env.Log)
}

func (p Program) healthcheck(ctx context.Context, env Env) error {
	url, err := p.HealthURL(env)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("asking %s: %w", url, err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("not healthy: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("not healthy: %s answered %s", url, response.Status)
	}
	return nil
}

// HealthURL returns the /health URL of a listen address; an address that means
// every interface is asked on loopback.
func HealthURL(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen + "/health"
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port) + "/health"
}
