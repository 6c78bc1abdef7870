package alerting

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// subjects are the labels that say what an alert is about.
var subjects = []string{"agent_name", "backend", "model", "client", "instance", "host"}

// TestInhibitionNamesItsSubject looks at the file: labels that are missing on
// both sides count as equal, so a rule without a non-empty subject on both sides
// would hold back alerts that have nothing to do with each other.
func TestInhibitionNamesItsSubject(t *testing.T) {
	var config struct {
		Rules []struct {
			Source []string `yaml:"source_matchers"`
			Target []string `yaml:"target_matchers"`
			Equal  []string `yaml:"equal"`
		} `yaml:"inhibit_rules"`
	}
	decode(t, filepath.Join(folder(t), "alertmanager.yml"), &config)
	if len(config.Rules) == 0 {
		t.Fatal("no inhibit_rules")
	}
	for i, r := range config.Rules {
		var named []string
		for _, label := range r.Equal {
			if slices.Contains(subjects, label) {
				named = append(named, label)
			} else if label != "alertname" {
				t.Errorf("inhibit_rules[%d]: %s is no subject; expected one of %v", i, label, subjects)
			}
		}
		if len(named) != 1 {
			t.Errorf("inhibit_rules[%d]: expected one subject in equal, got %v", i, named)
			continue
		}
		want := named[0] + `=~".+"`
		if !slices.Contains(r.Source, want) || !slices.Contains(r.Target, want) {
			t.Errorf("inhibit_rules[%d]: expected %s on both sides, got %v and %v", i, want, r.Source, r.Target)
		}
	}
}

// inhibitionCases are alerts that fire together. Each is held back by some other,
// or must be heard.
func inhibitionCases() []inhibitionCase {
	type labels = map[string]string
	alert := func(name, severity string, more labels) labels {
		l := labels{"alertname": name, "severity": severity}
		maps.Copy(l, more)
		return l
	}
	agent := func(id string) labels { return labels{"agent_name": id, "instance": "openclaw-agents"} }
	cases := []inhibitionCase{
		{"a process that is gone", alert("AgentDown", "critical", agent("a")), false},
		{"explains the missed beat", alert("AgentHeartbeatMissed", "critical", agent("a")), true},
		{"the late beat", alert("AgentHeartbeatLate", "warning", agent("a")), true},
		{"the unknown state", alert("AgentUnknown", "warning", agent("a")), true},
		{"the stagnant task", alert("AgentTaskStagnant", "warning", agent("a")), true},
		{"but no other trouble of the agent", alert("AgentRateLimited", "warning", agent("a")), false},
		{"and of no other agent", alert("AgentHeartbeatMissed", "critical", agent("b")), false},
		{"nor its warning", alert("AgentUnknown", "warning", agent("b")), false},

		{"no agent named: a process that is gone", alert("AgentDown", "critical", nil), false},
		{"no agent named: explains nothing", alert("AgentHeartbeatMissed", "critical", nil), false},
		{"no agent named: not even a warning", alert("AgentUnknown", "warning", nil), false},

		{"one agent's critical", alert("AgentErrorRatioHigh", "critical", agent("c")), false},
		{"covers its own warning", alert("AgentErrorRatioHigh", "warning", agent("c")), true},
		{"not another agent's from the same exporter", alert("AgentErrorRatioHigh", "warning", agent("d")), false},
	}
	for _, subject := range []string{"agent_name", "backend", "model", "client", "instance"} {
		name := "Test_" + subject
		cases = append(cases,
			inhibitionCase{subject + ": critical", alert(name, "critical", labels{subject: "x"}), false},
			inhibitionCase{subject + ": its warning", alert(name, "warning", labels{subject: "x"}), true},
			inhibitionCase{subject + ": another's warning", alert(name, "warning", labels{subject: "y"}), false},
			inhibitionCase{subject + ": a warning without subject", alert(name, "warning", nil), false},
			inhibitionCase{subject + ": a warning of another name", alert(name+"_other", "warning", labels{subject: "x"}), false},
		)
	}
	for _, name := range outOfBand() {
		for _, severity := range []string{"critical", "warning"} {
			cases = append(cases, inhibitionCase{"nothing covers " + name + ", " + severity, alert(name, severity, labels{"instance": "alertbridge:9094", "receiver": "coo"}), false})
		}
	}
	return append(cases,
		inhibitionCase{"no subject: critical", alert("Test_none", "critical", nil), false},
		inhibitionCase{"no subject: warning", alert("Test_none", "warning", nil), false})
}

// outOfBand are the alerts about the bridge and those that it may not be able to tell:
// they go to heartbeat, and nothing holds them back.
func outOfBand() []string {
	return []string{
		"BridgeDown", "BridgeDeliveriesFailing", "BridgePendingStuck", "BridgeDeadLetters", "BridgeFeishuUnreachable", "BridgeCallbackDisconnected",
		"BridgeReceiverUnconfigured", "BridgeReconcileStale", "AlertmanagerNotificationsFailing",
	}
}

type inhibitionCase struct {
	name   string
	labels map[string]string
	held   bool
}

// TestInhibition asks a real Alertmanager with our configuration.
func TestInhibition(t *testing.T) {
	url := startAlertmanager(t)
	cases := inhibitionCases()
	var posted []map[string]any
	for _, c := range cases {
		posted = append(posted, map[string]any{"labels": c.labels, "startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour)})
	}
	body, err := json.Marshal(posted)
	if err != nil {
		t.Fatal(err)
	}
	if code, answer := request(t, http.MethodPost, url+"/api/v2/alerts", body); code != http.StatusOK {
		t.Fatalf("posting alerts: %d %s", code, answer)
	}
	var wrong []string
	if !testtool.Eventually(t, func() bool { wrong = misjudged(t, url, cases); return len(wrong) == 0 }) {
		t.Error(strings.Join(wrong, "\n"))
	}
}

// misjudged lists the cases whose alert Alertmanager treats otherwise.
func misjudged(t *testing.T, url string, cases []inhibitionCase) []string {
	t.Helper()
	_, answer := request(t, http.MethodGet, url+"/api/v2/alerts", nil)
	var known []struct {
		Labels map[string]string `json:"labels"`
		Status struct {
			InhibitedBy []string `json:"inhibitedBy"`
		} `json:"status"`
	}
	if err := json.Unmarshal(answer, &known); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	key := func(labels map[string]string) string {
		text, err := json.Marshal(labels)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	held := map[string]bool{}
	for _, a := range known {
		held[key(a.Labels)] = len(a.Status.InhibitedBy) > 0
	}
	var wrong []string
	for _, c := range cases {
		got, there := held[key(c.labels)]
		switch {
		case !there:
			wrong = append(wrong, c.name+": Alertmanager does not have it")
		case got && !c.held:
			wrong = append(wrong, c.name+": is held back and must be heard: "+key(c.labels))
		case !got && c.held:
			wrong = append(wrong, c.name+": is heard and must be held back: "+key(c.labels))
		}
	}
	return wrong
}

// startAlertmanager runs our configuration with the addresses and secrets of this
// machine; nothing listens where it sends.
func startAlertmanager(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	nowhere := "http://" + testtool.FreeAddress(t)
	for name, text := range map[string]string{
		"alertbridge_webhook_token": "token", "watchdog_ping_url": nowhere + "/ping/key", "bridge_ping_fail_url": nowhere + "/ping/key/fail",
		"alertmanager.yml": strings.NewReplacer("/run/secrets", dir, "http://alertbridge:9094", nowhere).Replace(read(t, filepath.Join(folder(t), "alertmanager.yml"))),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	address := testtool.FreeAddress(t)
	testtool.Start(t, "alertmanager", "--config.file="+filepath.Join(dir, "alertmanager.yml"), "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=error")
	testtool.WaitReady(t, "http://"+address+"/-/ready")
	return "http://" + address
}

func request(t *testing.T, method, url string, body []byte) (int, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return testtool.Do(t, r)
}
