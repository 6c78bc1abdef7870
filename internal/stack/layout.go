// Package stack runs the whole suite on one machine without containers: it
// builds the programs and the pinned Prometheus, Alertmanager and node_exporter,
// makes what must be secret, writes the configurations for this machine, and
// supervises the processes.
//
// It promises that a stand-in is used only for a part that is not configured and
// never silently, that nothing it started outlives it, and that real credentials
// never reach a demo.
package stack

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// The services, in the order in which they start.
const (
	SandboxFeishu   = "sandbox-feishu"
	SandboxProvider = "sandbox-provider"
	NodeExporter    = "node-exporter"
	Gateway         = "gateway"
	Heartbeat       = "heartbeat"
	AlertBridge     = "alertbridge"
	Alertmanager    = "alertmanager"
	SandboxAgents   = "sandbox-agents"
	Exporter        = "exporter"
	Prometheus      = "prometheus"
)

// gatewayData is the gateway's data plane; under its own name stands its
// operations address.
const gatewayData = "gateway-data"

// ports are fixed; an offset moves all of them.
func ports() map[string]int {
	return map[string]int{
		Prometheus: 9090, Alertmanager: 9093, AlertBridge: 9094, Heartbeat: 9095, NodeExporter: 9100, Exporter: 9999,
		SandboxFeishu: 9096, SandboxAgents: 9097, SandboxProvider: 9098, Gateway: 9191, gatewayData: 9190,
	}
}

// Layout says where a suite lives.
type Layout struct {
	Root   string // of the repository
	Dir    string // data folder of this suite
	Bin    string // built programs
	Bind   string // address that the services listen on
	Offset int    // added to every port
}

// NewLayout returns the layout of the suite called name under root: data in
// .run/NAME.
func NewLayout(root, name, bind string, offset int) Layout {
	return Layout{Root: root, Dir: filepath.Join(root, ".run", name), Bin: filepath.Join(root, ".bin"), Bind: bind, Offset: offset}
}

// Port returns a service's port.
func (l Layout) Port(service string) int { return ports()[service] + l.Offset }

// Listen returns host:port that a service listens on.
func (l Layout) Listen(service string) string {
	return net.JoinHostPort(l.Bind, strconv.Itoa(l.Port(service)))
}

// Target returns host:port at which the other services reach a service.
func (l Layout) Target(service string) string {
	host := l.Bind
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(l.Port(service)))
}

// URL returns the base URL of a service.
func (l Layout) URL(service string) string { return "http://" + l.Target(service) }

func (l Layout) config(name string) string  { return filepath.Join(l.Dir, "config", name) }
func (l Layout) secret(name string) string  { return filepath.Join(l.Dir, "secrets", name) }
func (l Layout) data(name string) string    { return filepath.Join(l.Dir, "data", name) }
func (l Layout) log(service string) string  { return filepath.Join(l.Dir, "log", service+".log") }
func (l Layout) tool(name string) string    { return filepath.Join(l.Bin, name) }
func (l Layout) shipped(name string) string { return filepath.Join(l.Root, "compose", "config", name) }

// LogFile returns the log of a service.
func (l Layout) LogFile(service string) string { return l.log(service) }

// Secret reads one of the generated secrets.
func (l Layout) Secret(name string) (string, error) {
	text, err := os.ReadFile(l.secret(name))
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	return string(text), nil
}

// make creates the folders, for this user only.
func (l Layout) make() error {
	for _, name := range []string{"config", "secrets", "data", "log"} {
		if err := os.MkdirAll(filepath.Join(l.Dir, name), 0o700); err != nil {
			return fmt.Errorf("making the data folder: %w; give this user write access to %s", err, l.Root)
		}
	}
	return nil
}

// Pace is how fast the suite looks and waits.
type Pace struct {
	// Factor divides every wait of the shipped configuration: for, group waits,
	// repeats, reconciling.
	Factor int
	// Scrape, AgentScrape and Evaluation replace Prometheus' intervals; 0 keeps
	// the shipped ones divided by Factor.
	Scrape, AgentScrape, Evaluation time.Duration
	// Resend is Prometheus' resend delay; 0 = its default, a minute. It is shorter
	// than Evaluation: where they are equal, Prometheus sends only every other time.
	Resend time.Duration
}

// NormalPace is the shipped one.
func NormalPace() Pace { return Pace{Factor: 1} }

// SandboxPace is for agents that beat every ten seconds: the shipped waits, but
// agents are looked at every five seconds.
func SandboxPace() Pace {
	return Pace{Factor: 1, AgentScrape: 5 * time.Second, Evaluation: 5 * time.Second}
}

// FastPace divides all waits by thirty, for the demo and the end-to-end tests.
func FastPace() Pace {
	return Pace{Factor: 30, Scrape: time.Second, AgentScrape: time.Second, Evaluation: time.Second, Resend: 900 * time.Millisecond}
}

func (p Pace) scale(d time.Duration) time.Duration {
	return max(d/time.Duration(p.Factor), 100*time.Millisecond)
}

// scaled divides a duration of the shipped configuration.
func (p Pace) scaled(d time.Duration) string { return p.scale(d).String() }

// watchdogMaxAge is how old Watchdog's last update may be where it is evidence. An
// alert that Prometheus stops to send ends four resend delays (or evaluations) after
// it was last sent, and must find Watchdog older than this by then.
func (p Pace) watchdogMaxAge() time.Duration { return 2 * or(p.Resend, time.Minute) }

func or(d, fallback time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return fallback
}

// FindRoot returns the folder of the repository that from is in.
func FindRoot(from string) (string, error) {
	dir, err := filepath.Abs(from)
	if err != nil {
		return "", fmt.Errorf("finding the repository: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "compose", "config")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no Fleetwatch repository at %s or above; run this inside a checkout", from)
		}
		dir = parent
	}
}
