// Package boards is how the programs that read task boards, WorkBoard and Multica,
// are told of them, and makes their readers.
//
// It promises: two programs with the same configuration read the same, and a reader
// makes no call that its configuration does not name.
package boards

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/multica"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/workboard"
)

// Config is where boards are.
type Config struct {
	OpenClaw  OpenClaw  `yaml:"openclaw"`
	WorkBoard WorkBoard `yaml:"workboard"`
	Multica   Multica   `yaml:"multica"`
}

// OpenClaw is one OpenClaw installation.
type OpenClaw struct {
	Home    confload.Path `yaml:"home"`
	URL     string        `yaml:"url"`
	Token   redact.Secret `yaml:"token"`
	CLI     string        `yaml:"cli"`
	Cache   time.Duration `yaml:"cache"`
	Timeout time.Duration `yaml:"timeout"`
}

// WorkBoard is how cards are read, for all agents at once.
type WorkBoard struct {
	Via     string        `yaml:"via"` // cli
	Cache   time.Duration `yaml:"cache"`
	Timeout time.Duration `yaml:"timeout"`
}

// Multica is one Multica workspace.
type Multica struct {
	URL       string        `yaml:"url"`
	Token     redact.Secret `yaml:"token"`
	Workspace string        `yaml:"workspace"`
	CLI       string        `yaml:"cli"` // where url or token is not set
	Cache     time.Duration `yaml:"cache"`
	Timeout   time.Duration `yaml:"timeout"`
}

// viaCLI reads cards by OpenClaw's command line.
const viaCLI = "cli"

// Default returns the defaults.
func Default() Config {
	return Config{
		OpenClaw:  OpenClaw{Home: "~/.openclaw", URL: "http://127.0.0.1:18789", CLI: "openclaw", Cache: time.Minute, Timeout: 10 * time.Second},
		WorkBoard: WorkBoard{Via: viaCLI, Cache: time.Minute, Timeout: 30 * time.Second},
		Multica:   Multica{CLI: "multica", Cache: time.Minute, Timeout: 30 * time.Second},
	}
}

// MinTime is the shortest cache and timeout of a source.
const MinTime = 100 * time.Millisecond

// Check reports what is wrong, below the key sources.
func (c Config) Check(r *confload.Report) {
	for path, d := range map[string]time.Duration{
		"sources.workboard.cache": c.WorkBoard.Cache, "sources.workboard.timeout": c.WorkBoard.Timeout,
		"sources.multica.cache": c.Multica.Cache, "sources.multica.timeout": c.Multica.Timeout,
	} {
		if d < MinTime {
			r.Errorf(path, "expected at least %s, got %s", MinTime, d)
		}
	}
	if c.WorkBoard.Via != viaCLI {
		r.Errorf("sources.workboard.via", "expected %s, got %q", viaCLI, c.WorkBoard.Via)
	}
	for path, cli := range map[string]string{"sources.openclaw.cli": c.OpenClaw.CLI, "sources.multica.cli": c.Multica.CLI} {
		if cli == "" {
			r.Errorf(path, "expected a program, by path or by name")
		}
	}
	if u, err := url.Parse(c.Multica.URL); c.Multica.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		r.Errorf("sources.multica.url", "expected a URL like https://multica.example.com")
	}
}

// Lines call the programs of boards, each never twice at a time. They are to live as
// long as the program, over every reload.
type Lines struct{ openclaw, multica *command.Runner }

// NewLines returns callers; account and env are those of [command.New].
func NewLines(account command.Account, env ...string) Lines {
	return Lines{command.New(account, env...), command.New(account, env...)}
}

// Reader reads one board, for all agents at once.
type Reader struct {
	Name           string
	Cache, Timeout time.Duration
	// Read returns the tasks of everybody. It is not to be called while it runs.
	Read func(context.Context) (tasksource.Board, error)
	// Names reports whether the agent has tasks there; Assignee is who it is there.
	Names    func(fleet.Agent) bool
	Assignee func(fleet.Agent) string
}

// Readers returns the readers of all boards.
func (c Config) Readers(calls Lines) []Reader {
	cards := workboard.Options{CLI: c.OpenClaw.CLI, Home: string(c.OpenClaw.Home), Token: c.OpenClaw.Token}
	issues := multica.New(multica.Options{URL: c.Multica.URL, Token: c.Multica.Token, Workspace: c.Multica.Workspace, CLI: c.Multica.CLI}, calls.multica)
	return []Reader{{
		Name: workboard.Name, Cache: c.WorkBoard.Cache, Timeout: c.WorkBoard.Timeout,
		Read:     func(ctx context.Context) (tasksource.Board, error) { return workboard.Read(ctx, calls.openclaw, cards) },
		Names:    func(a fleet.Agent) bool { return a.Sources.WorkBoard != nil },
		Assignee: func(a fleet.Agent) string { return cmp.Or(a.Sources.WorkBoard.Agent, a.ID) },
	}, {
		Name: multica.Name, Cache: c.Multica.Cache, Timeout: c.Multica.Timeout, Read: issues.Read,
		Names:    func(a fleet.Agent) bool { return a.Sources.Multica != nil },
		Assignee: func(a fleet.Agent) string { return cmp.Or(a.Sources.Multica.Assignee, a.ID) },
	}}
}

// Secrets are the secrets in the configuration.
func (c Config) Secrets() []redact.Secret {
	return []redact.Secret{c.OpenClaw.Token, c.Multica.Token}
}

// Unconfigured lists the boards that the roster names and the configuration says too
// little about, one line each.
func (c Config) Unconfigured(roster *fleet.Roster) []string {
	var ids []string
	for _, a := range roster.Agents {
		if a.Sources.Multica != nil {
			ids = append(ids, a.ID)
		}
	}
	if len(ids) == 0 || c.Multica.Workspace != "" {
		return nil
	}
	return []string{fmt.Sprintf("source multica of %s: sources.multica.workspace is empty, its tasks are unknown", strings.Join(ids, ", "))}
}
