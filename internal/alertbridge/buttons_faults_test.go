package alertbridge_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// cardWithButtons is a bridge without Alertmanager that shows one red card.
func cardWithButtons(t *testing.T, s settings) (*standIn, *bridge) {
	t.Helper()
	fs := newFeishu(t, feishu.Options{})
	s.feishu, s.operators = fs.url, "ou_ana"
	if s.alertmanager == "" {
		s.alertmanager = "http://127.0.0.1:9" // there is one, and it does not answer
	}
	b := startBridge(t, s)
	b.waitConnected()
	b.post(payload(group("secretary"), down("secretary", "critical", time.Now().Add(-time.Minute))))
	fs.waitCards(t, "red")
	return fs, b
}

// TestPressesThatChangeNothing are presses that are refused, each by its own
// reason, and what the audit trail says of them.
func TestPressesThatChangeNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		fault  feishu.FaultKind
		button string
		by     string
		toast  string
		result string // of the action, or of unknown where it cannot be told
		action string
	}{
		{"stranger", "", "确认", "ou_eve", "warning 您不在", "not_operator", "acknowledge"},
		{"forged", feishu.FaultForged, "确认", "ou_ana", "error 按钮无效", "forged", "unknown"},
		{"forged by a stranger", feishu.FaultForged, "静默 1 小时", "ou_eve", "error 按钮无效", "forged", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, b := cardWithButtons(t, settings{})
			if c.fault != "" {
				fs.fault(t, feishu.Fault{Kind: c.fault, Times: 1})
			}
			if got := fs.press(t, c.button, c.by); !strings.HasPrefix(got, c.toast) {
				t.Errorf("the toast says %q, want %q", got, c.toast)
			}
			if got := b.actions(c.action, c.result); got != "1" {
				t.Errorf("alertbridge_actions_total{%s,%s} is %q", c.action, c.result, got)
			}
			_, audit := b.do(http.MethodGet, "/api/audit", "admin-token-value", "")
			if !strings.Contains(audit, c.by) || !strings.Contains(audit, c.result) {
				t.Errorf("the audit trail: %s", audit)
			}
			if v := fs.views()[0]; v.Revisions != 1 || v.Template != "red" {
				t.Errorf("the card changed: %+v", v)
			}
		})
	}
}

func TestEventDeliveredTwice(t *testing.T) {
	fs, b := cardWithButtons(t, settings{})
	fs.fault(t, feishu.Fault{Kind: feishu.FaultTwice, Times: 1})
	if got := fs.press(t, "确认", "ou_ana"); got != "success 已确认，卡片稍后更新" {
		t.Errorf("the toast says %q", got)
	}
	if a, r := b.actions("acknowledge", "accepted"), b.actions("acknowledge", "repeated"); a != "1" || r != "1" {
		t.Errorf("accepted %s, repeated %s", a, r)
	}
	_, audit := b.do(http.MethodGet, "/api/audit", "admin-token-value", "")
	if n := strings.Count(audit, `"acknowledge"`); n != 1 {
		t.Errorf("%d entries in the audit trail: %s", n, audit)
	}
	fs.waitText(t, "已确认")
	if fs.hasButton("确认") {
		t.Error("an acknowledged card can be acknowledged")
	}
}

// TestReplayedSilence is an old button's value, sent after its silence ended.
func TestReplayedSilence(t *testing.T) {
	am, fs, b := withButtons(t)
	am.tell(time.Minute, down("secretary", "critical", time.Now()))
	fs.waitCards(t, "red")
	fs.fault(t, feishu.Fault{Kind: feishu.FaultTwice, Times: 1})
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitCards(t, "grey 🔕")
	if n := len(am.silences("active")); n != 1 {
		t.Fatalf("an event that came twice made %d silences", n)
	}
	fs.press(t, "结束静默", "ou_ben")
	fs.waitCards(t, "red")
	fs.fault(t, feishu.Fault{Kind: feishu.FaultReplay, Times: 1})
	if got := fs.press(t, "静默 1 小时", "ou_ana"); !strings.HasPrefix(got, "warning 卡片的状态已改变") {
		t.Errorf("the toast says %q", got)
	}
	if n := len(am.silences("active")) + len(am.silences("pending")); n != 0 {
		t.Errorf("a replayed value made %d silences", n)
	}
	if got := b.actions("silence", "superseded"); got != "1" {
		t.Errorf("superseded %q", got)
	}
	// The button as it is now works.
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitCards(t, "grey 🔕")
}

// TestSilenceEndedElsewhere is a silence of the card that somebody ends in
// Alertmanager: the card can be silenced again.
func TestSilenceEndedElsewhere(t *testing.T) {
	am, fs, _ := withButtons(t)
	am.tell(time.Minute, down("secretary", "critical", time.Now()))
	fs.waitCards(t, "red")
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitCards(t, "grey 🔕")
	am.call(http.MethodDelete, "/silence/"+am.silences("active")[0].ID, nil)
	fs.waitCards(t, "red")
	fs.waitText(t, "已在 Alertmanager 中被结束", "静默 1 小时")
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitCards(t, "grey 🔕")
}

// TestSilenceOfAGroupWithoutLabels makes one silence per alert.
func TestSilenceOfAGroupWithoutLabels(t *testing.T) {
	am, fs, b := withButtons(t)
	x, y := down("secretary", "critical", time.Now()), down("lawyer", "critical", time.Now())
	am.kill() // so that it posts no group of its own
	b.post(payload(map[string]string{"team": ""}, x, y))
	fs.waitCards(t, "red")
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitText(t, "请求静默至", "等待 Alertmanager")
	am = startAlertmanager(t, strings.TrimPrefix(am.url, "http://"), "http://127.0.0.1:9/webhook", "--cluster.listen-address=")
	am.tell(time.Minute, watchdog(), x, y)
	fs.waitCards(t, "grey 🔕")
	made := am.silences("active")
	if len(made) != 2 || len(made[0].Matchers) != 3 || len(made[1].Matchers) != 3 {
		t.Errorf("silences: %+v", made)
	}
	fs.press(t, "结束静默", "ou_ana")
	fs.waitCards(t, "red")
	if n := len(am.silences("active")); n != 0 {
		t.Errorf("%d silences are left", n)
	}
}

// TestSilenceRefused is an Alertmanager that refuses the silence for good.
func TestSilenceRefused(t *testing.T) {
	am := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprint(w, `"no such thing <at id=all></at>"`)
			return
		}
		_, _ = fmt.Fprint(w, `[]`)
	}))
	t.Cleanup(am.Close)
	fs, b := cardWithButtons(t, settings{alertmanager: am.URL})
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitText(t, "静默失败", "no such thing <at id=all></at>", "静默 1 小时")
	if got := b.actions("silence", "failed"); got != "1" {
		t.Errorf("failed %q", got)
	}
}

// TestConnectionComesBack drops the long connection, and then lets the platform
// be out of reach for a while.
func TestConnectionComesBack(t *testing.T) {
	fs, b := cardWithButtons(t, settings{})
	fs.fault(t, feishu.Fault{Kind: feishu.FaultOutage, Ops: []feishu.Op{feishu.OpConnect}})
	fs.DropConnections()
	eventually(t, func() bool { return b.metric("alertbridge_callback_connected") == "0" }, func() string { return "the drop is seen" })
	eventually(t, func() bool {
		status, text := b.do(http.MethodGet, "/ready", "", "")
		return status == http.StatusOK && strings.Contains(text, "long connection")
	}, func() string { return "/ready tells" })
	if got := fs.press(t, "确认", "ou_ana"); !strings.HasPrefix(got, "error 200340") {
		t.Errorf("a press without a connection: %q", got)
	}
	fs.ClearFaults()
	b.waitConnected()
	if got := fs.press(t, "确认", "ou_ana"); !strings.HasPrefix(got, "success") {
		t.Errorf("a press after the connection came back: %q", got)
	}
	if !strings.Contains(b.logs.String(), "buttons are not answered") {
		t.Error("the log does not tell")
	}
	b.stop()
	if n := fs.Connections(); n != 0 {
		eventually(t, func() bool { return fs.Connections() == 0 }, func() string { return "the connection ends with the bridge" })
	}
}

// reload writes the settings and has the bridge take them over.
func (b *bridge) reload(t *testing.T, s settings) {
	t.Helper()
	writeConfig(t, s)
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
}

// TestReloadOfButtons changes operators and choices, then takes buttons away.
func TestReloadOfButtons(t *testing.T) {
	s := settings{dir: t.TempDir()}
	fs, b := cardWithButtons(t, s)
	s.feishu, s.alertmanager = fs.url, "http://127.0.0.1:9"
	s.operators = "ou_ben"
	b.reload(t, s)
	if got := fs.press(t, "确认", "ou_ana"); !strings.HasPrefix(got, "warning 您不在") {
		t.Errorf("a former operator: %q", got)
	}
	file := writeConfig(t, s)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), "reconcile_every", "silence_choices: [30m], reconcile_every", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
	eventually(t, func() bool { return fs.hasButton("静默 30 分钟") && !fs.hasButton("静默 1 小时") }, func() string { return "the new choice: " + fs.views()[0].Text })
	fs.fault(t, feishu.Fault{Kind: feishu.FaultReplay, Times: 1})
	if got := fs.press(t, "确认", "ou_ben"); !strings.HasPrefix(got, "success") {
		t.Errorf("an older value of what is still offered: %q", got)
	}
	s.operators = ""
	b.reload(t, s)
	eventually(t, func() bool { return !fs.hasButton("静默 30 分钟") && fs.Connections() == 0 }, func() string { return "no buttons, no connection: " + fs.views()[0].Text })
	if got := b.metric("alertbridge_callback_connected"); got != "" {
		t.Errorf("without buttons alertbridge_callback_connected is %q, want it absent", got)
	}
	if status, text := b.do(http.MethodGet, "/ready", "", ""); status != 200 || strings.Contains(text, "long connection") {
		t.Errorf("/ready: %d %s", status, text)
	}
}

// TestNoButtonsElsewhere is a custom bot, which cannot have any, and a card that
// is over.
func TestNoButtonsElsewhere(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	receivers := fmt.Sprintf(`
  - name: oncall
    app: {receive_id_type: chat_id, receive_id: oc_1}
    webhook: {url: %q}
    deliver: all
  - name: coo
`, fs.url+"/open-apis/bot/v2/hook/tok-1")
	b := startBridge(t, settings{feishu: fs.url, receivers: receivers, operators: "ou_ana"})
	x := down("secretary", "critical", time.Now().Add(-time.Minute))
	b.post(payload(group("secretary"), x))
	eventually(t, func() bool { return len(fs.views()) == 2 }, func() string { return "a card and a bot's message" })
	for _, v := range fs.views() {
		if got := strings.Contains(v.Text, "确认"); got != (v.Kind == feishu.KindApp) {
			t.Errorf("%s has buttons: %t", v.Kind, got)
		}
		// Without an Alertmanager nothing can be silenced.
		if strings.Contains(v.Text, "静默") {
			t.Errorf("%s can be silenced", v.Kind)
		}
	}
	b.post(payload(group("secretary"), x.up(time.Now())))
	eventually(t, func() bool {
		for _, v := range fs.views() {
			if v.Kind == feishu.KindApp && v.Template == "green" {
				return !strings.Contains(v.Text, "确认")
			}
		}
		return false
	}, func() string { return "the green card has no buttons" })
}

// TestButtonsOutliveARestart presses on a card from before the bridge was
// restarted.
func TestButtonsOutliveARestart(t *testing.T) {
	s := settings{dir: t.TempDir(), alertmanager: "http://127.0.0.1:9"}
	fs, b := cardWithButtons(t, s)
	b.stop()
	s.feishu, s.operators = fs.url, "ou_ana"
	b = startBridge(t, s)
	b.waitConnected()
	if got := fs.press(t, "确认", "ou_ana"); !strings.HasPrefix(got, "success") {
		t.Errorf("the toast says %q", got)
	}
	fs.waitText(t, "已确认")
}

// TestEndWhileNotYetMade ends a silence that Alertmanager has never answered to,
// and that waits for its next try.
func TestEndWhileNotYetMade(t *testing.T) {
	fs, b := cardWithButtons(t, settings{})
	fs.press(t, "静默 1 小时", "ou_ana")
	fs.waitText(t, "请求静默至")
	eventually(t, func() bool { return strings.Contains(b.logs.String(), "attempt=2") }, func() string { return "tries in vain" })
	fs.press(t, "结束静默", "ou_ana")
	fs.waitText(t, "请求结束静默")
	if fs.hasButton("结束静默") || fs.hasButton("静默 1 小时") {
		t.Error("a silence that is about to end can be ended again, or another asked for")
	}
}
