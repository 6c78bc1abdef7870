package heartbeat

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener := listen(t)
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func buildBinary(t *testing.T, dir string) string {
	t.Helper()
	binary := filepath.Join(dir, "heartbeat")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "github.com/fleetwatch/fleetwatch/cmd/heartbeat")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return binary
}

const crashRounds = 3

// TestKillMidRun kills the real program at random moments while drivers run
// that leave a process in a session of its own, and starts it again. Every slot
// starts at most once, every row gets an outcome, and no process is left. A
// round is one kill; HEARTBEAT_CRASH_ROUNDS sets how many.
func TestKillMidRun(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("survivors can only be told on Linux")
	}
	rounds := crashRounds
	if text := os.Getenv("HEARTBEAT_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	binary, address := buildBinary(t, dir), freeAddress(t)
	script := fmt.Sprintf(`echo $HEARTBEAT_RUN_ID >> %[1]s/starts; echo $$ >> %[1]s/pids; setsid sh -c "echo \$\$ >> %[1]s/pids; sleep 300" & sleep 0.7; kill $!; wait`, dir)
	roster := "classes: {fast: {every: 1s, grace: 1s}}\ndefaults: {class: fast, timeout: 20s}\nagents:\n"
	for i := range 4 {
		roster += fmt.Sprintf("  - {id: agent-%d, driver: {type: exec, shell: %q}}\n", i, script)
	}
	config := filepath.Join(dir, "heartbeat.yaml")
	writeFile(t, filepath.Join(dir, "fleet.yaml"), roster)
	writeFile(t, config, fmt.Sprintf("server: {listen: %q}\ncatch_up: {policy: all, window: 1h, cap: 3}\n", address))

	for round := range rounds {
		before := countLines(filepath.Join(dir, "starts"))
		server := startServer(t, binary, config, address, filepath.Join(dir, "log"))
		await(t, "runs", func() bool { return countLines(filepath.Join(dir, "starts")) >= before+2 })
		<-time.After(time.Duration(rand.IntN(1500)) * time.Millisecond)
		if err := server.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		_ = server.Wait()
	}
	server := startServer(t, binary, config, address, filepath.Join(dir, "log"))
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Error(err)
	}
	verifyRecord(t, dir, rounds)
}

func startServer(t *testing.T, binary, config, address, log string) *exec.Cmd {
	t.Helper()
	file, err := os.OpenFile(filepath.Clean(log), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	server := exec.CommandContext(context.WithoutCancel(t.Context()), binary, "serve", "-config", config)
	server.Stdout, server.Stderr = file, file
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill() })
	await(t, "server", func() bool {
		resp, err := http.Get("http://" + address + "/health")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return server
}

func countLines(path string) int { return len(lines(path)) }

func lines(path string) []string {
	raw, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw))
}

func verifyRecord(t *testing.T, dir string, rounds int) {
	t.Helper()
	record, err := ledger.Open(t.Context(), sqlstore.URL("sqlite:"+dir+"/data/heartbeat.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = record.Close() }()
	runs, err := record.Runs(t.Context(), ledger.Query{Limit: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	known, interrupted := map[string]bool{}, 0
	for _, r := range runs {
		known[r.ID] = true
		if r.Open() {
			t.Errorf("%s has no outcome", r.ID)
		}
		if r.Outcome == "interrupted" {
			interrupted++
		}
	}
	starts := map[string]int{}
	for _, id := range lines(filepath.Join(dir, "starts")) {
		if starts[id]++; starts[id] > 1 {
			t.Errorf("%s started twice", id)
		}
		if !known[id] {
			t.Errorf("%s started without a row", id)
		}
	}
	for _, text := range lines(filepath.Join(dir, "pids")) {
		if pid, err := strconv.Atoi(text); err == nil && alive(pid, dir) {
			t.Errorf("process %d is left", pid)
		}
	}
	if interrupted == 0 {
		t.Errorf("no run was interrupted in %d kills: the test did not test", rounds)
	}
	t.Logf("%d kills, %d runs, %d starts, %d interrupted", rounds, len(runs), len(starts), interrupted)
}

// alive reports whether a process lives that belongs to the test.
func alive(pid int, dir string) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(raw), dir)
}

// TestCrontabLine runs the program as cron does: no terminal, next to no
// environment, another working folder.
func TestCrontabLine(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	binary := buildBinary(t, r.dir)
	file := filepath.Join(r.dir, "client.yaml")
	writeFile(t, filepath.Join(r.dir, "token"), "admin-token\n")
	writeFile(t, file, strings.NewReplacer("127.0.0.1:0", r.Addr(), "token: admin-token", "token_file: token").Replace(testConfig))
	for agent, want := range map[string]int{"worker": 0, "failing": 1} {
		cron := exec.CommandContext(t.Context(), "/bin/sh", "-c", binary+" run "+agent+" --wait -config "+file)
		cron.Env, cron.Dir = []string{"PATH=/usr/bin:/bin", "HOME=/nonexistent"}, "/"
		cron.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		out, err := cron.CombinedOutput()
		if cron.ProcessState == nil || cron.ProcessState.ExitCode() != want {
			t.Errorf("%s: %v: %s", agent, err, out)
		}
	}
}
