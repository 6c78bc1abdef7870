package fleet_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

func load(t *testing.T, text string) (*fleet.Roster, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fleet.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fleet.Load(path)
}

func TestLoadResolvesClassesAndDefaults(t *testing.T) {
	r, err := load(t, `
timezone: Asia/Shanghai
classes: {frequent: {every: 10m, grace: 5m}, regular: {every: 15m, grace: 3m}}
defaults: {class: regular, timeout: 9m}
agents:
  - {id: opengineer, label: 运维工程师, class: frequent, driver: {type: exec, argv: [true]}, watch: {process: {pid_file: a.pid}}}
  - {id: lawyer, grace: 1m, timeout: 0, sources: {documents: {globs: ["x/*.md"]}, workboard: {agent: l}}}
  - {id: coo, cron: "*/10 9-18 * * 1-5", patrol: true}
`)
	if err != nil {
		t.Fatal(err)
	}
	ops, _ := r.Agent("opengineer")
	if ops.Every != 10*time.Minute || ops.Grace != 5*time.Minute || ops.Timeout != 9*time.Minute || ops.TaskTimeout != 20*time.Minute ||
		ops.MaxRounds != 50 || ops.RoundWarning != 0.8 || ops.Driver.Type != "exec" || ops.Driver.Agent != "opengineer" {
		t.Errorf("opengineer = %+v", ops)
	}
	if !filepath.IsAbs(string(ops.Watch.Process.PIDFile)) {
		t.Errorf("pid file is not relative to the roster: %s", ops.Watch.Process.PIDFile)
	}
	lawyer, _ := r.Agent("lawyer")
	if lawyer.Label != "lawyer" || lawyer.Class != "regular" || lawyer.Every != 15*time.Minute || lawyer.Grace != time.Minute || lawyer.Timeout != 0 || lawyer.Driver.Type != "none" {
		t.Errorf("lawyer = %+v", lawyer)
	}
	if got := lawyer.Sources.Names(); !slices.Equal(got, []string{"workboard", "documents"}) {
		t.Errorf("sources = %v", got)
	}
	coo, _ := r.Agent("coo")
	schedule, err := r.Schedule(coo)
	if err != nil || coo.Every != 0 || coo.Class != "" {
		t.Fatalf("coo = %+v, %v", coo, err)
	}
	saturday := time.Date(2026, 11, 21, 12, 0, 0, 0, r.Location)
	if next := schedule.Next(saturday); !next.Equal(time.Date(2026, 11, 23, 9, 0, 0, 0, r.Location)) {
		t.Errorf("next of %s after Saturday noon in Shanghai = %s", coo.Cron, next)
	}
	if _, ok := r.Agent("nobody"); ok {
		t.Error("an agent that is not in the roster was found")
	}
}

func TestLoadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"agents: [{id: a}, {id: a}]":                                   `agents[1].id: duplicate agent id "a"`,
		"agents: [{id: A}]":                                            "expected [a-z0-9]",
		"agents: [{label: x}]":                                         "expected [a-z0-9]",
		"agents: [{id: start}]":                                        "words of the ping URL",
		"agents: [{id: '17'}]":                                         "words of the ping URL",
		"agents: [{id: a, class: daily}]":                              "expected one of the classes frequent, regular",
		"agents: [{id: a, cron: '* *'}]":                               "five cron fields",
		"agents: [{id: a, cron: '0 0 * * *', class: regular}]":         "either class or cron",
		"agents: [{id: a, driver: {type: exec}}]":                      "needs either argv or shell",
		"agents: [{id: a, driver: {type: exec, argv: [a], shell: b}}]": "needs either argv or shell",
		"agents: [{id: a, driver: {type: none, argv: [a]}}]":           "belong to driver type exec",
		"agents: [{id: a, driver: {type: magic}}]":                     "expected one of none, exec",
		"agents: [{id: a, driver: {type: http}}]":                      "needs a url",
		"agents: [{id: a, watch: {port: x}}]":                          "expected a port",
		"agents: [{id: a, probe: {process: {match: '('}}}]":            "regular expression",
		"agents: [{id: a, watch: {process: {pid_file: a, match: b}}}]": "either pid_file or match",
		"agents: [{id: a, max_rounds: -1}]":                            "expected 0 (no limit) or more",
		"agents: [{id: a, round_warning: 1.5}]":                        "expected a share",
		"agents: [{id: a, sources: {documents: {}}}]":                  "at least one glob",
		"agents: [{id: a, grce: 5m}]":                                  `did you mean "grace"?`,
		"agents: [{id: a, grace: soon}]":                               "expected a duration",
		"timezone: Mars/Base":                                          "expected a zone name",
		"classes: {fast: {every: 1ms}}\ndefaults: {class: fast}":       "at least 1s",
		"defaults: {class: none}":                                      "defaults.class: expected one of the classes",
		"agents: [{id: a, label: \"x\\ny\"}]":                          "one line",
	} {
		if _, err := load(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
