package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
)

// workJob is an agent with documents, whose driver writes what it is told.
func workJob(dir string) job.Job {
	j := shellJob("coo", `printf '%s\n====\n' "$HEARTBEAT_MESSAGE" >> told`)
	j.Agent.Driver.Dir = dir
	j.Agent.TaskTimeout, j.Agent.MaxRounds = time.Hour, 3
	j.Agent.Sources.Documents = &fleet.DocumentSource{Globs: []string{"*.md"}}
	return j
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// age makes the last change of a file older.
func (r *rig) age(name string, by time.Duration) {
	r.t.Helper()
	at := time.Now().Add(-by)
	if err := os.Chtimes(filepath.Join(r.dir, name), at, at); err != nil {
		r.t.Fatal(err)
	}
}

// slot runs the next slot and returns how it ended and what the driver was told.
func (r *rig) slot(at time.Time) (outcome, told string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, "told")); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	r.Fire("coo", []time.Time{at})
	r.wg.Wait()
	run := r.runs("coo")[0]
	raw, err := os.ReadFile(filepath.Join(r.dir, "told"))
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	return strings.TrimSuffix(string(run.Outcome)+"/"+run.Reason, "/"), strings.TrimSuffix(string(raw), "\n====\n")
}

// TestWhatADriverIsTold follows one agent: no work, work, its limit, a stall, a
// source that breaks.
func TestWhatADriverIsTold(t *testing.T) {
	r := newRig(t, Limits{})
	r.register(workJob(r.dir))
	now := time.Now().Truncate(time.Second)
	next := func() (string, string) {
		now = now.Add(time.Second)
		return r.slot(now)
	}
	if outcome, told := next(); outcome != "idle/no_work" || told != "" {
		t.Errorf("no documents: %s, told %q", outcome, told)
	}
	r.write("list.md", "- [x] 旧 ^0\n- [ ] 升级网关 ^1\n- [ ] 写周报 ^2\n")
	r.write("later.txt", "")
	_, told := next()
	if want := DefaultMessage + "\n\n现在处理：\n- [待办] 升级网关（documents：list#1，第 1/3 轮）\n\n之后（1 项）：\n- 写周报（documents：list#2）"; told != want {
		t.Errorf("told %q, want %q", told, want)
	}
	r.write("list.md", "- [-] 升级网关 ^1\n- [ ] 写周报 ^2\n")
	for round := 2; round <= 3; round++ {
		if _, told := next(); !strings.Contains(told, "- [进行中] 升级网关（documents：list#1，第 "+string(rune('0'+round))+"/3 轮，上次进展 ") {
			t.Errorf("round %d: told %q", round, told)
		}
	}
	if outcome, told := next(); outcome != "ok" || strings.Contains(told, "升级网关") || !strings.Contains(told, "- [待办] 写周报") {
		t.Errorf("at the limit: %s, told %q", outcome, told)
	}
	r.write("list.md", "- [-] 升级网关 ^1\n- [x] 写周报 ^2\n")
	if outcome, told := next(); outcome != "idle/no_work" || told != "" || r.runs("coo")[0].Detail != "1 of its tasks are paused" {
		t.Errorf("the rest is paused: %s, told %q, %q", outcome, told, r.runs("coo")[0].Detail)
	}
	r.write("list.md", "- [-] 升级网关 ^1\n- [>] 写周报 ^2\n")
	if outcome, told := next(); outcome != "skipped/sources_unknown" || told != "" {
		t.Errorf("broken: %s, told %q", outcome, told)
	}
	if run := r.runs("coo")[0]; !strings.Contains(run.Detail, "list.md: line 2") {
		t.Errorf("detail %q", run.Detail)
	}
	if ended := r.demand("coo"); ended.Outcome != beat.OutcomeOK {
		t.Errorf("a demand: %+v", ended)
	}
	raw, err := os.ReadFile(filepath.Join(r.dir, "told"))
	if err != nil || !strings.Contains(string(raw), "来源 documents 读不到，其中有没有任务未知：") || strings.Contains(string(raw), "升级网关") {
		t.Errorf("a demand beside a broken source is told %q, %v", raw, err)
	}
}

func TestAStalledTaskIsRecoveredOnce(t *testing.T) {
	r := newRig(t, Limits{})
	j := workJob(r.dir)
	j.Agent.MaxRounds, j.Recovery = 0, "RECOVER"
	r.register(j)
	r.write("list.md", "- [-] stuck ^1\n- [ ] other ^2\n")
	r.age("list.md", 2*time.Hour)
	at := time.Now().Truncate(time.Second)
	var recovered []int
	for i := range 6 {
		_, told := r.slot(at.Add(time.Duration(i) * time.Second))
		if rest, ok := strings.CutPrefix(told, "RECOVER"); ok {
			recovered = append(recovered, i)
			if !strings.Contains(rest, "现在处理：\n- [已停滞] stuck（documents：list#1，第 2 轮") {
				t.Errorf("the recovery says %q", rest)
			}
		}
	}
	if len(recovered) != 1 || recovered[0] != 1 {
		t.Errorf("recovered at beats %v, want the second alone", recovered)
	}
}

func TestInstructionsOfTheWorkspace(t *testing.T) {
	r := newRig(t, Limits{})
	r.register(workJob(r.dir))
	r.write("list.md", "- [ ] a ^1\n")
	for i, c := range []struct{ text, want string }{
		{"看一眼磁盘。\n", "\n\nHEARTBEAT.md：\n看一眼磁盘。"},
		{strings.Repeat("x", maxInstructions+1), ""},
		{"\xff", ""},
	} {
		r.write(instructionsName, c.text)
		// It lies beside the lists here, and is no list.
		j := workJob(r.dir)
		j.Agent.Sources.Documents.Globs = []string{"list.md"}
		r.register(j)
		_, told := r.slot(time.Now().Truncate(time.Second).Add(time.Duration(i) * time.Second))
		if _, got, _ := strings.Cut(told, "1/3 轮）"); i == 0 && got != c.want {
			t.Errorf("%d: told %q", i, told)
		}
		if c.want == "" && strings.Contains(told, instructionsName+"：") {
			t.Errorf("%d: told %q", i, told)
		}
	}
}

func TestAgendaLimitsWhatOneCallNames(t *testing.T) {
	r := newRig(t, Limits{})
	r.register(workJob(r.dir))
	r.write("list.md", strings.Repeat("- [-] "+strings.Repeat("长", 300)+"\n", 500))
	outcome, told := r.slot(time.Now().Truncate(time.Second))
	if outcome != "ok" || strings.Count(told, "[进行中]") != 10 || len(told) > 60<<10 {
		t.Errorf("%s, %d bytes, %d named", outcome, len(told), strings.Count(told, "[进行中]"))
	}
	tasks, _ := r.o.Work.(*worklist.Tracker).Picture(workJob(r.dir).Agent).Wire(3)
	spent := 0
	for _, task := range tasks {
		spent += task.Rounds
	}
	if spent != 10 {
		t.Errorf("%d rounds for 10 tasks that were named", spent)
	}
}
