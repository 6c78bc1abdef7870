package heartbeat

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// lookers bounds how many agents' sources are read at the same time.
const lookers = 4

// followTasks looks at the sources of all agents again and again, so that progress is
// seen when it happens and not at the next beat. Each is read as often as its cache
// allows.
func (a *App) followTasks(ctx context.Context) error {
	for {
		a.lookAtAll(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(a.current().config.Sources.Documents.Cache):
		}
	}
}

func (a *App) lookAtAll(ctx context.Context) {
	var wg sync.WaitGroup
	places := make(chan struct{}, lookers)
	for _, j := range a.current().jobs {
		if ctx.Err() != nil || !j.Agent.Sources.IsSet() {
			continue
		}
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			_, changed, err := a.tasks.Look(ctx, j.Agent, false)
			if err != nil && ctx.Err() == nil {
				a.log.Error("tasks not remembered", "job", j.ID, "error", err)
			}
			if changed {
				a.states.touch()
			}
		})
	}
	wg.Wait()
}

// roundWarning is the number of rounds from which to warn; 0 without a limit.
func roundWarning(a fleet.Agent) int {
	return int(math.Ceil(float64(a.MaxRounds) * a.RoundWarning))
}

// postCheck reads an agent's sources now; its driver is not called, and no beat is
// accounted for.
func (a *App) postCheck(w http.ResponseWriter, r *http.Request) {
	j, ok := a.agentJob(w, r)
	if !ok {
		return
	}
	if _, _, err := a.tasks.Look(r.Context(), j.Agent, true); err != nil {
		a.storeFailed(w, r, err)
		return
	}
	a.states.touch()
	httpserve.WriteJSON(w, http.StatusOK, a.agent(j, time.Now().UTC()))
}

// postTask pauses or releases one task.
func (a *App) postTask(w http.ResponseWriter, r *http.Request, paused bool) {
	j, ok := a.agentJob(w, r)
	if !ok {
		return
	}
	change, id := a.tasks.Release, mux.Vars(r)["task"]
	if paused {
		change = a.tasks.Pause
	}
	err := change(r.Context(), j.Agent, id)
	switch {
	case errors.Is(err, worklist.ErrUnknownTask):
		notFound(w, r, "no such task; GET /api/agents/"+j.ID+" lists them")
	case err != nil:
		a.storeFailed(w, r, err)
	default:
		a.states.touch()
		httpserve.WriteJSON(w, http.StatusOK, map[string]any{"agent": j.ID, "task": id, "paused": paused})
	}
}

func (a *App) agentJob(w http.ResponseWriter, r *http.Request) (job.Job, bool) {
	j, ok := a.job(mux.Vars(r)["id"])
	if !ok || j.Kind != job.KindAgent {
		notFound(w, r, "no such agent")
		return job.Job{}, false
	}
	return j, true
}

func setTaskPaused(ctx context.Context, env program.Env, action, agent, task string) error {
	var answer struct{}
	path := "/api/agents/" + url.PathEscape(agent) + "/tasks/" + url.PathEscape(task) + "/" + action
	if err := get(ctx, env, http.MethodPost, path, &answer); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(env.Stdout, "%s: %s %sd\n", agent, task, action)
	return nil
}

func setupCheck(set *flag.FlagSet) program.Run {
	asJSON := set.Bool("json", false, "print JSON")
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 1 {
			return program.Usagef("expected one agent, like: heartbeat check coo")
		}
		var agent beat.Agent
		if err := get(ctx, env, http.MethodPost, "/api/agents/"+url.PathEscape(env.Args[0])+"/check", &agent); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env, agent)
		}
		unknown := false
		for _, s := range agent.Sources {
			_, _ = fmt.Fprintf(env.Stdout, "source %s: %s", s.Name, s.State)
			if s.State != beat.SourceOK {
				unknown = true
				_, _ = fmt.Fprintf(env.Stdout, " (%s)", s.Detail)
			}
			_, _ = fmt.Fprintln(env.Stdout)
		}
		if err := printTasks(env, agent); err != nil {
			return err
		}
		if unknown {
			return program.Exit{Code: 1}
		}
		return nil
	}
}

func printTasks(env program.Env, agent beat.Agent) error {
	return table(env, "TASK\tSTATE\tROUNDS\tLAST PROGRESS\tNOTE\tTITLE", func(line func(...any)) {
		for _, t := range agent.Tasks {
			line(t.ID, t.State, fmt.Sprintf("%d/%d", t.Rounds, agent.RoundLimit), clock(t.LastProgress), noteOf(t), t.Title)
		}
	})
}

// noteOf says what is unusual about a task.
func noteOf(t beat.Task) string {
	switch {
	case t.Paused:
		return "paused"
	case t.Cycle:
		return "waits for itself"
	case t.Stalled:
		return "stalled"
	case t.StallSuspected:
		return "stall suspected"
	case len(t.BlockedBy) > 0:
		return fmt.Sprintf("waits for %v", t.BlockedBy)
	case t.Parked:
		return "kept for later"
	}
	return "-"
}
