//go:build e2e_compose

package compose

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// prefix is the registry that stand-in images have, so that none is ever taken for
// the real one.
const prefix = "localhost/fleetwatch-stand-in"

// bind is a loopback address of the test's own, away from a running suite.
const bind = "127.0.0.77"

// patience bounds waiting for containers; agents beat every ten seconds, rules ask
// for half a minute.
const patience = 3 * time.Minute

// suite is a clean clone whose containers run.
type suite struct {
	stack.Suite
	root string
	tool string // the pinned docker-compose
	env  []string
}

func run(ctx context.Context, dir string, env []string, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir, command.Env = dir, append(os.Environ(), env...)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = time.Minute
	out, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// engine makes a Docker engine be there. One that the test starts, it ends; it has
// mounts of its own, in which the root is shared, as systemd makes it elsewhere.
func engine(t *testing.T) {
	t.Helper()
	reachable := func(ctx context.Context) error {
		_, err := run(ctx, ".", nil, "docker", "info")
		return err
	}
	if reachable(t.Context()) == nil {
		return
	}
	if _, err := exec.LookPath("dockerd"); err != nil || os.Getuid() != 0 {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatal("a Docker engine is needed: .ci/compose-images deps installs one, on Debian as root")
		}
		t.Skip("skipped: no Docker engine (.ci/compose-images deps installs one, on Debian as root)")
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "dockerd.log"))
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command("unshare", "--mount", "--propagation", "slave", "sh", "-c", "mount --make-rshared / && exec dockerd")
	daemon.Stdout, daemon.Stderr = log, log
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM) // it ends its containers, then itself
		_ = daemon.Wait()
		_ = log.Close()
	})
	if _, err := stack.Await(t.Context(), time.Minute, reachable); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("dockerd did not start: %v\n%s", err, text)
	}
}

// clone returns a clean clone of what is committed.
func clone(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "fleetwatch")
	if _, err := run(t.Context(), ".", nil, "git", "clone", "-q", testtool.Root(t), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (s *suite) compose(ctx context.Context, env []string, args ...string) (string, error) {
	return run(ctx, s.root, append(slices.Clone(s.env), env...), s.tool, append([]string{"-f", "compose/compose.yaml"}, args...)...)
}

func (s *suite) do(t *testing.T, env []string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	defer cancel()
	out, err := s.compose(ctx, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *suite) await(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	took, err := stack.Await(t.Context(), patience, check)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	t.Logf("%s: %s", what, took.Round(100*time.Millisecond))
}

// healthy returns nil once every service is, and init has ended well.
func (s *suite) healthy(ctx context.Context) error {
	out, err := s.compose(ctx, nil, "ps", "-a", "--format", "json")
	if err != nil {
		return err
	}
	seen := 0
	for decoder := json.NewDecoder(strings.NewReader(out)); decoder.More(); seen++ {
		var c struct {
			Service, State, Health string
			ExitCode               int
		}
		if err := decoder.Decode(&c); err != nil {
			return err
		}
		if c.Service == "init" && c.State == "exited" && c.ExitCode == 0 {
			continue
		}
		if c.State != "running" || c.Health != "healthy" {
			return fmt.Errorf("%s is %s %s", c.Service, c.State, c.Health)
		}
	}
	if seen < 12 {
		return fmt.Errorf("%d containers only", seen)
	}
	return nil
}

func up(t *testing.T) *suite {
	t.Helper()
	engine(t)
	root := testtool.Root(t)
	if out, err := run(t.Context(), root, nil, ".ci/compose-images", prefix); err != nil {
		t.Fatal(err)
	} else {
		t.Log(out)
	}
	s := &suite{root: clone(t), tool: testtool.Find(t, "docker-compose"), env: []string{"COMPOSE_PROJECT_NAME=fleetwatch-e2e", "REGISTRY=" + prefix, "BIND_ADDRESS=" + bind}}
	s.Suite = stack.NewSuite(stack.NewLayout(s.root, "e2e", bind, 0))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
		defer cancel()
		if t.Failed() {
			logs, _ := s.compose(ctx, nil, "logs", "--no-color", "--tail", "30")
			t.Log(logs)
		}
		if _, err := s.compose(ctx, nil, "down", "-v", "--remove-orphans"); err != nil {
			t.Error(err)
		}
	})
	began := time.Now()
	// As a newcomer does; PATH has compose for engines that come without it.
	out, err := run(t.Context(), s.root, append(slices.Clone(s.env), "PATH="+filepath.Dir(s.tool)+":"+os.Getenv("PATH"), "MODE=docker"), "make", "up")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(out, "SERVICE ")
	t.Logf("make up: %s\n%s", time.Since(began).Round(time.Second), table)
	for _, service := range []string{"sandbox-feishu *", "sandbox-provider *", "sandbox-agents *", "grafana", "replaced by GATEWAY_"} {
		if !strings.Contains(table, service) {
			t.Errorf("the table of make up does not show %s", service)
		}
	}
	if err := s.healthy(t.Context()); err != nil {
		t.Errorf("make up returned before all is healthy: %v", err)
	}
	secret, err := s.secret(t, "heartbeat_read_token")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.Layout.Dir, "secrets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Layout.Dir, "secrets", "heartbeat_read_token"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

// secret asks init, as a person would.
func (s *suite) secret(t *testing.T, name string) (string, error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), s.tool, "-f", "compose/compose.yaml", "run", "--rm", "init", "show", name)
	var complaints bytes.Buffer
	command.Dir, command.Env, command.Stderr = s.root, append(os.Environ(), s.env...), &complaints
	out, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("init show %s: %w\n%s", name, err, complaints.String())
	}
	return strings.TrimSpace(string(out)), nil
}

func (s *suite) get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return string(body), err
}

// TestContainers is the whole life of the container stack on a clean clone with
// nothing configured. Its parts follow each other on one suite.
func TestContainers(t *testing.T) {
	s := up(t)
	for _, part := range []struct {
		name string
		play func(*testing.T, *suite)
	}{
		{"fifteen agents up", fleetUp},
		{"dashboards provisioned", provisioned},
		{"a chat through the gateway", chat},
		{"cause to card", card},
		{"each service restarts", restarts},
		{"down and up keeps data", keeps},
		{"own Feishu replaces the stand-in", replaced},
		{"own backends replace the stand-in", backends},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.play(t, s) }) {
			t.Fatal("the suite is not as the next part needs it")
		}
	}
}

func fleetUp(t *testing.T, s *suite) {
	s.await(t, "all agents up", s.AllUp)
	beats, err := s.Beats(t.Context())
	if err != nil || len(beats.Agents) != 15 {
		t.Fatalf("%d agents, %v", len(beats.Agents), err)
	}
	s.await(t, "no alert", s.Quiet)
}

func provisioned(t *testing.T, s *suite) {
	found, err := s.get(t.Context(), "http://"+bind+":3001/api/search")
	if err != nil || !strings.Contains(found, `"uid":"agent-health"`) || !strings.Contains(found, `"folderTitle":"OpenClaw"`) {
		t.Errorf("Grafana found %s, %v", found, err)
	}
}

// chat asks a model as an agent does, and looks at the ledger as a person does.
func chat(t *testing.T, s *suite) {
	key, err := s.secret(t, "client_lawyer")
	if err != nil {
		t.Fatal(err)
	}
	if by := s.ask(t, key); by != "sandbox-primary" {
		t.Fatalf("the chat was answered by %q", by)
	}
	s.await(t, "the exporter sees the traffic of all agents", func(ctx context.Context) error {
		answer, err := s.get(ctx, "http://"+bind+":9090/api/v1/query?query=count(agent_requests_total%7Boutcome%3D%22completed%22%7D%3E0)")
		if err == nil && !strings.Contains(answer, `"15"]`) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
}

// ask asks a model, and returns the backend that answered.
func (s *suite) ask(t *testing.T, key string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+bind+":9190/v1/chat/completions",
		strings.NewReader(`{"model":"deepseek-v4-pro","messages":[{"role":"user","content":"hello"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", response.Status, body, err)
	}
	return response.Header.Get("x-gateway-backend")
}

func card(t *testing.T, s *suite) {
	if err := s.Agent(t.Context(), "lawyer", "kill"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "one red card", s.OneCard("lawyer", "red"))
	if err := s.Agent(t.Context(), "lawyer", "revive"); err != nil {
		t.Fatal(err)
	}
	s.await(t, "the same card green", s.OneCard("lawyer", "green"))
}

func restarts(t *testing.T, s *suite) {
	for service := range strings.FieldsSeq(s.do(t, nil, "config", "--services")) {
		if service == "init" {
			continue
		}
		s.do(t, nil, "restart", service)
		s.await(t, service+" healthy again", s.healthy)
	}
	s.await(t, "all agents up again", s.AllUp)
	if err := s.OneCard("lawyer", "green")(t.Context()); err != nil {
		t.Error(err)
	}
}

func keeps(t *testing.T, s *suite) {
	query := "http://" + bind + ":9090/api/v1/query?query=count_over_time(up%7Bjob%3D%22heartbeat%22%7D%5B1h%5D)%3E20"
	s.await(t, "five minutes of history", func(ctx context.Context) error {
		answer, err := s.get(ctx, query)
		if err == nil && !strings.Contains(answer, `"job":"heartbeat"`) {
			err = fmt.Errorf("%s", answer)
		}
		return err
	})
	before, err := s.secret(t, "heartbeat_ping_key")
	if err != nil {
		t.Fatal(err)
	}
	s.do(t, nil, "down")
	s.do(t, nil, "up", "-d")
	s.await(t, "all services healthy", s.healthy)
	s.await(t, "all agents up", s.AllUp)
	if err := s.OneCard("lawyer", "green")(t.Context()); err != nil {
		t.Errorf("the chats: %v", err)
	}
	if after, err := s.secret(t, "heartbeat_ping_key"); err != nil || after != before {
		t.Errorf("a secret changed (%v)", err)
	}
	if answer, err := s.get(t.Context(), query); err != nil || !strings.Contains(answer, `"job":"heartbeat"`) {
		t.Errorf("Prometheus forgot: %s, %v", answer, err)
	}
}

// environment returns what a service is given.
func (s *suite) environment(t *testing.T, env []string, service string, files ...string) map[string]string {
	t.Helper()
	args := []string{}
	for _, file := range files {
		args = append(args, "-f", file)
	}
	var config struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []struct{ Source, Target string }
		}
	}
	if err := json.Unmarshal([]byte(s.do(t, env, append(args, "config", "--format", "json")...)), &config); err != nil {
		t.Fatal(err)
	}
	got := config.Services[service].Environment
	for _, v := range config.Services[service].Volumes {
		if got == nil {
			got = map[string]string{}
		}
		got["volume "+v.Target] = v.Source
	}
	return got
}

// TestSettings looks at what compose makes of settings and overlays; it needs no
// engine.
func TestSettings(t *testing.T) {
	s := &suite{root: testtool.Root(t), tool: testtool.Find(t, "docker-compose")}
	for _, c := range []struct {
		name    string
		env     []string
		files   []string
		service string
		want    map[string]string // "" = not given
	}{
		{"nothing: Feishu's stand-in", nil, nil, "alertbridge", map[string]string{"FEISHU_APP_ID": "cli_sandbox", "FEISHU_BASE_URL": "http://sandbox-feishu:9096", "FEISHU_CRITICAL_ID": "ou_sandbox_oncall"}},
		{"settings copied but empty", []string{"FEISHU_APP_ID=", "FEISHU_WEBHOOK_CRITICAL="}, nil, "alertbridge", map[string]string{"FEISHU_APP_ID": "cli_sandbox"}},
		{"an app", []string{"FEISHU_APP_ID=a", "FEISHU_CRITICAL_ID=ou_1"}, nil, "alertbridge", map[string]string{"FEISHU_APP_ID": "a", "FEISHU_BASE_URL": "", "FEISHU_CRITICAL_ID": "ou_1"}},
		{"a bot for warnings only", []string{"FEISHU_WEBHOOK_WARNING=http://x/y"}, nil, "alertbridge", map[string]string{"FEISHU_APP_ID": "", "FEISHU_BASE_URL": "", "FEISHU_WEBHOOK_WARNING": "http://x/y"}},
		{"an app: no bot for heartbeat", []string{"FEISHU_APP_ID=a"}, nil, "heartbeat", map[string]string{"FEISHU_WEBHOOK_CRITICAL": "", "FEISHU_APP_ID": "", "FEISHU_APP_SECRET": ""}},
		{"nothing: the sandbox's bot", nil, nil, "heartbeat", map[string]string{"FEISHU_WEBHOOK_CRITICAL": "http://sandbox-feishu:9096/open-apis/bot/v2/hook/sandbox-ops-bot"}},
		{"nothing: the sandbox's roster", nil, nil, "exporter", map[string]string{"volume /etc/fleet": filepath.Join(s.root, "compose", "config", "sandbox", "containers")}},
		{"nothing: the sandbox's backends", nil, nil, "gateway", map[string]string{"volume /etc/fleetwatch": filepath.Join(s.root, "compose", "config", "sandbox")}},
		{"own backends", []string{"GATEWAY_DIR=/srv/gateway"}, nil, "gateway", map[string]string{"volume /etc/fleetwatch": "/srv/gateway"}},
		{"own agents", []string{"FLEET_DIR=/srv/fleet"}, nil, "exporter", map[string]string{"volume /etc/fleet": "/srv/fleet"}},
		{"no sandbox", []string{"GATEWAY_DIR=/srv/gateway"}, []string{"compose/no-sandbox.yaml"}, "alertbridge", map[string]string{"FEISHU_APP_ID": "", "FEISHU_BASE_URL": ""}},
		{"no sandbox: the example roster", []string{"GATEWAY_DIR=/srv/gateway"}, []string{"compose/no-sandbox.yaml"}, "heartbeat", map[string]string{"FEISHU_WEBHOOK_CRITICAL": "", "volume /etc/fleet": filepath.Join(s.root, "compose", "config")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := s.environment(t, c.env, c.service, c.files...)
			for name, want := range c.want {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		})
	}
	for file, want := range map[string]string{
		"compose/no-sandbox.yaml":  "alertbridge alertmanager exporter gateway grafana heartbeat init node-exporter prometheus",
		"compose/host-agents.yaml": "alertbridge alertmanager gateway grafana init node-exporter prometheus sandbox-feishu sandbox-provider",
	} {
		names := strings.Fields(s.do(t, []string{"GATEWAY_DIR=/srv/gateway"}, "-f", file, "config", "--services"))
		if got := strings.Join(slices.Sorted(slices.Values(names)), " "); got != want {
			t.Errorf("%s runs %s, want %s", file, got, want)
		}
	}
}
