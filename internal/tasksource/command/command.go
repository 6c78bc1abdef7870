// Package command asks command lines that are slow and heavy, such as OpenClaw's
// (4 to 25 s and 270 MB a call): never two at the same time by one [Runner].
//
// It promises: an answer is what the program printed, whole, and it ended well;
// everything else is an error that says what happened. A call is over when its
// context is, with everything in the program's process group; on Linux the program
// ends with its caller as well, also where that is killed. What is kept of its
// output is bounded, secrets are masked in errors, and no shell is involved.
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

const (
	// outputGrace is how long output is awaited from processes that outlive the
	// program and hold its output open.
	outputGrace = time.Second
	// saidRead bounds what is kept of the program's own words, saidTold what an
	// error tells of them, in bytes.
	saidRead, saidTold = 4 << 10, 300
)

// ErrTooMuch says that a program printed more than was to be kept.
var ErrTooMuch = errors.New("too much output")

// Account starts processes in a program that keeps account of its children. It
// runs fork, which starts one and returns its id; leave takes it out again, after
// it was waited for.
type Account func(fork func() (pid int, err error)) (leave func(), err error)

// Call is one call of a program.
type Call struct {
	Program string // by path or by name
	Args    []string
	// Pass names variables that the program gets beside the allowed ones, as far as
	// they are set; Env are further ones, NAME=value, which win.
	Pass, Env []string
	Limit     int // bytes of output; more is an error
	Secrets   []redact.Secret
}

// Runner makes calls, one after the other. Make it with [New].
type Runner struct {
	account Account
	env     []string
	place   chan struct{} // holds a token while a call is under way
}

// New returns a runner. account is nil where nobody keeps account of children;
// every program gets the variables env, NAME=value.
func New(account Account, env ...string) *Runner {
	return &Runner{account: account, env: env, place: make(chan struct{}, 1)}
}

// Output runs the program and returns what it printed to its standard output. A
// call that has to wait for another waits as long as its context lasts.
func (r *Runner) Output(ctx context.Context, call Call) ([]byte, error) {
	select {
	case r.place <- struct{}{}:
		defer func() { <-r.place }()
	case <-ctx.Done():
		return nil, fmt.Errorf("%s: an earlier call of it did not end: %w", call, ctx.Err())
	}
	out, err := r.run(ctx, call)
	if err != nil {
		return nil, redact.Error(fmt.Errorf("%s: %w", call, err), call.Secrets...)
	}
	return out, nil
}

// String is the command as a person would type it.
func (c Call) String() string {
	return strings.Join(append([]string{c.Program}, c.Args...), " ")
}

func (r *Runner) run(ctx context.Context, call Call) ([]byte, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out := &head{limit: call.Limit, over: func() { stop(ErrTooMuch) }}
	said := &head{limit: saidRead}
	cmd := exec.CommandContext(ctx, call.Program, call.Args...)
	cmd.Env = environment(call, r.env)
	cmd.Stdout, cmd.Stderr = out, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	attach(cmd.SysProcAttr)
	runtime.LockOSThread() // the thread that starts the program has to outlive it
	defer runtime.UnlockOSThread()
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = outputGrace
	leave, err := r.start(cmd)
	if err != nil {
		return nil, notStarted(err)
	}
	err = cmd.Wait()
	leave()
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrTooMuch):
		return nil, fmt.Errorf("%w: more than %d KiB", ErrTooMuch, call.Limit>>10)
	case cause != nil:
		return nil, fmt.Errorf("did not end in time: %w%s", cause, said.words(call.Secrets))
	case errors.Is(err, exec.ErrWaitDelay):
		// It ended well; what it left running holds its output open.
	case err != nil:
		return nil, fmt.Errorf("%w%s", err, said.words(call.Secrets))
	}
	return out.kept.Bytes(), nil
}

func (r *Runner) start(cmd *exec.Cmd) (leave func(), err error) {
	if r.account == nil {
		return func() {}, cmd.Start()
	}
	return r.account(func() (int, error) {
		if err := cmd.Start(); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
}

func notStarted(err error) error {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the program is not found; install it on this host, or give its path: %w", err)
	}
	return fmt.Errorf("cannot be started: %w", err)
}

// allowed are the variables that every program gets, as far as they are set.
var allowed = []string{
	"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CONFIG_HOME",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
}

func environment(call Call, always []string) []string {
	var env []string
	for _, name := range slices.Concat(allowed, call.Pass) {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return slices.Concat(env, always, call.Env)
}

// head keeps the first of what is written to it.
type head struct {
	kept  bytes.Buffer
	limit int
	over  func() // called at every write beyond the limit; nil = the rest is dropped
}

func (h *head) Write(p []byte) (int, error) {
	room := max(h.limit-h.kept.Len(), 0)
	if len(p) > room && h.over != nil {
		h.over()
	}
	h.kept.Write(p[:min(len(p), room)])
	return len(p), nil
}

// words is what the program said, as the end of a sentence.
func (h *head) words(secrets []redact.Secret) string {
	if len(bytes.TrimSpace(h.kept.Bytes())) == 0 {
		return ""
	}
	return "; it says: " + Beginning(h.kept.Bytes(), secrets)
}

// Beginning is the first of an output, on one line, for an error. No secret is in
// it, nor a part of one that a limit cut.
func Beginning(output []byte, secrets []redact.Secret) string {
	part := output[:min(len(output), saidRead)]
	words := strings.Fields(redact.Text(strings.ToValidUTF8(string(part), ""), secrets...))
	if len(part) == saidRead && len(words) > 0 {
		words = words[:len(words)-1] // the limit may have cut it
	}
	text := strings.Join(words, " ")
	switch {
	case text == "":
		return "nothing"
	case len(text) > saidTold:
		return strings.ToValidUTF8(text[:saidTold], "") + "…"
	}
	return text
}
