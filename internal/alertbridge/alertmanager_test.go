package alertbridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// realAlertmanager is a running Alertmanager whose webhook is a bridge.
type realAlertmanager struct {
	t       *testing.T
	url     string
	command *exec.Cmd
}

// binary finds a tool that make builds, and skips the test where it is not
// there, unless REQUIRE_ALL is set.
func binary(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("FLEETWATCH_BIN")
	if dir == "" {
		dir = filepath.Join("..", "..", ".bin")
	}
	path, err := filepath.Abs(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("REQUIRE_ALL") == "1" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skipf("%s is not built (make tools), set REQUIRE_ALL=1 to require it", name)
	}
	return path
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// startAlertmanager starts one at the address, which posts to the webhooks.
func startAlertmanager(t *testing.T, address, webhook string, args ...string) *realAlertmanager {
	t.Helper()
	return startAlertmanagerRepeating(t, address, webhook, "1h", args...)
}

// startAlertmanagerRepeating posts again after repeat.
func startAlertmanagerRepeating(t *testing.T, address, webhook, repeat string, args ...string) *realAlertmanager {
	t.Helper()
	path, dir := binary(t, "alertmanager"), t.TempDir()
	config := fmt.Sprintf(`
route: {receiver: bridge, group_by: [alertname, agent_name], group_wait: 100ms, group_interval: 300ms, repeat_interval: %s}
inhibit_rules:
- {source_matchers: ['alertname="AgentDown"'], target_matchers: ['alertname="AgentLate"'], equal: [agent_name]}
receivers:
- name: bridge
  webhook_configs: [{url: %q, http_config: {authorization: {credentials: hook-token-value}}}]
`, repeat, webhook)
	file := filepath.Join(dir, "alertmanager.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"--config.file=" + file, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--log.level=error"}, args...)
	a := &realAlertmanager{t: t, url: "http://" + address, command: exec.Command(path, args...)}
	logs := &lockedBuffer{}
	a.command.Stderr = logs
	if err := a.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		a.kill()
		if t.Failed() {
			t.Log(logs.String())
		}
	})
	eventually(t, func() bool {
		response, err := http.Get(a.url + "/-/ready")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, func() string { return "alertmanager is ready: " + logs.String() })
	return a
}

func (a *realAlertmanager) kill() {
	if a.command.ProcessState == nil {
		_ = a.command.Process.Kill()
		_ = a.command.Wait()
	}
}

func (a *realAlertmanager) call(method, path string, body any) string {
	a.t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		a.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.url+"/api/v2"+path, bytes.NewReader(data))
	if err != nil {
		a.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		a.t.Fatalf("%s: %d %s, %v", path, response.StatusCode, text, err)
	}
	return string(text)
}

// tell posts alerts the way Prometheus does; each lives until life has passed.
func (a *realAlertmanager) tell(life time.Duration, alerts ...alert) {
	a.t.Helper()
	var out []map[string]any
	for _, x := range alerts {
		ends := time.Now().Add(life)
		if x.resolved {
			ends = x.ends
		}
		out = append(out, map[string]any{"labels": x.labels, "annotations": map[string]string{"summary": x.summary}, "startsAt": x.starts, "endsAt": ends})
	}
	a.call(http.MethodPost, "/alerts", out)
}

func watchdog() alert {
	return alert{labels: map[string]string{"alertname": "Watchdog", "severity": "info"}, starts: time.Now().Add(-time.Hour), summary: "the alert path is alive"}
}

func (a *realAlertmanager) silence(label, value string) string {
	a.t.Helper()
	return a.silenceWith(label, value, "test")
}

func (a *realAlertmanager) silenceWith(label, value, comment string) string {
	a.t.Helper()
	text := a.call(http.MethodPost, "/silences", map[string]any{
		"matchers": []map[string]any{{"name": label, "value": value, "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "ana", "comment": comment,
	})
	var answer struct{ SilenceID string }
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		a.t.Fatal(err)
	}
	return answer.SilenceID
}

// chain is a bridge between a real Alertmanager and the stand-in.
func chain(t *testing.T) (*realAlertmanager, *standIn, *bridge) {
	t.Helper()
	binary(t, "alertmanager")
	fs, address := newFeishu(t, feishu.Options{}), freeAddress(t)
	b := startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + address})
	am := startAlertmanager(t, address, "http://"+b.Addr()+"/webhook", "--cluster.listen-address=")
	// The watchdog has been heard, and Alertmanager is up for long enough.
	am.tell(time.Minute, watchdog())
	eventually(t, func() bool {
		return b.metric("alertbridge_reconcile_last_success_timestamp_seconds") != "0"
	}, func() string { return "the bridge has asked Alertmanager" })
	return am, fs, b
}

func TestRealFiringThenGreen(t *testing.T) {
	am, fs, _ := chain(t)
	x := down("secretary", "critical", time.Now())
	am.tell(time.Minute, x)
	fs.waitCards(t, "red 🚨 [CRITICAL] secretary is down")
	am.tell(time.Minute, watchdog(), x.up(time.Now()))
	fs.waitCards(t, "green ✅ [CRITICAL] secretary is down")
}

func TestRealSilence(t *testing.T) {
	am, fs, _ := chain(t)
	x := down("secretary", "critical", time.Now())
	am.tell(time.Minute, x)
	fs.waitCards(t, "red")
	id := am.silence("agent_name", "secretary")
	fs.waitCards(t, "grey 🔕")
	if text := fs.views()[0].Text; !strings.Contains(text, "已静默") || !strings.Contains(text, "ana") {
		t.Errorf("the silenced card says %q", text)
	}
	am.call(http.MethodDelete, "/silence/"+id, nil)
	fs.waitCards(t, "red")
	am.silence("agent_name", "secretary")
	fs.waitCards(t, "grey 🔕")
	// No webhook tells of an end under silence.
	am.tell(time.Minute, watchdog(), x.up(time.Now()))
	waitGreenHearing(t, am, fs)
}

// waitGreenHearing keeps the watchdog alive until the only card is green.
func waitGreenHearing(t *testing.T, am *realAlertmanager, fs *standIn) {
	t.Helper()
	eventually(t, func() bool {
		am.tell(time.Minute, watchdog())
		views := fs.views()
		return len(views) == 1 && views[0].Template == "green"
	}, func() string { return fmt.Sprintf("one green card, have %+v", fs.views()) })
}

func TestRealInhibition(t *testing.T) {
	am, fs, _ := chain(t)
	late := down("secretary", "warning", time.Now())
	late.labels["alertname"], late.summary = "AgentLate", "secretary is late"
	am.tell(time.Minute, late)
	fs.waitCards(t, "yellow")
	am.tell(time.Minute, down("secretary", "critical", time.Now()))
	fs.waitCards(t, "grey 🔕", "red")
	if text := fs.views()[0].Text; !strings.Contains(text, "抑制") {
		t.Errorf("the inhibited card says %q", text)
	}
}

// TestRealMonitoringDead is Prometheus stopped while an alert fires: the alert
// runs out, and nobody knows whether it is over.
func TestRealMonitoringDead(t *testing.T) {
	am, fs, b := chain(t)
	x := down("secretary", "critical", time.Now())
	am.tell(4*time.Second, watchdog(), x) // as Prometheus sends it: four times its resend delay
	fs.waitCards(t, "red")
	fs.waitCards(t, "grey ❔")
	if text := fs.views()[0].Text; !strings.Contains(text, "监控中断") {
		t.Errorf("the card says %q", text)
	}
	eventually(t, func() bool { return b.metric(`alertbridge_cards{receiver="oncall",state="unknown"}`) == "1" }, func() string { return "one unknown card is counted" })
	// Monitoring is back and the alert is not.
	waitGreenHearing(t, am, fs)
}

func TestRealMonitoringDeadAlertBack(t *testing.T) {
	am, fs, _ := chain(t)
	x := down("secretary", "critical", time.Now())
	am.tell(4*time.Second, watchdog(), x)
	fs.waitCards(t, "red")
	fs.waitCards(t, "grey ❔")
	am.tell(time.Minute, watchdog(), x)
	fs.waitCards(t, "red")
}

func TestRealAlertmanagerGone(t *testing.T) {
	am, fs, b := chain(t)
	x := down("secretary", "critical", time.Now())
	am.tell(time.Minute, x)
	fs.waitCards(t, "red")
	am.kill()
	eventually(t, func() bool { return strings.Contains(b.logs.String(), "alertmanager does not answer") }, func() string { return "the log tells" })
	if v := fs.views(); len(v) != 1 || v[0].Template != "red" {
		t.Errorf("cards %+v, want the red one", v)
	}
}

// TestRealAlertmanagerRestarted forgets all its alerts: that says nothing.
func TestRealAlertmanagerRestarted(t *testing.T) {
	binary(t, "alertmanager")
	fs, address := newFeishu(t, feishu.Options{}), freeAddress(t)
	b := startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + address, minUptime: "1m"})
	am := startAlertmanager(t, address, "http://"+b.Addr()+"/webhook", "--cluster.listen-address=")
	x := down("secretary", "critical", time.Now())
	am.tell(time.Minute, watchdog(), x)
	fs.waitCards(t, "red")
	answers := func(n int) func() bool {
		return func() bool { return strings.Count(b.logs.String(), "alertmanager answers") == n }
	}
	eventually(t, answers(1), func() string { return "the bridge hears Alertmanager" })
	am.kill()
	eventually(t, func() bool { return strings.Count(b.logs.String(), "alertmanager does not answer") == 2 }, func() string { return "the bridge misses Alertmanager" })
	startAlertmanager(t, address, "http://"+b.Addr()+"/webhook", "--cluster.listen-address=")
	eventually(t, answers(2), func() string { return "the bridge hears the new Alertmanager" })
	for range 4 { // comparisons, of which the first ones have had time to be shown
		success := b.metric("alertbridge_reconcile_last_success_timestamp_seconds")
		eventually(t, func() bool { return b.metric("alertbridge_reconcile_last_success_timestamp_seconds") != success }, func() string { return "one more comparison" })
	}
	if v := fs.views(); len(v) != 1 || v[0].Template != "red" || v[0].Revisions != 1 {
		t.Errorf("cards %+v, want the red one unchanged", v)
	}
}

func TestRealTwoPeers(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	addresses := []string{freeAddress(t), freeAddress(t)}
	clusters := []string{freeAddress(t), freeAddress(t)}
	b := startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + addresses[0]})
	var peers []*realAlertmanager
	for i, address := range addresses {
		peers = append(peers, startAlertmanager(t, address, "http://"+b.Addr()+"/webhook",
			"--cluster.listen-address="+clusters[i], "--cluster.peer="+clusters[1-i], "--cluster.peer-timeout=50ms", "--cluster.settle-timeout=1s"))
	}
	x := down("secretary", "critical", time.Now())
	tell := func(alerts ...alert) {
		for _, p := range peers {
			p.tell(time.Minute, alerts...)
		}
	}
	tell(watchdog(), x)
	fs.waitCards(t, "red")
	tell(watchdog(), x.up(time.Now()))
	eventually(t, func() bool {
		tell(watchdog())
		return fs.views()[0].Template == "green"
	}, func() string { return fmt.Sprintf("a green card, have %+v", fs.views()) })
	tell(watchdog(), down("secretary", "critical", time.Now()))
	fs.waitCards(t, "green", "red")
}
