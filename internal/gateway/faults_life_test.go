package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// lifeCells are what happens to the gateway itself: restarts, reloads, its end, and a
// disk that is full.
func lifeCells() []cell {
	whole := outcome{ending: endWhole, row: "completed", attempts: []string{"primary-1 succeeded"}}
	interrupted := outcome{ending: endCut, code: "stopping", row: "interrupted", usage: "estimated", answer: "primary-1", attempts: []string{"primary-1 failed client_cancelled"}}
	stopping := func(grace string) settings {
		return settings{server: "shutdown_grace: " + grace}
	}
	full := func(mode string) settings { return settings{extra: "ledger: {on_error: " + mode + "}"} }
	lost := outcome{ending: endWhole, unrecorded: true}.counts("gateway_ledger_failures_total", "some", series("gateway_client_attempts_total", "class", "", "client", "coo", "outcome", "succeeded"), "some")
	return []cell{
		{
			name: "restart in a cooldown", want: moved("skipped cooling", cooling(300)),
			play: func(s *scene) answer {
				s.times(provider.RateLimit, "primary-1", 1, "Retry-After", "300")
				s.before()
				s.restart()
				return s.ask()
			},
		},
		{
			name: "reload in an answer", want: whole.counts("gateway_config_last_reload_successful", "1"),
			play: func(s *scene) answer {
				a := s.meanwhile(func() {
					gone := s.set
					gone.providers = "http://127.0.0.1:1"
					writeConfig(s.T, gone)
					if a := s.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != http.StatusOK {
						s.Errorf("reload: %d %s", a.status, a.body)
					}
				})
				if late := s.before(); late.status != http.StatusServiceUnavailable {
					s.Errorf("the new configuration is not in force: %d %s", late.status, late.body)
				}
				return a
			},
		},
		{
			name: "bad reload in an answer", want: whole.counts("gateway_config_last_reload_successful", "0", series("gateway_client_requests_total", "client", "coo", "outcome", "completed"), "2"),
			play: func(s *scene) answer {
				a := s.meanwhile(func() {
					if err := os.WriteFile(s.config, []byte("backends: [{name: x}]\nnonsense: 1\n"), 0o600); err != nil {
						s.Fatal(err)
					}
					if a := s.admin(http.MethodPost, "/-/reload", adminKey, nil); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "nonsense") {
						s.Errorf("a bad file: %d %s", a.status, a.body)
					}
				})
				s.before() // by the earlier configuration
				return a
			},
		},
		{name: "stopping drains", wires: both(), settings: stopping("20s"), play: stops(true), want: whole.counts(series("gateway_client_requests_total", "client", "coo", "outcome", "completed"), strconv.Itoa(crowd()))},
		{
			name: "stopping cuts short", wires: both(), settings: stopping("100ms"), play: stops(false),
			want: interrupted.counts(series("gateway_client_requests_total", "client", "coo", "outcome", "interrupted"), strconv.Itoa(crowd())),
			vary: func(s *scene, o *outcome) {
				if !s.stream { // nothing has been sent yet
					o.ending, o.status, o.answer, o.usage = endError, http.StatusServiceUnavailable, "", ""
				}
			},
		},
		{
			name: "SIGTERM drains", wires: both(), settings: stopping("20s"), asRun: true, play: terminated,
			want: whole.counts(series("gateway_client_requests_total", "client", "coo", "outcome", "completed"), strconv.Itoa(crowd())),
		},
		{name: "disk full and open", wires: both(), settings: full("open"), asRun: true, play: filled, want: lost},
		{
			name: "disk full and closed", wires: both(), settings: full("close"), asRun: true, play: filled, want: lost,
			vary: func(s *scene, o *outcome) {
				o.ending, o.code, o.status = endError, "ledger_unavailable", http.StatusServiceUnavailable
				if s.stream {
					o.ending, o.status = endCut, http.StatusOK
				}
			},
		},
	}
}

// meanwhile has something happen while the request under test is being answered: a
// stream has begun, a plain answer has not.
func (s *scene) meanwhile(do func()) answer {
	var h *hold
	ready := func() bool { return s.p.Inflight("primary-1") == 1 }
	if s.stream {
		if err := s.p.AddAnswer(provider.Answer{Pace: 0.03}); err != nil {
			s.Fatal(err)
		}
	} else {
		h = s.p.hold(s.T, "primary-1", 1)
		ready = func() bool { return h.came.Load() == 1 }
	}
	done := make(chan answer, 1)
	go func() { done <- s.ask() }()
	eventually(s.T, "the answer is under way", ready)
	do()
	if h != nil {
		h.release()
	}
	return <-done
}

// many are requests under way at the same time; the first of them is under test.
type many struct {
	answers []chan answer
	hold    *hold // nil = they are streams
}

// crowd is how many requests are open at the same time.
func crowd() int {
	if testing.Short() {
		return 20 // with the race detector, where each takes ten times as much
	}
	return 100
}

// open sends them all and returns when all are under way: streams have begun,
// plain ones are at the provider.
func (s *scene) open(pace float64) *many {
	requests := crowd()
	m := &many{}
	begun := make(chan struct{}, requests)
	if s.stream {
		if err := s.p.AddAnswer(provider.Answer{Pace: pace}); err != nil {
			s.Fatal(err)
		}
	} else {
		m.hold = s.p.hold(s.T, "primary-1", int64(requests))
	}
	for i := range requests {
		r := s.request(context.Background(), s.w, s.stream)
		if i == 0 {
			r.Header.Set("X-Request-Id", underTest)
		}
		done := make(chan answer, 1)
		m.answers = append(m.answers, done)
		go func() {
			response, err := http.DefaultTransport.RoundTrip(r)
			begun <- struct{}{}
			if err != nil {
				done <- answer{err: err}
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			done <- answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}
		}()
	}
	if m.hold != nil {
		eventually(s.T, "all are at the provider", func() bool { return m.hold.came.Load() == int64(requests) })
		return m
	}
	for range requests {
		<-begun
	}
	return m
}

// ends waits for all, which must end alike, and returns the answer under test.
func (s *scene) ends(m *many) answer {
	s.Helper()
	first := <-m.answers[0]
	want := s.w.ending(s.T, first, s.stream)
	for _, done := range m.answers[1:] {
		if a := <-done; s.w.ending(s.T, a, s.stream) != want {
			s.Errorf("one ended %s, another %s: %d %s", want, s.w.ending(s.T, a, s.stream), a.status, a.body)
		}
	}
	return first
}

// closed waits until no connection is taken any more: the gateway has begun to stop.
func (s *scene) closed(address string) {
	s.Helper()
	eventually(s.T, "the gateway stops", func() bool {
		c, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// stops stops the gateway with a crowd of requests open, that may end by themselves, or
// may not within the grace. The ledger is then looked at by another process.
func stops(drain bool) func(*scene) answer {
	return func(s *scene) answer {
		pace := 10.0
		if drain {
			pace = 0.02
		}
		m := s.open(pace)
		address, stopped := s.Addr(), make(chan struct{})
		go func() {
			defer close(stopped)
			s.stop()
		}()
		s.closed(address)
		if drain && m.hold != nil {
			m.hold.release()
		}
		a := s.ends(m)
		<-stopped
		s.counted = s.gathered()
		s.start()
		return a
	}
}

// spawn starts the gateway as a process of its own.
func (s *scene) spawn() *child {
	c := startChild(s.T, s.config)
	s.running = &running{t: s.T, child: c, stop: c.kill}
	return c
}

// terminated sends SIGTERM to a gateway with a crowd of requests open, and another one
// that keeps it from ending until its metrics have been read.
func terminated(s *scene) answer {
	c := s.spawn()
	m := s.open(0.02)
	s.p.fault(s.T, provider.Fault{Kind: provider.Stall, Chunks: 3, Contains: "straggler"})
	ctx, leave := context.WithCancel(s.Context())
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.data+"/v1/chat/completions", strings.NewReader(fmt.Sprintf(`{"model":%q,"stream":true,"messages":[{"role":"user","content":"straggler"}]}`, model)))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	straggler, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		s.Fatal(err)
	}
	defer straggler.Body.Close()
	if err := c.command.Process.Signal(syscall.SIGTERM); err != nil {
		s.Fatal(err)
	}
	s.closed(c.data)
	if m.hold != nil {
		m.hold.release()
	}
	a := s.ends(m)
	completed := series("gateway_client_requests_total", "client", "coo", "outcome", "completed")
	eventually(s.T, "all are counted", func() bool { return s.metrics()[completed] == float64(crowd()) })
	counted := s.metrics()
	leave()
	<-c.drained
	if err := c.command.Wait(); err != nil {
		s.Errorf("the gateway ended with %v", err)
	}
	s.counted, s.earlier = counted, map[string]bool{straggler.Header.Get("X-Gateway-Request"): true}
	s.start()
	return a
}

// filled asks while no row can be stored, as on a disk that is full: readiness tells of
// it, and it is over when there is space, without a restart.
func filled(s *scene) answer {
	c := s.spawn()
	if a := s.before(); a.status != http.StatusOK {
		s.Fatalf("%d %s", a.status, a.body)
	}
	var before unix.Rlimit
	if err := unix.Prlimit(c.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 200_000, Max: unix.RLIM_INFINITY}, &before); err != nil {
		s.Fatal(err)
	}
	for i := 0; i < 5000 && s.metric("gateway_ledger_failures_total") == "0"; i++ {
		s.before()
	}
	a := s.ask()
	ready := s.plain("/ready")
	if want := map[bool]int{true: 503, false: 200}[strings.Contains(s.set.extra, "close")]; ready.status != want || !strings.Contains(ready.body, "full") {
		s.Errorf("/ready answers %d %s", ready.status, ready.body)
	}
	if err := unix.Prlimit(c.command.Process.Pid, unix.RLIMIT_FSIZE, &before, nil); err != nil {
		s.Fatal(err)
	}
	eventually(s.T, "rows are stored again", func() bool {
		a := s.before()
		return a.status == http.StatusOK && s.get("/api/admin/requests/"+a.header.Get("X-Gateway-Request"), nil).status == http.StatusOK
	})
	eventually(s.T, "it is ready again", func() bool {
		a := s.plain("/ready")
		return a.status == http.StatusOK && !strings.Contains(a.body, "full")
	})
	return a
}

// plain gets a path of the data plane.
func (s *scene) plain(path string) answer {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, "http://"+s.Addr()+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	return s.do(r)
}
