package exporter

import (
	"context"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/boards"
)

// newBoards makes the pollers of the task boards. One that no agent of the roster
// names is not asked.
func (a *App) newBoards(c boards.Config) []collector.Board {
	var out []collector.Board
	for _, reader := range c.Readers(boards.NewLines(nil)) {
		read := func(ctx context.Context) (tasksource.Board, error) {
			if !slices.ContainsFunc(a.settings.Load().roster.Agents, reader.Names) {
				return tasksource.Board{}, nil
			}
			return reader.Read(ctx)
		}
		out = append(out, collector.Board{
			Poller: collector.NewPoller(reader.Name, reader.Cache, reader.Timeout, a.options.Log, read), Names: reader.Names, Assignee: reader.Assignee,
		})
	}
	return out
}

// boardViews are the health of the boards that the roster names.
func (a *App) boardViews(roster *fleet.Roster, now time.Time) []collector.SourceView {
	var out []collector.SourceView
	for _, board := range a.boards {
		if slices.ContainsFunc(roster.Agents, board.Names) {
			out = append(out, sourceView(board.Name(), board.Last(), now))
		}
	}
	return out
}
