package heartbeat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/board"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

const (
	maxWait  = time.Hour
	maxLimit = 1000
	// eventGap is the shortest time between two events of a stream.
	eventGap = 250 * time.Millisecond
)

func (a *App) routes() error {
	router := a.server.Router()
	read := func(path string, handler http.HandlerFunc) {
		router.Handle(path, a.server.RequireRead(handler)).Methods(http.MethodGet, http.MethodHead)
	}
	admin := func(path string, handler http.HandlerFunc) {
		router.Handle(path, a.server.RequireAdmin(handler)).Methods(http.MethodPost)
	}
	read("/api/agents", a.getAgents)
	read("/api/agents/{id}", a.getAgent)
	read("/api/jobs", a.getJobs)
	read("/api/checks", a.getChecks)
	read("/api/runs", a.getRuns)
	read("/api/runs/{id}", a.getRun)
	read("/api/events", a.getEvents)
	admin("/api/jobs/{id}/run", a.postRun)
	admin("/api/agents/{id}/check", a.postCheck)
	admin("/api/agents/{id}/tasks/{task:.+}/pause", func(w http.ResponseWriter, r *http.Request) { a.postTask(w, r, true) })
	admin("/api/agents/{id}/tasks/{task:.+}/resume", func(w http.ResponseWriter, r *http.Request) { a.postTask(w, r, false) })
	admin("/api/jobs/{id}/pause", func(w http.ResponseWriter, r *http.Request) { a.postPaused(w, r, true) })
	admin("/api/jobs/{id}/resume", func(w http.ResponseWriter, r *http.Request) { a.postPaused(w, r, false) })
	a.pings.Routes(router)
	a.server.Ready("store", a.ledger.Check)
	a.server.Ready("notify", a.checkTargets)
	page, err := board.New(boardSource{a}, a.log, a.server.Draining())
	if err != nil {
		return err
	}
	page.Routes(router, a.guardBoard)
	return nil
}

// guardBoard lets everybody see states where public_read is on, and readers
// only where it is off.
func (a *App) guardBoard(next http.Handler) http.Handler {
	guarded := a.server.RequireRead(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a.current().config.Server.PublicRead {
			next.ServeHTTP(w, r)
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// boardSource shows the board what the API shows.
type boardSource struct{ app *App }

func (s boardSource) Agents() []beat.Agent        { return s.app.agents() }
func (s boardSource) Checks() []watchdog.Snapshot { return s.app.watch.Snapshots() }
func (s boardSource) Changes() <-chan struct{}    { return s.app.states.changes() }

// checkTargets names the notice targets that reach nobody.
func (a *App) checkTargets(context.Context) error {
	var missing []string
	for name, target := range a.current().config.Notify {
		if !target.Configured() {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return httpserve.Degraded(fmt.Errorf("not configured, reaches nobody: %s", strings.Join(missing, ", ")))
}

func (a *App) getAgents(w http.ResponseWriter, _ *http.Request) {
	httpserve.WriteJSON(w, http.StatusOK, beat.Fleet{GeneratedAt: time.Now().UTC(), Agents: a.agents()})
}

func (a *App) getAgent(w http.ResponseWriter, r *http.Request) {
	j, ok := a.job(mux.Vars(r)["id"])
	if !ok || j.Kind != job.KindAgent {
		notFound(w, r, "no such agent")
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, a.agent(j, time.Now().UTC()))
}

// jobView is one job of GET /api/jobs.
type jobView struct {
	ID              string     `json:"id"`
	Kind            job.Kind   `json:"kind"`
	Label           string     `json:"label"`
	Schedule        string     `json:"schedule"`
	Driver          string     `json:"driver"`
	IntervalSeconds float64    `json:"interval_seconds"`
	NextRun         time.Time  `json:"next_run,omitzero"`
	Paused          bool       `json:"paused"`
	State           beat.State `json:"state"`
}

func (a *App) getJobs(w http.ResponseWriter, _ *http.Request) {
	p := a.current()
	now := time.Now().UTC()
	out := make([]jobView, 0, len(p.jobs))
	for _, j := range p.jobs {
		facts, _ := a.book.Facts(j.ID)
		out = append(out, jobView{
			ID: j.ID, Kind: j.Kind, Label: j.Agent.Label, Schedule: p.keys[j.ID], Driver: j.Agent.Driver.Type,
			IntervalSeconds: j.Interval.Seconds(), NextRun: a.loop.Next(j.ID), Paused: !facts.Paused.IsZero(),
			State: run.Rule(j).Judge(facts, now).State,
		})
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"generated_at": now, "jobs": out})
}

func (a *App) getChecks(w http.ResponseWriter, _ *http.Request) {
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"generated_at": time.Now().UTC(), "checks": a.watch.Snapshots()})
}

func (a *App) getRuns(w http.ResponseWriter, r *http.Request) {
	values := r.URL.Query()
	query := ledger.Query{Job: values.Get("job"), Outcome: beat.Outcome(values.Get("outcome"))}
	if query.Outcome != "" && !slices.Contains(beat.Outcomes(), query.Outcome) {
		badRequest(w, r, fmt.Sprintf("outcome: expected one of %v", beat.Outcomes()))
		return
	}
	if text := values.Get("since"); text != "" {
		var err error
		if query.Since, err = sinceOf(text, time.Now()); err != nil {
			badRequest(w, r, err.Error())
			return
		}
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxLimit {
			badRequest(w, r, fmt.Sprintf("limit: expected a number from 1 to %d", maxLimit))
			return
		}
		query.Limit = n
	}
	runs, err := a.ledger.Runs(r.Context(), query)
	if err != nil {
		a.storeFailed(w, r, err)
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"runs": runs})
}

// sinceOf reads a time, or a duration back from now.
func sinceOf(text string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return at, nil
	}
	back, err := confload.ParseDuration(text)
	if err != nil || back < 0 {
		return time.Time{}, errors.New("since: expected a time like 2026-11-22T10:00:00Z or a duration like 24h")
	}
	return now.Add(-back), nil
}

func (a *App) getRun(w http.ResponseWriter, r *http.Request) {
	found, log, ok, err := a.ledger.Run(r.Context(), mux.Vars(r)["id"])
	switch {
	case err != nil:
		a.storeFailed(w, r, err)
	case !ok:
		notFound(w, r, "no such run")
	default:
		httpserve.WriteJSON(w, http.StatusOK, RunReport{Run: found, Log: log})
	}
}

// RunReport is one run with its log.
type RunReport struct {
	ledger.Run
	Log string `json:"log"`
}

func (a *App) getEvents(w http.ResponseWriter, r *http.Request) {
	webui.Live(w, r, a.server.Draining(), eventGap, a.states.changes)
}

func (a *App) postRun(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Reason string `json:"reason"`
	}
	if !httpserve.ReadJSON(w, r, &body) {
		return
	}
	var wait time.Duration
	if text := r.URL.Query().Get("wait"); text != "" {
		var err error
		if wait, err = confload.ParseDuration(text); err != nil || wait < 0 || wait > maxWait {
			badRequest(w, r, "wait: expected a duration like 60s, up to 1h")
			return
		}
	}
	claimed, done, err := a.executor.Demand(mux.Vars(r)["id"], body.Reason)
	switch {
	case errors.Is(err, run.ErrUnknownJob):
		notFound(w, r, "no such agent or job")
		return
	case errors.Is(err, run.ErrStopping):
		httpserve.WriteError(w, r, http.StatusServiceUnavailable, "stopping", "heartbeat is stopping")
		return
	case err != nil:
		a.storeFailed(w, r, err)
		return
	}
	a.answerRun(w, r, claimed, done, wait)
}

// answerRun answers with the run as it is when it ended or the wait is over.
func (a *App) answerRun(w http.ResponseWriter, r *http.Request, claimed ledger.Run, done <-chan ledger.Run, wait time.Duration) {
	if !claimed.Open() {
		httpserve.WriteJSON(w, http.StatusOK, claimed)
		return
	}
	if wait > 0 {
		// The read deadline of the request does not bound a long wait.
		_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case ended := <-done:
			httpserve.WriteJSON(w, http.StatusOK, ended)
			return
		case <-timer.C:
		case <-a.server.Draining():
		case <-r.Context().Done():
			return
		}
	}
	httpserve.WriteJSON(w, http.StatusAccepted, claimed)
}

func (a *App) postPaused(w http.ResponseWriter, r *http.Request, paused bool) {
	id := mux.Vars(r)["id"]
	err := a.setPaused(r.Context(), id, paused)
	switch {
	case errors.Is(err, run.ErrUnknownJob):
		notFound(w, r, "no such agent or job")
	case err != nil:
		a.storeFailed(w, r, err)
	default:
		httpserve.WriteJSON(w, http.StatusOK, map[string]any{"id": id, "paused": paused})
	}
}

func (a *App) storeFailed(w http.ResponseWriter, r *http.Request, err error) {
	a.log.ErrorContext(r.Context(), "request failed in the store", "error", err)
	httpserve.WriteError(w, r, http.StatusServiceUnavailable, "store_failed", "the record could not be read or written; try again")
}

func notFound(w http.ResponseWriter, r *http.Request, message string) {
	httpserve.WriteError(w, r, http.StatusNotFound, "not_found", message)
}

func badRequest(w http.ResponseWriter, r *http.Request, message string) {
	httpserve.WriteError(w, r, http.StatusBadRequest, "bad_request", message)
}
