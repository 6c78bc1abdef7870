package gateway_test

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/setclock"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// cell is one fault of the matrix, and what must come of it. It is played at each of
// its wires in each of its modes, with a gateway and providers of its own.
type cell struct {
	name  string
	wires []wire // nil = all
	modes string // plain, stream; "" = both
	// settings are those of the gateway, beside the matrix's own.
	settings settings
	fault    provider.Fault // of the primary, once
	// play brings the fault about and returns what the client of the request under test
	// saw; nil asks once.
	play  func(*scene) answer
	asRun bool // play starts the gateway itself
	hasty bool // the gateway waits for a second only, since that is what it is about
	want  outcome
	// vary changes what must come of it at one wire or in one mode.
	vary func(*scene, *outcome)
}

// scene is a cell while it is played.
type scene struct {
	*testing.T
	*running
	p       *providers
	w       wire
	stream  bool
	clock   *setclock.Clock
	config  string
	set     settings
	earlier map[string]bool    // rows that a process had stored which is gone, with its metrics
	counted map[string]float64 // metrics of a process that is gone, whose rows are to be judged
}

// underTest is the id of the request under test.
const underTest = "the-clients-own"

// tables are the cells by origin.
func tables() []cell {
	return slices.Concat(upstreamCells(), clientCells(), hostileCells(), stateCells(), lifeCells(), clockCells())
}

func (c *cell) over() []wire {
	if c.wires == nil {
		return []wire{wireChat, wireMess, wireResp, wireText}
	}
	return c.wires
}

func (c *cell) in(mode string) bool { return c.modes == "" || c.modes == mode }

// modes are how an answer can be asked for.
func modes() []string { return []string{"plain", "stream"} }

// TestFaults is the fault matrix: whatever goes wrong, at the provider, the client or
// the gateway itself, is judged by what the client sees, the ledger's row, its attempts,
// the metrics and the backends' state.
func TestFaults(t *testing.T) {
	for _, c := range tables() {
		for _, w := range c.over() {
			for _, mode := range modes() {
				if c.in(mode) {
					t.Run(c.name+"/"+w.name+"/"+mode, func(t *testing.T) {
						t.Parallel()
						c.run(t, w, mode == "stream")
					})
				}
			}
		}
	}
}

// run plays a cell.
func (c *cell) run(t *testing.T, w wire, stream bool) {
	s := &scene{T: t, p: newProviders(t, provider.Options{}), w: w, stream: stream, clock: &setclock.Clock{}, set: c.settings}
	s.set.providers = s.p.url
	s.set.dir = t.TempDir()
	limit := "20s"
	if c.hasty {
		limit = "1s"
	}
	s.set.backend = join("api: [openai, anthropic], timeout: "+limit, s.set.backend)
	s.set.routing = join("first_byte_timeout: "+limit+", idle_timeout: "+limit+", request_timeout: 30s", s.set.routing)
	if s.set.cooldown == "" {
		s.set.cooldown = "base: 30s, jitter: 0"
	}
	s.config = writeConfig(t, s.set)
	if !c.asRun {
		s.start()
	}
	if c.fault.Kind != "" {
		f := c.fault
		f.Backend, f.Times = "primary-1", 1
		s.p.fault(t, f)
	}
	var a answer
	if c.play == nil {
		a = s.ask()
	} else {
		a = c.play(s)
	}
	want := c.want
	want.states = maps.Clone(want.states)
	want.metrics = maps.Clone(want.metrics)
	if c.vary != nil {
		c.vary(s, &want)
	}
	s.check(a, want)
}

// join puts keys of a YAML mapping together; the later of two keys may not repeat the
// earlier.
func join(keys, more string) string {
	if more == "" {
		return keys
	}
	var kept []string
	for pair := range strings.SplitSeq(keys, ", ") {
		key, _, _ := strings.Cut(pair, ":")
		if !strings.Contains(more, key+":") {
			kept = append(kept, pair)
		}
	}
	return strings.Join(append(kept, more), ", ")
}

// start starts the gateway, by the scene's clock.
func (s *scene) start() { s.running = startAt(s.T, s.config, s.clock.Now) }

// restart ends the gateway and starts it again; the metrics begin anew.
func (s *scene) restart() {
	s.stop()
	s.start()
	s.earlier = map[string]bool{}
	for _, r := range s.rows() {
		s.earlier[r.ID] = true
	}
}

// ask sends the request under test.
func (s *scene) ask(header ...string) answer {
	return s.running.ask(s.w, s.stream, append(header, "X-Request-Id", underTest)...)
}

// before sends another request first.
func (s *scene) before(header ...string) answer { return s.running.ask(s.w, s.stream, header...) }

// leave sends a request that is given up once ready says so, and returns what its client
// saw until then; begun says that the answer had begun, and that some of it is read.
func (s *scene) leave(id string, begun bool, ready func() bool) answer {
	ctx, cancel := context.WithCancel(s.Context())
	defer cancel()
	r := s.request(ctx, s.w, s.stream)
	r.Header.Set("X-Request-Id", id)
	if begun {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			s.Fatal(err)
		}
		defer response.Body.Close()
		part := make([]byte, 1)
		if _, err := response.Body.Read(part); err != nil {
			s.Fatal(err)
		}
		eventually(s.T, "the time to leave", ready)
		cancel()
		return answer{status: response.StatusCode, header: response.Header, left: true}
	}
	done := make(chan error, 1)
	go func() {
		response, err := http.DefaultTransport.RoundTrip(r)
		if err == nil {
			_ = response.Body.Close()
		}
		done <- err
	}()
	eventually(s.T, "the time to leave", ready)
	cancel()
	if err := <-done; err == nil {
		s.Error("the request was answered before its client left")
	}
	return answer{left: true}
}

// TestCellsHaveNamesOfTheirOwn, as far as they could be taken for each other.
func TestCellsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range tables() {
		for _, w := range c.over() {
			for _, mode := range modes() {
				name := c.name + "/" + w.name + "/" + mode
				if c.in(mode) && seen[name] {
					t.Errorf("two cells are called %s", name)
				}
				seen[name] = seen[name] || c.in(mode)
			}
		}
	}
}
