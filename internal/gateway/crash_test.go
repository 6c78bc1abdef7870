package gateway_test

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

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// child is a gateway in a process of its own.
type child struct {
	command *exec.Cmd
	data    string // addresses
	admin   string
	drained chan struct{}
}

func startChild(t testing.TB, config string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(self)
	command.Env = append(os.Environ(), childConfig+"="+config)
	return watch(t, command)
}

// watch starts a gateway and waits until it listens.
func watch(t testing.TB, command *exec.Cmd) *child {
	t.Helper()
	c := &child{command: command, drained: make(chan struct{})}
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
	for c.data == "" && lines.Scan() {
		seen = append(seen, lines.Text())
		var line struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &line) != nil || line.Msg != "listening" {
			continue
		}
		if c.admin == "" { // the operations listener comes first
			c.admin = line.Address
		} else {
			c.data = line.Address
		}
	}
	if c.data == "" {
		t.Fatalf("the gateway did not start: %s", strings.Join(seen, "\n"))
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

func crashRounds() int {
	if n, err := strconv.Atoi(os.Getenv("GATEWAY_CRASH_ROUNDS")); err == nil {
		return n
	}
	return 3
}

// load is what clients have seen.
type load struct {
	mu        sync.Mutex
	completed map[string]string // request id -> ledger id, of answers seen to their last byte
	open      map[string]bool   // request ids sent and not seen to their end
}

// one sends one request, and notes whether its last byte came.
func (l *load) one(ctx context.Context, client *http.Client, c *child, id string, stream bool) {
	l.mu.Lock()
	l.open[id] = true
	l.mu.Unlock()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.data+"/v1/chat/completions", strings.NewReader(chat(stream)))
	if err != nil {
		return
	}
	r.Header.Set("Authorization", "Bearer "+clientKey)
	r.Header.Set("X-Request-Id", id)
	response, err := client.Do(r)
	if err != nil {
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	whole := err == nil && response.StatusCode == http.StatusOK
	if stream {
		// The marker counts, not the end of the connection: it is the last byte that means anything.
		whole = response.StatusCode == http.StatusOK && strings.HasSuffix(string(body), "data: [DONE]\n\n")
	}
	if whole {
		l.mu.Lock()
		l.completed[id] = response.Header.Get("X-Gateway-Request")
		delete(l.open, id)
		l.mu.Unlock()
	}
}

// TestCrashUnderLoad kills the gateway at random moments under load. No request whose
// last byte a client has seen is missing from the ledger, and none is there twice.
func TestCrashUnderLoad(t *testing.T) {
	p := newProviders(t, provider.Options{Pace: time.Millisecond})
	p.fault(t, provider.Fault{Kind: provider.ServerError, Backend: "primary-1", Contains: "hello", Skip: 5, Times: 40 * crashRounds()})
	dir := t.TempDir()
	config := writeConfig(t, settings{providers: p.url, dir: dir, cooldown: "base: 20ms, max: 50ms"})
	l := &load{completed: map[string]string{}, open: map[string]bool{}}
	random := rand.New(rand.NewPCG(3, 9))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 32}}
	for round := range crashRounds() {
		c := startChild(t, config)
		ctx, cancel := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		enough := 40 + random.IntN(200)
		before := l.seen()
		for worker := range 16 {
			wait.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					l.one(ctx, client, c, fmt.Sprintf("r%d-w%d-%d", round, worker, i), (worker+i)%2 == 0)
				}
			})
		}
		if !testtool.Eventually(t, func() bool { return l.seen() >= before+enough }) {
			t.Fatal("the load does not get on")
		}
		c.kill()
		cancel()
		wait.Wait()
		client.CloseIdleConnections()
		c = startChild(t, config)
		l.check(t, c)
		c.kill()
	}
	t.Logf("%d completed requests over %d kills, %d cut off", len(l.completed), crashRounds(), len(l.open))
}

func (l *load) seen() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.completed)
}

// read gets an answer of the operations listener.
func (c *child) read(t *testing.T, path string, into any) http.Header {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+readKey)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(into); err != nil {
		t.Fatal(err)
	}
	return response.Header
}

// check reads the whole ledger, and the sums of it.
func (l *load) check(t *testing.T, c *child) {
	t.Helper()
	rows := map[string][]admin.Request{}
	var want, total admin.Total
	for path := "/api/admin/requests?limit=500"; path != ""; {
		var page []admin.Request
		header := c.read(t, path, &page)
		for _, row := range page {
			rows[row.RequestID] = append(rows[row.RequestID], row)
			want.Requests++
			want.Tokens += row.Tokens.Total
			if row.Status == ledger.Failed || row.Status == ledger.Interrupted {
				want.Errors++
			}
		}
		path, _, _ = strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
	}
	c.read(t, "/api/admin/stats/total", &total)
	if total.Requests != want.Requests || total.Tokens != want.Tokens || total.Errors != want.Errors {
		t.Errorf("the sums say %+v, the rows %+v", total, want)
	}
	for id, ledgerID := range l.completed {
		switch found := rows[id]; {
		case len(found) == 0:
			t.Errorf("%s was completed and is not in the ledger", id)
		case len(found) > 1:
			t.Errorf("%s is in the ledger %d times", id, len(found))
		case found[0].ID != ledgerID || found[0].Status != "completed" || found[0].Tokens.Output != 12:
			t.Errorf("%s: %+v", id, found[0])
		}
	}
	for id, found := range rows {
		if len(found) > 1 {
			t.Errorf("%s is in the ledger %d times", id, len(found))
		}
		if s := found[0].Status; s == "pending" || s == "streaming" {
			t.Errorf("%s is still %s after a restart", id, s)
		}
	}
}
