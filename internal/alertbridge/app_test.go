package alertbridge_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func TestOneLivingCard(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url})
	start := time.Now().Add(-time.Minute)
	x, y := down("secretary", "critical", start), down("secretary", "critical", start)
	y.labels["instance"] = "two"

	b.post(payload(group("secretary"), x))
	fs.waitCards(t, "red 🚨 [CRITICAL] secretary is down")
	id := fs.views()[0].MessageID

	b.post(payload(group("secretary"), x, y))
	b.post(payload(group("secretary"), x, y.up(time.Now())))
	b.post(payload(group("secretary"), x.up(time.Now()), y.up(time.Now())))
	fs.waitCards(t, "green ✅ [CRITICAL] secretary is down")

	card := fs.views()[0]
	if card.MessageID != id || card.To != "oc_oncall" {
		t.Errorf("card %s in %s, want %s in oc_oncall", card.MessageID, card.To, id)
	}
	eventually(t, func() bool { return len(fs.views()[0].Thread) == 1 }, func() string { return "one reply in the thread" })
	if reply := fs.views()[0].Thread[0].Text; !strings.Contains(reply, "已恢复") {
		t.Errorf("reply %q", reply)
	}

	// A new episode is a new card.
	b.post(payload(group("secretary"), down("secretary", "critical", time.Now().Add(time.Second))))
	fs.waitCards(t, "green", "red")
	if n := fs.Counts().Duplicates; n != 0 {
		t.Errorf("%d sends were repeats", n)
	}
}

func TestSeverityRouting(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url, extra: `
routes:
  - {matchers: ['agent_name="vip"'], receivers: [oncall]}
`})
	start := time.Now()
	owned := down("a1", "critical", start)
	owned.labels["owner"] = "coo"
	b.post(payload(group("a1"), owned))
	fs.waitCards(t, "red", "red")
	b.post(payload(group("a2"), down("a2", "warning", start)))
	fs.waitCards(t, "red", "red", "yellow")
	b.post(payload(group("vip"), down("vip", "warning", start)))
	fs.waitCards(t, "red", "red", "yellow", "yellow")
	b.post(payload(group("a3"), down("a3", "info", start)))
	eventually(t, func() bool { return b.metric("alertbridge_alerts_dropped_total") == "1" }, func() string { return "one alert counted as dropped" })

	to := map[string][]string{}
	for _, v := range fs.views() {
		to[v.Title] = append(to[v.Title], v.To)
	}
	for title, want := range map[string][]string{"🚨 [CRITICAL] a1 is down": {"oc_oncall", "ou_coo"}, "⚠️ [WARNING] a2 is down": {"ou_coo"}, "⚠️ [WARNING] vip is down": {"oc_oncall"}} {
		slices.Sort(to[title])
		if !slices.Equal(to[title], want) {
			t.Errorf("%s went to %v, want %v", title, to[title], want)
		}
	}
}

func TestNamedReceiver(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url})
	if status, text := b.do(http.MethodPost, "/webhook/coo", "hook-token-value", payload(group("a"), down("a", "critical", time.Now()))); status != 200 {
		t.Fatal(status, text)
	}
	fs.waitCards(t, "red")
	if to := fs.views()[0].To; to != "ou_coo" {
		t.Errorf("went to %s", to)
	}
	if status, text := b.do(http.MethodPost, "/webhook/stranger", "hook-token-value", payload(group("a"))); status != 404 || !strings.Contains(text, "stranger") {
		t.Errorf("an unknown receiver: %d %s", status, text)
	}
}

func TestBadInput(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url})
	good := payload(group("a"), down("a", "info", time.Now()))
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("alertmanager:hook-token-value"))
	for _, c := range []struct {
		name, auth, body string
		status           int
		says             string
	}{
		{"no token", "", good, 401, "server.token"},
		{"wrong token", "Bearer other", good, 401, "unauthorized"},
		{"admin token", "Bearer admin-token-value", good, 401, "unauthorized"},
		{"bearer", "Bearer hook-token-value", good, 200, `"status":"ok"`},
		{"basic", basic, good, 200, `"status":"ok"`},
		{"not JSON", basic, "{", 400, "JSON"},
		{"two values", basic, good + good, 400, "more follows"},
		{"wrong version", basic, strings.Replace(good, `"version":"4"`, `"version":"3"`, 1), 400, `version is \"3\"`},
		{"no version", basic, "{}", 400, "expected"},
		{"wrong status", basic, strings.Replace(good, `"status":"firing"`, `"status":"burning"`, 1), 400, "alerts[0].status"},
		{"too large", basic, `{"x":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "larger"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+b.Addr()+"/webhook", strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", c.auth)
			response, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			text := make([]byte, 4096)
			n, _ := response.Body.Read(text)
			if response.StatusCode != c.status || !strings.Contains(string(text[:n]), c.says) {
				t.Errorf("%d %s, want %d with %q", response.StatusCode, text[:n], c.status, c.says)
			}
			if got := b.metric(fmt.Sprintf(`alertbridge_webhooks_total{code="%d",receiver="routed"}`, c.status)); got == "" || got == "0" {
				t.Errorf("not counted: %q", got)
			}
		})
	}
}

func TestReceiverWithoutCredentials(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url})
	if status, text := b.do(http.MethodPost, "/webhook/nobody", "hook-token-value", payload(group("a"), down("a", "critical", time.Now()))); status != 200 {
		t.Fatal(status, text)
	}
	_, text := b.do(http.MethodGet, "/api/dead", "admin-token-value", "")
	var answer struct {
		Dead []struct{ ID, Receiver, Reason, Title string }
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Dead) != 1 {
		t.Fatalf("dead letters: %s, %v", text, err)
	}
	if d := answer.Dead[0]; d.Receiver != "nobody" || d.Reason != "unconfigured" || d.Title != "a is down" {
		t.Errorf("%+v", d)
	}
	if got := b.metric(`alertbridge_dead_letters{reason="unconfigured"}`); got != "1" {
		t.Errorf("alertbridge_dead_letters is %q", got)
	}
	if got := b.metric(`alertbridge_receiver_configured{receiver="nobody"}`); got != "0" {
		t.Errorf("alertbridge_receiver_configured is %q", got)
	}
	if status, text := b.do(http.MethodGet, "/ready", "", ""); status != 200 || !strings.Contains(text, "nobody") {
		t.Errorf("/ready: %d %s", status, text)
	}
	if !strings.Contains(b.logs.String(), "receiver=nobody") {
		t.Error("the log does not name the receiver")
	}
	if status, _ := b.do(http.MethodPost, "/api/dead/none/replay", "admin-token-value", ""); status != 404 {
		t.Errorf("replay of nothing: %d", status)
	}
	if status, _ := b.do(http.MethodGet, "/api/dead", "hook-token-value", ""); status != 401 {
		t.Errorf("the API with the webhook's token: %d", status)
	}
}

func TestReceiverGetsCredentials(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	dir := t.TempDir()
	s := settings{feishu: fs.url, dir: dir}
	b := startBridge(t, s)
	if status, text := b.do(http.MethodPost, "/webhook/nobody", "hook-token-value", payload(group("a"), down("a", "critical", time.Now()))); status != 200 {
		t.Fatal(status, text)
	}
	s.receivers = strings.Replace(standardReceivers, "name: nobody", "name: nobody\n    app: {receive_id_type: chat_id, receive_id: oc_new}", 1)
	writeConfig(t, s)
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
	fs.waitCards(t, "red")
	if got := b.metric(`alertbridge_dead_letters{reason="unconfigured"}`); got != "0" {
		t.Errorf("alertbridge_dead_letters is %q", got)
	}
	s.extra = "unknown_key: 1"
	writeConfig(t, s)
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 422 || !strings.Contains(text, "unknown_key") {
		t.Errorf("a bad file: %d %s", status, text)
	}
	if got := b.metric("alertbridge_config_last_reload_successful"); got != "0" {
		t.Errorf("alertbridge_config_last_reload_successful is %q", got)
	}
}

func TestCustomBot(t *testing.T) {
	fs := newFeishu(t, feishu.Options{Bots: map[string]feishu.Bot{"tok-1": {Name: "ops", Secret: "sign-secret", Keyword: "KEYWORD"}}, KnownBotsOnly: true})
	b := startBridge(t, settings{feishu: fs.url, receivers: fmt.Sprintf(`
  - name: oncall
    webhook: {url: %q, secret: sign-secret, keyword: KEYWORD}
  - name: coo
    webhook: {url: %q, secret: wrong}
`, fs.url+"/open-apis/bot/v2/hook/tok-1", fs.url+"/open-apis/bot/v2/hook/tok-1")})
	x := down("a", "critical", time.Now().Add(-time.Minute))
	b.post(payload(group("a"), x))
	fs.waitCards(t, "red")
	b.post(payload(group("a"), x.up(time.Now())))
	fs.waitCards(t, "red", "green")
	b.post(payload(group("b"), down("b", "warning", time.Now())))
	eventually(t, func() bool {
		return b.metric(`alertbridge_deliveries_total{kind="bot",receiver="coo",result="auth"}`) != "0"
	}, func() string { return "a bad sign is counted" })
	if strings.Contains(b.logs.String(), "tok-1") || strings.Contains(b.logs.String(), "sign-secret") {
		t.Errorf("the log holds a secret: %s", b.logs)
	}
}

// TestDigestAtACustomBot is signed and holds the bot's keyword, in each form.
func TestDigestAtACustomBot(t *testing.T) {
	for name, refused := range map[string]int{"rich": 0, "plain": 1, "text": 2} {
		t.Run(name, func(t *testing.T) {
			fs := newFeishu(t, feishu.Options{Bots: map[string]feishu.Bot{"tok-1": {Name: "ops", Secret: "sign-secret", Keyword: "KEYWORD"}}, KnownBotsOnly: true})
			b := startBridge(t, settings{feishu: fs.url, extra: "storm: {per_receiver_per_minute: 1, digest_every: 1s}", receivers: fmt.Sprintf(`
  - name: oncall
    webhook: {url: %q, secret: sign-secret, keyword: KEYWORD}
  - name: coo
`, fs.url+"/open-apis/bot/v2/hook/tok-1")})
			b.post(payload(group("a"), down("a", "critical", time.Now())))
			fs.waitCards(t, "a is down")
			if refused > 0 {
				fs.fault(t, feishu.Fault{Kind: feishu.FaultBadRequest, Ops: []feishu.Op{feishu.OpBot}, Times: refused})
			}
			b.post(payload(group("b"), down("b", "critical", time.Now())))
			eventually(t, func() bool {
				all := fs.views()
				return len(all) == 2 && strings.Contains(all[1].Title+all[1].Text, "告警风暴") && strings.Contains(all[1].Text, "KEYWORD")
			}, func() string { return fmt.Sprintf("%+v", fs.views()) })
			if n := b.metric(`alertbridge_deliveries_total{kind="bot",receiver="oncall",result="ok"}`); n != "2" {
				t.Errorf("%s messages were taken, want 2", n)
			}
		})
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	b := startBridge(t, settings{feishu: newFeishu(t, feishu.Options{}).url})
	problems, err := testutil.GatherAndLint(b.Registry())
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
