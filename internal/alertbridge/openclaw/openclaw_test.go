package openclaw_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/openclaw"
)

// program writes a stand-in for OpenClaw's command line.
func program(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "openclaw")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSend(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	s := openclaw.New(openclaw.Options{CLI: program(t, `printf '%s\n' "$@" > `+said), Target: "oc_1", Timeout: time.Minute})
	text := "🚨 it's \"down\"; $(touch /nonexistent) `x`\n--target other"
	if err := s.Send(t.Context(), text); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(said)
	if err != nil {
		t.Fatal(err)
	}
	if want := "message\nsend\n--channel\nfeishu\n--target\noc_1\n--message\n" + text + "\n"; string(got) != want {
		t.Errorf("the program was called with\n%s\nwant\n%s", got, want)
	}
}

// TestLeavesSomethingRunning: a program that ended well has sent, though something
// that it started, such as its gateway, goes on and holds its output.
func TestLeavesSomethingRunning(t *testing.T) {
	s := openclaw.New(openclaw.Options{CLI: program(t, "sleep 5 &\nexit 0"), Target: "oc_1", Timeout: time.Minute})
	if err := s.Send(t.Context(), "text"); err != nil {
		t.Errorf("a message that was sent counts as failed: %v", err)
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name, cli string
		timeout   time.Duration
		class     feishu.Class
		doubt     bool
		says      string
	}{
		{"refuses", program(t, "yes gateway is not reachable | head -c 100000; exit 3"), time.Minute, feishu.Unavailable, true, "exit status 3: "},
		{"hangs", program(t, "sleep 60 & sleep 60"), 100 * time.Millisecond, feishu.Unavailable, true, "did not end within 100ms"},
		{"is not there", filepath.Join(t.TempDir(), "none"), time.Minute, feishu.Auth, false, "cannot be run"},
		{"is not on the path", "no-such-openclaw", time.Minute, feishu.Auth, false, "cannot be run"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := openclaw.New(openclaw.Options{CLI: c.cli, Target: "oc_1", Timeout: c.timeout}).Send(t.Context(), "text")
			var e *feishu.Error
			if !errors.As(err, &e) || e.Class != c.class || e.InDoubt != c.doubt || !strings.Contains(e.Message, c.says) || len(e.Message) > 500 {
				t.Errorf("%#v, want %s with %q", err, c.class, c.says)
			}
		})
	}
}

func TestFind(t *testing.T) {
	path := program(t, "")
	if got, err := openclaw.New(openclaw.Options{CLI: path}).Find(); err != nil || got != path {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := openclaw.New(openclaw.Options{CLI: "no-such-openclaw"}).Find(); err == nil || !strings.Contains(err.Error(), "openclaw.cli") {
		t.Errorf("error %v", err)
	}
}
