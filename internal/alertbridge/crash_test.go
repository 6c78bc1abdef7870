package alertbridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// childConfig names, in the environment of a child, the configuration that it
// is to serve: the test binary is the program as well.
const childConfig = "ALERTBRIDGE_TEST_SERVE"

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		os.Exit(program.Main(context.Background(), alertbridge.Program(), []string{"serve", "-config", file, "-log.format", "json"}, nil, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// child is a bridge in a process of its own.
type child struct {
	command *exec.Cmd
	address string
	drained chan struct{}
}

func startChild(t testing.TB, config string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{command: exec.Command(self), drained: make(chan struct{})}
	c.command.Env = append(os.Environ(), childConfig+"="+config)
	stderr, err := c.command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	lines := bufio.NewScanner(stderr)
	var seen []string
	for lines.Scan() {
		seen = append(seen, lines.Text())
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "listening" {
			c.address = line.Address
			break
		}
	}
	if c.address == "" {
		t.Fatalf("the bridge did not start: %s", strings.Join(seen, "\n"))
	}
	go func() {
		defer close(c.drained)
		_, _ = io.Copy(io.Discard, stderr)
	}()
	return c
}

// kill is kill -9; again is nothing.
func (c *child) kill() {
	if c.command.ProcessState != nil {
		return
	}
	_ = c.command.Process.Kill()
	<-c.drained
	_ = c.command.Wait()
}

// offer posts a webhook and reports whether the bridge answered 200.
func (c *child) offer(ctx context.Context, body string) bool {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+"/webhook", strings.NewReader(body))
	if err != nil {
		return false
	}
	r.Header.Set("Authorization", "Bearer hook-token-value")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode == http.StatusOK
}

func crashRounds() int {
	if n, err := strconv.Atoi(os.Getenv("ALERTBRIDGE_CRASH_ROUNDS")); err == nil {
		return n
	}
	return 3
}

// TestCrashBetweenAcceptAndDelivery kills the bridge at random moments while
// it takes alerts and Feishu drops answers. Every alert that was answered with
// 200 must be shown once, in its last state.
func TestCrashBetweenAcceptAndDelivery(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	config := writeConfig(t, settings{feishu: fs.url, dir: t.TempDir(), receivers: manyReceivers, extra: crashRoutes})
	random := rand.New(rand.NewPCG(7, 7))
	const perRound = 16
	resolved, told := map[string]bool{}, &sync.Map{}
	var posted []string
	for round := range crashRounds() {
		faults := []feishu.Fault{
			{Kind: feishu.FaultDropAfter, Ops: []feishu.Op{feishu.OpCreate}, Skip: random.IntN(4), Times: 2},
			{Kind: feishu.FaultDropAfter, Ops: []feishu.Op{feishu.OpPatch}, Skip: random.IntN(4), Times: 1},
		}
		for _, f := range faults {
			if err := fs.AddFault(f); err != nil {
				t.Fatal(err)
			}
		}
		c := startChild(t, config)
		killAt := fs.Counts().Requests + 1 + random.IntN(perRound)
		var due []string
		for i := range perRound {
			agent := fmt.Sprintf("agent-%d-%d", round, i)
			posted = append(posted, agent)
			due = append(due, agent)
			resolved[agent] = random.IntN(2) == 0
		}
		unanswered := postAll(t, c, due, resolved, told, func() bool { return fs.Counts().Requests >= killAt })
		c.kill()
		fs.ClearFaults()
		c = startChild(t, config)
		// Alertmanager sends again what was not answered.
		if left := postAll(t, c, unanswered, resolved, told, func() bool { return false }); len(left) > 0 {
			t.Fatalf("not answered after the restart: %v", left)
		}
		waitFinal(t, fs, posted, resolved)
		c.kill()
	}
	seen := map[string]int{}
	for _, v := range fs.views() {
		seen[v.Title]++
	}
	for title, n := range seen {
		if n != 1 {
			t.Errorf("%d cards %q, want 1", n, title)
		}
	}
	t.Logf("%d alerts over %d kills: %d cards, %d sends were repeats of a uuid", len(posted), crashRounds(), len(seen), fs.Counts().Duplicates)
}

// postAll posts the agents' alerts at once, and the ends of those that are over,
// until stop; it returns those that were not answered with 200 to the end. As
// Alertmanager does, it does not go back to what was answered: told keeps that.
func postAll(t *testing.T, c *child, agents []string, resolved map[string]bool, told *sync.Map, stop func() bool) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	var left []string
	var wait sync.WaitGroup
	for _, agent := range agents {
		wait.Go(func() {
			x := down(agent, "critical", startOf(agent))
			_, ok := told.Load(agent)
			if !ok {
				ok = c.offer(ctx, payload(group(agent), x))
			}
			if ok {
				told.Store(agent, true)
			}
			if ok && resolved[agent] {
				ok = c.offer(ctx, payload(group(agent), x.up(startOf(agent).Add(time.Minute))))
			}
			if !ok {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, agent)
			}
		})
	}
	done := make(chan struct{})
	go func() { wait.Wait(); close(done) }()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return left
		case <-tick.C:
			if stop() {
				c.kill()
				cancel()
				<-done
				return left
			}
		}
	}
}

// startOf is an agent's start, the same each time it is posted.
func startOf(string) time.Time { return time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC) }

func waitFinal(t *testing.T, fs *standIn, agents []string, resolved map[string]bool) {
	t.Helper()
	wrong := func() []string {
		template := map[string]string{}
		for _, v := range fs.views() {
			template[v.Title[strings.LastIndex(v.Title, "] ")+2:]] = v.Template
		}
		var out []string
		for _, agent := range agents {
			want := "red"
			if resolved[agent] {
				want = "green"
			}
			if got := template[agent+" is down"]; got != want {
				out = append(out, fmt.Sprintf("%s is %q, want %s", agent, got, want))
			}
		}
		return out
	}
	eventually(t, func() bool { return len(wrong()) == 0 }, func() string { return strings.Join(wrong(), "; ") })
}

// Many receivers, so that the limit of one chat does not set the pace.
const manyReceivers = `
  - {name: r0, app: {receive_id_type: chat_id, receive_id: oc_0}}
  - {name: r1, app: {receive_id_type: chat_id, receive_id: oc_1}}
  - {name: r2, app: {receive_id_type: chat_id, receive_id: oc_2}}
  - {name: r3, app: {receive_id_type: chat_id, receive_id: oc_3}}
  - {name: oncall, app: {receive_id_type: chat_id, receive_id: oc_4}}
  - {name: coo, app: {receive_id_type: chat_id, receive_id: oc_5}}
`

const crashRoutes = `
storm: {per_receiver_per_minute: 0}
routes:
  - {matchers: ['agent_name=~".*[048]"'], receivers: [r0]}
  - {matchers: ['agent_name=~".*[159]"'], receivers: [r1]}
  - {matchers: ['agent_name=~".*[26]"'], receivers: [r2]}
  - {matchers: ['agent_name=~".*[37]"'], receivers: [r3]}
`
