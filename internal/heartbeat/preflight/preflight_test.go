package preflight

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
)

func TestDecide(t *testing.T) {
	known := beat.Source{State: beat.SourceOK}
	unknown := beat.Source{State: beat.SourceUnknown}
	tests := []struct {
		name    string
		driver  string
		always  bool
		demand  bool
		sources []beat.Source
		pending int
		want    Decision
		reason  Reason
	}{
		{"no driver", "none", false, false, nil, 0, Idle, ReasonNoDriver},
		{"no driver, demanded", "none", false, true, nil, 0, Idle, ReasonNoDriver},
		{"no sources: a plain cron job", "exec", false, false, nil, 0, Call, ""},
		{"work", "exec", false, false, []beat.Source{known}, 1, Call, ""},
		{"no work", "exec", false, false, []beat.Source{known}, 0, Idle, ReasonNoWork},
		{"no work, always_run", "exec", true, false, []beat.Source{known}, 0, Call, ""},
		{"no work, demanded", "exec", false, true, []beat.Source{known}, 0, Call, ""},
		{"one source unknown, beats go on", "exec", false, false, []beat.Source{known, unknown}, 0, Idle, ReasonPartlyUnknown},
		{"one source unknown, another has work", "exec", false, false, []beat.Source{known, unknown}, 2, Call, ""},
		{"all sources unknown", "exec", false, false, []beat.Source{unknown, unknown}, 0, Skip, ReasonSourcesUnknown},
		{"all sources unknown, always_run", "exec", true, false, []beat.Source{unknown}, 0, Call, ""},
		{"all sources unknown, demanded", "exec", false, true, []beat.Source{unknown}, 0, Call, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			j := job.Job{AlwaysRun: test.always, Agent: fleet.Agent{Driver: fleet.Driver{Type: test.driver}}}
			decision, reason := Decide(j, test.demand, test.sources, test.pending)
			if decision != test.want || reason != test.reason {
				t.Errorf("got %s (%s), want %s (%s)", decision, reason, test.want, test.reason)
			}
		})
	}
}

func TestProcessProbe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the state of a process is read from /proc")
	}
	marker := fmt.Sprintf("probe-%d-%d", os.Getpid(), time.Now().UnixNano())
	start := func(env ...string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", "sleep 600; : "+marker)
		cmd.Env = append(os.Environ(), env...)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			_ = cmd.Wait()
		})
		return cmd
	}
	match := fleet.Probe{Process: fleet.Process{Match: marker}}
	if got := Probe(t.Context(), match); !got.Asked || got.Alive || !got.Gone {
		t.Errorf("nothing runs: %+v", got)
	}
	start(driver.MarkVariable + "=some-run")
	if got := Probe(t.Context(), match); got.Alive {
		t.Errorf("a process of a run counts as an independent sign: %+v", got)
	}
	agent := start()
	awaitCommandLine(t, agent.Process.Pid, marker)
	if got := Probe(t.Context(), match); !got.Alive || got.Gone {
		t.Errorf("runs: %+v", got)
	}
	file := filepath.Join(t.TempDir(), "agent.pid")
	byFile := fleet.Probe{Process: fleet.Process{PIDFile: confload.Path(file)}}
	if got := Probe(t.Context(), byFile); got.Alive || !got.Gone {
		t.Errorf("no pid file: %+v", got)
	}
	if err := os.WriteFile(file, fmt.Appendf(nil, "%d\n", agent.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Probe(t.Context(), byFile); !got.Alive {
		t.Errorf("by pid file: %+v", got)
	}
	if err := syscall.Kill(agent.Process.Pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(agent.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatal(err)
	}
	if got := Probe(t.Context(), byFile); got.Alive || got.Gone {
		t.Errorf("a stopped process is neither alive nor gone: %+v", got)
	}
	if err := os.WriteFile(file, []byte("what\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Probe(t.Context(), byFile); got.Alive || got.Gone {
		t.Errorf("a broken pid file tells nothing: %+v", got)
	}
}

func awaitCommandLine(t *testing.T, pid int, text string) {
	t.Helper()
	for range 2000 {
		if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && strings.Contains(string(raw), text) {
			return
		}
		<-time.After(time.Millisecond)
	}
	t.Fatal("the process did not come up")
}

func TestPortProbe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	for _, p := range []string{address, port} {
		if got := Probe(t.Context(), fleet.Probe{Port: p}); !got.Alive || got.Gone {
			t.Errorf("%s listens: %+v", p, got)
		}
	}
	_ = listener.Close()
	if got := Probe(t.Context(), fleet.Probe{Port: address}); got.Alive || !got.Gone {
		t.Errorf("%s does not listen: %+v", address, got)
	}
}

func TestProbesThatCannotBeAskedAreUnknown(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	got := Probe(t.Context(), fleet.Probe{Port: listener.Addr().String(), Unit: "agent.service"})
	if !got.Asked || got.Alive || got.Gone || !strings.Contains(got.Detail, "unit") {
		t.Errorf("got %+v", got)
	}
	if got := Probe(t.Context(), fleet.Probe{}); got.Asked {
		t.Errorf("no probe: %+v", got)
	}
}
