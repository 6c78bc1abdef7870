package heartbeat

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/multica"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/workboard"
)

// commandLines call the programs of task sources, each never twice at a time, over
// every reload.
type commandLines struct{ openclaw, multica *command.Runner }

// newCommandLines returns callers whose processes are no runs.
func newCommandLines(exec *driver.Exec) commandLines {
	return commandLines{command.New(exec.Host, driver.GuestMark), command.New(exec.Host, driver.GuestMark)}
}

// sources are the task sources that this version can read.
func (p *plan) sources(calls commandLines) []preflight.Source {
	return []preflight.Source{p.documents(), p.workboard(calls.openclaw), p.multica(calls.multica)}
}

func (p *plan) documents() preflight.Source {
	c, folder := p.config.Sources.Documents, filepath.Dir(string(p.config.Roster))
	return preflight.Source{
		Name: documents.Name, Cache: c.Cache, Timeout: c.Timeout,
		Read: func(ctx context.Context, a fleet.Agent) ([]tasksource.Task, error) {
			return documents.Read(ctx, folder, a.Sources.Documents.Globs)
		},
	}
}

func (p *plan) workboard(cli *command.Runner) preflight.Source {
	c, claw := p.config.Sources.WorkBoard, p.config.Sources.OpenClaw
	options := workboard.Options{CLI: claw.CLI, Home: string(claw.Home), Token: claw.Token}
	return preflight.Source{
		Name: workboard.Name, Cache: c.Cache, Timeout: c.Timeout,
		All:      func(ctx context.Context) (tasksource.Board, error) { return workboard.Read(ctx, cli, options) },
		Assignee: func(a fleet.Agent) string { return cmp.Or(a.Sources.WorkBoard.Agent, a.ID) },
	}
}

func (p *plan) multica(cli *command.Runner) preflight.Source {
	c := p.config.Sources.Multica
	source := multica.New(c.options(), cli)
	return preflight.Source{
		Name: multica.Name, Cache: c.Cache, Timeout: c.Timeout, All: source.Read,
		Assignee: func(a fleet.Agent) string { return cmp.Or(a.Sources.Multica.Assignee, a.ID) },
	}
}

func (c Multica) options() multica.Options {
	return multica.Options{URL: c.URL, Token: c.Token, Workspace: c.Workspace, CLI: c.CLI}
}

// unconfigured lists the sources that the roster names and the configuration says
// too little about, one line each.
func (p *plan) unconfigured() []string {
	var ids []string
	for _, a := range p.roster.Agents {
		if a.Sources.Multica != nil {
			ids = append(ids, a.ID)
		}
	}
	if len(ids) == 0 || p.config.Sources.Multica.Workspace != "" {
		return nil
	}
	return []string{fmt.Sprintf("source multica of %s: sources.multica.workspace is empty, its tasks are unknown", strings.Join(ids, ", "))}
}
