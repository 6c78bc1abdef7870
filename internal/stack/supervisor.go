package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Waits of the supervisor.
const (
	readyTimeout = 60 * time.Second // for one service to work
	readyPoll    = 50 * time.Millisecond
	stopTimeout  = 20 * time.Second // for one service to end by itself
	restartWait  = time.Second      // before a service that ended is started again, doubling
	restartMax   = 30 * time.Second
)

// Supervisor runs the services of a plan.
type Supervisor struct {
	plan   Plan
	client *http.Client
	starts chan func() // run on one thread for ever; see spawn

	mu    sync.Mutex
	procs map[string]*process
}

// NewSupervisor makes a supervisor; nothing runs yet.
func NewSupervisor(plan Plan) *Supervisor {
	s := &Supervisor{plan: plan, client: &http.Client{Timeout: 2 * time.Second}, starts: make(chan func()), procs: map[string]*process{}}
	go s.spawner()
	return s
}

// Prepare makes folders, secrets and configurations, and returns how many
// secrets it made. Programs must have been built.
func Prepare(l Layout, p Pace) (secrets int, err error) {
	if err := l.make(); err != nil {
		return 0, err
	}
	if secrets, err = l.makeSecrets(); err != nil {
		return secrets, err
	}
	for service := range ports() {
		if err := os.MkdirAll(l.data(service), 0o700); err != nil {
			return secrets, fmt.Errorf("making the data folder of %s: %w", service, err)
		}
	}
	return secrets, l.writeConfigs(p)
}

// CheckPorts reports every port of the plan that is taken.
func (p Plan) CheckPorts() error {
	var taken []error
	for _, s := range p.Services {
		for _, name := range append([]string{s.Name}, s.Also...) {
			if err := free(p.Layout.Listen(name)); err != nil {
				taken = append(taken, fmt.Errorf("%s needs %s: %w", s.Name, p.Layout.Listen(name), err))
			}
		}
	}
	if len(taken) > 0 {
		return fmt.Errorf("%w\nstop what listens there, or move the suite: PORT_OFFSET=1000 make up", errors.Join(taken...))
	}
	return nil
}

func free(address string) error {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", address)
	if err != nil {
		return err
	}
	return listener.Close()
}

// StartAll starts every service in order, each once the one before it works,
// telling its progress.
func (s *Supervisor) StartAll(ctx context.Context, progress io.Writer) error {
	for _, service := range s.plan.Services {
		started := time.Now()
		if err := s.Start(ctx, service.Name); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(progress, "  %-15s ready in %s\n", service.Name, time.Since(started).Round(10*time.Millisecond))
	}
	return nil
}

// Start starts a service and waits until it works.
func (s *Supervisor) Start(ctx context.Context, name string) error {
	service, ok := s.plan.Service(name)
	if !ok {
		return fmt.Errorf("no service %q in this suite", name)
	}
	s.mu.Lock()
	p := s.procs[name]
	if p == nil {
		p = newProcess(service, s.plan.Layout.log(name), s.spawn)
		s.procs[name] = p
	}
	s.mu.Unlock()
	if err := p.start(); err != nil {
		return err
	}
	return s.awaitReady(ctx, service, p)
}

func (s *Supervisor) awaitReady(ctx context.Context, service Service, p *process) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	ticker := time.NewTicker(readyPoll)
	defer ticker.Stop()
	for {
		if service.ready(s.client) {
			return nil
		}
		if status := p.status(); status.Restarts >= 3 {
			return fmt.Errorf("%s ended three times: %s; its log is %s:\n%s", service.Name, status.Ended, s.plan.Layout.log(service.Name), tail(s.plan.Layout.log(service.Name)))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready (%s): %w; its log is %s:\n%s", service.Name, service.ReadyURL, ctx.Err(), s.plan.Layout.log(service.Name), tail(s.plan.Layout.log(service.Name)))
		case <-ticker.C:
		}
	}
}

// Stop ends a service by SIGTERM, and by SIGKILL where that does not do. It is
// not started again until Start.
func (s *Supervisor) Stop(name string) error {
	p := s.process(name)
	if p == nil {
		return fmt.Errorf("no service %q is running", name)
	}
	return p.stop()
}

// Kill ends a service by SIGKILL at once; it is not started again until Start.
func (s *Supervisor) Kill(name string) error {
	p := s.process(name)
	if p == nil {
		return fmt.Errorf("no service %q is running", name)
	}
	return p.kill()
}

func (s *Supervisor) process(name string) *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[name]
}

// StopAll ends every service in reverse order.
func (s *Supervisor) StopAll() error {
	var all []error
	for _, v := range slices.Backward(s.plan.Services) {
		if p := s.process(v.Name); p != nil {
			if err := p.stop(); err != nil {
				all = append(all, err)
			}
		}
	}
	return errors.Join(all...)
}

// Status is how one service is.
type Status struct {
	Service  string `json:"service"`
	URL      string `json:"url"`
	State    string `json:"state"` // ready, starting, stopped
	PID      int    `json:"pid,omitempty"`
	Restarts int    `json:"restarts"`        // after it ended by itself
	Ended    string `json:"ended,omitempty"` // why it last ended
	StandIn  string `json:"stand_in,omitempty"`
	Next     string `json:"next,omitempty"`
}

// Statuses returns how every service is, in order of start.
func (s *Supervisor) Statuses() []Status {
	var all []Status
	for _, service := range s.plan.Services {
		status := Status{State: "stopped"}
		if p := s.process(service.Name); p != nil {
			status = p.status()
		}
		if status.PID != 0 {
			status.State = "starting"
			if service.ready(s.client) {
				status.State = "ready"
			}
		}
		status.Service, status.URL, status.StandIn, status.Next = service.Name, service.URL, service.StandIn, service.Next
		all = append(all, status)
	}
	return all
}

// tail returns the last lines of a log.
func tail(path string) string {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-1500):])
}
