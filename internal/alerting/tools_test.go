package alerting

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// accepted runs a tool that must find nothing wrong.
func accepted(t *testing.T, tool string, args ...string) {
	t.Helper()
	if code, out := testtool.Run(t, tool, args...); code != 0 || strings.Contains(out, "level=warn") {
		t.Errorf("%s %s: exit code %d\n%s", tool, strings.Join(args, " "), code, out)
	}
}

func TestPrometheusAccepts(t *testing.T) {
	config := filepath.Join(folder(t), "prometheus.yml")
	accepted(t, "promtool", "check", "config", "--lint=all", "--lint-fatal", config)
	accepted(t, "promtool", append([]string{"check", "rules", "--lint=all", "--lint-fatal"}, glob(t, "rules/*.rules.yml")...)...)
}

func TestRuleTests(t *testing.T) {
	for _, file := range glob(t, "tests/*.test.yml") {
		t.Run(filepath.Base(file), func(t *testing.T) { accepted(t, "promtool", "test", "rules", file) })
	}
}

func TestAlertmanagerAccepts(t *testing.T) {
	accepted(t, "amtool", "check-config", filepath.Join(folder(t), "alertmanager.yml"))
}

func TestRoutes(t *testing.T) {
	for _, c := range []struct {
		name     string
		labels   []string
		receiver string
	}{
		{"the alert path's own", []string{"alertname=Watchdog", "severity=none"}, "heartbeat-watchdog"},
		{"the bridge is gone", []string{"alertname=BridgeDown", "severity=critical", "instance=alertbridge:9094"}, "heartbeat-bridge"},
		{"the bridge cannot deliver", []string{"alertname=BridgeDeliveriesFailing", "severity=critical"}, "heartbeat-bridge"},
		{"the bridge refuses", []string{"alertname=AlertmanagerNotificationsFailing", "severity=critical"}, "heartbeat-bridge"},
		{"an agent, critical", []string{"alertname=AgentDown", "severity=critical", "agent_name=opengineer"}, "alertbridge"},
		{"an agent, warning", []string{"alertname=AgentUnknown", "severity=warning", "agent_name=opengineer"}, "alertbridge"},
		{"heartbeat is gone", []string{"alertname=HeartbeatDown", "severity=critical"}, "alertbridge"},
		{"a target", []string{"alertname=TargetDown", "severity=warning"}, "alertbridge"},
		{"a name that only begins alike", []string{"alertname=WatchdogOfAnother", "severity=warning"}, "alertbridge"},
		{"anything", []string{"alertname=Anything"}, "alertbridge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := append([]string{"config", "routes", "test", "--config.file=" + filepath.Join(folder(t), "alertmanager.yml")}, c.labels...)
			if code, out := testtool.Run(t, "amtool", args...); code != 0 || strings.TrimSpace(out) != c.receiver {
				t.Errorf("%v go to %q (exit code %d), want %s", c.labels, strings.TrimSpace(out), code, c.receiver)
			}
		})
	}
}

// TestEveryAlertIsRouted covers what the table above does not name. The alerts of the
// bridge's group are exactly those that must not go through the bridge.
func TestEveryAlertIsRouted(t *testing.T) {
	var own []string
	for _, a := range alerts(t) {
		want := "alertbridge"
		switch {
		case a.Alert == "Watchdog":
			want = "heartbeat-watchdog"
		case slices.Contains(outOfBand(), a.Alert):
			want = "heartbeat-bridge"
		}
		if a.file == "bridge.rules.yml" {
			own = append(own, a.Alert)
		}
		_, out := testtool.Run(t, "amtool", "config", "routes", "test", "--config.file="+filepath.Join(folder(t), "alertmanager.yml"),
			"alertname="+a.Alert, "severity="+a.Labels["severity"])
		if strings.TrimSpace(out) != want {
			t.Errorf("%s goes to %q, want %s", a.Alert, strings.TrimSpace(out), want)
		}
	}
	if !slices.Equal(own, outOfBand()) {
		t.Errorf("bridge.rules.yml has %v, want %v", own, outOfBand())
	}
}
