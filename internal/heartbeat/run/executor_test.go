package run

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

type rig struct {
	*Executor
	t        *testing.T
	dir      string
	registry *prometheus.Registry
	returned atomic.Int64
	survey   *preflight.Survey
}

func newRig(t *testing.T, limits Limits, jobs ...job.Job) *rig {
	t.Helper()
	dir := t.TempDir()
	record, err := ledger.Open(t.Context(), sqlstore.URL("sqlite:"+filepath.Join(dir, "heartbeat.db")))
	if err != nil {
		t.Fatal(err)
	}
	commands, err := driver.NewExec(200 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, registry: prometheus.NewRegistry()}
	book := liveness.NewBook()
	r.survey = preflight.NewSurvey([]preflight.Source{{
		Name: documents.Name, Timeout: time.Minute,
		Read: func(ctx context.Context, a fleet.Agent) ([]tasksource.Task, error) {
			return documents.Read(ctx, dir, a.Sources.Documents.Globs)
		},
	}})
	tasks, err := worklist.Open(t.Context(), record, r.survey, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	r.Executor = New(Options{
		Ledger: record, Book: book, Work: tasks, Exec: commands, Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(r.registry),
		KillGrace: 200 * time.Millisecond, Changed: func(string) {},
		Returned: func(string, time.Time) { r.returned.Add(1) },
	})
	r.register(jobs...)
	r.Set(jobs, limits)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		defer cancel()
		if err := r.Stop(ctx, 0); err != nil {
			t.Error(err)
		}
		if err := r.survey.Close(ctx); err != nil {
			t.Error(err)
		}
		if err := record.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// register makes jobs known, and the executor's.
func (r *rig) register(jobs ...job.Job) {
	r.t.Helper()
	for _, j := range jobs {
		facts := liveness.Facts{FirstSeen: time.Now()}
		if err := r.o.Ledger.SaveJobs(r.t.Context(), []ledger.Job{{ID: j.ID, Facts: facts}}); err != nil {
			r.t.Fatal(err)
		}
		r.o.Book.Open(j.ID, facts)
	}
	r.Set(jobs, Limits{})
}

func shellJob(id, script string) job.Job {
	return job.Job{
		ID: id, Schedule: job.Every{Interval: time.Minute}, Interval: time.Minute, Grace: time.Minute, Overlap: job.OverlapSkip,
		Agent: fleet.Agent{ID: id, Timeout: time.Minute, Driver: fleet.Driver{Type: "exec", Shell: script}},
	}
}

func (r *rig) demand(id string) ledger.Run {
	r.t.Helper()
	_, done, err := r.Demand(id, "test")
	if err != nil {
		r.t.Fatal(err)
	}
	return <-done
}

func (r *rig) runs(id string) []ledger.Run {
	r.t.Helper()
	runs, err := r.o.Ledger.Runs(context.WithoutCancel(r.t.Context()), ledger.Query{Job: id, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	return runs
}

func (r *rig) facts(id string) liveness.Facts {
	facts, _ := r.o.Book.Facts(id)
	return facts
}

func (r *rig) await(what string, condition func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: not within 20s", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (r *rig) exists(name string) bool {
	_, err := os.Stat(filepath.Join(r.dir, name))
	return err == nil
}

func outcomes(runs []ledger.Run) map[string]int {
	out := map[string]int{}
	for _, run := range runs {
		out[strings.TrimSuffix(string(run.Outcome)+"/"+run.Reason, "/")]++
	}
	return out
}

func TestOutcomes(t *testing.T) {
	quick := shellJob("timeout", "sleep 60")
	quick.Agent.Timeout = 50 * time.Millisecond
	none := shellJob("none", "")
	none.Agent.Driver = fleet.Driver{Type: "none"}
	sources := shellJob("sources", "true")
	sources.Agent.Sources.WorkBoard = &fleet.AgentSource{Agent: "x"}
	r := newRig(t, Limits{}, shellJob("ok", "echo fine"), shellJob("failed", "exit 3"), quick, none, sources)
	tests := []struct {
		job     string
		outcome beat.Outcome
		reason  string
		code    int
		beat    bool
	}{
		{"ok", beat.OutcomeOK, "", 0, true},
		{"failed", beat.OutcomeFailed, "exit_status", 3, false},
		{"timeout", beat.OutcomeTimeout, "deadline", -1, false},
		{"none", beat.OutcomeIdle, "no_driver", -1, false},
		{"sources", beat.OutcomeOK, "", 0, true}, // a demand always calls
	}
	for _, test := range tests {
		t.Run(test.job, func(t *testing.T) {
			got := r.demand(test.job)
			if got.Outcome != test.outcome || got.Reason != test.reason || got.ExitCode != test.code {
				t.Errorf("got %+v", got)
			}
			saved, _, ok, err := r.o.Ledger.Run(t.Context(), got.ID)
			if err != nil || !ok || saved.Outcome != test.outcome || saved.Open() {
				t.Errorf("saved %+v, %v", saved, err)
			}
			if beaten := !r.facts(test.job).Beat.IsZero(); beaten != test.beat {
				t.Errorf("beaten: %v", beaten)
			}
		})
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestSlotsWithSourcesThatCannotBeReadAreSkipped(t *testing.T) {
	sources := shellJob("sources", "true")
	sources.Agent.Sources.WorkBoard = &fleet.AgentSource{Agent: "x"}
	always := sources
	always.ID, always.AlwaysRun = "always", true
	r := newRig(t, Limits{}, sources, always)
	at := time.Now().Truncate(time.Second)
	r.Fire("sources", []time.Time{at})
	r.Fire("always", []time.Time{at})
	r.await("both ended", func() bool { return len(r.runs("sources")) == 1 && outcomes(r.runs("always"))["ok"] == 1 })
	r.await("skipped", func() bool { return outcomes(r.runs("sources"))["skipped/sources_unknown"] == 1 })
	if got := testutil.ToFloat64(r.o.Metrics.skips.WithLabelValues("sources", "sources_unknown")); got != 1 {
		t.Errorf("skips: %v", got)
	}
}

func TestASlotStartsItsDriverOnce(t *testing.T) {
	r := newRig(t, Limits{}, shellJob("coo", "true"))
	j, _ := r.job("coo")
	j.Overlap = job.OverlapAllow
	j.Agent.Driver.Shell = "echo $HEARTBEAT_RUN_ID >> " + r.dir + "/starts"
	r.Set([]job.Job{j}, Limits{})
	at := time.Now().Truncate(time.Second)
	for range 20 {
		r.Fire("coo", []time.Time{at})
	}
	r.wg.Wait()
	raw, err := os.ReadFile(filepath.Join(r.dir, "starts"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(raw)); got != ledger.RunID("coo", at) || len(r.runs("coo")) != 1 {
		t.Errorf("started %q, %d runs", got, len(r.runs("coo")))
	}
	if r.returned.Load() != 0 {
		t.Error("a slot that is used up was returned")
	}
}

// TestTheRowComesBeforeTheDriver looks at the record from inside the driver.
func TestTheRowComesBeforeTheDriver(t *testing.T) {
	r := newRig(t, Limits{}, shellJob("coo", ""))
	j, _ := r.job("coo")
	j.Agent.Driver.Shell = fmt.Sprintf("touch %[1]s/running; while [ ! -e %[1]s/go ]; do sleep 0.01; done", r.dir)
	r.Set([]job.Job{j}, Limits{})
	claimed, done, err := r.Demand("coo", "why")
	if err != nil {
		t.Fatal(err)
	}
	r.await("driver", func() bool { return r.exists("running") })
	open, err := r.o.Ledger.OpenRuns(t.Context(), "coo")
	if err != nil || len(open) != 1 || open[0].ID != claimed.ID || open[0].Note != "why" {
		t.Fatalf("got %+v, %v", open, err)
	}
	r.await("process recorded", func() bool {
		open, err = r.o.Ledger.OpenRuns(t.Context(), "coo")
		return err == nil && len(open) == 1 && open[0].PID > 0
	})
	touch(t, r.dir, "go")
	if ended := <-done; ended.Outcome != beat.OutcomeOK {
		t.Errorf("got %+v", ended)
	}
}

func touch(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestOverlap(t *testing.T) {
	tests := []struct {
		policy job.Overlap
		want   map[string]int
	}{
		{job.OverlapSkip, map[string]int{"ok": 1, "skipped/overlap": 3}},
		{job.OverlapQueueLatest, map[string]int{"ok": 2, "skipped/superseded": 2}},
		{job.OverlapAllow, map[string]int{"ok": 4}},
	}
	for _, test := range tests {
		t.Run(string(test.policy), func(t *testing.T) {
			r := newRig(t, Limits{}, shellJob("coo", ""))
			j, _ := r.job("coo")
			j.Overlap = test.policy
			j.Agent.Driver.Shell = fmt.Sprintf("echo x >> %[1]s/running; while [ ! -e %[1]s/go ]; do sleep 0.01; done", r.dir)
			r.Set([]job.Job{j}, Limits{})
			at := time.Now().Truncate(time.Second)
			r.Fire("coo", []time.Time{at})
			r.await("first", func() bool { return r.exists("running") })
			for i := range 3 {
				r.Fire("coo", []time.Time{at.Add(time.Duration(i+1) * time.Second)})
			}
			r.await("the others are decided", func() bool {
				r.mu.Lock()
				queued := !r.gate("coo").queued.IsZero()
				r.mu.Unlock()
				n := len(r.runs("coo"))
				return n == 4 || (queued && n == 3)
			})
			touch(t, r.dir, "go")
			r.wg.Wait()
			got := outcomes(r.runs("coo"))
			if fmt.Sprint(got) != fmt.Sprint(test.want) {
				t.Errorf("got %v, want %v", got, test.want)
			}
			if test.policy == job.OverlapQueueLatest {
				last := ledger.RunID("coo", at.Add(3*time.Second))
				if run, _, ok, _ := r.o.Ledger.Run(t.Context(), last); !ok || run.Outcome != beat.OutcomeOK {
					t.Errorf("the latest slot did not run: %+v", run)
				}
			}
		})
	}
}

func TestADemandDuringARunIsSkippedAndSaid(t *testing.T) {
	r := newRig(t, Limits{}, shellJob("coo", ""))
	j, _ := r.job("coo")
	j.Agent.Driver.Shell = fmt.Sprintf("while [ ! -e %s/go ]; do sleep 0.01; done", r.dir)
	r.Set([]job.Job{j}, Limits{})
	_, first, err := r.Demand("coo", "")
	if err != nil {
		t.Fatal(err)
	}
	if second := r.demand("coo"); second.Outcome != beat.OutcomeSkipped || second.Reason != ReasonOverlap {
		t.Errorf("got %+v", second)
	}
	touch(t, r.dir, "go")
	<-first
	if third := r.demand("coo"); third.Outcome != beat.OutcomeOK {
		t.Errorf("got %+v", third)
	}
}

func TestConcurrencyIsBounded(t *testing.T) {
	var jobs []job.Job
	for i := range 12 {
		jobs = append(jobs, shellJob(fmt.Sprintf("agent-%d", i), ""))
	}
	r := newRig(t, Limits{}, jobs...)
	for i := range jobs {
		jobs[i].Agent.Driver.Shell = fmt.Sprintf("cd %s; mkdir $HEARTBEAT_AGENT; ls -d agent-* | wc -l >> counts; sleep 0.05; rmdir $HEARTBEAT_AGENT", r.dir)
	}
	r.Set(jobs, Limits{Total: 3, PerDriver: map[string]int{"exec": 2}})
	for _, j := range jobs {
		r.Fire(j.ID, []time.Time{time.Now().Truncate(time.Second)})
	}
	r.wg.Wait()
	raw, err := os.ReadFile(filepath.Join(r.dir, "counts"))
	if err != nil {
		t.Fatal(err)
	}
	counts := strings.Fields(string(raw))
	if len(counts) != len(jobs) {
		t.Errorf("%d runs", len(counts))
	}
	for _, count := range counts {
		if n, _ := strconv.Atoi(count); n > 2 {
			t.Errorf("%d drivers at the same time", n)
		}
	}
}

func TestProgressExtendsARun(t *testing.T) {
	j := shellJob("coo", "")
	j.Agent.Timeout = 400 * time.Millisecond
	r := newRig(t, Limits{}, j)
	j.Agent.Driver.Shell = fmt.Sprintf("while [ ! -e %s/go ]; do sleep 0.01; done", r.dir)
	r.Set([]job.Job{j}, Limits{})
	_, done, err := r.Demand("coo", "")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, stop := context.WithTimeout(t.Context(), 1200*time.Millisecond)
	defer stop()
	wg.Go(func() {
		for ctx.Err() == nil {
			r.Extend("coo")
			<-time.After(20 * time.Millisecond)
		}
	})
	wg.Wait()
	select {
	case ended := <-done:
		t.Fatalf("ended although it made progress: %+v", ended)
	default:
	}
	if ended := <-done; ended.Outcome != beat.OutcomeTimeout {
		t.Errorf("got %+v", ended)
	}
	if r.Extend("coo") {
		t.Error("a run that ended was extended")
	}
}
