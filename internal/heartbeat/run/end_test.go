package run

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
)

func TestAnOKNeedsAnIndependentSignWhereThereIsAProbe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "agent.pid")
	j := shellJob("coo", "true")
	j.Agent.Probe = fleet.Probe{Process: fleet.Process{PIDFile: confload.Path(file)}}
	r := newRig(t, Limits{}, j)
	if got := r.demand("coo"); got.Outcome != beat.OutcomeUnverified || got.Reason != ReasonNoSign || !r.facts("coo").Beat.IsZero() {
		t.Errorf("no process: %+v", got)
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.demand("coo"); got.Outcome != beat.OutcomeOK || r.facts("coo").Beat.IsZero() {
		t.Errorf("process lives: %+v", got)
	}
	// A ping from before the run is no sign for it; one during the run is.
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	pinged := func() {
		err := r.o.Book.Change("coo", func(f liveness.Facts) liveness.Facts {
			return f.Pinged(liveness.Ping{Kind: liveness.PingLog, At: time.Now()}, 0)
		}, func(liveness.Facts) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
	}
	pinged()
	if got := r.demand("coo"); got.Outcome != beat.OutcomeUnverified {
		t.Errorf("ping before the run: %+v", got)
	}
	j.Agent.Driver.Shell = fmt.Sprintf("touch %[1]s/running; while [ ! -e %[1]s/go ]; do sleep 0.01; done", r.dir)
	r.Set([]job.Job{j}, Limits{})
	_, done, err := r.Demand("coo", "")
	if err != nil {
		t.Fatal(err)
	}
	r.await("driver", func() bool { return r.exists("running") })
	pinged()
	touch(t, r.dir, "go")
	if got := <-done; got.Outcome != beat.OutcomeOK {
		t.Errorf("ping during the run: %+v", got)
	}
}

func TestAnIdleRunBeatsOnlyWithASign(t *testing.T) {
	none := shellJob("coo", "")
	none.Agent.Driver = fleet.Driver{Type: "none"}
	r := newRig(t, Limits{}, none)
	r.demand("coo")
	if f := r.facts("coo"); !f.Beat.IsZero() || f.Run.IsZero() {
		t.Fatalf("without a sign: %+v", f)
	}
	at := time.Now().Add(-30 * time.Second).UTC()
	err := r.o.Book.Change("coo", func(f liveness.Facts) liveness.Facts {
		return f.Pinged(liveness.Ping{Kind: liveness.PingLog, At: at}, 0)
	}, func(liveness.Facts) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	r.demand("coo")
	if f := r.facts("coo"); !f.Beat.Equal(at) {
		t.Errorf("the beat is of %v, want the time of the sign, %v", f.Beat, at)
	}
}

func TestRetriesOnlyWhatHadNoEffect(t *testing.T) {
	// A file that is being written cannot be executed: ETXTBSY.
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux's text file busy")
	}
	r := newRig(t, Limits{})
	busy := filepath.Join(r.dir, "busy")
	copyFile(t, "/bin/true", busy)
	file, err := os.OpenFile(busy, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	j := shellJob("coo", "")
	j.Agent.Driver = fleet.Driver{Type: "exec", Argv: []string{busy}}
	failing := shellJob("failing", "echo x >> "+r.dir+"/calls; exit 1")
	for _, id := range []string{"coo", "failing"} {
		if err := r.o.Ledger.SaveJobs(t.Context(), []ledger.Job{{ID: id}}); err != nil {
			t.Fatal(err)
		}
		r.o.Book.Open(id, liveness.Facts{})
	}
	r.Set([]job.Job{j, failing}, Limits{Retries: 2, RetryBase: time.Millisecond})
	if got := r.demand("coo"); got.Outcome != beat.OutcomeFailed || got.Attempt != 3 {
		t.Errorf("busy: %+v", got)
	}
	_ = file.Close()
	if got := r.demand("coo"); got.Outcome != beat.OutcomeOK || got.Attempt != 1 {
		t.Errorf("free: %+v", got)
	}
	if got := r.demand("failing"); got.Attempt != 1 {
		t.Errorf("an exit status was retried: %+v", got)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o700); err != nil {
		t.Fatal(err)
	}
}

func TestMissedSlotsAreOneRecordedRun(t *testing.T) {
	r := newRig(t, Limits{}, shellJob("coo", "true"))
	last := time.Now().Truncate(time.Second)
	r.Missed("coo", slot.Missed{Count: 17, First: last.Add(-16 * time.Minute), Last: last})
	r.wg.Wait()
	runs := r.runs("coo")
	if len(runs) != 1 || runs[0].Reason != ReasonMissed || !strings.Contains(runs[0].Detail, "17 slots") {
		t.Errorf("got %+v", runs)
	}
	if got := testutil.ToFloat64(r.o.Metrics.skips.WithLabelValues("coo", ReasonMissed)); got != 17 {
		t.Errorf("skips: %v", got)
	}
}

func TestRecoverEndsWhatADeadProcessLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("survivors can only be told on Linux")
	}
	r := newRig(t, Limits{}, shellJob("coo", "true"), shellJob("other", "true"))
	at := time.Now().Truncate(time.Second)
	dead := ledger.Run{ID: ledger.RunID("coo", at), Job: "coo", ScheduledAt: at, Trigger: ledger.TriggerSlot, StartedAt: at, RunnerPID: 1 << 30, RunnerBorn: 1}
	survivor := exec.Command("sleep", "600")
	survivor.Env = []string{driver.MarkVariable + "=" + dead.ID}
	survivor.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := survivor.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- survivor.Wait() }()
	if err := r.o.Ledger.Claim(t.Context(), dead, r.facts("coo").Began(dead.ID, at, time.Minute)); err != nil {
		t.Fatal(err)
	}
	living := dead
	living.ID, living.Job, living.RunnerPID, living.RunnerBorn = ledger.RunID("other", at), "other", os.Getppid(), driver.Born(os.Getppid())
	if err := r.o.Ledger.Claim(t.Context(), living, r.facts("other")); err != nil {
		t.Fatal(err)
	}
	if err := r.Recover(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	<-ended
	if got := outcomes(r.runs("coo")); got["interrupted/"+ReasonGone] != 1 {
		t.Errorf("got %v", got)
	}
	// The slot of the interrupted run is used up.
	r.Fire("coo", []time.Time{at})
	r.wg.Wait()
	if got := r.runs("coo"); len(got) != 1 {
		t.Errorf("rerun: %+v", got)
	}
	if got := r.demand("other"); got.Outcome != beat.OutcomeSkipped {
		t.Errorf("ran beside another process: %+v", got)
	}
}

func TestStopInterruptsAndRecords(t *testing.T) {
	r := newRig(t, Limits{}, shellJob("coo", ""))
	j, _ := r.job("coo")
	j.Agent.Driver.Shell = fmt.Sprintf("trap '' TERM; touch %s/running; while :; do sleep 1; done", r.dir)
	r.Set([]job.Job{j}, Limits{})
	claimed, done, err := r.Demand("coo", "")
	if err != nil {
		t.Fatal(err)
	}
	r.await("driver", func() bool { return r.exists("running") })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Stop(ctx, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if ended := <-done; ended.Outcome != beat.OutcomeInterrupted || ended.ID != claimed.ID {
		t.Errorf("got %+v", ended)
	}
	if got := outcomes(r.runs("coo")); got["interrupted/stopped"] != 1 {
		t.Errorf("got %v", got)
	}
	if _, _, err := r.Demand("coo", ""); err == nil {
		t.Error("a run began after the stop")
	}
}
