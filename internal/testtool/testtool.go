// Package testtool gives tests the real tools that `make tools` builds at the
// pinned versions: prometheus, promtool, alertmanager, amtool, node_exporter. It
// is for tests only.
//
// A tool that is not there skips the test by name, or fails it where
// REQUIRE_ALL=1. Tools of other versions, such as the system's, are never used:
// they do not judge as the pinned ones do.
package testtool

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Find returns the path of the tool: in the folder that FLEETWATCH_BIN names, or
// in .bin beside go.mod.
func Find(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("FLEETWATCH_BIN")
	if dir == "" {
		dir = filepath.Join(Root(t), ".bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if os.Getenv("REQUIRE_ALL") == "1" {
		t.Fatalf("%s is needed at %s: run make tools", name, path)
	}
	t.Skipf("skipped: %s is not built (make tools)", name)
	return ""
}

// Root returns the folder of go.mod.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = parent
	}
}

// FreeAddress returns a loopback address that nothing listens on at the moment.
func FreeAddress(t testing.TB) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// stopPatience is how long a tool has between TERM and KILL.
const stopPatience = 5 * time.Second

// Run runs the tool to its end and returns its exit code and what it printed, both
// streams.
func Run(t testing.TB, name string, args ...string) (code int, output string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), Find(t, name), args...)
	out, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatalf("running %s: %v", name, err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// Start runs the tool until the end of the test, where it is ended by TERM. What
// it printed is shown where the test failed.
func Start(t testing.TB, name string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	command := exec.CommandContext(ctx, Find(t, name), args...)
	command.Stdout, command.Stderr = log, log
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopPatience
	if err := command.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(func() {
		stop()
		_ = command.Wait() // ended by our signal
		_ = log.Close()
		if t.Failed() {
			if text, err := os.ReadFile(log.Name()); err == nil {
				t.Logf("%s printed:\n%s", name, text)
			}
		}
	})
}

// patience bounds waiting for a condition; it is no promise about speed.
const patience = 30 * time.Second

// Eventually reports whether the condition came true within half a minute.
func Eventually(t testing.TB, condition func() bool) bool {
	t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(patience)
	for !condition() {
		select {
		case <-ticker.C:
		case <-deadline:
			return condition()
		case <-t.Context().Done():
			return false
		}
	}
	return true
}

// WaitReady waits until a GET of the URL answers 200.
func WaitReady(t testing.TB, url string) {
	t.Helper()
	ready := Eventually(t, func() bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	if !ready {
		t.Fatalf("%s did not become ready", url)
	}
}

// Do sends the request and returns status and body.
func Do(t testing.TB, r *http.Request) (status int, body []byte) {
	t.Helper()
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if body, err = io.ReadAll(response.Body); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, body
}
