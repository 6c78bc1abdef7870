package heartbeat

import (
	"context"
	"path/filepath"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/boards"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// newLines returns callers of boards' programs, whose processes are no runs.
func newLines(exec *driver.Exec) boards.Lines { return boards.NewLines(exec.Host, driver.GuestMark) }

// sources are the task sources that this version can read.
func (p *plan) sources(calls boards.Lines) []preflight.Source {
	out := []preflight.Source{p.documents()}
	for _, board := range p.config.Sources.boards().Readers(calls) {
		out = append(out, preflight.Source{
			Name: board.Name, Cache: board.Cache, Timeout: board.Timeout, All: board.Read, Assignee: board.Assignee,
		})
	}
	return out
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
