package heartbeat

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// get asks the running server, and says what to do where none runs.
func get(ctx context.Context, env program.Env, method, path string, into any) error {
	p, err := configOf(env)
	if err != nil {
		return err
	}
	err = p.ask(ctx, method, path, nil, into)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("no heartbeat answers at %s: start it with heartbeat serve", p.config.Server.Listen)
	}
	return err
}

func printJSON(env program.Env, v any) error {
	encoder := json.NewEncoder(env.Stdout)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func table(env program.Env, head string, rows func(line func(cells ...any))) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, head)
	rows(func(cells ...any) {
		for i, cell := range cells {
			if i > 0 {
				_, _ = fmt.Fprint(w, "\t")
			}
			_, _ = fmt.Fprint(w, cell)
		}
		_, _ = fmt.Fprintln(w)
	})
	return w.Flush()
}

func clock(at time.Time) string {
	if at.IsZero() {
		return "-"
	}
	return at.Local().Format("2006-01-02 15:04:05")
}

func setupList(set *flag.FlagSet) program.Run {
	asJSON := set.Bool("json", false, "print JSON")
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) > 0 {
			return program.Usagef("unexpected argument %q", env.Args[0])
		}
		var answer struct {
			Jobs []jobView `json:"jobs"`
		}
		if err := get(ctx, env, http.MethodGet, "/api/jobs", &answer); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env, answer.Jobs)
		}
		return table(env, "ID\tKIND\tDRIVER\tSTATE\tNEXT RUN\tSCHEDULE\tLABEL", func(line func(...any)) {
			for _, j := range answer.Jobs {
				line(j.ID, j.Kind, j.Driver, j.State, clock(j.NextRun), j.Schedule, j.Label)
			}
		})
	}
}

func setupStatus(set *flag.FlagSet) program.Run {
	asJSON := set.Bool("json", false, "print JSON")
	return func(ctx context.Context, env program.Env) error {
		var fleet beat.Fleet
		switch len(env.Args) {
		case 0:
			if err := get(ctx, env, http.MethodGet, "/api/agents", &fleet); err != nil {
				return err
			}
		case 1:
			var agent beat.Agent
			if err := get(ctx, env, http.MethodGet, "/api/agents/"+url.PathEscape(env.Args[0]), &agent); err != nil {
				return err
			}
			if *asJSON {
				return printJSON(env, agent)
			}
			fleet.Agents = []beat.Agent{agent}
		default:
			return program.Usagef("expected one agent or none")
		}
		if *asJSON {
			return printJSON(env, fleet)
		}
		return table(env, "ID\tSTATE\tREASON\tLAST BEAT\tNEXT DUE\tLAST RUN\tLABEL", func(line func(...any)) {
			for _, a := range fleet.Agents {
				outcome := string(a.LastOutcome)
				if outcome == "" {
					outcome = "-"
				}
				line(a.ID, a.State, a.Reason, clock(a.LastBeat), clock(a.NextDue), outcome, a.Label)
			}
		})
	}
}

func setupRuns(set *flag.FlagSet) program.Run {
	asJSON := set.Bool("json", false, "print JSON")
	since := set.String("since", "", "only runs since a time or for a duration, like 24h")
	outcome := set.String("outcome", "", "only runs with this outcome")
	limit := set.Int("limit", 50, "at most so many, newest first")
	return func(ctx context.Context, env program.Env) error {
		values := url.Values{"since": {*since}, "outcome": {*outcome}, "limit": {fmt.Sprint(*limit)}}
		switch len(env.Args) {
		case 0:
		case 1:
			values.Set("job", env.Args[0])
		default:
			return program.Usagef("expected one agent or none")
		}
		var answer struct {
			Runs []ledger.Run `json:"runs"`
		}
		if err := get(ctx, env, http.MethodGet, "/api/runs?"+values.Encode(), &answer); err != nil {
			return err
		}
		if *asJSON {
			return printJSON(env, answer.Runs)
		}
		return table(env, "RUN\tTRIGGER\tSTARTED\tTOOK\tOUTCOME\tREASON\tDETAIL", func(line func(...any)) {
			for _, r := range answer.Runs {
				outcome, took := string(r.Outcome), "-"
				if r.Open() {
					outcome = "(open)"
				} else {
					took = r.FinishedAt.Sub(r.StartedAt).Round(time.Millisecond).String()
				}
				line(r.ID, r.Trigger, clock(r.StartedAt), took, outcome, r.Reason, r.Detail)
			}
		})
	}
}

func setupHealth(*flag.FlagSet) program.Run {
	return func(ctx context.Context, env program.Env) error {
		if len(env.Args) != 1 {
			return program.Usagef("expected one agent, like: heartbeat health coo")
		}
		var agent beat.Agent
		if err := get(ctx, env, http.MethodGet, "/api/agents/"+url.PathEscape(env.Args[0]), &agent); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(env.Stdout, "%s %s (%s)\n", agent.ID, agent.State, agent.Reason)
		if agent.State != beat.StateUp && agent.State != beat.StateStarted {
			return program.Exit{Code: 1}
		}
		return nil
	}
}

func setupPaused(action string) func(*flag.FlagSet) program.Run {
	return func(set *flag.FlagSet) program.Run {
		all := set.Bool("all", false, action+" every agent and job")
		return func(ctx context.Context, env program.Env) error {
			ids := env.Args
			if *all == (len(ids) > 0) || len(ids) > 2 {
				return program.Usagef("expected an agent, an agent and one of its tasks, or --all, like: heartbeat %s coo", action)
			}
			if len(ids) == 2 {
				return setTaskPaused(ctx, env, action, ids[0], ids[1])
			}
			if *all {
				var answer struct {
					Jobs []jobView `json:"jobs"`
				}
				if err := get(ctx, env, http.MethodGet, "/api/jobs", &answer); err != nil {
					return err
				}
				for _, j := range answer.Jobs {
					ids = append(ids, j.ID)
				}
			}
			for _, id := range ids {
				var answer struct{}
				if err := get(ctx, env, http.MethodPost, "/api/jobs/"+url.PathEscape(id)+"/"+action, &answer); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(env.Stdout, "%s: %sd\n", id, action)
			}
			return nil
		}
	}
}
