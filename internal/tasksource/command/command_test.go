package command_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
)

// actor names the variable that makes the test's own program play a command line.
const actor = "COMMAND_TEST_ACTOR"

func TestMain(m *testing.M) {
	if role := os.Getenv(actor); role != "" {
		os.Exit(act(role, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// act is a command line that behaves well or badly.
func act(role string, args []string) int {
	switch role {
	case "answers":
		fmt.Printf("%q\n", args)
		fmt.Fprintln(os.Stderr, "a warning")
	case "environment":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "fails":
		fmt.Println(`{"cards":[]}`)
		fmt.Fprintln(os.Stderr, "no gateway;\n token tok-secret refused "+strings.Repeat("x ", 50_000))
		return 3
	case "secret at the end":
		fmt.Fprint(os.Stderr, strings.Repeat(" ", 4<<10-6)+"tok-secret")
		return 1
	case "floods":
		for {
			if _, err := os.Stdout.Write(make([]byte, 64<<10)); err != nil {
				select {} // does not end by itself
			}
		}
	case "hangs":
		child := exec.Command(os.Args[0], args...)
		child.Env = append(os.Environ(), actor+"=holds")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 1
		}
		hold(args[0])
	case "holds":
		hold(args[0])
	case "calls":
		_, err := command.New(nil).Output(context.Background(), command.Call{Program: os.Args[0], Args: args, Env: []string{actor + "=holds"}, Limit: 1})
		fmt.Fprintln(os.Stderr, err)
		return 1
	case "leaves something":
		child := exec.Command(os.Args[0], args...)
		child.Env = append(os.Environ(), actor+"=holds")
		child.Stdout = os.Stdout
		if err := child.Start(); err != nil {
			return 1
		}
		fmt.Println("done")
	case "notes":
		return note(args[0])
	}
	return 0
}

// hold connects and stays, whatever TERM says: the connection ends with the process.
func hold(address string) {
	connection, err := net.Dial("tcp", address)
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, connection)
}

// note fails where another call is under way.
func note(dir string) int {
	path := filepath.Join(dir, "under way")
	if err := os.Mkdir(path, 0o700); err != nil {
		return 1
	}
	<-time.After(20 * time.Millisecond)
	if err := os.Remove(path); err != nil {
		return 1
	}
	return 0
}

func call(t *testing.T, role string, args ...string) command.Call {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return command.Call{Program: program, Args: args, Env: []string{actor + "=" + role}, Limit: 1 << 20, Secrets: []redact.Secret{"tok-secret"}}
}

func TestOutput(t *testing.T) {
	out, err := command.New(nil).Output(t.Context(), call(t, "answers", "workboard", "$(x) 'y'"))
	if err != nil || string(out) != `["workboard" "$(x) 'y'"]`+"\n" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("FLEET_OWN_SECRET", "hidden")
	t.Setenv("PASSED", "yes")
	t.Setenv("TZ", "Asia/Shanghai")
	c := call(t, "environment")
	c.Pass = []string{"PASSED", "NOT_SET"}
	c.Env = append(c.Env, "TZ=UTC")
	out, err := command.New(nil, "MARK=1").Output(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	got := "\n" + string(out)
	for _, want := range []string{"\nPASSED=yes\n", "\nMARK=1\n", "\nPATH=", "\nTZ=UTC\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
	for _, bad := range []string{"FLEET_OWN_SECRET", "NOT_SET", "Asia/Shanghai"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q is passed on: %s", bad, got)
		}
	}
}

func TestFailures(t *testing.T) {
	missing := call(t, "answers")
	missing.Program = "no-such-openclaw"
	gone := call(t, "answers")
	gone.Program = filepath.Join(t.TempDir(), "gone")
	for name, c := range map[string]struct {
		call command.Call
		want string
	}{
		"exit code":         {call(t, "fails"), "exit status 3; it says: no gateway; token <secret> refused x x x"},
		"not on the path":   {missing, "no-such-openclaw: the program is not found; install it"},
		"not there":         {gone, "the program is not found"},
		"too much":          {call(t, "floods"), "too much output: more than 1024 KiB"},
		"a part of a token": {call(t, "secret at the end"), "exit status 1"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := command.New(nil).Output(t.Context(), c.call)
			if err == nil || out != nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Fatalf("%q, %v; want %q", out, err, c.want)
			}
			if strings.Contains(err.Error(), "tok-") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

// TestHangs: at the end of its time the program is gone, with the child of its own
// that holds its output.
func TestHangs(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	ctx, cancel := context.WithCancelCause(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := command.New(nil).Output(ctx, call(t, "hangs", listener.Addr().String()))
		failed <- err
	}()
	var held []net.Conn
	for range 2 {
		connection, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, connection)
	}
	cancel(context.DeadlineExceeded)
	if err := <-failed; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "did not end in time") {
		t.Errorf("got %v", err)
	}
	for _, connection := range held {
		_ = connection.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := connection.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("a process outlived its call")
		}
	}
}

// TestCallerIsKilled: the program does not outlive a caller that cannot end it.
func TestCallerIsKilled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("skipped: only Linux ends children with their parent")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	caller := exec.CommandContext(t.Context(), os.Args[0], listener.Addr().String())
	caller.Env = append(os.Environ(), actor+"=calls")
	if err := caller.Start(); err != nil {
		t.Fatal(err)
	}
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := caller.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = caller.Wait() // killed
	_ = connection.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := connection.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the program outlived its caller")
	}
}

// TestLeavesSomethingRunning: an answer is not lost because something that the
// program left holds its output, such as a gateway that it started.
func TestLeavesSomethingRunning(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.New(nil).Output(t.Context(), call(t, "leaves something", listener.Addr().String()))
	if err != nil || string(out) != "done\n" {
		t.Errorf("%q, %v", out, err)
	}
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = connection.Close() // ends it
	_ = listener.Close()
}

func TestNeverTwoAtOnce(t *testing.T) {
	runner, dir := command.New(nil), t.TempDir()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := runner.Output(t.Context(), call(t, "notes", dir)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestWaitsNoLongerThanItsContext behind a call that hangs.
func TestWaitsNoLongerThanItsContext(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	runner := command.New(nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _, _ = runner.Output(ctx, call(t, "holds", listener.Addr().String())) })
	connection, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	second, end := context.WithTimeout(t.Context(), time.Millisecond)
	defer end()
	if _, err := runner.Output(second, call(t, "answers")); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "an earlier call of it did not end") {
		t.Errorf("got %v", err)
	}
}

// TestAccount: the program that keeps account sees the child before it can end
// unnoticed, and until it was waited for.
func TestAccount(t *testing.T) {
	var entered, left int
	account := func(fork func() (int, error)) (func(), error) {
		pid, err := fork()
		entered = pid
		return func() {
			left = pid
			if err := syscall.Kill(pid, 0); err == nil {
				t.Error("left before it was waited for")
			}
		}, err
	}
	if _, err := command.New(account).Output(t.Context(), call(t, "answers")); err != nil || entered == 0 || left != entered {
		t.Errorf("entered %d, left %d: %v", entered, left, err)
	}
}
