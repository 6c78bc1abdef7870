package exporter_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/exporter"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the page (empty: none)")

// heartbeat answers as heartbeat's API does; it can be made to hang or to fail.
type heartbeat struct {
	*httptest.Server
	fleet atomic.Pointer[beat.Fleet]
	mode  atomic.Value
}

func startHeartbeat(t *testing.T, agents ...beat.Agent) *heartbeat {
	t.Helper()
	h := &heartbeat{}
	h.set(agents...)
	h.mode.Store("ok")
	released := make(chan struct{})
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch h.mode.Load() {
		case "hang":
			select {
			case <-released:
			case <-r.Context().Done():
			}
		case "garbage":
			_, _ = io.WriteString(w, "<html>502</html>")
		case "refuse":
			httpserve.WriteError(w, r, http.StatusUnauthorized, "unauthorized", "no")
		default:
			if r.Header.Get("Authorization") != "Bearer read-token" {
				t.Errorf("heartbeat was asked without its read token")
			}
			f := *h.fleet.Load()
			f.GeneratedAt = time.Now()
			httpserve.WriteJSON(w, http.StatusOK, f)
		}
	}))
	t.Cleanup(func() { close(released); h.Close() })
	return h
}

func (h *heartbeat) set(agents ...beat.Agent) { h.fleet.Store(&beat.Fleet{Agents: agents}) }

func up(id string) beat.Agent {
	return beat.Agent{ID: id, State: beat.StateUp, Reason: beat.ReasonBeating, LastBeat: time.Now(), LastSign: time.Now(),
		NextDue: time.Now().Add(time.Hour), IntervalSeconds: 3600, GraceSeconds: 10}
}

type setup struct {
	dir, config, pidFile string
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

const roster = `agents:
  - {id: opengineer, label: 运维工程师, class: frequent, owner: coo, watch: {process: {pid_file: agent.pid}}}
  - {id: lawyer, label: 法务}
  - {id: remote, host: other, watch: {process: {pid_file: agent.pid}}}
`

func configure(t *testing.T, heartbeatURL string) setup {
	t.Helper()
	dir := t.TempDir()
	s := setup{dir, filepath.Join(dir, "exporter.yaml"), filepath.Join(dir, "agent.pid")}
	write(t, filepath.Join(dir, "fleet.yaml"), roster)
	write(t, s.config, fmt.Sprintf("server: {listen: '127.0.0.1:0', token: reload-token}\nheartbeat: {url: %q, token: read-token}\nmin_interval: 50ms\ntimeout: 100ms\n", heartbeatURL))
	write(t, s.pidFile, fmt.Sprint(os.Getpid()))
	return s
}

func start(t *testing.T, s setup, host string) *exporter.App {
	t.Helper()
	app, err := exporter.New(exporter.Options{ConfigFile: s.config, Host: host, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return app
}

func get(t *testing.T, app *exporter.App, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+app.Addr()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually scrapes until every want is there and no deny is.
func eventually(t *testing.T, app *exporter.App, want, deny []string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		scrape, wrong := get(t, app, "/metrics"), ""
		for _, w := range want {
			if !strings.Contains(scrape, w) {
				wrong = "lacks " + w
			}
		}
		for _, d := range deny {
			if strings.Contains(scrape, d) {
				wrong = "has " + d
			}
		}
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the scrape %s:\n%s", wrong, agentLines(scrape))
		}
		<-time.After(10 * time.Millisecond)
	}
}

func agentLines(scrape string) string {
	var lines []string
	for line := range strings.Lines(scrape) {
		if strings.HasPrefix(line, "agent_") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

const (
	ops    = `agent_label="运维工程师",agent_name="opengineer"`
	lawyer = `agent_label="法务",agent_name="lawyer"`
)

func TestHealthyNeedsEvidence(t *testing.T) {
	h := startHeartbeat(t, up("opengineer"))
	s := configure(t, h.URL)
	app := start(t, s, "")

	eventually(t, app, []string{
		"agent_info{" + ops + `,class="frequent",discovered="false",host="",owner="coo"} 1`,
		"agent_heartbeat_state{" + ops + `,state="ok"} 1`, "agent_heartbeat_status{" + ops + "} 1",
		"agent_up{" + ops + `,signal="process"} 1`, "agent_signal_conflict{" + ops + "} 0",
		"agent_heartbeat_interval_seconds{" + ops + "} 600", "agent_heartbeat_grace_seconds{" + ops + "} 300",
		"agent_heartbeat_last_success_timestamp_seconds{" + ops, "agent_last_activity_timestamp_seconds{" + ops + `,source="heartbeat"}`,
		"agent_heartbeat_state{" + lawyer + `,state="unknown"} 1`, "agent_heartbeat_reason{" + lawyer + `,reason="not_in_heartbeat"} 1`,
		`agent_source_up{source="heartbeat"} 1`, `agent_source_up{source="watch"} 1`, `agent_heartbeat_state{agent_label="remote"`,
	}, []string{"agent_heartbeat_status{" + lawyer, `agent_up{agent_label="remote"`})

	// The process dies while the beat is still fresh: not healthy, and a conflict.
	dead := exec.CommandContext(t.Context(), "true")
	if err := dead.Run(); err != nil {
		t.Fatal(err)
	}
	write(t, s.pidFile, fmt.Sprint(dead.Process.Pid))
	eventually(t, app, []string{
		"agent_up{" + ops + `,signal="process"} 0`, "agent_heartbeat_status{" + ops + "} 0", "agent_heartbeat_state{" + ops + `,state="down"} 1`,
		"agent_heartbeat_reason{" + ops + `,reason="process_down"} 1`, "agent_signal_conflict{" + ops + "} 1",
	}, nil)
	write(t, s.pidFile, fmt.Sprint(os.Getpid()))
	eventually(t, app, []string{"agent_heartbeat_status{" + ops + "} 1"}, nil)

	// Heartbeat stops answering, in each way: unknown, never the last value.
	for _, mode := range []string{"hang", "garbage", "refuse"} {
		h.mode.Store(mode)
		eventually(t, app, []string{
			`agent_source_up{source="heartbeat"} 0`, "agent_heartbeat_state{" + ops + `,state="unknown"} 1`, "agent_heartbeat_state{" + ops + `,state="ok"} 0`,
			"agent_heartbeat_reason{" + ops + `,reason="heartbeat_unreachable"} 1`, "agent_info{" + ops, "agent_source_last_success_timestamp_seconds",
		}, []string{"agent_heartbeat_status{", "agent_heartbeat_last_success_timestamp_seconds{", "agent_last_activity_timestamp_seconds{"})
		h.mode.Store("ok")
		eventually(t, app, []string{"agent_heartbeat_status{" + ops + "} 1"}, nil)
	}
	if ready := get(t, app, "/ready"); !strings.Contains(ready, `"sources":"ok"`) {
		t.Errorf("/ready: %s", ready)
	}
	if health := get(t, app, "/health"); !strings.Contains(health, `"cache_age":`) || !strings.Contains(health, `"cache_age_by_source":{"heartbeat":`) || !strings.Contains(health, `"timestamp":"`) {
		t.Errorf("/health: %s", health)
	}
}

func TestTasks(t *testing.T) {
	agent := up("opengineer")
	agent.Sources = []beat.Source{{Name: "documents", State: beat.SourceOK}}
	agent.Tasks = []beat.Task{
		{ID: "1", Source: "documents", State: beat.TaskInProgress, LastProgress: time.Now().Add(-2 * time.Hour)},
		{ID: "2", Source: "documents", State: beat.TaskInProgress, LastProgress: time.Now()},
		{ID: "3", Source: "documents", State: beat.TaskTodo},
		{ID: "4", Source: "multica", State: beat.TaskTodo},
	}
	agent.Rounds, agent.RoundLimit, agent.RoundWarning = 41, 50, 40
	h := startHeartbeat(t, agent, up("lawyer"))
	app := start(t, configure(t, h.URL), "")
	eventually(t, app, []string{
		"agent_task_stagnation_seconds{" + ops + "} 72", "agent_tasks{" + ops + `,source="documents",state="in_progress"} 2`,
		"agent_tasks{" + ops + `,source="documents",state="todo"} 1`, "agent_task_rounds{" + ops + "} 41", "agent_task_round_limit{" + ops + "} 50", "agent_task_round_warning{" + ops + "} 40",
		"agent_task_last_progress_timestamp_seconds{" + ops + `,source="documents"}`,
	}, []string{`source="multica"`, "agent_task_stagnation_seconds{" + lawyer, "agent_tasks{" + lawyer})
	agent.Sources = append(agent.Sources, beat.Source{Name: "multica", State: beat.SourceUnknown})
	h.set(agent)
	eventually(t, app, []string{"agent_tasks{" + ops + `,source="documents"`, "agent_task_source_up{" + ops + `,source="documents"} 1`, "agent_task_source_up{" + ops + `,source="multica"} 0`},
		[]string{"agent_task_stagnation_seconds{", "agent_task_rounds{", "agent_tasks{" + ops + `,source="multica"`, "agent_task_last_progress_timestamp_seconds{" + ops + `,source="multica"`})
	agent.Sources, agent.Tasks = agent.Sources[:1], agent.Tasks[:1]
	agent.Tasks[0].Stalled = true
	h.set(agent)
	eventually(t, app, []string{"agent_heartbeat_status{" + ops + "} 0", "agent_heartbeat_reason{" + ops + `,reason="task_stalled"} 1`}, nil)
	agent.Tasks = nil
	h.set(agent)
	eventually(t, app, []string{"agent_task_stagnation_seconds{" + ops + "} 0\n"}, nil)
}

// boardsOnly is an exporter without heartbeat, with an OpenClaw that prints a list.
func boardsOnly(t *testing.T, list string) (setup, string) {
	t.Helper()
	s := configure(t, "")
	claw := filepath.Join(s.dir, "openclaw")
	write(t, claw, "#!/bin/sh\n"+list+"\n")
	if err := os.Chmod(claw, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "fleet.yaml"), strings.Replace(roster, "owner: coo,", "owner: coo, sources: {workboard: {}, multica: {}},", 1))
	text, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.config, string(text)+"sources: {openclaw: {cli: "+claw+"}, workboard: {cache: 100ms, timeout: 2s}, multica: {cache: 100ms}}\n")
	return s, claw
}

// TestTasksWithoutHeartbeat: the exporter reads boards itself where there is no
// heartbeat; what they say of tasks is shown, and says nothing about life.
func TestTasksWithoutHeartbeat(t *testing.T) {
	list := `echo '{"cards":[{"id":"1","status":"running","agentId":"opengineer","updatedAt":1795600000000},{"id":"2","status":"ready","agentId":"opengineer","updatedAt":1},{"id":"3","status":"ready","agentId":"stranger","updatedAt":1}]}'`
	s, claw := boardsOnly(t, list)
	app := start(t, s, "")
	want := []string{
		"agent_tasks{" + ops + `,source="workboard",state="in_progress"} 1`, "agent_tasks{" + ops + `,source="workboard",state="todo"} 1`, "agent_task_last_progress_timestamp_seconds{" + ops + `,source="workboard"} 1.7956e+09`,
		`agent_workboard_pending{type="in_progress"} 1`, `agent_workboard_pending{type="todo"} 1`, `agent_source_up{source="workboard"} 1`, `agent_source_up{source="multica"} 0`,
		"agent_task_source_up{" + ops + `,source="workboard"} 1`, "agent_task_source_up{" + ops + `,source="multica"} 0`, "agent_heartbeat_state{" + ops + `,state="unknown"} 1`,
	}
	deny := []string{`agent_tasks{` + ops + `,source="multica"`, "agent_task_stagnation_seconds{", "agent_task_rounds{", "agent_heartbeat_status{"}
	eventually(t, app, want, deny)
	write(t, claw, "#!/bin/sh\nexit 1\n")
	eventually(t, app, []string{`agent_source_up{source="workboard"} 0`}, nil)
	var out, errs bytes.Buffer
	if code := program.Main(t.Context(), exporter.Program(), []string{"once", "-config", s.config}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), `agent_source_up{source="workboard"} 0`) || strings.Contains(out.String(), "agent_tasks{") {
		t.Errorf("once: %d %s%s", code, agentLines(out.String()), errs.String())
	}
	out.Reset()
	if code := program.Main(t.Context(), exporter.Program(), []string{"check-config", "-config", s.config}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "source multica of opengineer: sources.multica.workspace is empty") {
		t.Errorf("check-config: %d %s", code, out.String())
	}
}

func TestHostShowsItsOwnWatchesOnly(t *testing.T) {
	s := configure(t, "http://127.0.0.1:1")
	app := start(t, s, "other")
	eventually(t, app, []string{`agent_up{agent_label="remote",agent_name="remote",signal="process"} 1`, `agent_source_up{source="watch"} 1`},
		[]string{"agent_heartbeat_state", "agent_info", `agent_name="opengineer"`, `source="heartbeat"`})
}

func TestReloadIsAtomic(t *testing.T) {
	h := startHeartbeat(t, up("opengineer"), up("newcomer"))
	s := configure(t, h.URL)
	app := start(t, s, "")
	rosterFile := filepath.Join(s.dir, "fleet.yaml")
	write(t, rosterFile, roster+"  - {id: newcomer, clas: regular}\n")
	if err := app.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), `fleet.yaml:5: agents[3].clas: unknown key; did you mean "class"?`) {
		t.Errorf("a bad roster: %v", err)
	}
	eventually(t, app, []string{"exporter_config_last_reload_successful 0", `agent_name="opengineer"`}, []string{"newcomer"})
	write(t, rosterFile, roster+"  - {id: newcomer, class: regular}\n")
	if err := app.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, app, []string{"exporter_config_last_reload_successful 1", `agent_heartbeat_state{agent_label="newcomer",agent_name="newcomer",state="ok"} 1`}, nil)
	write(t, s.config, strings.Replace(string(must(os.ReadFile(s.config))), "50ms", "70ms", 1))
	if err := app.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "restart the exporter") {
		t.Errorf("a change that needs a restart: %v", err)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestCommands(t *testing.T) {
	h := startHeartbeat(t, up("opengineer"))
	s := configure(t, h.URL)
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := program.Main(t.Context(), exporter.Program(), append([]string{"-config", s.config, "-log.level", "error"}, args...), nil, &out, &out)
		return code, out.String()
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"once", 0, "agent_heartbeat_status{" + ops + "} 1"},
		{"explain opengineer", 0, "verdict: ok, because of beating"},
		{"explain lawyer", 0, "does not list this agent"},
		{"explain nobody", 2, "expected one of opengineer, lawyer, remote"},
		{"explain", 2, "expected one agent id"},
		{"check-config", 0, "token: <secret>"},
		{"check-config", 0, "3 agents"},
	} {
		if code, out := run(strings.Fields(c.args)...); code != c.code || !strings.Contains(out, c.says) || strings.Contains(out, "read-token") {
			t.Errorf("exporter %s: code %d, want %d, want %q in:\n%s", c.args, code, c.code, c.says, out)
		}
	}
	write(t, s.config, "server: {listen: ':9', tokn: x}\nmin_interval: 0\ngateway: {url: nowhere}\n")
	code, out := run("serve")
	for _, want := range []string{":1: server.tokn: unknown key", "beyond this machine, needs a token: set server.token", ":2: min_interval", ":3: gateway.url"} {
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("a bad configuration: code %d, want %q in:\n%s", code, want, out)
		}
	}
	write(t, s.config, "roster: gone.yaml\nmin_interval: 0\n")
	code, out = run("serve")
	for _, want := range []string{":2: min_interval", "gone.yaml: expected a readable file"} {
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("no roster: code %d, want %q in:\n%s", code, want, out)
		}
	}
}

func TestPageShowsWhy(t *testing.T) {
	h := startHeartbeat(t, up("opengineer"))
	app := start(t, configure(t, h.URL), "")
	eventually(t, app, []string{"agent_heartbeat_status{"}, nil)
	tab := browsertest.Open(t, browsertest.Desktop())
	if err := chromedp.Do(tab, chromedp.Navigate("http://"+app.Addr()+"/?lang=zh-CN"),
		chromedp.WaitVisible(chromedp.CSS(`tr[data-agent="opengineer"][data-state="ok"]`)),
		chromedp.WaitVisible(chromedp.CSS(`tr[data-agent="lawyer"][data-state="unknown"]`)),
		chromedp.WaitVisible(chromedp.CSS(`tr[data-source="watch"]`))); err != nil {
		t.Fatal(err)
	}
	browsertest.Screenshot(t, tab, *screenshots, "exporter")
	if text := get(t, app, "/?lang=en"); !strings.Contains(text, "does not list this agent") || !strings.Contains(text, "verdict: ok, because of beating") {
		t.Errorf("the page does not say why:\n%s", text)
	}
}

func TestMetricsLint(t *testing.T) {
	h := startHeartbeat(t, up("opengineer"))
	app := start(t, configure(t, h.URL), "")
	eventually(t, app, []string{"agent_heartbeat_status{"}, nil)
	problems, err := promlint.New(strings.NewReader(get(t, app, "/metrics"))).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}
