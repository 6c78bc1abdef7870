package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/confload"
)

// document is a YAML file being adapted.
type document map[string]any

func readDocument(path string) (document, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("reading a shipped configuration: %w", err)
	}
	var d document
	if err := yaml.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return d, nil
}

func (d document) write(path string) error {
	text, err := yaml.Marshal(map[string]any(d))
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return os.WriteFile(path, text, 0o600)
}

// writeConfigs adapts what is shipped in alerting/ to this machine.
func (l Layout) writeConfigs(p Pace) error {
	if err := l.writePrometheus(p); err != nil {
		return err
	}
	if err := l.writeRules(p); err != nil {
		return err
	}
	return l.writeAlertmanager(p)
}

func (l Layout) writePrometheus(p Pace) error {
	d, err := readDocument(filepath.Join(l.Root, "alerting", "prometheus.yml"))
	if err != nil {
		return err
	}
	global, _ := d["global"].(document)
	if global == nil {
		return fmt.Errorf("alerting/prometheus.yml: expected a global section")
	}
	scrape := or(p.Scrape, p.scale(15*time.Second))
	global["scrape_interval"] = scrape.String()
	global["scrape_timeout"] = min(scrape, 10*time.Second).String()
	global["evaluation_interval"] = or(p.Evaluation, p.scale(15*time.Second)).String()
	jobs, _ := d["scrape_configs"].([]any)
	for _, each := range jobs {
		job, ok := each.(document)
		if !ok {
			return fmt.Errorf("alerting/prometheus.yml: expected a mapping for each scrape job")
		}
		name, _ := job["job_name"].(string)
		service := name
		if name == "agent-health" {
			service = Exporter
			job["scrape_interval"] = or(p.AgentScrape, p.scale(30*time.Second)).String()
			job["scrape_timeout"] = min(or(p.AgentScrape, p.scale(30*time.Second)), 10*time.Second).String()
		}
		if _, known := ports()[service]; !known {
			return fmt.Errorf("alerting/prometheus.yml: no service for the job %q", name)
		}
		if err := setTargets(job, l.Target(service)); err != nil {
			return err
		}
	}
	alerting, _ := d["alerting"].(document)
	managers, _ := alerting["alertmanagers"].([]any)
	for _, each := range managers {
		manager, _ := each.(document)
		if err := setTargets(manager, l.Target(Alertmanager)); err != nil {
			return err
		}
	}
	return d.write(l.config("prometheus.yml"))
}

func setTargets(of document, target string) error {
	configs, _ := of["static_configs"].([]any)
	if len(configs) != 1 {
		return fmt.Errorf("alerting/prometheus.yml: expected one static_configs entry, found %d", len(configs))
	}
	entry, _ := configs[0].(document)
	entry["targets"] = []string{target}
	return nil
}

// window is a time range in a rule's expression, such as [5m].
var window = regexp.MustCompile(`\[([0-9]+[smhd])\]`)

// writeRules copies the rules, their waits and windows divided by the pace's factor.
func (l Layout) writeRules(p Pace) error {
	files, err := filepath.Glob(filepath.Join(l.Root, "alerting", "rules", "*.rules.yml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("finding the rules: %d files, %w", len(files), err)
	}
	for _, file := range files {
		d, err := readDocument(file)
		if err != nil {
			return err
		}
		if err := scaleKeys(d, p, "for", "keep_firing_for"); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := scaleWindows(d, p); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if err := d.write(filepath.Join(l.config("rules"), filepath.Base(file))); err != nil {
			return err
		}
	}
	return nil
}

// scaleWindows divides the time ranges of expressions.
func scaleWindows(d document, p Pace) error {
	var wrong error
	replaceStrings(d, func(s string) string {
		return window.ReplaceAllStringFunc(s, func(found string) string {
			over, err := confload.ParseDuration(strings.Trim(found, "[]"))
			if err != nil {
				wrong = err
				return found
			}
			return "[" + promDuration(p.scale(over)) + "]"
		})
	})
	return wrong
}

func (l Layout) writeAlertmanager(p Pace) error {
	d, err := readDocument(filepath.Join(l.Root, "alerting", "alertmanager.yml"))
	if err != nil {
		return err
	}
	if err := scaleKeys(d, p, "resolve_timeout", "group_wait", "group_interval", "repeat_interval"); err != nil {
		return fmt.Errorf("alerting/alertmanager.yml: %w", err)
	}
	replaceStrings(d, func(s string) string {
		s = strings.ReplaceAll(s, "/run/secrets/", l.secret("")+string(filepath.Separator))
		return strings.ReplaceAll(s, "http://alertbridge:9094", l.URL(AlertBridge))
	})
	return d.write(l.config("alertmanager.yml"))
}

// scaleKeys divides the durations of the named keys, wherever they stand.
func scaleKeys(node any, p Pace, keys ...string) error {
	switch n := node.(type) {
	case document:
		for key, value := range n {
			text, isText := value.(string)
			if !isText || !contains(keys, key) {
				if err := scaleKeys(value, p, keys...); err != nil {
					return err
				}
				continue
			}
			d, err := confload.ParseDuration(text)
			if err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			if d > 0 {
				n[key] = promDuration(p.scale(d))
			}
		}
	case []any:
		for _, each := range n {
			if err := scaleKeys(each, p, keys...); err != nil {
				return err
			}
		}
	}
	return nil
}

// promDuration prints a duration in Prometheus' form, which knows no fractions.
func promDuration(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }

func replaceStrings(node any, change func(string) string) {
	switch n := node.(type) {
	case document:
		for key, value := range n {
			if text, ok := value.(string); ok {
				n[key] = change(text)
				continue
			}
			replaceStrings(value, change)
		}
	case []any:
		for i, value := range n {
			if text, ok := value.(string); ok {
				n[i] = change(text)
				continue
			}
			replaceStrings(value, change)
		}
	}
}

func contains(all []string, one string) bool {
	return slices.Contains(all, one)
}
