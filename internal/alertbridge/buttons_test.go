package alertbridge_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of cards (empty: none)")

// withButtons is a chain whose cards have buttons for ou_ana.
func withButtons(t *testing.T) (*realAlertmanager, *standIn, *bridge) {
	t.Helper()
	binary(t, "alertmanager")
	fs, address := newFeishu(t, feishu.Options{Names: map[string]string{"ou_ana": "安娜 值班"}}), freeAddress(t)
	b := startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + address, operators: "ou_ana, ou_ben"})
	am := startAlertmanager(t, address, "http://"+b.Addr()+"/webhook", "--cluster.listen-address=")
	am.tell(time.Minute, watchdog())
	b.waitConnected()
	return am, fs, b
}

func (b *bridge) waitConnected() {
	b.t.Helper()
	eventually(b.t, func() bool { return b.metric("alertbridge_callback_connected") == "1" }, func() string { return "the long connection is there" })
}

// press presses a button of the only card and returns the toast as "kind text".
func (s *standIn) press(t testing.TB, button, operator string) string {
	t.Helper()
	p, err := s.Press(t.Context(), s.views()[0].MessageID, button, operator)
	if err != nil {
		t.Fatal(err)
	}
	return p.Kind + " " + p.Text
}

func (b *bridge) actions(action, result string) string {
	b.t.Helper()
	return b.metric(fmt.Sprintf(`alertbridge_actions_total{action=%q,result=%q}`, action, result))
}

// waitText waits until the first card says all of these.
func (s *standIn) waitText(t testing.TB, parts ...string) {
	t.Helper()
	text := func() string { return s.views()[0].Text }
	eventually(t, func() bool {
		return !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(text(), p) })
	}, func() string { return fmt.Sprintf("the card says %q, have %q", parts, text()) })
}

func (s *standIn) hasButton(button string) bool {
	return slices.Contains(strings.Split(s.views()[0].Text, "\n"), button)
}

type amSilence struct {
	ID, CreatedBy, Comment string
	EndsAt                 time.Time
	Matchers               []struct{ Name, Value string }
	Status                 struct{ State string }
}

// silences are those of Alertmanager in a state, such as active.
func (a *realAlertmanager) silences(state string) []amSilence {
	a.t.Helper()
	response, err := http.Get(a.url + "/api/v2/silences")
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var all []amSilence
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		a.t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(s amSilence) bool { return s.Status.State != state })
}

// TestButtonsFromThePage goes from a click on the stand-in's page over the SDK's
// long connection to a silence in a real Alertmanager and back onto the card.
func TestButtonsFromThePage(t *testing.T) {
	am, fs, b := withButtons(t)
	am.tell(time.Minute, down("secretary", "critical", time.Now()))
	fs.waitCards(t, "red")
	ctx := browsertest.Open(t, browsertest.View{Width: 1280, Height: 1100})
	click := func(button, toast string, shows ...string) {
		t.Helper()
		selector := `button[value="` + button + `"]`
		if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(selector))); err != nil {
			t.Fatalf("%s: %v; the card says %q; the bridge says %s", button, err, fs.views()[0].Text, b.logs)
		}
		// The page may put the card in anew at any moment: found and clicked in one go.
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.querySelector('.toast')?.remove(), document.querySelector('`+selector+`').click(), true`)); err != nil {
			t.Fatalf("%s: %v", button, err)
		}
		actions := []chromedp.Action[chromedp.Void]{chromedp.WaitVisible(chromedp.CSS(`.toast.` + toast))}
		for _, selector := range shows {
			actions = append(actions, chromedp.WaitVisible(chromedp.CSS(selector)))
		}
		if err := chromedp.Do(ctx, actions...); err != nil {
			t.Fatalf("%s: %v; the card says %q; the bridge says %s", button, err, fs.views()[0].Text, b.logs)
		}
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(fs.url+"/?as=ou_sandbox_stranger"), chromedp.WaitVisible(chromedp.CSS(`[data-linked="1"]`))); err != nil {
		t.Fatal(err)
	}
	browsertest.Screenshot(t, ctx, *screenshots, "buttons-firing")
	click("静默 1 小时", "warning")
	if n := len(am.silences("active")); n != 0 || fs.views()[0].Template != "red" {
		t.Errorf("a stranger made %d silences", n)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(fs.url+"/?as=ou_ana"), chromedp.WaitVisible(chromedp.CSS(`[data-person="ou_ana"][aria-current="true"]`))); err != nil {
		t.Fatal(err)
	}
	click("确认", "success")
	fs.waitText(t, "已确认", "@ou_ana")
	browsertest.Screenshot(t, ctx, *screenshots, "buttons-acknowledged")
	click("静默 4 小时", "success", `[data-card][data-template="grey"]`)
	fs.waitText(t, "静默至", "已静默", "结束静默", "已确认")
	browsertest.Screenshot(t, ctx, *screenshots, "buttons-silenced")
	made := am.silences("active")
	if len(made) != 1 || made[0].CreatedBy != "ou_ana" || len(made[0].Matchers) != 2 || !strings.Contains(made[0].Comment, "http://grafana.example/") ||
		!strings.Contains(made[0].Comment, "openChatId=oc_oncall") || time.Until(made[0].EndsAt).Round(time.Hour) != 4*time.Hour {
		t.Errorf("silences: %+v", made)
	}
	click("结束静默", "success", `[data-card][data-template="red"]`)
	fs.waitText(t, "结束静默", "静默 1 小时")
	if n := len(am.silences("active")); n != 0 {
		t.Errorf("%d silences after their end", n)
	}
	browsertest.Screenshot(t, ctx, *screenshots, "buttons-ended")
	_, audit := b.do(http.MethodGet, "/api/audit", "admin-token-value", "")
	for _, want := range []string{"not_operator 1h0m0s", "ou_sandbox_stranger", `"acknowledge"`, "accepted 4h0m0s", "silence_made", made[0].ID, "silence_ended", `"end_silence"`} {
		if !strings.Contains(audit, want) {
			t.Errorf("the audit trail lacks %s: %s", want, audit)
		}
	}
	for _, c := range [][3]string{{"silence", "not_operator", "1"}, {"acknowledge", "accepted", "1"}, {"silence", "accepted", "1"}, {"silence", "done", "1"}, {"end_silence", "done", "1"}} {
		if got := b.actions(c[0], c[1]); got != c[2] {
			t.Errorf("alertbridge_actions_total{%s,%s} is %q, want %s", c[0], c[1], got, c[2])
		}
	}
}
