package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Mode is how the suite is run.
type Mode string

// The modes. Auto is Docker where an engine can be reached, and has or can make the
// images; else Native.
const (
	Auto   Mode = "auto"
	Native Mode = "native"
	Docker Mode = "docker"
)

// ParseMode reads the name of a mode; empty is Auto.
func ParseMode(text string) (Mode, error) {
	switch m := Mode(text); m {
	case "":
		return Auto, nil
	case Auto, Native, Docker:
		return m, nil
	default:
		return "", fmt.Errorf("MODE: expected auto, native or docker, got %q", text)
	}
}

// ErrNoEngine is returned where no Docker engine can be reached, or none that comes
// with compose.
var ErrNoEngine = errors.New("no Docker engine")

const (
	probeWithin = 10 * time.Second
	startWithin = "600" // seconds for all containers to become healthy
	stopWithin  = time.Minute
)

// Containers runs the suite by compose/compose.yaml.
type Containers struct {
	root string
	tool []string // docker compose, or the like
}

// FindContainers looks for an engine and compose. Its error is ErrNoEngine, with what
// was missing.
func FindContainers(ctx context.Context, l Layout) (Containers, error) {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "docker", "version", "--format", "{{.Server.Version}}").CombinedOutput(); err != nil {
		return Containers{}, fmt.Errorf("%w: docker version: %w %s", ErrNoEngine, err, firstLine(out))
	}
	for _, tool := range [][]string{{"docker", "compose"}, {"docker-compose"}, {l.tool("docker-compose")}} {
		if exec.CommandContext(ctx, tool[0], append(slices.Clone(tool[1:]), "version")...).Run() == nil {
			return Containers{root: l.Root, tool: tool}, nil
		}
	}
	return Containers{}, fmt.Errorf("%w: there is one, but neither docker compose nor docker-compose", ErrNoEngine)
}

func firstLine(out []byte) string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}

// compose makes a command. An interrupt of ours ends it as Ctrl-C would.
func (c Containers) compose(ctx context.Context, args ...string) *exec.Cmd {
	argv := slices.Concat(c.tool, []string{"-f", filepath.Join(c.root, "compose", "compose.yaml")}, args)
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Dir = c.root
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGINT) }
	command.WaitDelay = stopWithin
	return command
}

func (c Containers) run(ctx context.Context, out io.Writer, args ...string) error {
	command := c.compose(ctx, args...)
	command.Stdout, command.Stderr = out, out
	if err := command.Run(); err != nil {
		return fmt.Errorf("docker compose %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// Images builds our images and fetches the others. Nothing is started.
func (c Containers) Images(ctx context.Context, out io.Writer) error {
	if err := c.run(ctx, out, "build"); err != nil {
		return err
	}
	return c.run(ctx, out, "pull", "--ignore-buildable", "--policy", "missing")
}

// Up starts the containers and returns once all are healthy.
func (c Containers) Up(ctx context.Context, out io.Writer) error {
	return c.run(ctx, out, "up", "-d", "--build", "--wait", "--wait-timeout", startWithin)
}

// Down ends the containers; their volumes stay.
func (c Containers) Down(ctx context.Context, out io.Writer) error { return c.run(ctx, out, "down") }

// Statuses returns how the containers are, in the order of a native suite, and Grafana.
// There are none where the suite is not up.
func (c Containers) Statuses(ctx context.Context, l Layout, s Settings) ([]Status, error) {
	out, err := c.compose(ctx, "ps", "-a", "--format", "json").Output()
	if err != nil {
		return nil, fmt.Errorf("docker compose ps: %w", err)
	}
	states := map[string]string{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var container struct{ Service, State, Health string }
		if err := decoder.Decode(&container); err != nil {
			return nil, fmt.Errorf("docker compose ps: %w", err)
		}
		states[container.Service] = stateOf(container.State, container.Health)
	}
	return statusesOf(states, l, s), nil
}

func stateOf(state, health string) string {
	switch {
	case state == "running" && health == "healthy":
		return "ready"
	case health != "":
		return state + ", " + health
	default:
		return state
	}
}

// statusesOf tells of the services that have a container. A stand-in whose part is
// configured runs too, does nothing, and is left out.
func statusesOf(states map[string]string, l Layout, s Settings) []Status {
	grafana := Service{Name: "grafana", URL: "http://" + l.Bind + ":3001/", Next: "dashboards; the password: docker compose -f compose/compose.yaml run --rm init show grafana_admin_password"}
	var out []Status
	for _, service := range append(NewPlan(l, s, NormalPace()).Services, grafana) {
		if state, ok := states[service.Name]; ok {
			out = append(out, Status{Service: service.Name, URL: service.URL, State: state, StandIn: service.StandIn, Next: service.Next})
		}
	}
	return out
}

// PublishedOn returns the address that containers' ports are published on.
func (s Settings) PublishedOn() string {
	for _, address := range []string{os.Getenv("BIND_ADDRESS"), s.values["BIND_ADDRESS"]} {
		switch address {
		case "":
		case "0.0.0.0":
			return "127.0.0.1"
		default:
			return address
		}
	}
	return "127.0.0.1"
}
