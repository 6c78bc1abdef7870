package heartbeat

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

const sourceRoster = testRoster + `
  - {id: ops, driver: {type: exec, shell: 'printf %%s "$HEARTBEAT_MESSAGE" > %[1]s/message'}, sources: {workboard: {agent: claw-ops}, multica: {assignee: opengineer}}}
  - {id: secretary, sources: {workboard: {}, multica: {}}}
  - {id: reader, sources: {documents: {globs: ["tasks/*.md"]}}}
`

const cards = `{"cards":[
  {"id":"card-1","title":"升级网关","status":"running","priority":"high","agentId":"claw-ops","updatedAt":1795600000000,"metadata":{"claim":{"ownerId":"claw-ops","lastHeartbeatAt":1795600000000}}},
  {"id":"card-2","title":"发布","status":"todo","priority":"normal","agentId":"claw-ops","updatedAt":1795600000000,"metadata":{"links":[{"type":"blocked_by","targetCardId":"card-1"}]}},
  {"id":"card-3","title":"以后再说","status":"backlog","priority":"normal","agentId":"claw-ops","updatedAt":1795600000000},
  {"id":"card-4","title":"做完了","status":"done","priority":"normal","agentId":"secretary","updatedAt":1795600000000}
]}`

const issues = `{"total":3,"issues":[
  {"id":"i-1","identifier":"MUL-1","title":"写周报","status":"todo","priority":"urgent","assignee_id":"a-1","updated_at":"2026-11-25T09:00:00Z","metadata":{"depends_on":["card-4"]}},
  {"id":"i-2","identifier":"MUL-2","title":"等人","status":"blocked","priority":"low","assignee_id":"a-1","updated_at":"2026-11-25T09:00:00Z","metadata":{}},
  {"id":"i-3","identifier":"MUL-3","title":"收尾","status":"cancelled","priority":"low","assignee_id":"a-2","updated_at":"2026-11-25T09:00:00Z","metadata":{}}
]}`

// standIns are there for OpenClaw's command line and Multica's server.
type standIns struct {
	dir   string
	calls atomic.Int64 // of the list of issues
	url   string
}

func newStandIns(t *testing.T) *standIns {
	t.Helper()
	b := &standIns{dir: t.TempDir()}
	b.claw(t, "cat <<'END'\n"+cards+"\nEND")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/api/issues":
			b.calls.Add(1)
			fmt.Fprint(w, issues)
		case "/api/agents":
			fmt.Fprint(w, `[{"id":"a-1","name":"opengineer"},{"id":"a-2","name":"secretary"}]`)
		default:
			fmt.Fprint(w, `[]`)
		}
	}))
	t.Cleanup(server.Close)
	b.url = server.URL
	return b
}

// claw replaces OpenClaw's program; every call of it leaves a line.
func (b *standIns) claw(t *testing.T, script string) {
	t.Helper()
	fresh := filepath.Join(b.dir, "new")
	if err := os.WriteFile(fresh, []byte("#!/bin/sh\necho x >> "+b.dir+"/calls\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, filepath.Join(b.dir, "openclaw")); err != nil {
		t.Fatal(err)
	}
}

func (b *standIns) clawCalls(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "x")
}

func (b *standIns) config(cache string) string {
	return testConfig + fmt.Sprintf("sources: {documents: {cache: 100ms}, openclaw: {cli: %s/openclaw}, workboard: {cache: %s, timeout: 2s}, multica: {url: %s, token: mul_secret, workspace: w-1, cache: %s}}\n", b.dir, cache, b.url, cache)
}

func read(a beat.Agent) bool {
	for _, s := range a.Sources {
		if s.State != beat.SourceOK {
			return false
		}
	}
	return len(a.Sources) > 0
}

// TestFromBoardsToAPI: cards and issues are seen without a beat, by source, with what
// they wait for; the whole fleet costs one call of each source; a call names them.
func TestFromBoardsToAPI(t *testing.T) {
	b := newStandIns(t)
	r := newRig(t, b.config("10m"), fmt.Sprintf(sourceRoster, b.dir))
	document(r, "tasks/a.md", "- [ ] mine ^1\n")
	seen := r.await("ops", read)
	var got []string
	for _, task := range seen.Tasks {
		got = append(got, fmt.Sprintf("%s %s %s %s %v", task.Source, task.ID, task.Title, task.State, task.BlockedBy))
	}
	if want := []string{
		"workboard card-1 升级网关 in_progress []", "multica MUL-1 写周报 todo []", "workboard card-2 发布 todo [card-1]", "workboard card-3 以后再说 todo []", "multica MUL-2 等人 blocked []",
	}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	r.await("secretary", read)
	r.await("reader", read)
	if !seen.Tasks[3].Parked || seen.Tasks[0].Parked {
		t.Errorf("kept for later: %+v", seen.Tasks)
	}
	file := filepath.Join(r.dir, "client.yaml")
	writeFile(t, file, strings.Replace(b.config("10m"), "127.0.0.1:0", r.Addr(), 1))
	if code, out := commandLine(t, "run", "ops", "--wait", "-config", file); code != 0 {
		t.Fatalf("%d %s", code, out)
	}
	message, err := os.ReadFile(b.dir + "/message")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"[疑似停滞] 升级网关（workboard：card-1，第 1/50 轮", "- 写周报（multica：MUL-1）", "暂不能处理（2 项）：\n- 发布（workboard：card-2）：等待 card-1\n- 等人（multica：MUL-2）：受阻"} {
		if !strings.Contains(string(message), want) {
			t.Errorf("%q is missing in %s", want, message)
		}
	}
	if strings.Contains(string(message), "以后再说") {
		t.Errorf("a card that is kept for later is named: %s", message)
	}
	if claws, calls := b.clawCalls(t), b.calls.Load(); claws != 1 || calls != 1 {
		t.Errorf("%d calls of openclaw and %d of Multica for the whole fleet", claws, calls)
	}
	if n, err := testutil.GatherAndCount(r.Registry(), "heartbeat_source_up"); err != nil || n != 3 {
		t.Errorf("%d sources, %v", n, err)
	}
	if code, out := commandLine(t, "check", "ops", "-config", file); code != 0 || b.clawCalls(t) != 2 || !strings.Contains(out, "source workboard: ok") || !strings.Contains(out, "kept for later") {
		t.Errorf("a check by a person: %d, %d calls\n%s", code, b.clawCalls(t), out)
	}
}

// TestASourceThatMisbehaves is unknown, with the reason and in its metric; other
// sources are known, beats go on, and it is known again once it answers.
func TestASourceThatMisbehaves(t *testing.T) {
	for name, c := range map[string]struct{ script, want string }{
		"garbage": {"echo '{\"cards\":[{\"id\":'", "expected JSON"},
		"fails":   {"echo no gateway >&2; exit 3", "exit status 3; it says: no gateway"},
		"hangs":   {"sleep 600 & sleep 600", "no answer within 2s"},
		"floods":  {"yes", "too much output"},
		"unknown": {`echo '{"cards":[{"id":"9","title":"x","status":"delegated","agentId":"claw-ops"}]}'`, `card 9: status: expected one of`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newStandIns(t)
			b.claw(t, c.script)
			r := newRig(t, b.config("100ms"), fmt.Sprintf(sourceRoster, b.dir))
			document(r, "tasks/a.md", "- [ ] mine ^1\n")
			r.await("ops", func(a beat.Agent) bool {
				return a.Sources[0].State == beat.SourceUnknown && strings.Contains(a.Sources[0].Detail, c.want) && a.Sources[1].State == beat.SourceOK && len(a.Tasks) == 2
			})
			r.await("reader", func(a beat.Agent) bool { return read(a) && len(a.Tasks) == 1 })
			if status, body := r.do("POST", "/api/jobs/worker/run?wait=20s", "admin-token", ""); status != 200 || !strings.Contains(body, `"ok"`) {
				t.Errorf("a beat beside it: %d %s", status, body)
			}
			up := `# HELP heartbeat_source_up Whether the task source could be read for every agent that names it (1) or not (0); absent until it was read.
# TYPE heartbeat_source_up gauge
heartbeat_source_up{source="documents"} 1
heartbeat_source_up{source="multica"} 1
heartbeat_source_up{source="workboard"} %d
`
			if !testtool.Eventually(t, func() bool {
				return testutil.GatherAndCompare(r.Registry(), strings.NewReader(fmt.Sprintf(up, 0)), "heartbeat_source_up") == nil
			}) {
				t.Error("its metric is not down")
			}
			b.claw(t, "cat <<'END'\n"+cards+"\nEND")
			r.await("ops", read)
			if !testtool.Eventually(t, func() bool {
				return testutil.GatherAndCompare(r.Registry(), strings.NewReader(fmt.Sprintf(up, 1)), "heartbeat_source_up") == nil
			}) {
				t.Error("its metric stays down")
			}
		})
	}
}

func TestSourcesAreChecked(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "heartbeat.yaml")
	writeFile(t, filepath.Join(dir, "fleet.yaml"), testRoster)
	writeFile(t, file, testConfig+"sources: {openclaw: {cli: ''}, workboard: {via: rpc, cache: 1ms, timeout: 0s}, multica: {url: 'multica.example.com', cli: '', cache: 0s, timeout: 1ms}}\n")
	code, out := commandLine(t, "check-config", "-config", file)
	for _, want := range []string{
		"sources.openclaw.cli: expected a program", `sources.workboard.via: expected cli, got "rpc"`, "sources.workboard.cache: expected at least 100ms, got 1ms", "sources.workboard.timeout: expected at least",
		"sources.multica.url: expected a URL like", "sources.multica.cli: expected a program", "sources.multica.cache: expected at least", "sources.multica.timeout: expected at least",
	} {
		if code != 2 || !strings.Contains(out, want) {
			t.Errorf("%d: %q is missing in %s", code, want, out)
		}
	}
}
