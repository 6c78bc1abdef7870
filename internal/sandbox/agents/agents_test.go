package agents_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/agents"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the page (empty: none)")

const pingKey = "k3y-of-the-test"

// TestMain lets this binary be the agents' process too.
func TestMain(m *testing.M) {
	if len(os.Args) == 5 && os.Args[1] == "agent" {
		every, err := time.ParseDuration(os.Args[3])
		if err != nil {
			os.Exit(2)
		}
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		p := &agents.Process{ID: os.Args[2], Every: every, Heartbeat: os.Args[4], Key: redact.Secret(os.Getenv("TEST_PING_KEY")), Dir: ".", Tasks: os.Getenv("TEST_TASKS"), Report: os.Stdout}
		err = p.Run(ctx)
		stop()
		if err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// heart takes pings.
type heart struct {
	mu     sync.Mutex
	pings  map[string]int
	status int
	beat   chan string
}

func (h *heart) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id, ok := strings.CutPrefix(r.URL.Path, "/ping/"+pingKey+"/")
	if !ok || r.Method != http.MethodPost {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	h.mu.Lock()
	h.pings[id]++
	status := h.status
	h.mu.Unlock()
	w.WriteHeader(status)
	select {
	case h.beat <- id:
	default: // nobody waits
	}
}

type fixture struct {
	*agents.Supervisor
	heart *heart
	dir   string
	url   string
}

func start(t *testing.T, every time.Duration, members ...string) *fixture {
	t.Helper()
	t.Setenv("TEST_PING_KEY", pingKey)
	f := &fixture{heart: &heart{pings: map[string]int{}, status: http.StatusOK, beat: make(chan string)}, dir: t.TempDir()}
	heartbeat := httptest.NewServer(f.heart)
	t.Cleanup(heartbeat.Close)
	opts := agents.Options{Dir: f.dir, Log: slog.New(slog.DiscardHandler), Argv: func(m agents.Member) []string {
		return []string{os.Args[0], "agent", m.ID, m.Every.String(), heartbeat.URL}
	}}
	for _, id := range members {
		opts.Members = append(opts.Members, agents.Member{ID: id, Label: "智能体 " + id, Every: every})
	}
	supervisor, err := agents.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := supervisor.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Supervisor = supervisor
	web, err := agents.NewWeb(supervisor, heartbeat.URL, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	pages := httptest.NewServer(web)
	f.url = pages.URL
	t.Cleanup(func() {
		if err := supervisor.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		pages.Close()
	})
	return f
}

// wait returns the first status of an agent that satisfies the condition.
func (f *fixture) wait(t *testing.T, id string, condition func(agents.Status) bool) agents.Status {
	t.Helper()
	end := time.After(30 * time.Second)
	for {
		changed := f.Changed()
		status, err := f.Agent(id)
		if err != nil {
			t.Fatal(err)
		}
		if condition(status) {
			return status
		}
		select {
		case <-end:
			t.Fatalf("agent %s stayed %+v", id, status)
		case <-changed:
		}
	}
}

func is(state agents.State) func(agents.Status) bool {
	return func(s agents.Status) bool { return s.State == state }
}

func beats(s agents.Status) bool { return s.State == agents.StateRunning && s.LastPing != nil }

func TestLife(t *testing.T) {
	f := start(t, time.Hour, "coo", "lawyer")
	first := f.wait(t, "coo", beats)
	if raw, err := os.ReadFile(filepath.Join(f.dir, "coo.pid")); err != nil || strings.TrimSpace(string(raw)) != strconv.Itoa(first.PID) {
		t.Errorf("pid file %q, %v; pid %d", raw, err, first.PID)
	}
	if err := agents.Task(t.Context(), f.dir, "coo"); err != nil {
		t.Errorf("a living agent did not do its task: %v", err)
	}

	if err := f.Do("coo", agents.ActionKill); err != nil {
		t.Fatal(err)
	}
	dead, err := f.Agent("coo")
	if err != nil || dead.State != agents.StateDead || dead.Reason != "signal: killed" || dead.PID != 0 {
		t.Errorf("after the kill: %+v, %v", dead, err)
	}
	if _, err := os.Stat(filepath.Join(f.dir, "coo.pid")); !os.IsNotExist(err) {
		t.Errorf("the pid file of a dead agent: %v", err)
	}
	if err := agents.Task(t.Context(), f.dir, "coo"); err == nil {
		t.Error("a dead agent did its task")
	}

	if err := f.Do("coo", agents.ActionRevive); err != nil {
		t.Fatal(err)
	}
	again := f.wait(t, "coo", func(s agents.Status) bool { return s.State == agents.StateRunning && s.Pings == 2 })
	if again.PID == first.PID {
		t.Error("the revived agent has the pid of the dead one")
	}
}

func TestKilledByHandIsNotRestarted(t *testing.T) {
	f := start(t, time.Hour, "coo")
	status := f.wait(t, "coo", beats)
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if dead := f.wait(t, "coo", is(agents.StateDead)); dead.Pings != 1 {
		t.Errorf("it beat again: %+v", dead)
	}
}

func TestStall(t *testing.T) {
	tasks := filepath.Join(t.TempDir(), "tasks")
	if err := os.Mkdir(tasks, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_TASKS", tasks)
	f := start(t, 20*time.Millisecond, "coo")
	f.wait(t, "coo", func(s agents.Status) bool { return s.Steps >= 3 && s.Obstacle == "" })
	if err := f.Do("coo", agents.ActionStall); err != nil {
		t.Fatal(err)
	}
	stalled := f.wait(t, "coo", is(agents.StateStalled))
	left, err := os.ReadFile(filepath.Join(tasks, "list.md"))
	if err != nil || !strings.Contains(string(left), "- [ ] ") {
		t.Errorf("tasks %q, %v", left, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := agents.Task(ctx, f.dir, "coo"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stalled agent did its task: %v", err)
	}
	now, err := f.Agent("coo")
	if err != nil || now.Pings != stalled.Pings || now.PID != stalled.PID {
		t.Errorf("stalled %+v, then %+v (%v)", stalled, now, err)
	}
	if later, err := os.ReadFile(filepath.Join(tasks, "list.md")); err != nil || string(later) != string(left) {
		t.Errorf("a stalled agent worked on: %q, %v", later, err)
	}
	if err := f.Do("coo", agents.ActionResume); err != nil {
		t.Fatal(err)
	}
	f.wait(t, "coo", func(s agents.Status) bool { return s.State == agents.StateRunning && s.Pings > now.Pings })
}

func TestRefusedPingIsRetriedAndNamesNoKey(t *testing.T) {
	f := start(t, 50*time.Millisecond, "coo")
	f.wait(t, "coo", beats)
	f.heart.mu.Lock()
	f.heart.status = http.StatusTooManyRequests
	f.heart.mu.Unlock()
	bad := f.wait(t, "coo", func(s agents.Status) bool { return s.Problem != "" })
	if !strings.Contains(bad.Problem, "429") || strings.Contains(bad.Problem, pingKey) {
		t.Errorf("problem %q", bad.Problem)
	}
	f.heart.mu.Lock()
	f.heart.status = http.StatusOK
	f.heart.mu.Unlock()
	f.wait(t, "coo", func(s agents.Status) bool { return s.Problem == "" && s.Pings > bad.Pings })
}

func TestStopLeavesNoProcess(t *testing.T) {
	f := start(t, time.Hour, "coo", "lawyer", "designer")
	var pids []int
	for _, a := range f.Agents() {
		f.wait(t, a.ID, beats)
		pids = append(pids, a.PID)
	}
	if err := f.Do("lawyer", agents.ActionStall); err != nil {
		t.Fatal(err)
	}
	f.wait(t, "lawyer", is(agents.StateStalled))
	if err := f.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d lives on: %v", pid, err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(f.dir, "*.pid")); err != nil || len(left) > 0 {
		t.Errorf("pid files left: %v %v", left, err)
	}
}

func TestAPI(t *testing.T) {
	f := start(t, time.Hour, "coo")
	f.wait(t, "coo", beats)
	cases := []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/api/agents", 200},
		{http.MethodGet, "/api/agents/nobody", 404},
		{http.MethodPost, "/api/agents/nobody/kill", 404},
		{http.MethodPost, "/api/agents/coo/dance", 404},
		{http.MethodPost, "/api/agents/coo/revive", 409},
		{http.MethodPost, "/api/agents/coo/kill", 200},
		{http.MethodPost, "/api/agents/coo/kill", 409},
		{http.MethodPost, "/api/agents/coo/stall", 409},
		{http.MethodPost, "/api/agents/coo/revive", 200},
		{http.MethodGet, "/health", 200},
	}
	for _, c := range cases {
		req, err := http.NewRequestWithContext(t.Context(), c.method, f.url+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, resp.StatusCode, c.status)
		}
		if c.path == "/api/agents" {
			var list struct {
				Agents []agents.Status `json:"agents"`
			}
			if err := json.NewDecoder(resp.Body).Decode(&list); err != nil || len(list.Agents) != 1 || list.Agents[0].Label != "智能体 coo" {
				t.Errorf("list %+v, %v", list, err)
			}
		}
		resp.Body.Close()
	}
}

func TestFromRoster(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	text := "agents:\n  - {id: coo, class: frequent, label: 首席运营官}\n  - {id: lawyer, cron: \"*/20 * * * *\"}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	roster, err := fleet.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	members, err := agents.FromRoster(roster, time.Date(2026, 11, 22, 9, 1, 0, 0, time.UTC))
	want := []agents.Member{{ID: "coo", Label: "首席运营官", Every: 10 * time.Minute}, {ID: "lawyer", Label: "lawyer", Every: 20 * time.Minute}}
	if err != nil || !slices.Equal(members, want) {
		t.Errorf("got %+v, %v; want %+v", members, err, want)
	}
}

func TestPageInChromium(t *testing.T) {
	f := start(t, time.Hour, "coo", "secretary", "opengineer", "projectmanager", "lawyer", "designer")
	for _, a := range f.Agents() {
		f.wait(t, a.ID, beats)
	}
	if err := f.Do("designer", agents.ActionStall); err != nil {
		t.Fatal(err)
	}
	f.wait(t, "designer", is(agents.StateStalled))
	ctx := browsertest.Open(t, browsertest.Desktop())
	err := chromedp.Do(ctx, chromedp.Navigate(f.url+"/"),
		chromedp.WaitVisible(chromedp.CSS(`[data-agent="opengineer"][data-state="running"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-agent="designer"][data-state="stalled"]`)),
		chromedp.Click(chromedp.CSS(`[data-agent="opengineer"] .button.danger`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-agent="opengineer"][data-state="dead"]`)))
	if err != nil {
		t.Fatal(err)
	}
	f.wait(t, "opengineer", is(agents.StateDead))
	browsertest.Screenshot(t, ctx, *screenshots, "agents-light")
	err = chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`[data-agent="opengineer"] .button.primary`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-agent="opengineer"][data-state="running"]`)))
	if err != nil {
		t.Fatal(err)
	}
	// Killed by hand: the open page shows it without a reload.
	status := f.wait(t, "opengineer", beats)
	if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[data-agent="opengineer"][data-state="dead"]`))); err != nil {
		t.Fatal(err)
	}
	phone := browsertest.Open(t, browsertest.View{Width: 390, Height: 844, Dark: true})
	if err := chromedp.Do(phone, chromedp.Navigate(f.url+"/"), chromedp.WaitVisible(chromedp.CSS(`[data-agent="coo"]`))); err != nil {
		t.Fatal(err)
	}
	overflow, err := chromedp.Run(phone, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
	if err != nil || overflow {
		t.Errorf("wider than the window: %v, %v", overflow, err)
	}
	browsertest.Screenshot(t, phone, *screenshots, "agents-phone-dark")
}

func TestAgentsAskTheGateway(t *testing.T) {
	var refused atomic.Int64
	var asked sync.Map // what was asked in which way
	ends := map[string]string{"/v1/chat/completions": "data: {}\n\ndata: [DONE]\n\n", "/v1/messages": "event: message_stop\ndata: {}\n\n"}
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model  string `json:"model"`
			Stream bool   `json:"stream"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Model != "m" || r.Header.Get("Authorization") != "Bearer client-key" || ends[r.URL.Path] == "" || (r.Header.Get("Anthropic-Version") != "") != (r.URL.Path == "/v1/messages") {
			t.Errorf("an odd request: %s, %+v, %v", r.URL.Path, body, err)
		}
		switch {
		case refused.Load() == 1:
			w.WriteHeader(http.StatusServiceUnavailable)
		case body.Stream:
			asked.Store(r.URL.Path+" streamed", true)
			_, _ = io.WriteString(w, ends[r.URL.Path])
		default:
			asked.Store(r.URL.Path, true)
			_, _ = io.WriteString(w, "{}")
		}
	}))
	defer gateway.Close()
	heartbeat := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer heartbeat.Close()
	reports, out := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := &agents.Process{ID: "coo", Every: time.Hour, Heartbeat: heartbeat.URL, Key: "k", Dir: t.TempDir(), Report: out,
		Asking: agents.Asking{Gateway: gateway.URL, Key: "client-key", Model: "m", Every: time.Millisecond}}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx); _ = out.Close() }()
	lines := bufio.NewScanner(reports)
	for lines.Scan() {
		ways := 0
		asked.Range(func(any, any) bool { ways++; return true })
		if ways == 2*len(ends) {
			refused.Store(1)
		}
		if strings.Contains(lines.Text(), "end marker") {
			t.Error(lines.Text())
		}
		if strings.Contains(lines.Text(), `"asked":true`) && strings.Contains(lines.Text(), "HTTP 503") {
			cancel()
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
