package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Exec runs commands. One Exec serves all runs of a process: it keeps account
// of what belongs to which run. Make it with [NewExec].
type Exec struct {
	secrets []redact.Secret
	// KillGrace is how long a process group has between TERM and KILL.
	killGrace time.Duration
	reaper    *reaper
}

// outputGrace is how long output is awaited from processes that outlive the
// command and hold its output open.
const outputGrace = time.Second

// NewExec returns an Exec that masks the secrets in what it captures. It makes
// this process adopt orphaned descendants where the system can (Linux).
func NewExec(killGrace time.Duration, secrets ...redact.Secret) (*Exec, error) {
	reaper, err := newReaper()
	if err != nil {
		return nil, fmt.Errorf("becoming the subreaper of runs: %w", err)
	}
	return &Exec{secrets: secrets, killGrace: killGrace, reaper: reaper}, nil
}

// Run starts the command and waits for it. started is called once it runs. When
// ctx ends, everything of the run is ended: TERM, then KILL after the grace;
// the outcome is timeout where the cause of ctx is context.DeadlineExceeded and
// interrupted otherwise.
func (e *Exec) Run(ctx context.Context, d fleet.Driver, call Call, started func(Process)) Result {
	argv := d.Argv
	if d.Shell != "" {
		argv = []string{"/bin/sh", "-c", d.Shell}
	}
	if len(argv) == 0 {
		return Result{Outcome: beat.OutcomeFailed, Reason: ReasonStart, Detail: "no command", ExitCode: -1}
	}
	env, secrets := Environment(call, d.Env)
	secrets = append(secrets, e.secrets...)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // the roster's own command; the tree is ended below, not the leader alone
	cmd.Env, cmd.Dir = env, d.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out := &capture{}
	var finish func()
	run, err := e.reaper.start(call.RunID, func() (pid int, err error) {
		if finish, err = start(cmd, out); err != nil {
			return 0, err
		}
		return cmd.Process.Pid, nil
	})
	if err != nil {
		detail := redact.Text(err.Error(), secrets...)
		return Result{Outcome: beat.OutcomeFailed, Reason: ReasonStart, Detail: detail, ExitCode: -1, Retryable: transient(err)}
	}
	started(Process{PID: run.pid, Born: Born(run.pid)})
	ended := make(chan struct{})
	var waitErr error
	go func() {
		waitErr = cmd.Wait()
		close(ended)
	}()
	var result Result
	select {
	case <-ended:
		result = exited(waitErr, cmd.ProcessState.ExitCode())
	case <-ctx.Done():
		run.end(e.killGrace, ended)
		result = cut(ctx)
	}
	run.leave()
	finish()
	result.Log = out.Text(secrets)
	return result
}

// start starts the command with both outputs in one pipe, so that their order
// is kept. finish waits for the output's end, or outputGrace.
func start(cmd *exec.Cmd, out io.Writer) (finish func(), err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("opening a pipe: %w", err)
	}
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		_ = read.Close()
		return nil, fmt.Errorf("starting the command: %w", err)
	}
	var copied sync.WaitGroup
	copied.Go(func() { _, _ = io.Copy(out, read) })
	return func() {
		_ = read.SetReadDeadline(time.Now().Add(outputGrace))
		copied.Wait()
		_ = read.Close()
	}, nil
}

// cut is the result of a call that was ended from outside.
func cut(ctx context.Context) Result {
	if cause := context.Cause(ctx); !errors.Is(cause, context.DeadlineExceeded) {
		return Result{Outcome: beat.OutcomeInterrupted, Reason: ReasonStopped, Detail: cause.Error(), ExitCode: -1}
	}
	return Result{Outcome: beat.OutcomeTimeout, Reason: ReasonDeadline, Detail: "ended at its deadline", ExitCode: -1}
}

func exited(err error, code int) Result {
	switch {
	case err == nil:
		return Result{Outcome: beat.OutcomeOK}
	case code >= 0:
		return Result{Outcome: beat.OutcomeFailed, Reason: ReasonExit, Detail: fmt.Sprintf("exit status %d", code), ExitCode: code}
	default:
		return Result{Outcome: beat.OutcomeFailed, Reason: ReasonSignal, Detail: err.Error(), ExitCode: -1}
	}
}

// transient reports whether a command could not start for want of something
// that comes back.
func transient(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) ||
		errors.Is(err, syscall.ETXTBSY) || errors.Is(err, syscall.EMFILE)
}
