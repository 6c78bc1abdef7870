package alertbridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// standIn is a Feishu stand-in that listens.
type standIn struct {
	*feishu.Server
	url string
}

func newFeishu(t testing.TB, o feishu.Options) *standIn {
	t.Helper()
	if o.Apps == nil {
		o.Apps = map[string]string{"cli_app": "app-secret-value"}
	}
	s, err := feishu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return &standIn{s, server.URL}
}

// views are the messages that are no replies.
func (s *standIn) views() []feishu.MessageView { return s.Snapshot().Views() }

// settings are what tests change of the configuration below.
type settings struct {
	feishu       string // base URL
	alertmanager string // URL; empty: none
	extra        string // further top-level YAML
	receivers    string // replaces the receivers
	minUptime    string // of Alertmanager; empty: 2.5s, more than the watchdog's age
	reconcile    string // how often; empty: 200ms
	severity     string // replaces the routing
	operators    string // open ids, by commas; empty: no buttons
	dir          string // of configuration and data
}

const standardReceivers = `
  - name: oncall
    app: {receive_id_type: chat_id, receive_id: oc_oncall}
  - name: coo
    app: {receive_id_type: open_id, receive_id: ou_coo}
  - name: nobody
`

func writeConfig(t testing.TB, s settings) string {
	t.Helper()
	if s.receivers == "" {
		s.receivers = standardReceivers
	}
	if s.minUptime == "" {
		s.minUptime = "2500ms"
	}
	if s.reconcile == "" {
		s.reconcile = "200ms"
	}
	if s.severity == "" {
		s.severity = "severity: {critical: [oncall], warning: [coo], info: [], default: [coo]}"
	}
	callbacks := "off"
	if s.operators != "" {
		callbacks = "long_connection"
	}
	text := fmt.Sprintf(`
server: {listen: 127.0.0.1:0, token: hook-token-value, admin_token: admin-token-value, max_body: 1MiB}
feishu: {app_id: cli_app, app_secret: app-secret-value, base_url: %q, timeout: 1s, callbacks: %q}
operators: [%q]
alertmanager: {url: %q, reconcile_every: %s, watchdog_max_age: 2s, min_uptime: %s}
links: {grafana: "http://grafana.example", runbooks: "http://runbooks.example/r"}
receivers: %s
%s
%s
`, s.feishu, callbacks, s.operators, s.alertmanager, s.reconcile, s.minUptime, s.receivers, s.severity, s.extra)
	file := filepath.Join(s.dir, "alertbridge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// bridge is a running bridge.
type bridge struct {
	*alertbridge.App
	t    testing.TB
	logs *lockedBuffer
}

func startBridge(t testing.TB, s settings) *bridge {
	t.Helper()
	if s.dir == "" {
		s.dir = t.TempDir()
	}
	logs := &lockedBuffer{}
	app, err := alertbridge.New(t.Context(), alertbridge.Options{ConfigFile: writeConfig(t, s), Log: slog.New(slog.NewTextHandler(logs, nil))})
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{App: app, t: t, logs: logs}
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.stop()
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	return b
}

// stop stops the bridge; again is nothing.
func (b *bridge) stop() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), 20*time.Second)
	defer cancel()
	if err := b.Stop(ctx); err != nil {
		b.t.Error(err)
	}
}

type alert struct {
	labels   map[string]string
	resolved bool
	starts   time.Time
	ends     time.Time
	summary  string
}

// payload is a webhook as Alertmanager posts it.
func payload(group map[string]string, alerts ...alert) string {
	type wire struct {
		Status      string            `json:"status"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		StartsAt    time.Time         `json:"startsAt"`
		EndsAt      time.Time         `json:"endsAt"`
	}
	status, out := "resolved", []wire{}
	for _, a := range alerts {
		w := wire{Status: "firing", Labels: a.labels, StartsAt: a.starts, EndsAt: a.ends, Annotations: map[string]string{"summary": a.summary}}
		if a.resolved {
			w.Status = "resolved"
		} else {
			status = "firing"
		}
		out = append(out, w)
	}
	data, err := json.Marshal(map[string]any{
		"version": "4", "groupKey": "k", "status": status, "receiver": "bridge", "groupLabels": group, "alerts": out,
		"externalURL": "http://alertmanager.example", "truncatedAlerts": 0, "a_later_field": true,
	})
	if err != nil {
		panic(err)
	}
	return string(data)
}

// down is AgentDown of an agent, firing since start; up is its end.
func down(agent, severity string, start time.Time) alert {
	return alert{
		labels:  map[string]string{"alertname": "AgentDown", "agent_name": agent, "severity": severity},
		summary: agent + " is down", starts: start,
	}
}

func (a alert) up(end time.Time) alert {
	a.resolved, a.ends = true, end
	return a
}

func group(agent string) map[string]string {
	return map[string]string{"alertname": "AgentDown", "agent_name": agent}
}

func (b *bridge) do(method, path, token, body string) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.Addr()+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.StatusCode, string(data)
}

func (b *bridge) post(body string) {
	b.t.Helper()
	if status, text := b.do(http.MethodPost, "/webhook", "hook-token-value", body); status != http.StatusOK {
		b.t.Fatalf("webhook: %d %s", status, text)
	}
}

// metric is the value of one line of /metrics, such as name{label="x"}.
func (b *bridge) metric(line string) string {
	b.t.Helper()
	_, text := b.do(http.MethodGet, "/metrics", "", "")
	for l := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(l, line+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// eventually waits until ok, looking often, and fails with what describe says.
func eventually(t testing.TB, ok func() bool, describe func() string) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("did not come about: %s", describe())
		case <-tick.C:
		}
	}
}

// waitCards waits until the stand-in shows exactly these cards, each as
// "template title", in the order of their creation.
func (s *standIn) waitCards(t testing.TB, want ...string) {
	t.Helper()
	have := func() []string {
		out := []string{}
		for _, v := range s.views() {
			out = append(out, v.Template+" "+v.Title)
		}
		return out
	}
	eventually(t, func() bool {
		got := have()
		if len(got) != len(want) {
			return false
		}
		for i := range want {
			if !strings.Contains(got[i], want[i]) {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprintf("cards %q, want %q", have(), want) })
}

// lockedBuffer may be written and read at once.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
