package heartbeat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

const taskRoster = testRoster + `
  - {id: reader, max_rounds: 2, task_timeout: 1h, driver: {type: exec, shell: "true"}, sources: {documents: {globs: ["tasks/**/*.md"]}}}
  - {id: pinger, sources: {documents: {globs: ["pinger/*.md"]}}}
`

// await waits until an agent is as the condition says.
func (r *rig) await(id string, condition func(beat.Agent) bool) beat.Agent {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		agent := r.agentNow(id)
		if condition(agent) {
			return agent
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s stayed %+v", id, agent)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func document(r *rig, name, text string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	writeFile(r.t, path, text)
}

// TestFromDocumentToAPI: what is written in files is seen without a beat, in the
// API, in metrics and by the commands; a round limit holds until it is released.
func TestFromDocumentToAPI(t *testing.T) {
	config := testConfig + "sources: {documents: {cache: 100ms}}\n"
	r := newRig(t, config, taskRoster)
	file := filepath.Join(r.dir, "client.yaml")
	writeFile(t, file, strings.Replace(config, "127.0.0.1:0", r.Addr(), 1))
	unread := r.await("reader", func(a beat.Agent) bool { return !strings.Contains(a.Sources[0].Detail, "not read yet") })
	if s := unread.Sources[0]; s.Name != "documents" || s.State != beat.SourceUnknown || !strings.Contains(s.Detail, "no such file") || unread.RoundLimit != 2 || unread.RoundWarning != 2 {
		t.Errorf("without a folder: %+v", unread)
	}
	if code, out := commandLine(t, "check", "reader", "-config", file); code != 1 || !strings.Contains(out, "documents: unknown") {
		t.Errorf("check: %d %s", code, out)
	}
	document(r, "tasks/a/list.md", "- [-] 升级 ^up\n- [ ] next ^n\n")
	document(r, "tasks/report.md", "---\nstatus: todo\ndepends_on: a/list#up\n---\n# 周报\n")
	document(r, "pinger/list.md", "- [-] mine ^1\n")
	seen := r.await("reader", func(a beat.Agent) bool { return len(a.Tasks) == 3 })
	first, last := seen.Tasks[0], seen.Tasks[2]
	if first.ID != "a/list#up" || first.Title != "升级" || first.State != beat.TaskInProgress || first.LastProgress.IsZero() || first.StartedAt.IsZero() || seen.Sources[0].State != beat.SourceOK {
		t.Errorf("got %+v", seen)
	}
	if last.Title != "周报" || last.State != beat.TaskTodo || strings.Join(last.BlockedBy, " ") != "a/list#up" {
		t.Errorf("got %+v", last)
	}
	for _, args := range []string{"check reader", "check reader --json"} {
		if code, out := commandLine(t, append(strings.Fields(args), "-config", file)...); code != 0 || !strings.Contains(out, "a/list#up") {
			t.Errorf("%s: %d %s", args, code, out)
		}
	}
	for range 2 {
		if code, out := commandLine(t, "run", "reader", "--wait", "-config", file); code != 0 {
			t.Fatalf("%d %s", code, out)
		}
	}
	if got := r.agentNow("reader"); got.Rounds != 2 || !got.Tasks[0].Paused {
		t.Errorf("at its limit: %+v", got.Tasks)
	}
	r.stop()
	r.start()
	writeFile(t, file, strings.Replace(config, "127.0.0.1:0", r.Addr(), 1))
	if got := r.await("reader", func(a beat.Agent) bool { return len(a.Tasks) == 3 }); !got.Tasks[0].Paused {
		t.Errorf("after a restart: %+v", got.Tasks)
	}
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"resume reader a/list#up", 0, "reader: a/list#up resumed"}, {"resume reader nothing", 1, "no such task"}, {"pause reader a/list#n", 0, "a/list#n paused"},
		{"check", 2, "expected one agent"}, {"check nobody", 1, "no such agent"}, {"pause a b c", 2, "expected an agent"},
	} {
		if code, out := commandLine(t, append(strings.Fields(c.args), "-config", file)...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%s: %d %s", c.args, code, out)
		}
	}
	if got := r.agentNow("reader"); got.Tasks[0].Paused || got.Rounds != 0 || !got.Tasks[1].Paused {
		t.Errorf("released: %+v", got.Tasks)
	}
}

// TestARoundOfAnAgentThatPingsIn is a start that it reports.
func TestARoundOfAnAgentThatPingsIn(t *testing.T) {
	r := newRig(t, testConfig+"sources: {documents: {cache: 100ms}}\n", taskRoster)
	document(r, "pinger/list.md", "- [-] mine ^1\n")
	r.await("pinger", func(a beat.Agent) bool { return len(a.Tasks) == 1 })
	for _, path := range []string{"/start", "", "/log", "/progress", "/start"} {
		if status, _ := r.do("POST", "/ping/ping-secret/pinger"+path, "", ""); status != 200 {
			t.Fatalf("%s: %d", path, status)
		}
	}
	if got := r.agentNow("pinger"); got.Rounds != 2 {
		t.Errorf("%d rounds after two starts", got.Rounds)
	}
}

func TestSourceMetrics(t *testing.T) {
	r := newRig(t, testConfig+"sources: {documents: {cache: 100ms}}\n", taskRoster)
	r.await("reader", func(a beat.Agent) bool { return a.Sources[0].Detail != "not read yet" })
	up := func(want string) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; {
			err := testutil.GatherAndCompare(r.Registry(), strings.NewReader("# HELP heartbeat_source_up Whether the task source could be read for every agent that names it (1) or not (0); absent until it was read.\n"+
				"# TYPE heartbeat_source_up gauge\nheartbeat_source_up{source=\"documents\"} "+want+"\n"), "heartbeat_source_up")
			if err == nil {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal(err)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	document(r, "pinger/a.md", "")
	up("0") // the other agent's folder is not there
	document(r, "tasks/a.md", "")
	up("1")
	if n, err := testutil.GatherAndCount(r.Registry(), "heartbeat_source_seconds"); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	document(r, "tasks/a.md", "\xff")
	up("0")
}
