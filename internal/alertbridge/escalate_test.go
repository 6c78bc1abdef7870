package alertbridge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// escalating is a bridge whose on-call person's cards are escalated.
func escalating(t *testing.T, steps, extra string) (*standIn, *bridge) {
	t.Helper()
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url, operators: "ou_ana", extra: extra, receivers: fmt.Sprintf(`
  - name: oncall
    app: {receive_id_type: open_id, receive_id: ou_ana}
    escalate: [%s]
  - name: coo
    app: {receive_id_type: chat_id, receive_id: oc_coo}
`, steps)})
	b.waitConnected()
	return fs, b
}

// fire posts an alert and returns the message of its card.
func (b *bridge) fire(fs *standIn, agent string) string {
	b.t.Helper()
	b.post(payload(group(agent), down(agent, "critical", time.Now().Add(-time.Minute))))
	id := ""
	eventually(b.t, func() bool {
		for _, v := range fs.views() {
			if v.To == "ou_ana" && strings.Contains(v.Title, agent+" is down") {
				id = v.MessageID
			}
		}
		return id != ""
	}, func() string { return "the card of " + agent })
	return id
}

func (s *standIn) urgents(t *testing.T, message string) []string {
	t.Helper()
	m, ok := s.Message(message)
	if !ok {
		t.Fatal("no such message")
	}
	var out []string
	for _, u := range m.Urgents {
		out = append(out, u.Channel+" "+strings.Join(u.Users, ","))
	}
	return out
}

func TestEscalation(t *testing.T) {
	fs, b := escalating(t, "{after: 2s, urgent: app}, {after: 1s, to: coo}, {after: 3s, urgent: phone}", "")
	id := b.fire(fs, "secretary")
	want := []string{"app ou_ana", "phone ou_ana"}
	eventually(t, func() bool { return slices.Equal(fs.urgents(t, id), want) }, func() string { return fmt.Sprintf("buzzed %q, want %q", fs.urgents(t, id), want) })
	fs.waitCards(t, "red", "red")
	if v := fs.views()[1]; v.To != "oc_coo" || !strings.Contains(v.Text, "来自 oncall") {
		t.Errorf("escalated to %s: %q", v.To, v.Text)
	}
	fs.waitText(t, "→ coo", "应用内加急", "电话加急")
	for _, step := range []string{"to", "urgent_app", "urgent_phone"} {
		if got := b.metric(fmt.Sprintf("alertbridge_escalations_total{step=%q}", step)); got != "1" {
			t.Errorf("alertbridge_escalations_total{%s} is %q", step, got)
		}
	}
	if _, audit := b.do(http.MethodGet, "/api/audit", "admin-token-value", ""); !strings.Contains(audit, "escalate_urgent_phone") {
		t.Errorf("the audit trail: %s", audit)
	}
	// Whoever was told sees the end.
	b.post(payload(group("secretary"), down("secretary", "critical", time.Now().Add(-time.Minute)).up(time.Now())))
	fs.waitCards(t, "green", "green")
	if got := fs.urgents(t, id); !slices.Equal(got, want) {
		t.Errorf("buzzed %q after the end", got)
	}
}

// TestAcknowledgementStopsEscalation takes one card on, by itself or by the card
// that another receiver got. A second alert, opened later, tells when the steps
// of the first would have come.
func TestAcknowledgementStopsEscalation(t *testing.T) {
	for _, c := range []struct {
		name  string
		steps string
		taken func(*standIn, string) string // the message to acknowledge on
		urged int                           // of the first card
	}{
		{"on its own card", "{after: 1s, urgent: app}", func(_ *standIn, own string) string { return own }, 0},
		{"on another receiver's", "{after: 1s, to: coo}, {after: 4s, urgent: app}", func(fs *standIn, _ string) string {
			for _, v := range fs.views() {
				if v.To == "oc_coo" {
					return v.MessageID
				}
			}
			return ""
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, b := escalating(t, c.steps, "")
			first := b.fire(fs, "first")
			on := ""
			eventually(t, func() bool { on = c.taken(fs, first); return on != "" }, func() string { return "the card to acknowledge on" })
			if p, err := fs.Press(t.Context(), on, "确认", "ou_ana"); err != nil || p.Kind != "success" {
				t.Fatal(p, err)
			}
			second := b.fire(fs, "second")
			eventually(t, func() bool { return len(fs.urgents(t, second)) == 1 }, func() string { return "the second card is escalated" })
			if got := fs.urgents(t, first); len(got) != c.urged {
				t.Errorf("an acknowledged card buzzed: %q", got)
			}
		})
	}
}

func TestQuotaOfUrgents(t *testing.T) {
	fs, b := escalating(t, "{after: 1s, urgent: phone}", "limits: {urgent_phone_per_day: 1}")
	one, two := b.fire(fs, "one"), b.fire(fs, "two")
	eventually(t, func() bool { return len(fs.urgents(t, one)) == 1 && len(fs.urgents(t, two)) == 1 }, func() string { return "both are escalated" })
	got := append(fs.urgents(t, one), fs.urgents(t, two)...)
	slices.Sort(got)
	if !slices.Equal(got, []string{"app ou_ana", "phone ou_ana"}) {
		t.Errorf("buzzed %q", got)
	}
}

func TestUrgentsThatFail(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault feishu.Fault
		urged int
		line  string
	}{
		{"for a while", feishu.Fault{Kind: feishu.FaultRateLimit, Times: 1}, 1, `alertbridge_escalations_total{step="urgent_app"}`},
		{"for good", feishu.Fault{Kind: feishu.FaultCode, Code: 230024, Msg: "quota"}, 0, `alertbridge_escalation_failures_total{step="urgent_app"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fs, b := escalating(t, "{after: 1s, urgent: app}", "")
			c.fault.Ops = []feishu.Op{feishu.OpUrgent}
			fs.fault(t, c.fault)
			id := b.fire(fs, "secretary")
			eventually(t, func() bool { return b.metric(c.line) == "1" }, func() string { return c.line })
			if got := fs.urgents(t, id); len(got) != c.urged {
				t.Errorf("buzzed %q", got)
			}
		})
	}
}

// TestNobodyToBuzz is a group chat that mentions nobody.
func TestNobodyToBuzz(t *testing.T) {
	code, out := command(t, "", "check-config", "-config", writeFile(t, `
feishu: {app_id: a, app_secret: b}
receivers: [{name: oncall, app: {receive_id_type: chat_id, receive_id: oc_1}, escalate: [{after: 1m, urgent: phone}]}]
severity: {critical: [oncall]}
`))
	if code == 0 || !strings.Contains(out, "receivers[0].escalate[0].urgent") || !strings.Contains(out, "mention") {
		t.Errorf("%d %s", code, out)
	}
}
