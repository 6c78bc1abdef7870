package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain lets this binary be sandboxd too.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOXD_AS_PROGRAM") == "1" || len(os.Args) > 1 && os.Args[1] == "agent" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err := dispatch(ctx, os.Args[1:], os.Stderr)
		stop()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestUsage(t *testing.T) {
	cases := []struct {
		args  []string
		says  string
		usage bool // it is the caller's mistake
	}{
		{nil, "agent-task", true},
		{[]string{"-h"}, "agent-task", false},
		{[]string{"dance"}, `no subcommand "dance"`, true},
		{[]string{"feishu", "-h"}, "Example:", false},
		{[]string{"provider", "-h"}, "Example:", false},
		{[]string{"provider"}, "flag -backend is needed", true},
		{[]string{"agents", "-h"}, "-ping-key-file", false},
		{[]string{"agent", "-h"}, "Example:", false},
		{[]string{"agent-task", "-h"}, "hangs while it is stalled", false},
		{[]string{"agents"}, "flag -dir is needed", true},
		{[]string{"feishu", "extra"}, "unexpected argument", true},
		{[]string{"feishu", "-name", "ou_a"}, "expected ID=NAME", true},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			var out bytes.Buffer
			err := dispatch(t.Context(), c.args, &out)
			if errors.Is(err, errUsage) != c.usage || !c.usage && err != nil {
				t.Errorf("err %v", err)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("%q is not in %s", c.says, out.String())
			}
		})
	}
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	err = dispatch(t.Context(), []string{"feishu", "-listen", taken.Addr().String()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "choose another with -listen") {
		t.Errorf("got %v", err)
	}
}

// output is a log that a test reads while it is written.
type output struct {
	mu    sync.Mutex
	text  strings.Builder
	lines chan string
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.text.Write(p)
	if _, rest, ok := strings.Cut(string(p), "url="); ok {
		o.lines <- strings.TrimSpace(rest)
	}
	return len(p), nil
}

// run starts a subcommand and returns its URL; it is stopped at the end of the test.
func run(t *testing.T, args ...string) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out := &output{lines: make(chan string, 1)}
	done := make(chan error, 1)
	go func() { done <- dispatch(ctx, args, out) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("sandboxd %s: %v", args[0], err)
		}
	})
	select {
	case url = <-out.lines:
	case err := <-done:
		done <- err
		t.Fatalf("sandboxd %s ended: %v", args[0], err)
	}
	return strings.Trim(url, `"/`)
}

func get(t *testing.T, url string, into any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d", url, resp.StatusCode)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
}

func TestUnusedStandInSaysWhatReplacedIt(t *testing.T) {
	for _, args := range [][]string{
		{"feishu", "-listen", "127.0.0.1:0", "-unused= FEISHU_APP_ID FEISHU_WEBHOOK_CRITICAL"},
		{"provider", "-listen", "127.0.0.1:0", "-backend", "x", "-unused= FEISHU_APP_ID FEISHU_WEBHOOK_CRITICAL"},
		{"agents", "-listen", "127.0.0.1:0", "-roster=/nonexistent", "-dir", t.TempDir(), "-unused= FEISHU_APP_ID FEISHU_WEBHOOK_CRITICAL"},
	} {
		t.Run(args[0], func(t *testing.T) {
			url := run(t, args...)
			if err := dispatch(t.Context(), []string{"healthcheck", "-url", url + "/health"}, io.Discard); err != nil {
				t.Error(err)
			}
			if err := dispatch(t.Context(), []string{"healthcheck", "-url", url + "/open-apis/bot/v2/hook/x"}, io.Discard); err == nil || !strings.Contains(err.Error(), "404") {
				t.Errorf("it does something: %v", err)
			}
			resp, err := http.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if text, _ := io.ReadAll(resp.Body); string(text) != "This stand-in is not used: FEISHU_APP_ID, FEISHU_WEBHOOK_CRITICAL is set.\n" {
				t.Errorf("its page says %q", text)
			}
		})
	}
}

func TestFeishuKeepsChatsOverARestart(t *testing.T) {
	snapshot := filepath.Join(t.TempDir(), "feishu.json")
	args := []string{"feishu", "-listen", "127.0.0.1:0", "-snapshot", snapshot, "-bot", "tok=运维群"}
	t.Run("before", func(t *testing.T) {
		url := run(t, args...)
		resp, err := http.Post(url+"/open-apis/bot/v2/hook/tok", "application/json", strings.NewReader(`{"msg_type":"text","content":{"text":"hello"}}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	})
	var messages []struct{ Text, ChatName string }
	get(t, run(t, args...)+"/sandbox/messages", &messages)
	if len(messages) != 1 || messages[0].Text != "hello" {
		t.Errorf("after the restart: %+v", messages)
	}
}

func TestAgentsBeatAndDoTasks(t *testing.T) {
	pings := make(chan string, 100)
	heartbeat := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { pings <- r.URL.Path }))
	defer heartbeat.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"fleet.yaml": "agents: [{id: coo, sources: {documents: {globs: ['tasks/coo/*.md']}}}, {id: lawyer}]\n", "key": "s3cret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(dir, "a-rather-long-folder-name-that-would-not-fit-into-the-name-of-a-socket", "because-such-names-have-an-end", "agents")
	url := run(t, "agents", "-listen", "127.0.0.1:0", "-roster", filepath.Join(dir, "fleet.yaml"), "-heartbeat", heartbeat.URL,
		"-ping-key-file", filepath.Join(dir, "key"), "-dir", state, "-tasks", filepath.Join(dir, "tasks"))
	seen := map[string]bool{}
	for len(seen) < 2 {
		select {
		case path := <-pings:
			seen[path] = true
		case <-time.After(30 * time.Second):
			t.Fatalf("pings: %v", seen)
		}
	}
	if !seen["/ping/s3cret/coo"] || !seen["/ping/s3cret/lawyer"] {
		t.Errorf("pings: %v", seen)
	}
	if list, err := os.ReadFile(filepath.Join(dir, "tasks", "coo", "list.md")); err != nil || !strings.Contains(string(list), "- [-] ") {
		t.Errorf("the agent has begun none of its tasks: %q, %v", list, err)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tasks")); err != nil || len(entries) != 1 {
		t.Errorf("an agent without documents has some: %v, %v", entries, err)
	}
	task := func(id string) error {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "agent-task", "-dir", state, "-id", id)
		cmd.Env = append(os.Environ(), "SANDBOXD_AS_PROGRAM=1")
		return cmd.Run()
	}
	if err := task("coo"); err != nil {
		t.Errorf("task of a living agent: %v", err)
	}
	resp, err := http.Post(url+"/api/agents/coo/kill", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	var exit *exec.ExitError
	if err := task("coo"); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("task of a dead agent: %v", err)
	}
}
