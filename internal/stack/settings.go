package stack

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Settings are what a person configured: compose/.env, and the environment,
// which wins.
type Settings struct{ values map[string]string }

// settingNames are the settings the suite knows; .env.example lists the same.
var settingNames = []string{
	"FEISHU_APP_ID", "FEISHU_APP_SECRET", "FEISHU_DOMAIN",
	"FEISHU_CRITICAL_ID", "FEISHU_CRITICAL_ID_TYPE", "FEISHU_WARNING_ID", "FEISHU_WARNING_ID_TYPE", "FEISHU_OPERATORS",
	"FEISHU_WEBHOOK_CRITICAL", "FEISHU_WEBHOOK_CRITICAL_SECRET", "FEISHU_WEBHOOK_WARNING", "FEISHU_WEBHOOK_WARNING_SECRET",
	"FLEET_FILE", "FLEET_DIR", "GATEWAY_FILE", "GATEWAY_DIR", "GRAFANA_URL", "RUNBOOK_URL",
	"MULTICA_SERVER_URL", "MULTICA_TOKEN", "MULTICA_WORKSPACE_ID", "OPENCLAW_CLI", "OPENCLAW_GATEWAY_TOKEN",
}

// ReadSettings reads the settings of the repository at root.
func ReadSettings(root string) (Settings, error) {
	s := Settings{values: map[string]string{}}
	if err := s.readFile(filepath.Join(root, "compose", ".env")); err != nil {
		return s, err
	}
	for _, name := range settingNames {
		if v := os.Getenv(name); v != "" {
			s.values[name] = v
		}
	}
	// Containers mount folders, so they are told the folder; both ways name the
	// same file here.
	for dir, file := range map[string]struct{ setting, name string }{"FLEET_DIR": {"FLEET_FILE", "fleet.yaml"}, "GATEWAY_DIR": {"GATEWAY_FILE", "gateway.yaml"}} {
		if s.values[dir] != "" && s.values[file.setting] == "" {
			s.values[file.setting] = filepath.Join(s.values[dir], file.name)
		}
	}
	return s, s.validate()
}

// NoSettings are those of the demo: nothing is configured, whatever the
// environment holds.
func NoSettings() Settings { return Settings{values: map[string]string{}} }

func (s Settings) readFile(path string) error {
	file, err := os.Open(filepath.Clean(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading settings: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for number := 1; lines.Scan(); number++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok {
			return fmt.Errorf("%s:%d: expected NAME=VALUE", path, number)
		}
		name = strings.TrimSpace(name)
		if value = strings.Trim(strings.TrimSpace(value), `"'`); value != "" {
			s.values[name] = value
		}
	}
	return lines.Err()
}

func (s Settings) validate() error {
	for _, name := range []string{"FLEET_FILE", "GATEWAY_FILE"} {
		file := s.values[name]
		if file == "" {
			continue
		}
		if !filepath.IsAbs(file) {
			return fmt.Errorf("%s: expected an absolute path, got %q", name, file)
		}
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if (s.values["FEISHU_APP_ID"] == "") != (s.values["FEISHU_APP_SECRET"] == "") {
		return errors.New("FEISHU_APP_ID and FEISHU_APP_SECRET: expected both or none")
	}
	return nil
}

// feishu reports whether any part of Feishu is configured: then the stand-in is
// not used at all.
func (s Settings) feishu() bool {
	for name := range s.values {
		if strings.HasPrefix(name, "FEISHU_APP_") || strings.HasPrefix(name, "FEISHU_WEBHOOK_") {
			return true
		}
	}
	return false
}

// env returns the settings whose names start with one of the prefixes, as
// environment entries.
func (s Settings) env(prefixes ...string) []string {
	var env []string
	for name, value := range s.values {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			env = append(env, name+"="+value)
		}
	}
	slices.Sort(env)
	return env
}

// ownGateway reports whether there is a gateway configuration of one's own.
func (s Settings) ownGateway() bool { return s.values["GATEWAY_FILE"] != "" }

// OwnAgents reports whether there is a roster of one's own.
func (s Settings) OwnAgents() bool { return s.values["FLEET_FILE"] != "" }
