package alertbridge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func command(t *testing.T, stdin string, args ...string) (code int, out string) {
	t.Helper()
	var text bytes.Buffer
	code = program.Main(t.Context(), alertbridge.Program(), args, strings.NewReader(stdin), &text, &text)
	return code, text.String()
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "alertbridge.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// wholeConfig names every key of the schema.
const wholeConfig = `
server: {listen: 127.0.0.1:9094, token: token-value, admin_token: admin-value, max_body: 8MiB}
store:  {url: "sqlite:data/alertbridge.db", max_open_cards: 20000}
feishu: {app_id: cli_x, app_secret: secret-value, base_url: "", domain: feishu, timeout: 10s, callbacks: long_connection}
alertmanager: {url: http://127.0.0.1:9093, reconcile_every: 15s, watchdog: Watchdog, watchdog_max_age: 2m, min_uptime: 3m, silence_choices: [1h, 4h, 24h]}
operators: [ou_xxx]
links: {grafana: "", dashboard: /d/agent-health, runbooks: ""}
display: {timezone: Asia/Shanghai, language: zh-CN, title_prefix: ""}
templates: [templates/*.tmpl]
receivers:
  - name: critical-oncall
    app:      {receive_id_type: open_id, receive_id: "ou_a"}
    webhook:  {url: "https://open.feishu.cn/open-apis/bot/v2/hook/hook-value", secret: "sign-value", keyword: ""}
    openclaw: {cli: no-such-openclaw, target: "t"}
    deliver: failover
    failover_after: 2m
    mention: [ou_xxx]
    escalate: [{after: 10m, to: coo}, {after: 20m, urgent: app}, {after: 40m, urgent: phone}]
  - name: coo
    app: {receive_id_type: open_id, receive_id: ""}
severity: {critical: [critical-oncall], warning: [coo], info: [], default: [coo]}
owner_receivers: true
routes:
  - {matchers: ['team="infra"', 'severity=~"critical|warning"'], receivers: [coo], continue: false, hours: "Mon-Fri 09:00-19:00"}
storm: {per_receiver_per_minute: 5, digest_every: 30s}
limits: {urgent_sms_per_day: 5, urgent_phone_per_day: 10, max_age: 24h}
retention: {delivered: 14d, dead: 90d}
`

func TestCheckConfig(t *testing.T) {
	code, out := command(t, "", "check-config", "-config", writeFile(t, wholeConfig))
	if code != 0 {
		t.Fatal(out)
	}
	for _, secret := range []string{"token-value", "admin-value", "secret-value", "hook-value", "sign-value"} {
		if strings.Contains(out, secret) {
			t.Errorf("check-config shows %s", secret)
		}
	}
	_, list, _ := strings.Cut(out, "not available in this way of running:")
	if !strings.Contains(list, "receivers[0].openclaw: the program \"no-such-openclaw\" is not found") {
		t.Errorf("OpenClaw is not listed as unavailable in %q", list)
	}
	if !strings.Contains(list, "dead letters: coo") {
		t.Errorf("coo is not said to be without credentials: %q", list)
	}
}

func TestEveryProblemIsReported(t *testing.T) {
	bad := strings.NewReplacer(
		"listen: 127.0.0.1:9094, token: token-value", "listen: 0.0.0.0:9094, token: ''", "timeout: 10s", "timeout: ten", "language: zh-CN", "language: fr",
		"mention: [ou_xxx]", "mention: ['<at id=all>']", "warning: [coo]", "warning: [cooo]", `'team="infra"'`, `'team=='`, "hours: \"Mon-Fri 09:00-19:00\"", "hours: sometimes",
		"name: coo", "name: critical-oncall", "timezone: Asia/Shanghai", "timezone: Mars/Base", "store:", "stor:").Replace(wholeConfig)
	code, out := command(t, "", "check-config", "-config", writeFile(t, bad))
	if code != 2 {
		t.Fatalf("exit code %d: %s", code, out)
	}
	for _, want := range []string{
		":2: server.listen: ", "set server.token", ":3: stor: unknown key", "store", ":4: feishu.timeout", ":8: display.language", "zh-CN, en", ":8: display.timezone",
		"receivers[0].mention[0]", "severity.warning[0]", "routes[0].matchers[0]", "routes[0].hours", "receivers[1].name",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// TestAnAlertmanagerThatStartedIsNoEvidence: absence from it counts only once a
// Watchdog from before its start is too old to turn a card green.
func TestAnAlertmanagerThatStartedIsNoEvidence(t *testing.T) {
	for _, c := range []struct {
		keys string
		code int
	}{
		{"watchdog_max_age: 2m, min_uptime: 3m", 0},
		{"watchdog_max_age: 2m, min_uptime: 2m", 2},
		{"watchdog_max_age: 2m, min_uptime: 0s", 2},
		{"watchdog_max_age: 4m, min_uptime: 3m", 2},
		{`watchdog_max_age: 4m, min_uptime: 3m, watchdog: ""`, 0},
	} {
		text := strings.Replace(wholeConfig, "watchdog: Watchdog, watchdog_max_age: 2m, min_uptime: 3m", c.keys, 1)
		code, out := command(t, "", "check-config", "-config", writeFile(t, text))
		if code != c.code || code != 0 && (!strings.Contains(out, "alertmanager.min_uptime: ") || !strings.Contains(out, "alertmanager.watchdog_max_age")) {
			t.Errorf("%s: exit code %d, want %d: %s", c.keys, code, c.code, out)
		}
	}
}

func TestEmptyReceiversAreRefused(t *testing.T) {
	if code, out := command(t, "", "check-config", "-config", writeFile(t, "display: {language: en}\n")); code != 2 || !strings.Contains(out, "at least one receiver") {
		t.Errorf("%d %s", code, out)
	}
}

func TestRenderCommand(t *testing.T) {
	body := payload(group("a"), down("a", "critical", time.Now()))
	t.Chdir(t.TempDir())
	code, out := command(t, body, "render", "-f", "-")
	var cards []struct{ Receiver string }
	if code != 0 || json.Unmarshal([]byte(out), &cards) != nil || len(cards) != 1 || !strings.Contains(out, "a is down") {
		t.Errorf("%d %s", code, out)
	}
	code, out = command(t, body, "render", "-f", "-", "-config", writeFile(t, wholeConfig))
	if code != 0 || !strings.Contains(out, `"receiver": "critical-oncall"`) {
		t.Errorf("%d %s", code, out)
	}
	over := payload(group("a"), down("a", "critical", time.Now().Add(-time.Hour)).up(time.Now()))
	if code, out = command(t, over, "render", "-f", "-"); code != 0 || !strings.Contains(out, `"template": "green"`) {
		t.Errorf("%d %s", code, out)
	}
	if code, out = command(t, "{}", "render", "-f", "-"); code != 1 || !strings.Contains(out, "version") {
		t.Errorf("%d %s", code, out)
	}
}

func TestSendTest(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	file := writeConfig(t, settings{feishu: fs.url, dir: t.TempDir()})
	if code, out := command(t, "", "send-test", "oncall", "-config", file); code != 0 || !strings.Contains(out, "oncall/app: ok") {
		t.Errorf("%d %s", code, out)
	}
	if views := fs.views(); len(views) != 1 || views[0].Template != "blue" {
		t.Errorf("messages %+v", views)
	}
	if code, out := command(t, "", "send-test", "nobody", "-config", file); code != 1 || !strings.Contains(out, "no credentials") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := command(t, "", "send-test", "who", "-config", file); code != 2 || !strings.Contains(out, "coo, nobody, oncall") {
		t.Errorf("%d %s", code, out)
	}
}

func TestDeadCommand(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	s := settings{feishu: fs.url, dir: t.TempDir()}
	b := startBridge(t, s)
	if status, text := b.do(http.MethodPost, "/webhook/nobody", "hook-token-value", payload(group("a"), down("a", "critical", time.Now()))); status != 200 {
		t.Fatal(status, text)
	}
	// The command finds the bridge by the configuration's address.
	file := writeConfig(t, s)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = writeFile(t, strings.Replace(string(data), "127.0.0.1:0", b.Addr(), 1))
	code, out := command(t, "", "dead", "list", "-config", file)
	if code != 0 || !strings.Contains(out, "unconfigured") || !strings.Contains(out, "a is down") {
		t.Fatalf("%d %s", code, out)
	}
	lines := strings.Split(out, "\n")
	id, _, _ := strings.Cut(lines[1], " ")
	if code, out := command(t, "", "dead", "replay", id, "-config", file); code != 0 {
		t.Errorf("%d %s", code, out)
	}
	if code, out := command(t, "", "dead", "replay", id, "-config", file); code != 1 || !strings.Contains(out, "replayed already") {
		t.Errorf("%d %s", code, out)
	}
	if code, out := command(t, "", "dead", "bury", "-config", file); code != 2 {
		t.Errorf("%d %s", code, out)
	}
}

func TestWebhookPort(t *testing.T) {
	t.Setenv("WEBHOOK_PORT", "9555")
	code, out := command(t, "", "check-config", "-config", writeFile(t, wholeConfig))
	if code != 0 || !strings.Contains(out, "127.0.0.1:9555") || !strings.Contains(out, "deprecated") {
		t.Errorf("%d %s", code, out)
	}
}
