package agents

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Signals that stall and resume an agent.
const (
	signalStall  = syscall.SIGUSR1
	signalResume = syscall.SIGUSR2
)

const (
	pingTimeout = 5 * time.Second
	firstRetry  = time.Second
)

// report is one line that an agent writes to its supervisor.
type report struct {
	State   State     `json:"state,omitempty"`  // when it changed
	Ping    bool      `json:"ping,omitempty"`   // a ping was tried
	Asked   bool      `json:"asked,omitempty"`  // a request to the gateway ended
	Worked  bool      `json:"worked,omitempty"` // a step in its documents was tried
	At      time.Time `json:"at"`
	Problem string    `json:"problem,omitempty"` // of the ping, the request or the step
}

// Process is a simulated agent: the body of one operating system process.
type Process struct {
	ID        string
	Every     time.Duration
	Heartbeat string        // base URL
	Key       redact.Secret // ping key
	Dir       string        // where its socket goes
	Tasks     string        // folder with the documents that it works on; empty: it has none
	Report    io.Writer     // lines of JSON for the supervisor
	Asking    Asking

	telling sync.Mutex
	gate    gate
	client  http.Client
}

// SocketName returns the name of an agent's socket inside the folder.
func SocketName(id string) string { return id + ".sock" }

// Run beats until ctx ends.
func (p *Process) Run(ctx context.Context) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, signalStall, signalResume)
	defer signal.Stop(signals)
	path := filepath.Join(p.Dir, SocketName(p.ID))
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("removing the old socket: %w", err)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listening for tasks: %w", err)
	}
	p.gate.set(true)
	var tasks sync.WaitGroup
	serving, stop := context.WithCancel(ctx)
	tasks.Go(func() { p.serveTasks(serving, listener, &tasks) })
	if p.Asking.Gateway != "" {
		tasks.Go(func() { p.ask(serving) })
	}
	p.tell(report{State: StateRunning})
	err = p.beat(ctx, signals)
	stop()
	if closing := listener.Close(); err == nil {
		err = closing
	}
	tasks.Wait()
	return err
}

func (p *Process) beat(ctx context.Context, signals <-chan os.Signal) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failures := 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case s := <-signals:
			if s == signalStall {
				p.gate.set(false)
				timer.Stop()
				p.tell(report{State: StateStalled})
				continue
			}
			p.gate.set(true)
			p.tell(report{State: StateRunning})
			timer.Reset(0)
		case <-timer.C:
			if failures == 0 {
				p.work()
			}
			if err := p.ping(ctx); err != nil {
				failures++
				p.tell(report{Ping: true, Problem: redact.Error(err, p.Key).Error()})
				timer.Reset(min(firstRetry<<min(failures-1, 5), p.Every))
				continue
			}
			failures = 0
			p.tell(report{Ping: true})
			timer.Reset(p.untilNext(time.Now()))
		}
	}
}

// work does one step in the agent's documents: a beat is a turn of its work.
func (p *Process) work() {
	if p.Tasks == "" {
		return
	}
	r := report{Worked: true}
	if err := (desk{p.Tasks}).work(); err != nil {
		r.Problem = err.Error()
	}
	p.tell(r)
}

// untilNext places an agent's beats at a fixed point of the interval that depends
// on its id, so that a fleet does not beat all at once.
func (p *Process) untilNext(now time.Time) time.Duration {
	h := fnv.New64a()
	h.Write([]byte(p.ID)) // never fails
	phase := time.Duration(h.Sum64() % uint64(p.Every))
	wait := (phase - time.Duration(now.UnixNano())%p.Every + p.Every) % p.Every
	return max(wait, time.Millisecond)
}

func (p *Process) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	target := strings.TrimRight(p.Heartbeat, "/") + "/ping/" + url.PathEscape(p.Key.Reveal()) + "/" + url.PathEscape(p.ID)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, nil)
	if err != nil {
		return fmt.Errorf("making a ping: %w", err)
	}
	req.Header.Set("User-Agent", "fleetwatch-sandbox-agent")
	resp, err := p.client.Do(req)
	if err != nil {
		return fmt.Errorf("pinging heartbeat: %w", err)
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("pinging heartbeat: %w", err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("pinging heartbeat: HTTP %d", resp.StatusCode)
	}
	return nil
}

// tell reports to the supervisor. A supervisor that does not read any more is one
// that is ending, and it ends the agent too.
func (p *Process) tell(r report) {
	r.At = time.Now()
	line, err := json.Marshal(r)
	if err != nil {
		return // texts and times always encode
	}
	p.telling.Lock()
	defer p.telling.Unlock()
	if _, err := p.Report.Write(append(line, '\n')); err != nil {
		return
	}
}

// serveTasks answers each connection as soon as the agent is not stalled.
func (p *Process) serveTasks(ctx context.Context, listener net.Listener, tasks *sync.WaitGroup) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return // closed: the agent ends
		}
		tasks.Go(func() {
			defer conn.Close()
			if p.gate.wait(ctx) != nil {
				return
			}
			if _, err := io.WriteString(conn, taskDone); err != nil {
				return // the one who asked has gone
			}
		})
	}
}

const taskDone = "done\n"

// Task gives a task to an agent and waits until it is done. It fails at once when
// the agent is dead, and waits as long as ctx allows when it is stalled.
func Task(ctx context.Context, dir, id string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", filepath.Join(dir, SocketName(id)))
	if err != nil {
		return fmt.Errorf("agent %s is dead: %w", id, err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	answer, err := io.ReadAll(conn)
	if ctx.Err() != nil {
		return fmt.Errorf("agent %s does not answer: %w", id, ctx.Err())
	}
	if err != nil || string(answer) != taskDone {
		return fmt.Errorf("agent %s died over the task", id)
	}
	return nil
}

// gate lets waiters through while it is open. The zero gate is closed.
type gate struct {
	mu   sync.Mutex
	open bool
	next chan struct{} // closed when the gate opens
}

func (g *gate) set(open bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = open
	if open && g.next != nil {
		close(g.next)
		g.next = nil
	}
}

func (g *gate) wait(ctx context.Context) error {
	g.mu.Lock()
	if g.open {
		g.mu.Unlock()
		return nil
	}
	if g.next == nil {
		g.next = make(chan struct{})
	}
	next := g.next
	g.mu.Unlock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-next:
		return nil
	}
}
