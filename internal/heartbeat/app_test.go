package heartbeat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

const testRoster = `
timezone: Asia/Shanghai
classes: {hourly: {every: 1h, grace: 5m}}
defaults: {class: hourly, timeout: 1m}
agents:
  - {id: coo, label: 首席运营官, owner: coo}
  - {id: worker, driver: {type: exec, shell: "echo working"}}
  - {id: failing, driver: {type: exec, shell: "exit 3"}}
`

const testConfig = `
server: {listen: "127.0.0.1:0", token: admin-token, read_token: read-token, ping_key: ping-secret}
store: {url: "sqlite:data/heartbeat.db"}
roster: fleet.yaml
checks:
  - {name: watchdog, key: check-secret, every: 1m, grace: 4m, notify: [ops]}
notify: {ops: {}}
`

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type rig struct {
	*App
	t    *testing.T
	dir  string
	file string
	logs *lockedBuffer
	stop func()
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func newRig(t *testing.T, config, roster string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), logs: &lockedBuffer{}}
	r.file = filepath.Join(r.dir, "heartbeat.yaml")
	writeFile(t, r.file, config)
	writeFile(t, filepath.Join(r.dir, "fleet.yaml"), roster)
	r.start()
	return r
}

func (r *rig) start() {
	r.t.Helper()
	app, err := New(Options{ConfigFile: r.file, Log: slog.New(slog.NewJSONHandler(r.logs, nil))})
	if err != nil {
		r.t.Fatal(err)
	}
	if err := app.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	r.App = app
	r.stop = sync.OnceFunc(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), 30*time.Second)
		defer cancel()
		if err := app.Stop(ctx); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(r.stop)
}

func (r *rig) do(method, path, token, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.Addr()+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

func (r *rig) agentNow(id string) beat.Agent {
	r.t.Helper()
	agent, err := beat.Client{URL: "http://" + r.Addr(), Token: "read-token"}.Agent(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return *agent
}

func TestWhoMayAskWhat(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	tests := []struct {
		method, path        string
		none, reader, admin int
	}{
		{"GET", "/health", 200, 200, 200},
		{"GET", "/ready", 200, 200, 200},
		{"GET", "/metrics", 200, 200, 200},
		{"GET", "/", 200, 200, 200},
		{"GET", "/board/fragment", 200, 200, 200},
		{"GET", "/api/agents", 401, 200, 200},
		{"GET", "/api/agents/coo", 401, 200, 200},
		{"GET", "/api/agents/nobody", 401, 404, 404},
		{"GET", "/api/jobs", 401, 200, 200},
		{"GET", "/api/checks", 401, 200, 200},
		{"GET", "/api/runs", 401, 200, 200},
		{"GET", "/api/runs?outcome=well", 401, 400, 400},
		{"GET", "/api/runs?since=yesterday", 401, 400, 400},
		{"GET", "/api/runs?limit=0", 401, 400, 400},
		{"GET", "/api/runs?since=24h&limit=5&outcome=ok&job=coo", 401, 200, 200},
		{"GET", "/api/runs/none", 401, 404, 404},
		{"POST", "/api/jobs/coo/run", 401, 401, 202},
		{"POST", "/api/jobs/coo/run?wait=long", 401, 401, 400},
		{"POST", "/api/jobs/nobody/run", 401, 401, 404},
		{"POST", "/api/jobs/coo/pause", 401, 401, 200},
		{"POST", "/api/jobs/coo/resume", 401, 401, 200},
		{"POST", "/api/jobs/nobody/pause", 401, 401, 404},
		{"POST", "/api/agents/coo/check", 401, 401, 200},
		{"POST", "/api/agents/nobody/check", 401, 401, 404},
		{"POST", "/api/agents/coo/tasks/a%2Fb%23c/resume", 401, 401, 404},
		{"POST", "/api/agents/nobody/tasks/a/pause", 401, 401, 404},
		{"POST", "/-/reload", 401, 401, 200},
		{"GET", "/ping/ping-secret/coo", 200, 200, 200},
	}
	for _, test := range tests {
		for token, want := range map[string]int{"": test.none, "read-token": test.reader, "admin-token": test.admin} {
			if got, body := r.do(test.method, test.path, token, ""); got != want {
				t.Errorf("%s %s with %q: %d, want %d: %s", test.method, test.path, token, got, want, body)
			}
		}
	}
	r.stop()
	for _, secret := range []string{"ping-secret", "check-secret", "admin-token", "read-token"} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
}

func TestTheBoardCanBeClosed(t *testing.T) {
	r := newRig(t, strings.Replace(testConfig, "server: {", "server: {public_read: false, ", 1), testRoster)
	for token, want := range map[string]int{"": 401, "read-token": 200} {
		for _, path := range []string{"/", "/board/fragment"} {
			if got, body := r.do("GET", path, token, ""); got != want || strings.Contains(body, "首席") != (want == 200) {
				t.Errorf("%s with %q: %d", path, token, got)
			}
		}
	}
}

func TestFromPingToState(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	if got := r.agentNow("coo"); got.State != beat.StateNew || got.Label != "首席运营官" || got.IntervalSeconds != 3600 || got.GraceSeconds != 300 {
		t.Errorf("new: %+v", got)
	}
	steps := []struct {
		path  string
		state beat.State
	}{
		{"/start?rid=a", beat.StateStarted}, {"/progress?rid=a", beat.StateStarted}, {"?rid=a", beat.StateUp},
		{"/fail", beat.StateDown}, {"/log", beat.StateDown}, {"/start", beat.StateDown}, {"/0", beat.StateUp}, {"/2", beat.StateDown}, {"", beat.StateUp},
	}
	for _, step := range steps {
		if status, body := r.do("POST", "/ping/ping-secret/coo"+step.path, "", "note"); status != 200 || body != "OK" {
			t.Fatalf("%s: %d %s", step.path, status, body)
		}
		if got := r.agentNow("coo"); got.State != step.state {
			t.Errorf("after %q: %s (%s), want %s", step.path, got.State, got.Reason, step.state)
		}
	}
	fleet, err := beat.Client{URL: "http://" + r.Addr(), Token: "read-token"}.Agents(t.Context())
	if err != nil || len(fleet.Agents) != 3 || fleet.Agents[0].ID != "coo" {
		t.Errorf("%+v, %v", fleet, err)
	}
}

func TestRunOnDemandAndItsHistory(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	status, body := r.do("POST", "/api/jobs/worker/run?wait=30s", "admin-token", `{"reason":"try"}`)
	var ended ledger.Run
	if err := json.Unmarshal([]byte(body), &ended); err != nil || status != 200 {
		t.Fatalf("%d %s", status, body)
	}
	if ended.Outcome != beat.OutcomeOK || ended.Note != "try" || ended.Trigger != ledger.TriggerDemand {
		t.Errorf("got %+v", ended)
	}
	_, body = r.do("GET", "/api/runs/"+ended.ID, "read-token", "")
	var report RunReport
	if err := json.Unmarshal([]byte(body), &report); err != nil || report.Log != "working\n" || report.ID != ended.ID {
		t.Errorf("got %s", body)
	}
	if got := r.agentNow("worker"); got.State != beat.StateUp || got.LastOutcome != beat.OutcomeOK {
		t.Errorf("got %+v", got)
	}
	if status, body := r.do("POST", "/api/jobs/worker/run", "admin-token", `{"reson":"x"}`); status != 400 {
		t.Errorf("unknown field: %d %s", status, body)
	}
}

func TestPauseSurvivesARestartAndAReload(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	r.do("POST", "/ping/ping-secret/coo", "", "")
	if status, _ := r.do("POST", "/api/jobs/coo/pause", "admin-token", ""); status != 200 {
		t.Fatal(status)
	}
	expect := func(when string, state beat.State, scheduled bool) {
		t.Helper()
		if got := r.agentNow("coo"); got.State != state || got.NextRun.IsZero() == scheduled {
			t.Errorf("%s: %s, next run %v", when, got.State, got.NextRun)
		}
	}
	expect("paused", beat.StatePaused, false)
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("after a reload", beat.StatePaused, false)
	r.stop()
	r.start()
	expect("after a restart", beat.StatePaused, false)
	r.do("POST", "/api/jobs/coo/resume", "admin-token", "")
	expect("resumed", beat.StateUp, true)
}

func TestAReloadTakesAllOrNothing(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	r.do("POST", "/ping/ping-secret/coo", "", "")
	bad := []struct{ name, config, roster, want string }{
		{"unknown key", testConfig + "scedule: {}\n", testRoster, "schedule"},
		{"bad roster", testConfig, testRoster + "  - {id: coo}\n", "duplicate"},
		{"driver of a later version", testConfig, testRoster + "  - {id: x, driver: {type: openclaw}}\n", "not available in this version"},
		{"another store", strings.Replace(testConfig, "heartbeat.db", "other.db", 1), testRoster, "store.url"},
		{"another token", strings.Replace(testConfig, "admin-token", "other-token", 1), testRoster, "server.token"},
	}
	for _, b := range bad {
		writeFile(t, r.file, b.config)
		writeFile(t, filepath.Join(r.dir, "fleet.yaml"), b.roster)
		status, body := r.do("POST", "/-/reload", "admin-token", "")
		if status != 422 || !strings.Contains(body, b.want) {
			t.Errorf("%s: %d %s", b.name, status, body)
		}
		if n := len(r.agents()); n != 3 {
			t.Errorf("%s: %d agents", b.name, n)
		}
	}
	if _, body := r.do("GET", "/metrics", "", ""); !strings.Contains(body, "heartbeat_config_last_reload_successful 0") {
		t.Error("the failed reload is not in the metrics")
	}
	writeFile(t, r.file, strings.Replace(testConfig, "ping-secret", "new-secret", 1))
	writeFile(t, filepath.Join(r.dir, "fleet.yaml"), testRoster+"  - {id: joined}\n")
	if status, body := r.do("POST", "/-/reload", "admin-token", ""); status != 200 {
		t.Fatal(body)
	}
	if got := r.agentNow("coo"); got.State != beat.StateUp {
		t.Errorf("a reload lost what was known: %+v", got)
	}
	if got := r.agentNow("joined"); got.State != beat.StateNew || got.NextRun.IsZero() {
		t.Errorf("got %+v", got)
	}
	if old, _ := r.do("GET", "/ping/ping-secret/coo", "", ""); old != 404 {
		t.Error("the old ping key still admits")
	}
}

// TestAChangedScheduleMakesUpForNothing: slots of a schedule that was not in
// force while heartbeat was off were never due; those of the same one were.
func TestAChangedScheduleMakesUpForNothing(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	r.stop()
	record, err := ledger.Open(t.Context(), sqlstore.URL("sqlite:"+r.dir+"/data/heartbeat.db"))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := record.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	coo, worker := jobs["coo"], jobs["worker"]
	coo.Cursor, worker.Cursor = time.Now().Add(-5*time.Hour), time.Now().Add(-5*time.Hour)
	worker.ScheduleKey = "every 7s + 0s"
	if err := record.SaveJobs(t.Context(), []ledger.Job{coo, worker}); err != nil {
		t.Fatal(err)
	}
	if err := record.Close(); err != nil {
		t.Fatal(err)
	}
	r.start()
	missed := func(id string) int {
		runs, err := r.ledger.Runs(t.Context(), ledger.Query{Job: id, Outcome: beat.OutcomeSkipped})
		if err != nil {
			t.Fatal(err)
		}
		return len(runs)
	}
	await(t, "the missed slots of coo", func() bool { return missed("coo") == 1 })
	if n := missed("worker"); n != 0 {
		t.Errorf("%d missed slots of a schedule that was not in force", n)
	}
}

// TestPingsLostWhileOffAreNotHeldAgainstAnAgent starts heartbeat after three
// hours in which nobody could ping.
func TestPingsLostWhileOffAreNotHeldAgainstAnAgent(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	r.do("POST", "/ping/ping-secret/coo", "", "")
	r.stop()
	record, err := ledger.Open(t.Context(), sqlstore.URL("sqlite:"+r.dir+"/data/heartbeat.db"))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := record.Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	facts := jobs["coo"].Facts
	facts.Beat = time.Now().Add(-3 * time.Hour)
	facts.Sign = facts.Beat
	if err := record.SaveFacts(t.Context(), "coo", facts); err != nil {
		t.Fatal(err)
	}
	if err := record.SetMark(t.Context(), ledger.MarkAwake, facts.Beat.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := record.Close(); err != nil {
		t.Fatal(err)
	}
	r.start()
	if got := r.agentNow("coo"); got.State != beat.StateUnknown || got.Reason != beat.ReasonWasOff {
		t.Errorf("got %s (%s)", got.State, got.Reason)
	}
}

func TestProgressPingsExtendARun(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	release := filepath.Join(r.dir, "go")
	writeFile(t, filepath.Join(r.dir, "fleet.yaml"), testRoster+
		fmt.Sprintf("  - {id: long, timeout: 1s, driver: {type: exec, shell: 'while [ ! -e %s ]; do sleep 0.02; done'}}\n", release))
	if err := r.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, done, err := r.executor.Demand("long", "")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // two seconds, twice the timeout
		<-time.After(200 * time.Millisecond)
		if status, body := r.do("POST", "/ping/ping-secret/long/progress", "", ""); status != 200 {
			t.Fatal(body)
		}
	}
	writeFile(t, release, "")
	if ended := <-done; ended.Outcome != beat.OutcomeOK {
		t.Errorf("got %+v", ended)
	}
}

func TestAnEditedRosterIsFollowed(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	writeFile(t, filepath.Join(r.dir, "fleet.yaml"), testRoster+"  - {id: joined}\n")
	await(t, "the new agent", func() bool { return len(r.agents()) == 4 })
}

func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within 30s", what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestSlotsRunAndAreCounted(t *testing.T) {
	r := newRig(t, testConfig, strings.Replace(testRoster, "every: 1h", "every: 1s", 1))
	await(t, "three slots of each", func() bool {
		for _, id := range []string{"coo", "worker", "failing"} {
			runs, err := r.ledger.Runs(t.Context(), ledger.Query{Job: id})
			if err != nil || len(runs) < 3 {
				return false
			}
		}
		return true
	})
	if got := r.agentNow("failing"); got.State != beat.StateDown || got.Reason != beat.ReasonFailed {
		t.Errorf("got %+v", got)
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	_, body := r.do("GET", "/metrics", "", "")
	for _, name := range []string{
		`heartbeat_runs_total{agent="worker",outcome="ok"}`, `heartbeat_run_seconds_count{agent="worker"}`, "heartbeat_schedule_delay_seconds_count",
		`heartbeat_next_run_timestamp_seconds{agent="coo"}`, `heartbeat_last_success_timestamp_seconds{agent="worker"}`,
		`heartbeat_interval_seconds{agent="coo"} 1`, `heartbeat_in_progress{agent="worker"}`, `heartbeat_pings_total{kind="success"}`,
		`heartbeat_notifications_total{result="sent",target="ops"}`, `heartbeat_notify_target_configured{target="ops"} 0`, "fleetwatch_build_info",
	} {
		if !strings.Contains(body, name) {
			t.Errorf("%s is not in the metrics", name)
		}
	}
	if strings.Contains(body, `heartbeat_last_success_timestamp_seconds{agent="failing"}`) {
		t.Error("a success that never was has a time")
	}
}

func TestTwoServersDoNotShareAStore(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	second, err := New(Options{ConfigFile: r.file, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Start(t.Context()); !errors.Is(err, sqlstore.ErrServed) {
		t.Errorf("got %v", err)
	}
}

func TestPortInUseIsOneLine(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	file := filepath.Join(t.TempDir(), "heartbeat.yaml")
	writeFile(t, file, strings.Replace(strings.Replace(testConfig, "127.0.0.1:0", r.Addr(), 1), "fleet.yaml", r.dir+"/fleet.yaml", 1))
	_, err := New(Options{ConfigFile: file, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "in use") || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
}
