package livesign_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/livesign"
)

func sleeper(t *testing.T, mark string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), "sh", "-c", "sleep 300; : "+mark)
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL); _ = c.Wait() })
	return c
}

func TestProcess(t *testing.T) {
	mark := fmt.Sprintf("livesign-mark-%d", os.Getpid())
	running, stopped, ended := sleeper(t, mark), sleeper(t, "other"), sleeper(t, "third")
	if err := stopped.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(-ended.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = ended.Wait() // killed on purpose
	waitStopped(t, stopped.Process.Pid)
	pidFile := func(name, text string) fleet.Process {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return fleet.Process{PIDFile: confload.Path(path)}
	}
	stale := pidFile("e", fmt.Sprint(running.Process.Pid))
	if written := time.Now().Add(-time.Hour); os.Chtimes(string(stale.PIDFile), written, written) != nil {
		t.Fatal("cannot set the time of a file")
	}
	for name, c := range map[string]struct {
		process     fleet.Process
		skip        func(int) bool
		alive, gone bool
	}{
		"running":          {pidFile("a", fmt.Sprintln(running.Process.Pid)), nil, true, false},
		"stopped":          {pidFile("b", fmt.Sprint(stopped.Process.Pid)), nil, false, false},
		"ended":            {pidFile("c", fmt.Sprint(ended.Process.Pid)), nil, false, true},
		"no pid file":      {fleet.Process{PIDFile: "/nonexistent/pid"}, nil, false, true},
		"reused number":    {stale, nil, false, false},
		"rubbish":          {pidFile("d", "abc"), nil, false, false},
		"a folder":         {fleet.Process{PIDFile: confload.Path(t.TempDir())}, nil, false, false},
		"matches":          {fleet.Process{Match: mark}, nil, true, false},
		"matches, skipped": {fleet.Process{Match: mark}, func(pid int) bool { return pid == running.Process.Pid }, false, true},
		"matches nothing":  {fleet.Process{Match: "^no such command line$"}, nil, false, true},
	} {
		if got := livesign.Process(c.process, c.skip); got.Alive != c.alive || got.Gone != c.gone || got.Detail == "" {
			t.Errorf("%s: %+v, want alive %v, gone %v", name, got, c.alive, c.gone)
		}
	}
}

func waitStopped(t *testing.T, pid int) {
	t.Helper()
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("waiting for the stop: %v, %v", status, err)
	}
}

func TestPort(t *testing.T) {
	open, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(open.Addr().String())
	for _, form := range []string{port, open.Addr().String()} {
		if got := livesign.Port(t.Context(), form); !got.Alive {
			t.Errorf("an open port %s: %+v", form, got)
		}
	}
	if err := open.Close(); err != nil {
		t.Fatal(err)
	}
	if got := livesign.Port(t.Context(), port); !got.Gone {
		t.Errorf("a closed port: %+v", got)
	}
	if got := livesign.Port(t.Context(), "no-such-host.invalid:1"); got.Alive || got.Gone {
		t.Errorf("a name that does not resolve: %+v", got)
	}
}
