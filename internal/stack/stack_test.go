package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

func testLayout(t *testing.T) Layout {
	t.Helper()
	root, err := FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	l := NewLayout(root, "test", "127.0.0.1", 30000)
	l.Dir = t.TempDir()
	return l
}

func TestSecretsAreMadeOnce(t *testing.T) {
	l := testLayout(t)
	if made, err := Prepare(l, NormalPace()); err != nil || made != len(generated) {
		t.Fatalf("first start: %d made, %v", made, err)
	}
	before, err := l.Secret("heartbeat_ping_key")
	if err != nil || len(before) != 64 {
		t.Fatalf("secret %q, %v", before, err)
	}
	if made, err := Prepare(l, NormalPace()); err != nil || made != 0 {
		t.Errorf("second start: %d made, %v", made, err)
	}
	if after, err := l.Secret("heartbeat_ping_key"); err != nil || after != before {
		t.Errorf("the second start replaced a secret (%v)", err)
	}
	for path, mode := range map[string]os.FileMode{filepath.Join(l.Dir, "secrets"): 0o700, l.secret("heartbeat_token"): 0o600, l.secret("watchdog_ping_url"): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want mode %o", path, info.Mode(), err, mode)
		}
	}
}

func TestConfigsAreGoodAndFollowThePace(t *testing.T) {
	for name, c := range map[string]struct {
		pace Pace
		says map[string][]string
	}{
		"normal":  {NormalPace(), map[string][]string{"prometheus.yml": {"scrape_interval: 30s", "evaluation_interval: 15s"}, "alertmanager.yml": {"repeat_interval: 14400000ms", "group_wait: 10000ms"}, "rules/agents.rules.yml": {"for: 30000ms"}, "rules/gateway.rules.yml": {"[300000ms]", "[3600000ms]"}}},
		"sandbox": {SandboxPace(), map[string][]string{"prometheus.yml": {"scrape_interval: 5s", "scrape_interval: 15s", "evaluation_interval: 5s"}, "rules/agents.rules.yml": {"for: 30000ms"}}},
		"fast":    {FastPace(), map[string][]string{"prometheus.yml": {"scrape_interval: 1s"}, "alertmanager.yml": {"group_interval: 2000ms", "repeat_interval: 1666ms"}, "rules/agents.rules.yml": {"for: 1000ms", "keep_firing_for: 2000ms"}, "rules/gateway.rules.yml": {"[10000ms]", "[120000ms]"}}},
	} {
		t.Run(name, func(t *testing.T) {
			l := testLayout(t)
			if _, err := Prepare(l, c.pace); err != nil {
				t.Fatal(err)
			}
			for file, wants := range c.says {
				text, err := os.ReadFile(l.config(file))
				if err != nil {
					t.Fatal(err)
				}
				for _, want := range wants {
					if !strings.Contains(string(text), want) {
						t.Errorf("%s lacks %q:\n%s", file, want, text)
					}
				}
			}
			for _, check := range [][]string{
				{testtool.Find(t, "promtool"), "check", "config", l.config("prometheus.yml")},
				{testtool.Find(t, "amtool"), "check-config", l.config("alertmanager.yml")},
			} {
				if out, err := exec.CommandContext(t.Context(), check[0], check[1:]...).CombinedOutput(); err != nil {
					t.Errorf("%s: %v: %s", check, err, out)
				}
			}
			text, err := os.ReadFile(l.config("alertmanager.yml"))
			if err != nil || strings.Contains(string(text), "/run/secrets") || !strings.Contains(string(text), l.URL(AlertBridge)+"/webhook") {
				t.Errorf("alertmanager.yml is not for this machine (%v):\n%s", err, text)
			}
			if text, err := os.ReadFile(l.config("prometheus.yml")); err != nil || !strings.Contains(string(text), l.Target(Exporter)) || strings.Contains(string(text), "exporter:9999") {
				t.Errorf("prometheus.yml is not for this machine (%v):\n%s", err, text)
			}
		})
	}
}

func TestStandInsOnlyForWhatIsNotConfigured(t *testing.T) {
	fleet := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(fleet, []byte("agents: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env            map[string]string
		feishu, agents bool
		wrong          string
	}{
		"nothing":            {nil, true, true, ""},
		"app":                {map[string]string{"FEISHU_APP_ID": "cli_x", "FEISHU_APP_SECRET": "real-secret"}, false, true, ""},
		"bot":                {map[string]string{"FEISHU_WEBHOOK_CRITICAL": "https://open.feishu.cn/real-secret"}, false, true, ""},
		"roster":             {map[string]string{"FLEET_FILE": fleet}, true, false, ""},
		"boards alone":       {map[string]string{"MULTICA_TOKEN": "real-secret", "OPENCLAW_GATEWAY_TOKEN": "real-secret"}, true, true, ""},
		"boards and roster":  {map[string]string{"MULTICA_TOKEN": "real-secret", "OPENCLAW_GATEWAY_TOKEN": "real-secret", "FLEET_FILE": fleet}, true, false, ""},
		"a roster's folder":  {map[string]string{"FLEET_DIR": filepath.Dir(fleet)}, true, false, ""},
		"half an app":        {map[string]string{"FEISHU_APP_ID": "cli_x"}, false, true, "expected both or none"},
		"a relative roster":  {map[string]string{"FLEET_FILE": "fleet.yaml"}, true, false, "absolute path"},
		"a roster not there": {map[string]string{"FLEET_FILE": "/nonexistent/fleet.yaml"}, true, false, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range settingNames {
				t.Setenv(n, c.env[n])
			}
			settings, err := ReadSettings(t.TempDir())
			if c.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), c.wrong) {
					t.Errorf("err = %v, want %q", err, c.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			plan := NewPlan(testLayout(t), settings, NormalPace())
			_, feishu := plan.Service(SandboxFeishu)
			_, agents := plan.Service(SandboxAgents)
			if feishu != c.feishu || agents != c.agents {
				t.Errorf("stand-ins: Feishu %v, agents %v; want %v, %v", feishu, agents, c.feishu, c.agents)
			}
			bridge, _ := plan.Service(AlertBridge)
			if env := strings.Join(bridge.Env, "\n"); strings.Contains(env, "FEISHU_BASE_URL") != c.feishu {
				t.Errorf("the bridge's environment points at the stand-in: %v", !c.feishu)
			}
			beats, _ := plan.Service(Heartbeat)
			for _, board := range []string{"MULTICA_TOKEN", "OPENCLAW_GATEWAY_TOKEN"} {
				if given := slices.Contains(beats.Env, board+"=real-secret"); given != (c.env[board] != "" && !c.agents) {
					t.Errorf("heartbeat is given %s: %v", board, given)
				}
			}
			if standIn := strings.Contains(strings.Join(beats.Env, "\n"), "/multica"); standIn != c.agents {
				t.Errorf("heartbeat's Multica is the stand-in: %v", standIn)
			}
			demo := NewPlan(testLayout(t), NoSettings(), FastPace())
			for _, s := range demo.Services {
				if strings.Contains(strings.Join(s.Env, "\n"), "real-secret") {
					t.Errorf("a real credential reached the demo's %s", s.Name)
				}
			}
		})
	}
}

func TestSettingsFile(t *testing.T) {
	for _, n := range settingNames {
		t.Setenv(n, "")
	}
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "compose"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(root, "compose", ".env"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# comment\nFEISHU_APP_ID=a\nFEISHU_APP_SECRET=\"b c\"\nEMPTY=\n")
	t.Setenv("FEISHU_APP_ID", "from-env")
	s, err := ReadSettings(root)
	if err != nil || s.values["FEISHU_APP_ID"] != "from-env" || s.values["FEISHU_APP_SECRET"] != "b c" {
		t.Errorf("settings %v, %v", s.values, err)
	}
	write("A=1\nrubbish\n")
	if _, err := ReadSettings(root); err == nil || !strings.Contains(err.Error(), ".env:2: expected NAME=VALUE") {
		t.Errorf("rubbish: %v", err)
	}
}

// helperService is this test binary, serving /ready and ending as told.
func helperService(t *testing.T, l Layout, name string) Service {
	t.Helper()
	return Service{Name: name, Argv: []string{os.Args[0], "-test.run=^TestHelperService$"}, Env: []string{"HELPER_LISTEN=" + l.Listen(name)},
		ReadyURL: l.URL(name) + "/ready", URL: l.URL(name), Restart: true}
}

// TestHelperService is a process of the supervisor's tests, not a test.
func TestHelperService(t *testing.T) {
	address := os.Getenv("HELPER_LISTEN")
	if address == "" {
		return
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", address)
	if err != nil {
		fmt.Println(err)
		os.Exit(3)
	}
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
}

func testSupervisor(t *testing.T) (*Supervisor, Layout) {
	t.Helper()
	l := testLayout(t)
	if err := l.make(); err != nil {
		t.Fatal(err)
	}
	plan := Plan{Layout: l, Services: []Service{helperService(t, l, Exporter), helperService(t, l, Heartbeat)}}
	plan.Services[1].StandIn = "something; replaced by SETTING"
	s := NewSupervisor(plan)
	t.Cleanup(func() {
		if err := s.StopAll(); err != nil {
			t.Error(err)
		}
	})
	return s, l
}

func alive(pid int) bool { return pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestSupervisorRestartsAndStops(t *testing.T) {
	s, l := testSupervisor(t)
	var progress bytes.Buffer
	if err := s.StartAll(t.Context(), &progress); err != nil {
		t.Fatal(err)
	}
	before := s.Statuses()
	var table bytes.Buffer
	PrintTable(&table, l, before)
	for _, want := range []string{"exporter", "ready", "heartbeat *", "stand-in for something; replaced by SETTING", "compose/.env"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, table.String())
		}
	}
	// A service that ends by itself is started again.
	if err := syscall.Kill(before[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := Await(t.Context(), 20*time.Second, func(context.Context) error {
		if now := s.Statuses()[0]; now.State != "ready" || now.PID == before[0].PID || now.Restarts != 1 {
			return fmt.Errorf("after a kill from outside: %+v", now)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	// One that was stopped is not.
	pid := s.Statuses()[1].PID
	if err := s.Stop(Heartbeat); err != nil {
		t.Fatal(err)
	}
	if now := s.Statuses()[1]; now.State != "stopped" || alive(pid) {
		t.Errorf("after Stop: %+v, process alive %v", now, alive(pid))
	}
	if err := s.Start(t.Context(), Heartbeat); err != nil {
		t.Error(err)
	}
	pids := []int{s.Statuses()[0].PID, s.Statuses()[1].PID}
	if err := s.StopAll(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d outlived StopAll", pid)
		}
	}
}

func TestControl(t *testing.T) {
	s, l := testSupervisor(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked, served := make(chan struct{}), make(chan error, 1)
	go func() { served <- s.ServeControl(ctx, func() { close(asked) }) }()
	remote := Connect(l)
	if _, err := Await(t.Context(), 10*time.Second, func(ctx context.Context) error { _, err := remote.Statuses(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	if err := remote.Do(t.Context(), "start", Exporter); err != nil {
		t.Fatal(err)
	}
	statuses, err := remote.Statuses(t.Context())
	if err != nil || statuses[0].State != "ready" || statuses[1].State != "stopped" {
		t.Errorf("statuses %+v, %v", statuses, err)
	}
	if err := remote.Do(t.Context(), "start", "nothing"); err == nil || !strings.Contains(err.Error(), `no service "nothing"`) {
		t.Errorf("an unknown service: %v", err)
	}
	if err := remote.Down(t.Context()); err != nil {
		t.Error(err)
	}
	<-asked
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if _, err := Connect(l).Statuses(t.Context()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}

func TestCheckPortsNamesWhatIsTaken(t *testing.T) {
	l := testLayout(t)
	plan := Plan{Layout: l, Services: []Service{{Name: Exporter}}}
	if err := plan.CheckPorts(); err != nil {
		t.Fatal(err)
	}
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", l.Listen(Exporter))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	if err := plan.CheckPorts(); err == nil || !strings.Contains(err.Error(), "exporter needs 127.0.0.1:39999") || !strings.Contains(err.Error(), "PORT_OFFSET") {
		t.Errorf("a taken port: %v", err)
	}
}

func TestWrappersQuote(t *testing.T) {
	l := testLayout(t)
	plan := NewPlan(l, NoSettings(), NormalPace())
	for i := range plan.Services {
		plan.Services[i].Argv = []string{"/bin/sh", "-c", `printf '%s|%s' "$X" "$1"`, "it's"}
		plan.Services[i].Env = []string{"X=a 'b' $HOME `c`"}
	}
	if err := plan.WriteWrappers(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(l.Dir, "bin", Heartbeat), "arg ument").Output()
	if err != nil || string(out) != "a 'b' $HOME `c`|arg ument" {
		t.Errorf("the wrapper printed %q, %v", out, err)
	}
}

// When Prometheus stops, its alerts end four resend delays (or evaluations) after
// they were last sent; Watchdog, sent at another moment, must be too old by then
// to prove that they are over, and fresh enough while all is well.
func TestWatchdogProvesNothingOnceAlertsExpire(t *testing.T) {
	for name, p := range map[string]Pace{"normal": NormalPace(), "sandbox": SandboxPace(), "fast": FastPace()} {
		evaluation, resend := or(p.Evaluation, p.scale(15*time.Second)), or(p.Resend, time.Minute)
		gap := resend.Truncate(evaluation) + evaluation // sent again at the first evaluation past the delay
		if expiry := 4 * max(evaluation, resend); gap+p.watchdogMaxAge() >= expiry {
			t.Errorf("%s: Watchdog may be heard %s after an alert and counts for %s; the alert expires after %s", name, gap, p.watchdogMaxAge(), expiry)
		}
		if p.watchdogMaxAge() <= gap {
			t.Errorf("%s: Watchdog is heard every %s and counts for %s only", name, gap, p.watchdogMaxAge())
		}
	}
}

func TestOneSupervisorPerSuite(t *testing.T) {
	l := testLayout(t)
	unlock, err := l.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Lock(); !errors.Is(err, ErrSupervised) {
		t.Errorf("a second supervisor: %v, want %v", err, ErrSupervised)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	again, err := l.Lock()
	if err != nil {
		t.Fatal("after the first has ended:", err)
	}
	if err := again(); err != nil {
		t.Fatal(err)
	}
}

// A log that cannot be opened (no space, no folder) keeps a service from starting,
// but not for ever.
func TestServiceThatCouldNotStartIsTriedAgain(t *testing.T) {
	s, l := testSupervisor(t)
	logs, away := filepath.Dir(l.log(Exporter)), filepath.Join(l.Dir, "away")
	move := func(from, to string) {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	move(logs, away)
	if err := s.Start(t.Context(), Exporter); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder for logs: %v", err)
	}
	move(away, logs)
	if err := s.Start(t.Context(), Exporter); err != nil {
		t.Fatal("with the folder back:", err)
	}
	move(logs, away)
	if err := syscall.Kill(s.Statuses()[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	await := func(what string, seen func(Status) bool) {
		if _, err := Await(t.Context(), 20*time.Second, func(context.Context) error {
			if now := s.Statuses()[0]; !seen(now) {
				return fmt.Errorf("%s: %+v", what, now)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	await("says why it does not start", func(now Status) bool { return strings.Contains(now.Ended, "no such file") })
	move(away, logs)
	await("starts once it can", func(now Status) bool { return now.State == "ready" })
}

func TestModes(t *testing.T) {
	for text, want := range map[string]Mode{"": Auto, "auto": Auto, "native": Native, "docker": Docker} {
		if m, err := ParseMode(text); err != nil || m != want {
			t.Errorf("%q is %q, %v", text, m, err)
		}
	}
	if _, err := ParseMode("podman"); err == nil || !strings.Contains(err.Error(), "auto, native or docker") {
		t.Errorf("an unknown mode: %v", err)
	}
}

// TestContainersTable: containers are shown as the native suite is, stand-ins marked,
// and what has no container is left out.
func TestContainersTable(t *testing.T) {
	l := NewLayout(t.TempDir(), "up", "127.0.0.1", 0)
	states := map[string]string{"init": "exited", "grafana": stateOf("running", "healthy"), Gateway: stateOf("running", "starting"), SandboxFeishu: stateOf("running", "healthy"), Exporter: stateOf("exited", "")}
	var shown []string
	for _, s := range statusesOf(states, l, NoSettings()) {
		shown = append(shown, fmt.Sprintf("%s %s %s %t", s.Service, s.URL, s.State, s.StandIn != ""))
	}
	want := []string{
		"sandbox-feishu http://127.0.0.1:9096/ ready true", "gateway http://127.0.0.1:9190/v1 running, starting false",
		"exporter http://127.0.0.1:9999/ exited false", "grafana http://127.0.0.1:3001/ ready false",
	}
	if !slices.Equal(shown, want) {
		t.Errorf("shown are %q", shown)
	}
	for _, s := range statusesOf(states, l, NoSettings()) {
		if s.Service == Gateway && !strings.HasSuffix(s.Next, "console: http://127.0.0.1:9191/dashboard") {
			t.Errorf("the console is not named: %q", s.Next)
		}
	}
	if shown := statusesOf(states, l, Settings{values: map[string]string{"FEISHU_APP_ID": "a"}}); len(shown) != 3 {
		t.Errorf("an idle stand-in is shown: %+v", shown)
	}
	t.Setenv("BIND_ADDRESS", "0.0.0.0")
	if got := NoSettings().PublishedOn(); got != "127.0.0.1" {
		t.Errorf("published on %s", got)
	}
}
