package exporter

import (
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/boards"
)

// Config is exporter.yaml.
type Config struct {
	Server      ServerConfig    `yaml:"server"`
	Roster      confload.Path   `yaml:"roster"`
	Host        string          `yaml:"host"`
	Heartbeat   HeartbeatConfig `yaml:"heartbeat"`
	Gateway     GatewayConfig   `yaml:"gateway"`
	Sources     boards.Config   `yaml:"sources"` // read where heartbeat.url is empty
	MinInterval time.Duration   `yaml:"min_interval"`
	Timeout     time.Duration   `yaml:"timeout"`
	Window      time.Duration   `yaml:"window"`
}

// ServerConfig says where the exporter listens.
type ServerConfig struct {
	Listen string        `yaml:"listen"`
	Token  redact.Secret `yaml:"token"`
}

// HeartbeatConfig names heartbeat's API. An empty URL means that there is none.
type HeartbeatConfig struct {
	URL   string        `yaml:"url"`
	Token redact.Secret `yaml:"token"`
}

// GatewayConfig names the gateway's operations address.
type GatewayConfig struct {
	URL string `yaml:"url"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	return Config{
		Server:      ServerConfig{Listen: "127.0.0.1:9999"},
		Roster:      "fleet.yaml",
		Heartbeat:   HeartbeatConfig{URL: "http://127.0.0.1:9095"},
		Sources:     boards.Default(),
		MinInterval: 15 * time.Second,
		Timeout:     5 * time.Second,
		Window:      5 * time.Minute,
	}
}

// Validate implements [confload.Validator].
func (c *Config) Validate(r *confload.Report) {
	if err := httpserve.CheckExposure(c.Server.Listen, "server.token", c.Server.Token); err != nil {
		r.Errorf("server.listen", "%v", err)
	}
	if c.Roster == "" {
		r.Errorf("roster", "expected the path of fleet.yaml")
	}
	for path, text := range map[string]string{"heartbeat.url": c.Heartbeat.URL, "gateway.url": c.Gateway.URL} {
		if u, err := url.Parse(text); text != "" && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
			r.Errorf(path, "expected a URL like http://127.0.0.1:9095, got %q", text)
		}
	}
	c.Sources.Check(r)
	for path, d := range map[string]time.Duration{"min_interval": c.MinInterval, "timeout": c.Timeout, "window": c.Window} {
		if d <= 0 {
			r.Errorf(path, "expected a duration above 0, got %s", d)
		}
	}
}

// readsBoards reports whether the exporter reads task boards itself: where there is
// no heartbeat, which does it better, and this is not the exporter of another host.
func (c *Config) readsBoards() bool { return c.Heartbeat.URL == "" && c.Host == "" }

// settings are a checked configuration and the roster it names.
type settings struct {
	config Config
	roster *fleet.Roster
}

// load reads both files. host, from the command line, wins over the file.
func load(path, host string) (settings, error) {
	config := DefaultConfig()
	if err := applyPort(&config); err != nil {
		return settings{}, err
	}
	err := confload.Load(path, &config)
	if host != "" {
		config.Host = host
	}
	roster, rosterErr := fleet.LoadNamed(config.Roster)
	if err := confload.Join(err, rosterErr); err != nil {
		return settings{}, err
	}
	return settings{config, roster}, nil
}

// portVariable is read for people who come from the predecessor.
const portVariable = "EXPORTER_PORT"

func applyPort(c *Config) error {
	text := os.Getenv(portVariable)
	if text == "" {
		return nil
	}
	if n, err := strconv.Atoi(text); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("%s: expected a port, got %q; better set server.listen", portVariable, text)
	}
	c.Server.Listen = "127.0.0.1:" + text
	return nil
}

// unavailable says what the settings ask for and this version does not do.
func (s settings) unavailable() []string {
	var lines []string
	if s.config.readsBoards() {
		lines = s.config.Sources.Unconfigured(s.roster)
	}
	for _, a := range s.roster.Agents {
		if a.Host != s.config.Host {
			continue
		}
		for _, kind := range collector.UnavailableWatches(a.Watch) {
			lines = append(lines, fmt.Sprintf("agent %s: watch.%s is not part of this version; no agent_up for it", a.ID, kind))
		}
	}
	return lines
}
