package driver

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

func newExec(t *testing.T, grace time.Duration, secrets ...redact.Secret) *Exec {
	t.Helper()
	e, err := NewExec(grace, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func shell(script string) fleet.Driver { return fleet.Driver{Type: "exec", Shell: script} }

func TestOutcomes(t *testing.T) {
	tests := []struct {
		name    string
		driver  fleet.Driver
		outcome beat.Outcome
		reason  Reason
		code    int
		log     string
	}{
		{"exit 0", fleet.Driver{Argv: []string{"echo", "hello"}}, beat.OutcomeOK, ReasonNone, 0, "hello\n"},
		{"no shell in argv", fleet.Driver{Argv: []string{"echo", "$HOME;true"}}, beat.OutcomeOK, ReasonNone, 0, "$HOME;true\n"},
		{"both outputs in order", shell("echo a; echo b >&2; echo c"), beat.OutcomeOK, ReasonNone, 0, "a\nb\nc\n"},
		{"exit 7", shell("exit 7"), beat.OutcomeFailed, ReasonExit, 7, ""},
		{"killed by a signal", shell("kill -9 $$"), beat.OutcomeFailed, ReasonSignal, -1, ""},
		{"not found", fleet.Driver{Argv: []string{"/nonexistent/command"}}, beat.OutcomeFailed, ReasonStart, -1, ""},
		{"no terminal, no input", shell("read x || echo eof"), beat.OutcomeOK, ReasonNone, 0, "eof\n"},
	}
	e := newExec(t, time.Second)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := e.Run(t.Context(), test.driver, Call{RunID: "r-" + t.Name()}, func(Process) {})
			if got.Outcome != test.outcome || got.Reason != test.reason || got.ExitCode != test.code || got.Log != test.log {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestEnvironmentIsAnAllowList(t *testing.T) {
	t.Setenv("FLEET_PLAIN", "plain")
	t.Setenv("FLEET_API_KEY", "sk-verysecret")
	t.Setenv("FLEET_OTHER", "other")
	e := newExec(t, time.Second, "configured-secret")
	d := shell(`env; echo $FLEET_API_KEY configured-secret`)
	d.Env = []string{"FLEET_PLAIN", "FLEET_API_KEY"}
	got := e.Run(t.Context(), d, Call{RunID: "r1", Attempt: 2, Agent: "coo", Message: "beat"}, func(Process) {}).Log
	for _, want := range []string{"FLEET_PLAIN=plain", "HEARTBEAT_RUN_ID=r1", "HEARTBEAT_ATTEMPT=2", "HEARTBEAT_AGENT=coo", "HEARTBEAT_MESSAGE=beat", "PATH="} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in the environment", want)
		}
	}
	for _, not := range []string{"FLEET_OTHER", "verysecret", "configured-secret"} {
		if strings.Contains(got, not) {
			t.Errorf("%s is in %s", not, got)
		}
	}
}

// TestTimeoutLeavesNothing runs a tree three forks deep with an escapee in a
// session of its own, one that ignores TERM, and one with neither mark nor
// session, and wants none of them to live.
func TestTimeoutLeavesNothing(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("escapees can only be found on Linux")
	}
	dir := t.TempDir()
	script := `cd ` + dir + `
sh -c 'sh -c "sh -c \"trap : TERM; echo \\\$\\\$ > deep; while :; do sleep 1; done\" & wait" & wait' &
setsid sh -c 'trap : TERM; echo $$ > session; while :; do sleep 1; done' &
(env -i setsid sh -c 'echo $$ > unmarked; exec /bin/sleep 600' &)
trap : TERM
echo $$ > leader
while :; do sleep 1; done`
	names := []string{"deep", "session", "unmarked", "leader"}
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for _, name := range names {
			await(t, func() bool { return pidIn(dir, name) > 0 })
		}
		cancel(context.DeadlineExceeded)
	}()
	e := newExec(t, 100*time.Millisecond)
	got := e.Run(ctx, shell(script), Call{RunID: "tree-" + strconv.Itoa(os.Getpid())}, func(Process) {})
	if got.Outcome != beat.OutcomeTimeout || got.Reason != ReasonDeadline {
		t.Errorf("got %+v", got)
	}
	for _, name := range names {
		if pid := pidIn(dir, name); Born(pid) != 0 {
			t.Errorf("%s (%d) lives", name, pid)
		}
	}
}

func TestTermComesFirst(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		await(t, func() bool { return pidIn(dir, "up") > 0 })
		cancel(errors.New("heartbeat is stopping"))
	}()
	e := newExec(t, time.Minute)
	got := e.Run(ctx, shell(`trap 'echo bye; exit 0' TERM; cd `+dir+`; echo $$ > up; while :; do sleep 0.05; done`), Call{RunID: "term"}, func(Process) {})
	if got.Outcome != beat.OutcomeInterrupted || !strings.Contains(got.Log, "bye") || got.Detail != "heartbeat is stopping" {
		t.Errorf("got %+v", got)
	}
}

func TestOutputIsBounded(t *testing.T) {
	megabytes := 64
	if text := os.Getenv("HEARTBEAT_OUTPUT_MB"); text != "" {
		var err error
		if megabytes, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	script := `echo first; head -c ` + strconv.Itoa(megabytes<<20) + ` /dev/zero | tr '\0' x; echo last`
	got := newExec(t, time.Second).Run(t.Context(), shell(script), Call{RunID: "big"}, func(Process) {})
	runtime.ReadMemStats(&after)
	if !strings.HasPrefix(got.Log, "first\n") || !strings.HasSuffix(got.Log, "last\n") || !strings.Contains(got.Log, "bytes left out") {
		t.Errorf("log of %d bytes lacks its head, tail or the note between", len(got.Log))
	}
	if len(got.Log) > CaptureLimit+100 {
		t.Errorf("log has %d bytes", len(got.Log))
	}
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 2<<20 {
		t.Errorf("allocated %d bytes for %d MB of output", grown, megabytes)
	}
}

func TestCaptureMasksAcrossTheCut(t *testing.T) {
	const secret = "sk-abcdefghijklmnop"
	for shift := range len(secret) {
		c := &capture{}
		_, _ = c.Write([]byte(strings.Repeat("x", captureHalf-shift) + secret))
		_, _ = c.Write([]byte(strings.Repeat("y", 100_000)))
		_, _ = c.Write([]byte(secret + strings.Repeat("z", captureHalf-shift)))
		text := c.Text([]redact.Secret{secret})
		for n := range len(secret) - minPart {
			if strings.Contains(text, secret[n:n+minPart+1]) {
				t.Fatalf("shift %d: %q is in the text", shift, secret[n:n+minPart+1])
			}
		}
	}
}

func TestSurvivorsOfAnEarlierProcessAreEnded(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("survivors can only be told on Linux")
	}
	dir := t.TempDir()
	e := newExec(t, 50*time.Millisecond)
	// The leader ends at once and leaves two marked processes.
	id := "survivor-" + strconv.Itoa(os.Getpid())
	got := e.Run(t.Context(), shell(`cd `+dir+`
sh -c 'echo $$ > group; exec sleep 600' >/dev/null 2>&1 &
setsid sh -c 'echo $$ > session; exec sleep 600' >/dev/null 2>&1 &
`), Call{RunID: id}, func(Process) {})
	if got.Outcome != beat.OutcomeOK {
		t.Fatalf("got %+v", got)
	}
	await(t, func() bool { return pidIn(dir, "group") > 0 && pidIn(dir, "session") > 0 })
	stranger := pidIn(dir, "session") // leads a group of its own
	if n, err := e.EndSurvivors("another-run", Process{PID: stranger, Born: Born(stranger) + 1}); n != 0 || err != nil || Born(stranger) == 0 {
		t.Fatalf("a process of a reused id was touched: %d, %v", n, err)
	}
	if n, err := e.EndSurvivors(id, Process{PID: 1 << 30}); n != 2 || err != nil {
		t.Errorf("got %d, %v; want 2 ended", n, err)
	}
	for _, name := range []string{"group", "session"} {
		if Born(pidIn(dir, name)) != 0 {
			t.Errorf("%s lives", name)
		}
	}
}

// TestGuests: a process that is no run is neither ended with one that is, nor waited
// for by anybody but its owner, though it is a child like those that runs leave. Nor is
// what it leaves itself.
func TestGuests(t *testing.T) {
	e, dir := newExec(t, 10*time.Millisecond), t.TempDir()
	guest := exec.Command("/bin/sh", "-c", "sleep 60 & echo $! > left; read line; exit 7")
	guest.Env, guest.Dir = []string{GuestMark}, dir
	input, err := guest.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	leave, err := e.Host(func() (int, error) {
		if err := guest.Start(); err != nil {
			return 0, err
		}
		return guest.Process.Pid, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	timeout := func(id string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if got := e.Run(ctx, shell("sleep 60"), Call{RunID: id}, func(Process) {}); got.Outcome != beat.OutcomeTimeout {
			t.Fatalf("got %+v", got)
		}
	}
	await(t, func() bool { return pidIn(dir, "left") > 0 })
	left := pidIn(dir, "left")
	t.Cleanup(func() { _ = syscall.Kill(left, syscall.SIGKILL) })
	timeout("run-1")
	_ = input.Close()
	await(t, func() bool { return Born(guest.Process.Pid) == 0 })
	e.Reap()
	err = guest.Wait()
	leave()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Errorf("the guest ended with %v", err)
	}
	timeout("run-2")
	if runtime.GOOS == "linux" && Born(left) == 0 {
		t.Error("what the guest left was ended with a run")
	}
	if _, err := e.Host(func() (int, error) { return 0, os.ErrNotExist }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a guest that could not be started: %v", err)
	}
}

func pidIn(dir, name string) int {
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
	return pid
}

func await(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); {
		if time.Now().After(deadline) {
			t.Error("condition was not met in 20s")
			return
		}
		<-time.After(5 * time.Millisecond)
	}
}
