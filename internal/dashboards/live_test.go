//go:build e2e

package dashboards

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/stack"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// offset keeps the test away from the ports of a suite, a demo and the chain's test.
const offset = 25000

// TestPanelsShowData runs the real programs under a scripted load, with a real
// Prometheus that scrapes them, and asks it every panel's query.
func TestPanelsShowData(t *testing.T) {
	s := start(t)
	if err := s.BackendFault(t.Context(), "primary-1", "rate_limit"); err != nil {
		t.Fatal(err)
	}
	// One client's requests cool the last backend down for a moment, again and again:
	// the others have to wait for it.
	s.fault(t, provider.Fault{Backend: "fallback-1", Kind: provider.RateLimit, Contains: "I am lawyer"})
	if err := s.Agent(t.Context(), "opengineer", "kill"); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"documents", "multica"} {
		s.shows(t, "tasks of "+source, `agent_tasks{source="`+source+`", state="in_progress"} > 0`)
	}
	for _, d := range All() {
		for _, v := range d.Templating.List {
			if q, ok := v.Query.(variableQuery); ok {
				metric, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(q.Query, "label_values("), ")"), ", ")
				s.shows(t, d.UID+": variable "+v.Name, "count by ("+label+") ("+metric+")")
			}
		}
		for _, p := range d.Panels {
			for _, target := range p.Targets {
				s.shows(t, d.UID+": "+p.Title+" "+target.RefID, plain(target.Expr))
			}
		}
	}
}

type suite struct{ stack.Suite }

func start(t *testing.T) suite {
	t.Helper()
	root, err := stack.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	l := stack.NewLayout(root, "dashboards", "127.0.0.1", offset)
	if err := os.RemoveAll(l.Dir); err != nil {
		t.Fatal(err)
	}
	plan := stack.NewPlan(l, stack.NoSettings(), stack.FastPace())
	if err := plan.CheckPorts(); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Prepare(l, plan.Pace); err != nil {
		t.Fatal(err)
	}
	supervisor := stack.NewSupervisor(stack.NewPlan(l, stack.NoSettings(), plan.Pace)) // with the secrets that Prepare made
	t.Cleanup(func() {
		if err := supervisor.StopAll(); err != nil {
			t.Error(err)
		}
		if !t.Failed() {
			if err := os.RemoveAll(filepath.Join(l.Dir, "data")); err != nil {
				t.Error(err)
			}
		}
	})
	if err := supervisor.StartAll(t.Context(), t.Output()); err != nil {
		t.Fatal(err)
	}
	s := suite{stack.NewSuite(l)}
	if _, err := stack.Await(t.Context(), time.Minute, s.AllUp); err != nil {
		t.Fatal(err)
	}
	return s
}

// fault adds a line to the script of the simulated providers.
func (s suite) fault(t *testing.T, f provider.Fault) {
	t.Helper()
	body, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Layout.URL(stack.SandboxProvider)+"/sandbox/faults", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if code, answer := testtool.Do(t, request); code != http.StatusCreated {
		t.Fatalf("adding a fault: %d %s", code, answer)
	}
}

// plain replaces Grafana's variables, all values chosen.
func plain(expr string) string {
	expr = strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m").Replace(expr)
	return variable.ReplaceAllString(expr, ".*")
}

// shows fails the test where the query has no value that can be drawn.
func (s suite) shows(t *testing.T, what, query string) {
	t.Helper()
	drawn := func(ctx context.Context) error {
		n, err := s.ask(ctx, query)
		if err == nil && n == 0 {
			err = fmt.Errorf("no data: %s", query)
		}
		return err
	}
	// Counters need two scrapes, alerts their wait, cooldowns a failure.
	if _, err := stack.Await(t.Context(), 60*time.Second, drawn); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// ask returns how many lines the query has a number for at this moment.
func (s suite) ask(ctx context.Context, query string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Layout.URL(stack.Prometheus)+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value []any }
		}
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("%s: %s", query, answer.Error)
	}
	n := 0
	for _, line := range answer.Data.Result {
		if text, ok := line.Value[1].(string); ok && text != "NaN" {
			n++
		}
	}
	return n, nil
}
