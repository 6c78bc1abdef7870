package alertbridge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func (s *standIn) fault(t *testing.T, f feishu.Fault) {
	t.Helper()
	if err := s.AddFault(f); err != nil {
		t.Fatal(err)
	}
}

// TestFaultsEndInOneCard lets Feishu fail in every scripted way, once or twice,
// on create and on patch: the end is always one card in the right state.
func TestFaultsEndInOneCard(t *testing.T) {
	for _, kind := range feishu.FaultKinds() {
		if kind == feishu.FaultCode || kind == feishu.FaultBadRequest || kind == feishu.FaultOutage {
			continue // their own tests below
		}
		for _, op := range []feishu.Op{feishu.OpToken, feishu.OpCreate, feishu.OpPatch} {
			if op == feishu.OpToken && kind == feishu.FaultStaleToken {
				continue // there is no token yet
			}
			t.Run(string(kind)+" on "+string(op), func(t *testing.T) {
				t.Parallel()
				fs := newFeishu(t, feishu.Options{})
				times := 2
				if strings.HasPrefix(string(kind), "hang") {
					times = 1 // each costs a timeout
				}
				fs.fault(t, feishu.Fault{Kind: kind, Ops: []feishu.Op{op}, Times: times})
				b := startBridge(t, settings{feishu: fs.url})
				x := down("a", "critical", time.Now().Add(-time.Minute))
				b.post(payload(group("a"), x))
				fs.waitCards(t, "red")
				b.post(payload(group("a"), x.up(time.Now())))
				fs.waitCards(t, "green")
				eventually(t, func() bool { return len(fs.views()[0].Thread) == 1 }, func() string { return "one reply" })
			})
		}
	}
}

func TestOutageCoalesces(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	fs.fault(t, feishu.Fault{Kind: feishu.FaultOutage})
	b := startBridge(t, settings{feishu: fs.url})
	start := time.Now().Add(-time.Hour)
	over, firing := down("over", "critical", start), down("firing", "critical", start)
	b.post(payload(group("over"), over))
	b.post(payload(group("firing"), firing))
	eventually(t, func() bool { return fs.Counts().Faulted > 1 }, func() string { return "Feishu was tried" })
	b.post(payload(group("over"), over.up(time.Now())))
	if got := b.metric("alertbridge_pending_oldest_timestamp_seconds"); got == "0" || got == "" {
		t.Errorf("alertbridge_pending_oldest_timestamp_seconds is %q", got)
	}
	eventually(t, func() bool { return b.metric("alertbridge_feishu_up") == "0" }, func() string { return "feishu is down" })
	fs.ClearFaults()
	eventually(t, func() bool { return len(fs.views()) == 2 }, func() string { return fmt.Sprintf("two cards, have %+v", fs.views()) })
	for _, v := range fs.views() {
		want := "red"
		if strings.Contains(v.Title, "over") {
			want = "green"
			if v.Revisions != 1 || !strings.Contains(v.Text, "触发后已恢复") {
				t.Errorf("fired and resolved in the outage: %d revisions, %q", v.Revisions, v.Text)
			}
		}
		if v.Template != want {
			t.Errorf("%s is %s, want %s", v.Title, v.Template, want)
		}
	}
}

// TestLongOutage is Feishu gone for a while, in which alerts come and end; with
// ALERTBRIDGE_OUTAGE=2m for that long. All of it is told of afterwards.
func TestLongOutage(t *testing.T) {
	span := 2 * time.Second
	if d, err := time.ParseDuration(os.Getenv("ALERTBRIDGE_OUTAGE")); err == nil {
		span = d
	}
	fs := newFeishu(t, feishu.Options{Limits: feishu.PublishedLimits()})
	c := startChild(t, writeConfig(t, settings{feishu: fs.url, dir: t.TempDir(), receivers: manyReceivers, extra: crashRoutes}))
	fs.fault(t, feishu.Fault{Kind: feishu.FaultOutage})
	const alerts = 60
	var posted []string
	over, told := map[string]bool{}, &sync.Map{}
	pace := time.NewTicker(span / alerts)
	defer pace.Stop()
	for i := range alerts {
		agent := fmt.Sprintf("agent-%d", i)
		posted, over[agent] = append(posted, agent), i%2 == 0
		<-pace.C
		if left := postAll(t, c, []string{agent}, over, told, func() bool { return false }); len(left) > 0 {
			t.Fatalf("not answered: %v", left)
		}
	}
	fs.ClearFaults()
	waitFinal(t, fs, posted, over)
	if n := len(fs.views()); n != alerts {
		t.Errorf("%d messages for %d alerts", n, alerts)
	}
	for _, r := range fs.Requests() {
		if r.Fault == "" && r.Code != 0 {
			t.Errorf("Feishu refused a call: %+v", r)
		}
	}
}

// TestRefusedContent goes from the rich card to the plain one, to text, to a
// dead letter.
func TestRefusedContent(t *testing.T) {
	for _, c := range []struct {
		times int
		code  int
		check func(*testing.T, *standIn, *bridge)
	}{
		{1, 230099, func(t *testing.T, fs *standIn, _ *bridge) { fs.waitCards(t, "red") }},
		{2, 230099, func(t *testing.T, fs *standIn, b *bridge) {
			fs.waitCards(t, " ") // a text has no title
			eventually(t, func() bool { return strings.Contains(fs.views()[0].Text, "a is down") }, func() string { return "a text message" })
			b.post(payload(group("a"), down("a", "critical", time.Now().Add(-time.Minute)).up(time.Now())))
			eventually(t, func() bool {
				return len(fs.views()[0].Thread) > 0 && strings.Contains(fs.views()[0].Thread[0].Text, "已恢复")
			}, func() string { return "the end as a reply" })
		}},
		{3, 230099, func(t *testing.T, _ *standIn, b *bridge) { b.waitDead(t, "content") }},
		{1, 230013, func(t *testing.T, _ *standIn, b *bridge) { b.waitDead(t, "target") }},
	} {
		t.Run(fmt.Sprintf("%d x %d", c.times, c.code), func(t *testing.T) {
			t.Parallel()
			fs := newFeishu(t, feishu.Options{})
			fs.fault(t, feishu.Fault{Kind: feishu.FaultCode, Code: c.code, Msg: "refused", Ops: []feishu.Op{feishu.OpCreate}, Times: c.times})
			b := startBridge(t, settings{feishu: fs.url})
			b.post(payload(group("a"), down("a", "critical", time.Now().Add(-time.Minute))))
			c.check(t, fs, b)
		})
	}
}

// waitDead waits for one dead letter of the reason, replays it, and waits for
// the card.
func (b *bridge) waitDead(t *testing.T, reason string) {
	t.Helper()
	eventually(t, func() bool { return b.metric(`alertbridge_dead_letters{reason="`+reason+`"}`) == "1" }, func() string { return "a dead letter: " + reason })
	_, text := b.do(http.MethodGet, "/api/dead", "admin-token-value", "")
	var answer struct{ Dead []struct{ ID, Detail string } }
	if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Dead) != 1 || !strings.Contains(answer.Dead[0].Detail, "refused") {
		t.Fatalf("dead letters: %s, %v", text, err)
	}
	if status, text := b.do(http.MethodPost, "/api/dead/"+answer.Dead[0].ID+"/replay", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
	eventually(t, func() bool {
		return b.metric(`alertbridge_deliveries_total{kind="create",receiver="oncall",result="ok"}`) == "1"
	}, func() string { return "the replayed card is delivered" })
	if _, text := b.do(http.MethodGet, "/api/audit", "admin-token-value", ""); !strings.Contains(text, "replay_dead") {
		t.Errorf("audit trail: %s", text)
	}
}

func TestRecalledMessageIsContinued(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url})
	x := down("a", "critical", time.Now().Add(-time.Minute))
	b.post(payload(group("a"), x))
	fs.waitCards(t, "red")
	fs.Recall(fs.views()[0].MessageID)
	b.post(payload(group("a"), x.up(time.Now())))
	fs.waitCards(t, "red", "green")
	if text := fs.views()[1].Text; !strings.Contains(text, "接续") {
		t.Errorf("the new card does not refer to the old one: %q", text)
	}
}

func TestFailover(t *testing.T) {
	for mode, cards := range map[string]int{"failover": 1, "all": 2} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			fs := newFeishu(t, feishu.Options{})
			receivers := fmt.Sprintf(`
  - name: oncall
    app: {receive_id_type: chat_id, receive_id: oc_1}
    webhook: {url: %q}
    deliver: %s
    failover_after: 1s
  - name: coo
`, fs.url+"/open-apis/bot/v2/hook/tok-1", mode)
			b := startBridge(t, settings{feishu: fs.url, receivers: receivers})
			x := down("a", "critical", time.Now().Add(-time.Minute))
			b.post(payload(group("a"), x))
			eventually(t, func() bool { return len(fs.views()) == cards }, func() string { return fmt.Sprintf("%d cards, have %+v", cards, fs.views()) })
			if mode == "all" {
				return
			}
			// While the app is refused, the bot speaks; then both tell the end.
			fs.fault(t, feishu.Fault{Kind: feishu.FaultHTML502, Ops: []feishu.Op{feishu.OpPatch, feishu.OpCreate}})
			b.post(payload(group("a"), x.up(time.Now())))
			fs.waitCards(t, "red", "green")
			fs.ClearFaults()
			fs.waitCards(t, "green", "green")
		})
	}
}

func TestLimitsAreKept(t *testing.T) {
	fs := newFeishu(t, feishu.Options{Limits: feishu.PublishedLimits()})
	b := startBridge(t, settings{feishu: fs.url})
	start := time.Now().Add(-time.Minute)
	for i := range 20 {
		agent := fmt.Sprintf("w%d", i)
		b.post(payload(group(agent), down(agent, "warning", start)))
	}
	eventually(t, func() bool { return len(fs.views()) == 20 }, func() string { return fmt.Sprintf("20 cards, have %d", len(fs.views())) })
	if n := fs.Counts().Refused; n != 0 {
		t.Errorf("Feishu refused %d calls", n)
	}
}

func TestTooManyOpenCards(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url, extra: "store: {max_open_cards: 1}"})
	start := time.Now().Add(-time.Minute)
	x := down("a", "critical", start)
	b.post(payload(group("a"), x))
	if status, text := b.do(http.MethodPost, "/webhook", "hook-token-value", payload(group("b"), down("b", "critical", start))); status != 503 || !strings.Contains(text, "max_open_cards") {
		t.Errorf("a card too many: %d %s", status, text)
	}
	b.post(payload(group("a"), x.up(time.Now())))
	fs.waitCards(t, "green")
	b.post(payload(group("b"), down("b", "critical", start)))
	fs.waitCards(t, "green", "red")
}

// TestCredentialsPutRight is a wrong secret, corrected by a reload: what waited
// is sent at once.
func TestCredentialsPutRight(t *testing.T) {
	fs := newFeishu(t, feishu.Options{Apps: map[string]string{"cli_app": "another-secret"}})
	s := settings{feishu: fs.url, dir: t.TempDir()}
	b := startBridge(t, s)
	b.post(payload(group("a"), down("a", "critical", time.Now().Add(-time.Minute))))
	eventually(t, func() bool {
		return b.metric(`alertbridge_deliveries_total{kind="create",receiver="oncall",result="auth"}`) != "0"
	}, func() string { return "the refusal is counted" })
	if status, text := b.do(http.MethodGet, "/ready", "", ""); status != 200 || !strings.Contains(text, "feishu: auth") {
		t.Errorf("/ready: %d %s", status, text)
	}
	file := writeConfig(t, s)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), "app-secret-value", "another-secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
	fs.waitCards(t, "red")
	for _, secret := range []string{"app-secret-value", "another-secret"} {
		if strings.Contains(b.logs.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}
