package alerting

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/exporter"
	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// metric is one family as the programs expose it.
type metric struct {
	name     string
	kind     string // counter, gauge, histogram
	help     string
	labels   []string            // sorted
	programs []string            // sorted
	values   map[string][]string // seen label values
}

// app is what the programs have in common.
type app interface {
	Addr() string
	Start(context.Context) error
	Stop(context.Context) error
	Registry() *prometheus.Registry
}

const token = "a-token-of-the-tests"

// suite runs the programs, gives each something to count, and returns their
// registries by program.
func suite(t *testing.T) map[string]*prometheus.Registry {
	t.Helper()
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	put := func(name, format string, args ...any) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	started := func(a app, err error) app {
		if err == nil {
			err = a.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := a.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	put("agent.pid", "%d", os.Getpid())
	put("list.md", "- [-] a task\n")
	put("fleet.yaml", `agents:
  - {id: opengineer, label: 运维工程师, class: frequent, owner: coo, driver: {type: exec, argv: ["true"]}, watch: {process: {pid_file: agent.pid}}}
  - {id: secretary, gateway_client: secretary, sources: {workboard: {}}}
  - {id: lawyer, sources: {documents: {globs: [list.md]}}}
`)
	claw := put("openclaw", "#!/bin/sh\necho '{\"cards\":[]}'\n")
	if err := os.Chmod(claw, 0o700); err != nil {
		t.Fatal(err)
	}
	beats := started(heartbeat.New(heartbeat.Options{Log: log, ConfigFile: put("heartbeat.yaml", `
server: {listen: "127.0.0.1:0", token: %s, ping_key: ping-key-of-the-tests}
store: {url: "sqlite:heartbeat.db"}
schedule: {always_run: true}
checks: [{name: prometheus-watchdog, key: watchdog-key-of-tests, every: 1m, notify: [nobody]}]
notify: {nobody: {}}
sources: {openclaw: {cli: %q}}
`, token, claw)}))
	call(t, http.MethodPost, beats, "/api/jobs/opengineer/run?wait=60s", "")
	call(t, http.MethodPost, beats, "/ping/watchdog-key-of-tests", "")
	call(t, http.MethodPost, beats, "/ping/ping-key-of-the-tests/lawyer/fail", "")
	bridge := started(alertbridge.New(t.Context(), alertbridge.Options{Log: log, ConfigFile: put("alertbridge.yaml", `
server: {listen: "127.0.0.1:0", token: %[1]s, admin_token: %[1]s}
store: {url: "sqlite:alertbridge.db"}
alertmanager: {url: "http://%[2]s"}
receivers: [{name: coo, webhook: {url: "http://%[2]s/hook"}}]
severity: {default: [coo]}
`, token, testtool.FreeAddress(t))}))
	call(t, http.MethodPost, bridge, "/webhook", `{"version":"4","groupKey":"g","status":"firing","receiver":"alertbridge","groupLabels":{"alertname":"A"},
		"alerts":[{"status":"firing","labels":{"alertname":"A","severity":"critical"},"startsAt":"2026-01-01T00:00:00Z","fingerprint":"f"}]}`)
	health := started(exporter.New(exporter.Options{Log: log, ConfigFile: put("exporter.yaml", `
server: {listen: "127.0.0.1:0", token: %[1]s}
heartbeat: {url: "http://%[2]s", token: %[1]s}
gateway: {url: "%[3]s"}
min_interval: 50ms
`, token, beats.Addr(), startTraffic(t))}))
	seen := testtool.Eventually(t, func() bool {
		scrape := call(t, http.MethodGet, health, "/metrics", "")
		return strings.Contains(scrape, `agent_source_up{source="heartbeat"} 1`) && strings.Contains(scrape, `agent_source_up{source="watch"} 1`) &&
			strings.Contains(scrape, "agent_response_time_seconds{") && strings.Contains(scrape, "agent_task_last_progress_timestamp_seconds{") &&
			strings.Contains(scrape, "agent_workboard_pending{")
	})
	if !seen {
		t.Fatal("the exporter did not read its sources:\n" + call(t, http.MethodGet, health, "/metrics", ""))
	}
	traffic := started(gateway.New(t.Context(), gateway.Options{Log: log, ConfigFile: put("gateway.yaml", `
server: {listen: "127.0.0.1:0"}
admin: {listen: "127.0.0.1:0", token: %[1]s}
store: {url: "sqlite:gateway.db", encryption_keys: [%[2]s]}
clients: {declared: [{name: secretary, key: %[1]s, daily_budget: 1}]}
backends: [{name: b, pool: primary, base_url: "%[3]s/b/v1", api_key: key-of-the-tests, rpm_limit: 40, models: {m: {native_id: n}}}]
`, token, strings.Repeat("0a", 32), startProvider(t))}))
	call(t, http.MethodPost, traffic, "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
	return map[string]*prometheus.Registry{"gateway": traffic.Registry(), "heartbeat": beats.Registry(), "alertbridge": bridge.Registry(), "exporter": health.Registry()}
}

// startProvider serves one backend, b.
func startProvider(t *testing.T) string {
	t.Helper()
	server, err := provider.New(provider.Options{Backends: []string{"b"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	return listening.URL
}

// startTraffic serves metrics as a gateway does whose client secretary asks again
// and again.
func startTraffic(t *testing.T) string {
	t.Helper()
	var scrapes atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `fleetwatch_build_info 1
# TYPE gateway_client_requests_total counter
gateway_client_requests_total{client="secretary",outcome="completed"} %[1]d
# TYPE gateway_client_attempts_total counter
gateway_client_attempts_total{client="secretary",outcome="succeeded",class=""} %[1]d
gateway_client_attempts_total{client="secretary",outcome="failed",class="rate_limit"} %[1]d
# TYPE gateway_client_response_seconds histogram
gateway_client_response_seconds_bucket{client="secretary",le="1"} %[1]d
gateway_client_response_seconds_bucket{client="secretary",le="+Inf"} %[1]d
gateway_client_response_seconds_sum{client="secretary"} %[1]d
gateway_client_response_seconds_count{client="secretary"} %[1]d
`, scrapes.Add(1))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// call asks a program, which must answer with success.
func call(t *testing.T, method string, a app, path, body string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+a.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/json")
	code, answer := testtool.Do(t, r)
	if code/100 != 2 {
		t.Fatalf("%s %s: %d %s", method, path, code, answer)
	}
	return string(answer)
}

// description is how client_golang prints a Desc, which has no other way out.
var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "((?:[^"\\]|\\.)*)", unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

var labelName = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`)

// exposed returns all families of the programs by name, without those of the Go
// runtime and the process.
func exposed(t *testing.T, registries map[string]*prometheus.Registry) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	for _, program := range slices.Sorted(maps.Keys(registries)) {
		descs := make(chan *prometheus.Desc)
		go func() { defer close(descs); registries[program].Describe(descs) }()
		for d := range descs {
			m := described(t, d)
			if strings.HasPrefix(m.name, "go_") || strings.HasPrefix(m.name, "process_") {
				continue
			}
			if known, ok := all[m.name]; ok {
				m.programs = known.programs
			}
			m.programs = slices.Compact(append(m.programs, program))
			all[m.name] = m
		}
		gathered(t, registries[program], all)
	}
	for name, m := range all {
		listed := slices.Contains(unsampled(), name)
		switch {
		case m.kind != "" && listed:
			t.Errorf("%s: has a sample; take it out of unsampled", name)
		case m.kind != "":
			continue
		case strings.HasSuffix(name, "_total"):
			m.kind = "counter"
		case listed:
			m.kind = "gauge"
		default:
			t.Errorf("%s: had no sample, so its type is not known; let suite give it one", name)
		}
		all[name] = m
	}
	return all
}

// unsampled are the gauges that suite gives no sample: no run is open at the moment
// of the scrape, and the bridge's cards have no buttons.
func unsampled() []string {
	return []string{"heartbeat_run_deadline_timestamp_seconds", "alertbridge_callback_connected"}
}

func described(t *testing.T, d *prometheus.Desc) metric {
	t.Helper()
	parts := description.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("client_golang prints a Desc in a new way: %s", d)
	}
	m := metric{name: parts[1], help: strings.ReplaceAll(parts[2], `\"`, `"`), values: map[string][]string{}}
	for pair := range strings.SplitSeq(parts[3], `",`) {
		if name := labelName.FindString(pair); name != "" {
			m.labels = append(m.labels, name)
		}
	}
	m.labels = append(m.labels, labelName.FindAllString(parts[4], -1)...)
	slices.Sort(m.labels)
	return m
}

// gathered adds what only samples tell: the type and label values.
func gathered(t *testing.T, registry *prometheus.Registry, all map[string]metric) {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		m, ok := all[family.GetName()]
		if !ok {
			continue
		}
		m.kind = strings.ToLower(family.GetType().String())
		for _, sample := range family.GetMetric() {
			for _, label := range sample.GetLabel() {
				if !slices.Contains(m.values[label.GetName()], label.GetValue()) {
					m.values[label.GetName()] = append(m.values[label.GetName()], label.GetValue())
				}
			}
		}
		all[m.name] = m
	}
}
