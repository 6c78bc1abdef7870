package stack

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// spawner runs starts on one thread that never ends: the kernel ends children
// that asked for it (Pdeathsig) with the thread that made them, and with the
// supervisor, however it ends.
func (s *Supervisor) spawner() {
	runtime.LockOSThread()
	for start := range s.starts {
		start()
	}
}

func (s *Supervisor) spawn(command *exec.Cmd) error {
	result := make(chan error, 1)
	s.starts <- func() { result <- command.Start() }
	return <-result
}

// process is one service and its present process.
type process struct {
	service Service
	logFile string
	spawn   func(*exec.Cmd) error

	mu       sync.Mutex
	command  *exec.Cmd
	done     chan struct{} // closed when command has ended
	wanted   bool
	restarts int
	ended    string
}

func newProcess(service Service, logFile string, spawn func(*exec.Cmd) error) *process {
	return &process{service: service, logFile: logFile, spawn: spawn}
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.wanted {
		return nil
	}
	if err := p.launch(); err != nil {
		return err
	}
	p.wanted, p.restarts = true, 0
	return nil
}

// launch starts the process; p.mu is held. After an error nothing runs.
func (p *process) launch() error {
	log, err := os.OpenFile(p.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("starting %s: %w", p.service.Name, err)
	}
	defer func() { _ = log.Close() }()                                // the child has its own
	command := exec.Command(p.service.Argv[0], p.service.Argv[1:]...) //nolint:noctx // our own plan; ended by stop
	command.Env = append(environment(), p.service.Env...)
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.spawn(command); err != nil {
		return fmt.Errorf("starting %s: %w", p.service.Name, err)
	}
	p.command, p.done = command, make(chan struct{})
	go p.wait(command, p.done)
	return nil
}

// wait reaps the process and starts it again where it ended by itself.
func (p *process) wait(command *exec.Cmd, done chan struct{}) {
	err := command.Wait()
	p.mu.Lock()
	p.command, p.ended = nil, outcome(err)
	again := p.wanted && p.service.Restart
	if again {
		p.restarts++
	} else {
		p.wanted = false
	}
	p.mu.Unlock()
	close(done)
	for again {
		again = p.relaunch()
	}
}

// relaunch waits, longer each time, and starts the process where that is still
// wanted. It reports whether that failed and is to be tried again.
func (p *process) relaunch() (again bool) {
	p.mu.Lock()
	pause := min(restartWait<<min(p.restarts, 10), restartMax)
	p.mu.Unlock()
	<-time.After(pause)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.wanted || p.command != nil {
		return false
	}
	if err := p.launch(); err != nil {
		p.ended = err.Error()
		p.restarts++
		return true
	}
	return false
}

func outcome(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func (p *process) stop() error { return p.end(syscall.SIGTERM) }

func (p *process) kill() error { return p.end(syscall.SIGKILL) }

func (p *process) end(signal syscall.Signal) error {
	p.mu.Lock()
	p.wanted = false
	command, done := p.command, p.done
	p.mu.Unlock()
	if command == nil {
		return nil
	}
	if err := p.signal(command, signal); err != nil {
		return err
	}
	select {
	case <-done:
	case <-time.After(stopTimeout):
		if err := p.signal(command, syscall.SIGKILL); err != nil {
			return err
		}
		<-done
	}
	// What the process left in its group goes with it.
	if err := syscall.Kill(-command.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending what %s left: %w", p.service.Name, err)
	}
	return nil
}

func (p *process) signal(command *exec.Cmd, signal syscall.Signal) error {
	if err := command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s to %s: %w", signal, p.service.Name, err)
	}
	return nil
}

func (p *process) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	status := Status{State: "stopped", Restarts: p.restarts, Ended: p.ended}
	if p.command != nil {
		status.PID = p.command.Process.Pid
	}
	return status
}
