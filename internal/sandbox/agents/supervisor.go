package agents

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// patience is how long an agent has to end by itself when the supervisor stops.
const patience = 3 * time.Second

// Options configures a Supervisor.
type Options struct {
	Members []Member
	Dir     string // pid files (ID.pid) and sockets; made when missing
	// Tasks holds a folder of documents for each agent that works on some; made
	// when missing.
	Tasks string
	// Argv returns program and arguments of an agent's process. No secret may be in it.
	Argv func(Member) []string
	Log  *slog.Logger
}

// Supervisor runs the agents. It never restarts one by itself.
type Supervisor struct {
	opts    Options
	log     *slog.Logger
	spawner *spawner

	mu       sync.Mutex
	agents   map[string]*agent
	stopping bool
	changed  chan struct{} // closed and replaced at every change

	watchers sync.WaitGroup
	closing  chan struct{}
}

type agent struct {
	member Member
	status Status
	cmd    *exec.Cmd     // of the living process, or nil
	gone   chan struct{} // closed when that process has ended
}

// New makes the folder. Nothing runs yet.
func New(opts Options) (*Supervisor, error) {
	if err := os.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the agents' folder: %w", err)
	}
	for _, m := range opts.Members {
		if !m.Works {
			continue
		}
		if err := (desk{filepath.Join(opts.Tasks, m.ID)}).setUp(); err != nil {
			return nil, fmt.Errorf("preparing the tasks of %s: %w", m.ID, err)
		}
	}
	s := &Supervisor{opts: opts, log: opts.Log, agents: map[string]*agent{}, changed: make(chan struct{}), closing: make(chan struct{})}
	for _, m := range opts.Members {
		s.agents[m.ID] = &agent{member: m, status: Status{ID: m.ID, Label: m.Label, Every: m.Every.Seconds(), State: StateDead, Since: time.Now(), Reason: "not started"}}
	}
	return s, nil
}

// Start starts every agent; when one cannot be started it stops the others.
func (s *Supervisor) Start(ctx context.Context) error {
	s.spawner = newSpawner()
	for _, m := range s.opts.Members {
		if err := s.Do(m.ID, ActionRevive); err != nil {
			return errors.Join(err, s.Stop(ctx))
		}
	}
	return nil
}

// Stop ends every agent and waits for them: SIGTERM, then SIGKILL when patience or
// ctx ends.
func (s *Supervisor) Stop(ctx context.Context) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return nil
	}
	s.stopping = true
	close(s.closing)
	var living []*agent
	for _, a := range s.agents {
		if a.cmd != nil {
			living = append(living, a)
		}
	}
	s.mu.Unlock()
	problems := make([]error, 0, len(living))
	for _, a := range living {
		problems = append(problems, send(a.cmd, syscall.SIGTERM))
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, a := range living {
		select {
		case <-a.gone:
		case <-ctx.Done():
			problems = append(problems, send(a.cmd, syscall.SIGKILL))
			<-a.gone
		}
	}
	s.watchers.Wait()
	if s.spawner != nil {
		s.spawner.close()
	}
	return errors.Join(problems...)
}

// send signals a process; one that has just ended is no error.
func send(cmd *exec.Cmd, sig os.Signal) error {
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling process %d: %w", cmd.Process.Pid, err)
	}
	return nil
}

// Agents returns all agents in the order of the roster.
func (s *Supervisor) Agents() []Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Status, 0, len(s.opts.Members))
	for _, m := range s.opts.Members {
		out = append(out, s.agents[m.ID].status)
	}
	return out
}

// Agent returns one agent.
func (s *Supervisor) Agent(id string) (Status, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.agents[id]
	if !ok {
		return Status{}, ErrUnknown
	}
	return a.status, nil
}

// Do performs an action. A kill has happened when it returns, a stall or resume
// when the agent reports it. Errors: ErrUnknown, *StateError, or what the
// operating system says.
func (s *Supervisor) Do(id string, action Action) error {
	s.mu.Lock()
	a, ok := s.agents[id]
	if !ok {
		s.mu.Unlock()
		return ErrUnknown
	}
	refused := &StateError{ID: id, Action: action, State: a.status.State}
	cmd, gone := a.cmd, a.gone
	defer s.log.Info("agent action", "agent", id, "action", string(action))
	switch {
	case action == ActionRevive && cmd == nil && !s.stopping:
		err := s.launch(a)
		s.mu.Unlock()
		return err
	case action == ActionKill && cmd != nil:
		s.mu.Unlock()
		err := send(cmd, syscall.SIGKILL)
		<-gone
		return err
	case action == ActionStall && a.status.State == StateRunning:
		s.mu.Unlock()
		return send(cmd, signalStall)
	case action == ActionResume && a.status.State == StateStalled:
		s.mu.Unlock()
		return send(cmd, signalResume)
	}
	s.mu.Unlock()
	return refused
}

// launch starts an agent's process; the caller holds mu.
func (s *Supervisor) launch(a *agent) error {
	argv := s.opts.Argv(a.member)
	cmd := exec.Command(argv[0], argv[1:]...) //nolint:noctx // ended by kill and Stop, not by a context
	cmd.Dir = s.opts.Dir
	// Fifteen agents share a machine with the whole suite: one thread of Go code and
	// a small heap are plenty for a ping now and then.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOMEMLIMIT=16MiB", "GOGC=50")
	cmd.Stderr = os.Stderr
	attach(cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("starting agent %s: %w", a.member.ID, err)
	}
	if err := s.spawner.start(cmd); err != nil {
		return fmt.Errorf("starting agent %s: %w", a.member.ID, err)
	}
	gone := make(chan struct{})
	a.cmd, a.gone = cmd, gone
	a.status.State, a.status.PID, a.status.Since, a.status.Reason, a.status.Problem = StateStarting, cmd.Process.Pid, time.Now(), "", ""
	pidFile := s.pidFile(a.member.ID)
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)+"\n"), 0o600); err != nil {
		s.log.Error("writing a pid file failed", "agent", a.member.ID, "error", err)
	}
	s.touch()
	s.watchers.Go(func() { s.watch(a, cmd, out, gone) })
	return nil
}

func (s *Supervisor) pidFile(id string) string { return filepath.Join(s.opts.Dir, id+".pid") }

// watch follows an agent's process to its end.
func (s *Supervisor) watch(a *agent, cmd *exec.Cmd, out io.Reader, gone chan struct{}) {
	defer close(gone)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var r report
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			s.log.Warn("an agent reported something strange", "agent", a.member.ID, "error", err)
			continue
		}
		s.note(a, r)
	}
	reason := ending(cmd.Wait())
	if err := os.Remove(s.pidFile(a.member.ID)); err != nil && !os.IsNotExist(err) {
		s.log.Error("removing a pid file failed", "agent", a.member.ID, "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.cmd = nil
	a.status.State, a.status.PID, a.status.Since, a.status.Reason = StateDead, 0, time.Now(), reason
	s.touch()
	s.log.Info("agent ended", "agent", a.member.ID, "reason", reason)
}

// ending words how a process ended.
func ending(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return "ended"
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return "signal: " + status.Signal().String()
	}
	return exit.Error()
}

func (s *Supervisor) note(a *agent, r report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.State != "" && r.State != a.status.State {
		a.status.State, a.status.Since = r.State, r.At
	}
	if r.Asked {
		a.status.Refusal = r.Problem
		if r.Problem == "" {
			a.status.Answers++
		}
	}
	if r.Worked {
		a.status.Obstacle = r.Problem
		if r.Problem == "" {
			a.status.Steps++
		}
	}
	if r.Ping {
		a.status.Problem = r.Problem
		if r.Problem == "" {
			a.status.LastPing = &r.At
			a.status.Pings++
		}
	}
	s.touch()
}

// touch announces a change; the caller holds mu.
func (s *Supervisor) touch() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Changed returns a channel that closes at the next change.
func (s *Supervisor) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// spawner starts processes from one thread that lives as long as the supervisor:
// the kernel ties "die with the parent" to the thread that forked.
type spawner struct {
	jobs chan func()
	done chan struct{}
}

func newSpawner() *spawner {
	s := &spawner{jobs: make(chan func()), done: make(chan struct{})}
	go func() {
		runtime.LockOSThread()
		defer close(s.done)
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

func (s *spawner) start(cmd *exec.Cmd) error {
	result := make(chan error, 1)
	s.jobs <- func() { result <- cmd.Start() }
	return <-result
}

func (s *spawner) close() {
	close(s.jobs)
	<-s.done
}
