package heartbeat

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

func TestAllProblemsOfAConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "heartbeat.yaml")
	writeFile(t, filepath.Join(dir, "fleet.yaml"), testRoster+"timezon: UTC\n")
	writeFile(t, file, `
server: {listen: "0.0.0.0:9095"}
rooster: x
schedule: {spread: wide, overlap: maybe}
catch_up: {policy: some, window: soon, cap: 0}
checks:
  - {name: a, key: k, notify: [nobody]}
  - {name: a, key: k}
notify: {two: {feishu_webhook: "https://x", exec: [a]}, bad: {url: "ftp://x"}}
jobs:
  - {id: j, driver: {type: openclaw}}
`)
	_, _, err := Load(file)
	var problems *confload.Errors
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, p := range problems.Problems {
		paths[p.Path] = true
		if p.Line == 0 {
			t.Errorf("no line: %s", p)
		}
	}
	for _, want := range []string{
		"rooster", "catch_up.window", "server.listen", "schedule.spread", "schedule.overlap", "catch_up.policy", "catch_up.cap", "checks[0].notify[0]", "checks[1].name", "checks[1].key", "notify.two", "notify.bad.url", "jobs[0]", "jobs[0].driver", "timezon",
	} {
		if !paths[want] {
			t.Errorf("%s is not reported:\n%v", want, err)
		}
	}
}

func commandLine(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var out, errs bytes.Buffer
	code := program.Main(t.Context(), Program(), args, strings.NewReader(""), &out, &errs)
	return code, out.String() + errs.String()
}

func TestCheckConfigSaysWhatIsNotAvailable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "heartbeat.yaml")
	writeFile(t, file, testConfig+"maintenance: [{name: night, agents: [coo]}]\n")
	writeFile(t, filepath.Join(dir, "fleet.yaml"), testRoster+
		"  - {id: rich, model: m, patrol: true, driver: {type: exec, shell: 'true'}, probe: {unit: a.service}, sources: {openclaw: {agent: a}, workboard: {agent: a}, multica: {assignee: a}}}\ndiscovery: {openclaw: true}\n")
	code, out := commandLine(t, "check-config", "-config", file)
	if code != 0 {
		t.Fatal(out)
	}
	for _, want := range []string{"probe unit of rich", "source openclaw of rich", "# not configured: source multica of rich: sources.multica.workspace is empty", "patrol of rich", "model of rich", "maintenance", "discovery.openclaw", "notice target ops", "<secret>"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said", want)
		}
	}
	if strings.Contains(out, "source workboard") {
		t.Error("a source that is read is not available")
	}
	for _, secret := range []string{"ping-secret", "check-secret", "admin-token"} {
		if strings.Contains(out, secret) {
			t.Errorf("%s is printed", secret)
		}
	}
	writeFile(t, filepath.Join(dir, "fleet.yaml"), testRoster+"  - {id: reader, sources: {documents: {globs: ['a/*.md', 'a/[b.md']}}}\n")
	if code, out := commandLine(t, "check-config", "-config", file); code != 2 || !strings.Contains(out, "agents[3].sources.documents.globs[1]: expected a glob") {
		t.Errorf("%d %s", code, out)
	}
	writeFile(t, filepath.Join(dir, "fleet.yaml"), testRoster+"  - {id: later, driver: {type: multica}}\n")
	if code, out := commandLine(t, "check-config", "-config", file); code != 2 || !strings.Contains(out, "later is not available") {
		t.Errorf("%d %s", code, out)
	}
}

func TestCommandsAgainstAServer(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	file := filepath.Join(r.dir, "client.yaml")
	writeFile(t, file, strings.Replace(testConfig, "127.0.0.1:0", r.Addr(), 1))
	tests := []struct {
		args string
		code int
		want string
	}{
		{"run worker --wait", 0, "ok"},
		{"run failing --wait", 1, "exit status 3"},
		{"run coo --wait", 0, "idle"},
		{"run worker", 0, "started"},
		{"run nobody", 2, "neither in the roster"},
		{"run", 2, "expected one agent"},
		{"list", 0, "every 1h0m0s"},
		{"list --json", 0, `"kind": "agent"`},
		{"status", 0, "首席运营官"},
		{"status coo --json", 0, `"state": "new"`},
		{"status nobody", 1, "no such agent"},
		{"runs failing", 0, "exit_status"},
		{"runs --outcome well", 1, "expected one of"},
		{"health coo", 1, "new"},
		{"health worker", 0, "worker "},
		{"pause coo", 0, "coo: paused"},
		{"health coo", 1, "paused"},
		{"resume --all", 0, "worker: resumed"},
		{"pause", 2, "expected an agent"},
	}
	for _, test := range tests {
		args := append(strings.Fields(test.args), "-config", file)
		if code, out := commandLine(t, args...); code != test.code || !strings.Contains(out, test.want) {
			t.Errorf("%s: %d %s", test.args, code, out)
		}
	}
	// A server that does not answer must not be bypassed.
	writeFile(t, file, strings.Replace(testConfig, "127.0.0.1:0", "127.0.0.1:1", 1))
	if code, out := commandLine(t, "run", "worker", "-config", file); code != 1 || !strings.Contains(out, "does not answer") {
		t.Errorf("%d %s", code, out)
	}
}

func TestRunWithoutAServer(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	r.stop()
	file := filepath.Join(r.dir, "client.yaml")
	writeFile(t, file, strings.Replace(testConfig, "127.0.0.1:0", "127.0.0.1:1", 1))
	for _, test := range []struct {
		args string
		code int
	}{{"run worker --wait", 0}, {"run failing", 1}, {"run coo", 0}} {
		args := append(strings.Fields(test.args), "-config", file)
		if code, out := commandLine(t, args...); code != test.code {
			t.Errorf("%s: %d %s", test.args, code, out)
		}
	}
	// The server finds what was done meanwhile.
	r.start()
	if got := r.agentNow("worker"); got.State != beat.StateUp {
		t.Errorf("got %+v", got)
	}
	if code, out := commandLine(t, "status", "-config", file); code != 1 || !strings.Contains(out, "start it with") {
		t.Errorf("%d %s", code, out)
	}
}

func TestExitCodesMirrorOutcomes(t *testing.T) {
	want := map[beat.Outcome]int{
		beat.OutcomeOK: 0, beat.OutcomeIdle: 0, beat.OutcomeFailed: 1, beat.OutcomeUnverified: 3,
		beat.OutcomeTimeout: 4, beat.OutcomeSkipped: 5, beat.OutcomeInterrupted: 6,
	}
	for _, outcome := range beat.Outcomes() {
		if got := ExitCode(outcome); got != want[outcome] {
			t.Errorf("%s: %d, want %d", outcome, got, want[outcome])
		}
	}
}
