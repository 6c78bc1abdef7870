package agents

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed pages
var pages embed.FS

// pageGap is the shortest time between two updates of an open page.
const pageGap = 200 * time.Millisecond

// Web is the supervisor's page and API.
type Web struct {
	supervisor *Supervisor
	heartbeat  string
	log        *slog.Logger
	ui         *webui.UI
	root       http.Handler
}

// board is what the page shows.
type board struct {
	Agents    []Status
	Counts    map[string]int // by state
	Heartbeat string
	Problems  int // agents whose newest ping failed
}

// NewWeb returns the handler. heartbeat is the base URL shown on the page.
func NewWeb(s *Supervisor, heartbeat string, log *slog.Logger) (*Web, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	w := &Web{supervisor: s, heartbeat: heartbeat, log: log}
	w.ui, err = webui.New(webui.Program{Name: "Agents sandbox", Funcs: template.FuncMap{"every": every}}, folder)
	if err != nil {
		return nil, err
	}
	actions := "{action:kill|stall|resume|revive}"
	r := mux.NewRouter()
	r.HandleFunc("/", w.page).Methods(http.MethodGet)
	r.HandleFunc("/fragment", w.fragment).Methods(http.MethodGet)
	r.HandleFunc("/events", w.events).Methods(http.MethodGet)
	r.PathPrefix("/assets/").Handler(w.ui).Methods(http.MethodGet)
	r.HandleFunc("/agents/{id}/"+actions, w.button).Methods(http.MethodPost)
	r.HandleFunc("/api/agents", w.list).Methods(http.MethodGet)
	r.HandleFunc("/api/agents/{id}", w.one).Methods(http.MethodGet)
	r.HandleFunc("/api/agents/{id}/"+actions, w.act).Methods(http.MethodPost)
	r.HandleFunc(MulticaPath+"/api/issues", w.issues).Methods(http.MethodGet)
	r.HandleFunc(MulticaPath+"/api/agents", w.assignees).Methods(http.MethodGet)
	r.HandleFunc(MulticaPath+"/api/agent-task-snapshot", w.runs).Methods(http.MethodGet)
	r.HandleFunc("/health", func(out http.ResponseWriter, _ *http.Request) {
		w.json(out, http.StatusOK, map[string]string{"status": "ok"})
	}).Methods(http.MethodGet)
	w.root = webui.Guard(r)
	return w, nil
}

// every words an interval for people.
func every(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return d.String()
}

// ServeHTTP answers page and API.
func (w *Web) ServeHTTP(out http.ResponseWriter, r *http.Request) { w.root.ServeHTTP(out, r) }

func (w *Web) board() board {
	b := board{Agents: w.supervisor.Agents(), Counts: map[string]int{}, Heartbeat: w.heartbeat}
	for _, a := range b.Agents {
		b.Counts[string(a.State)]++
		if a.Problem != "" && a.State == StateRunning {
			b.Problems++
		}
	}
	return b
}

func (w *Web) page(out http.ResponseWriter, r *http.Request) {
	w.shown(out, w.ui.Render(out, r, "agents.html", w.board()))
}

func (w *Web) fragment(out http.ResponseWriter, r *http.Request) {
	w.shown(out, w.ui.Fragment(out, r, "agents.html", "board", w.board()))
}

func (w *Web) shown(out http.ResponseWriter, err error) {
	if err != nil {
		w.log.Error("showing the page failed", "error", err)
		out.WriteHeader(http.StatusInternalServerError)
	}
}

func (w *Web) events(out http.ResponseWriter, r *http.Request) {
	webui.Live(out, r, w.supervisor.closing, pageGap, w.supervisor.Changed)
}

// button does what a button of the page asks for. A button that came too late (the
// agent's state has changed since) just shows the page again.
func (w *Web) button(out http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	var late *StateError
	if err := w.supervisor.Do(vars["id"], Action(vars["action"])); err != nil && !errors.As(err, &late) {
		w.fail(out, err)
		return
	}
	http.Redirect(out, r, "/", http.StatusSeeOther)
}

func (w *Web) list(out http.ResponseWriter, _ *http.Request) {
	w.json(out, http.StatusOK, map[string]any{"agents": w.supervisor.Agents()})
}

func (w *Web) one(out http.ResponseWriter, r *http.Request) {
	status, err := w.supervisor.Agent(mux.Vars(r)["id"])
	if err != nil {
		w.fail(out, err)
		return
	}
	w.json(out, http.StatusOK, status)
}

func (w *Web) act(out http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	if err := w.supervisor.Do(vars["id"], Action(vars["action"])); err != nil {
		w.fail(out, err)
		return
	}
	w.one(out, r)
}

func (w *Web) fail(out http.ResponseWriter, err error) {
	status, code := http.StatusInternalServerError, "internal"
	var state *StateError
	switch {
	case errors.Is(err, ErrUnknown):
		status, code = http.StatusNotFound, "not_found"
	case errors.As(err, &state):
		status, code = http.StatusConflict, "wrong_state"
	default:
		w.log.Error("agent action failed", "error", err)
	}
	w.json(out, status, map[string]any{"error": map[string]string{"code": code, "message": err.Error()}})
}

func (w *Web) json(out http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		w.log.Error("encoding an answer failed", "error", err)
		out.WriteHeader(http.StatusInternalServerError)
		return
	}
	out.Header().Set("Content-Type", "application/json; charset=utf-8")
	out.WriteHeader(status)
	if _, err := out.Write(raw); err != nil {
		w.log.Debug("client went away", "error", err)
	}
}
