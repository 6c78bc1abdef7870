package alertbridge

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// maxTemplateFile bounds a template file, in bytes.
const maxTemplateFile = 1 << 20

// exitTemplate is the exit code of the render command where cards were printed in
// the built-in form because a template failed.
const exitTemplate = 3

// validateTemplates reads the users' templates and reports everything that is wrong
// with them.
func (c *Config) validateTemplates(r *confload.Report) {
	files, of := c.templateFiles(r)
	_, problems := override.Parse(files)
	for _, p := range problems {
		r.Errorf(fmt.Sprintf("templates[%d]", of[p.Path]), "%s", p)
	}
}

// templateFiles reads the files that the patterns name, each once, and says which
// pattern named it. A pattern that matches nothing yet is no problem; a file that is
// named and is not there is one.
func (c *Config) templateFiles(r *confload.Report) (files []override.File, of map[string]int) {
	of = map[string]int{}
	for i, pattern := range c.Templates {
		key := fmt.Sprintf("templates[%d]", i)
		paths, err := filepath.Glob(string(pattern))
		if err != nil {
			r.Errorf(key, "expected a path or a pattern such as templates/*.tmpl: %v", err)
			continue
		}
		if len(paths) == 0 && !strings.ContainsAny(string(pattern), `*?[`) {
			r.Errorf(key, "expected a file, there is none at %s", pattern)
		}
		for _, path := range paths {
			if _, named := of[path]; named {
				continue
			}
			of[path] = i
			text, err := readTemplate(path)
			if err != nil {
				r.Errorf(key, "%v", err)
				continue
			}
			files = append(files, override.File{Path: path, Text: text})
		}
	}
	return files, of
}

func readTemplate(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("expected a readable file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxTemplateFile {
		return "", fmt.Errorf("expected a file of at most %d bytes at %s", maxTemplateFile, path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("expected a readable file: %w", err)
	}
	return string(text), nil
}

// templates are the users' templates as they are now.
func (c *Config) templates() (*override.Set, error) {
	report := &confload.Report{}
	files, _ := c.templateFiles(report)
	if report.Failed() {
		return nil, fmt.Errorf("templates: the files can no longer be read, alertbridge check-config says why")
	}
	set, problems := override.Parse(files)
	if len(problems) > 0 {
		return nil, fmt.Errorf("templates: %s", problems[0])
	}
	return set, nil
}

// templateRemarks says what a person should know of the templates although nothing
// is wrong with the configuration: patterns that match nothing, and templates that
// fail on sample cards.
func (c *Config) templateRemarks(renderer *render.Renderer) []string {
	var out []string
	for _, pattern := range c.Templates {
		if paths, err := filepath.Glob(string(pattern)); err == nil && len(paths) == 0 {
			out = append(out, fmt.Sprintf("no file matches %s", pattern))
		}
	}
	failed := renderer.TryTemplates(time.Now())
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		out = append(out, fmt.Sprintf("%s fails on a sample card, such cards get the built-in form: %v", name, failed[name]))
	}
	return out
}

// templateReport keeps how the users' templates fare: a count, one line of the log
// for each distinct error, and whether the last execution failed.
type templateReport struct {
	log      *slog.Logger
	failures *prometheus.CounterVec

	mu      sync.Mutex
	failing map[string]bool
	logged  map[string]bool
}

// maxDistinct bounds the errors that are told apart until the next reload.
const maxDistinct = 100

func newTemplateReport(r prometheus.Registerer, log *slog.Logger) *templateReport {
	t := &templateReport{log: log, failing: map[string]bool{}, logged: map[string]bool{}, failures: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "alertbridge_template_failures_total",
		Help: "Executions of users' templates (feishu.title, feishu.body) that failed, so that the built-in form was shown.",
	}, []string{"template"})}
	r.MustRegister(t.failures)
	for _, name := range override.Names() {
		t.failures.WithLabelValues(name)
	}
	return t
}

// attach makes a configuration's renderer report here.
func (t *templateReport) attach(built *assembly) {
	built.deliver.Renderer = built.deliver.Renderer.Reporting(t.observe)
}

// reset forgets what failed before a reload.
func (t *templateReport) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing, t.logged = map[string]bool{}, map[string]bool{}
}

func (t *templateReport) observe(name string, err error) {
	if t.note(name, err) {
		t.log.Warn("template failed, the card has the built-in form", "template", name, "error", err)
	}
	if err != nil {
		t.failures.WithLabelValues(name).Inc()
	}
}

// note reports whether the error is one to log.
func (t *templateReport) note(name string, err error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failing[name] = err != nil
	if err == nil || t.logged[err.Error()] || len(t.logged) >= maxDistinct {
		return false
	}
	t.logged[err.Error()] = true
	return true
}

// ready names the templates whose last execution failed. What failed is in the log
// only: an error may quote a label.
func (t *templateReport) ready(context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var names []string
	for _, name := range override.Names() {
		if t.failing[name] {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return httpserve.Degraded(fmt.Errorf("cards have the built-in form, the last card made these templates fail: %s", strings.Join(names, ", ")))
}

// templatesFailed is how the render command ends where templates failed: with the
// errors, after the cards, and an exit code of its own.
func templatesFailed(failed map[string]error) error {
	if len(failed) == 0 {
		return nil
	}
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		lines = append(lines, fmt.Sprintf("%s: %v", name, failed[name]))
	}
	return program.Exit{Code: exitTemplate, Err: fmt.Errorf("the cards have the built-in form, a template failed:\n%s", strings.Join(lines, "\n"))}
}
