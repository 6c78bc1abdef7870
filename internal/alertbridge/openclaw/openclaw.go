// Package openclaw sends text through OpenClaw's command line, the last resort
// where neither the app nor the custom bot reaches anybody.
//
// A message is sent, never changed, and there is no idempotency: one whose
// outcome is unknown and that is sent again may appear twice.
// https://docs.openclaw.ai/cli/message
package openclaw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
)

// Options is one destination.
type Options struct {
	CLI     string // the program, by path or by name
	Target  string // as OpenClaw's Feishu channel names chats and people
	Timeout time.Duration
}

// Sender sends to one destination.
type Sender struct{ options Options }

// New makes a sender. Nothing is run yet.
func New(o Options) *Sender { return &Sender{options: o} }

// Find reports where the program is, or an error that says what to do.
func (s *Sender) Find() (string, error) {
	path, err := exec.LookPath(s.options.CLI)
	if err != nil {
		return "", fmt.Errorf("the program %q is not found: install OpenClaw on this host, or give openclaw.cli its path", s.options.CLI)
	}
	return path, nil
}

// outputKept bounds what is kept of the program's output for an error.
const outputKept = 300

// Send runs the program once. Its failures are Feishu's: [feishu.Unavailable],
// in doubt unless the program could not be started.
func (s *Sender) Send(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.Timeout)
	defer cancel()
	command := exec.CommandContext(ctx, s.options.CLI, "message", "send", "--channel", "feishu", "--target", s.options.Target, "--message", text)
	out := &tail{}
	command.Stdout, command.Stderr = out, out
	// Where it has to be ended, so is what it started.
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	command.WaitDelay = time.Second
	err := command.Run()
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		// It ended well; what it left running, such as a gateway that it started,
		// holds its output open and is none of its outcome.
		return nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &feishu.Error{Class: feishu.Unavailable, Message: fmt.Sprintf("openclaw did not end within %s", s.options.Timeout), InDoubt: true}
	case errors.As(err, &exit):
		return &feishu.Error{Class: feishu.Unavailable, Message: fmt.Sprintf("openclaw ended with %s: %s", exit.ProcessState, out.text()), InDoubt: true}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return &feishu.Error{Class: feishu.Auth, Message: "openclaw cannot be run: " + err.Error()}
	default:
		return &feishu.Error{Class: feishu.Unavailable, Message: "running openclaw: " + err.Error(), InDoubt: true}
	}
}

// tail keeps the last of what is written.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - outputKept; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) text() string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(t.b.String(), "")), " ")
}
