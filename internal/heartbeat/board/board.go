// Package board is heartbeat's status page: a tile for every agent, with its
// state by colour and by shape, why it is in it, its last beat and when the
// next is due; and the checks beside them.
//
// It promises to show states only, never logs, and nothing that GET /api/agents
// does not say. Pages work without script; with it they follow every change.
package board

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed pages
var pages embed.FS

// gap is the shortest time between two updates of an open page.
const gap = 500 * time.Millisecond

// Source is what the page shows.
type Source interface {
	Agents() []beat.Agent
	Checks() []watchdog.Snapshot
	// Changes returns a channel that is closed at the next change.
	Changes() <-chan struct{}
}

// Board serves the page.
type Board struct {
	source   Source
	ui       *webui.UI
	log      *slog.Logger
	draining <-chan struct{}
}

// view is what the page's templates see.
type view struct {
	Agents []tile
	Checks []watchdog.Snapshot
	Counts []count
}

// tile is one agent with its tasks counted. Titles and ids of tasks are not shown
// here: the page may be public.
type tile struct {
	beat.Agent
	HasWork                       bool // a source is known
	Active, Todo, Blocked, Review int
	Stalled, Paused               int
	Unread                        []string // sources whose tasks are unknown
}

func tileOf(a beat.Agent) tile {
	t := tile{Agent: a}
	for _, source := range a.Sources {
		if source.State == beat.SourceOK {
			t.HasWork = true
		} else {
			t.Unread = append(t.Unread, source.Name)
		}
	}
	for _, task := range a.Tasks {
		switch task.State {
		case beat.TaskInProgress:
			t.Active++
		case beat.TaskTodo:
			t.Todo++
		case beat.TaskBlocked:
			t.Blocked++
		case beat.TaskReview:
			t.Review++
		}
		if task.Stalled {
			t.Stalled++
		}
		if task.Paused {
			t.Paused++
		}
	}
	return t
}

type count struct {
	State beat.State
	N     int
}

// New reads the page; its streams end when draining is closed.
func New(source Source, log *slog.Logger, draining <-chan struct{}) (*Board, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	ui, err := webui.New(webui.Program{Name: "heartbeat"}, folder)
	if err != nil {
		return nil, err
	}
	return &Board{source: source, ui: ui, log: log, draining: draining}, nil
}

// Routes adds the page to a router; guard decides who may see it.
func (b *Board) Routes(router *mux.Router, guard func(http.Handler) http.Handler) {
	add := func(path string, handler http.HandlerFunc) {
		router.Handle(path, guard(webui.Guard(handler))).Methods(http.MethodGet, http.MethodHead)
	}
	add("/", func(w http.ResponseWriter, r *http.Request) {
		b.answer(w, r, b.ui.Render(w, r, "board.html", b.view()))
	})
	add("/board/fragment", func(w http.ResponseWriter, r *http.Request) {
		b.answer(w, r, b.ui.Fragment(w, r, "board.html", "board", b.view()))
	})
	add("/board/events", func(w http.ResponseWriter, r *http.Request) {
		webui.Live(w, r, b.draining, gap, b.source.Changes)
	})
	router.PathPrefix("/assets/").Handler(b.ui).Methods(http.MethodGet, http.MethodHead)
}

func (b *Board) answer(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		b.log.ErrorContext(r.Context(), "page not shown", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// view sorts by urgency, then as the roster does.
func (b *Board) view() view {
	v := view{Checks: b.source.Checks()}
	for _, agent := range b.source.Agents() {
		v.Agents = append(v.Agents, tileOf(agent))
	}
	urgency, counts := map[beat.State]int{}, map[beat.State]int{}
	for i, state := range beat.States() {
		urgency[state] = i
	}
	for _, agent := range v.Agents {
		counts[agent.State]++
	}
	slices.SortStableFunc(v.Agents, func(x, y tile) int { return cmp.Compare(urgency[x.State], urgency[y.State]) })
	for _, state := range beat.States() {
		if counts[state] > 0 {
			v.Counts = append(v.Counts, count{state, counts[state]})
		}
	}
	return v
}
