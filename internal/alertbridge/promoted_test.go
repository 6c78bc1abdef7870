package alertbridge_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestPressesInAStorm: a card that leaves its digest can be pressed from the moment
// that people see it, also while the bridge does not know yet that it was made; a
// silence takes a card that its digest tells of out of those that fire; and every
// group has one message.
func TestPressesInAStorm(t *testing.T) {
	binary(t, "alertmanager")
	fs, address := newFeishu(t, feishu.Options{}), freeAddress(t)
	chain := settings{feishu: fs.url, alertmanager: "http://" + address, operators: "ou_ana", dir: t.TempDir(), extra: "storm: {per_receiver_per_minute: 1, digest_every: 1s}"}
	b := startBridge(t, chain)
	am := startAlertmanager(t, address, "http://"+b.Addr()+"/webhook", "--cluster.listen-address=")
	am.tell(time.Minute, watchdog())
	b.waitConnected()
	titled := func(part string) (found feishu.MessageView) {
		for _, v := range fs.views() {
			if strings.Contains(v.Title, part) {
				found = v
			}
		}
		return found
	}
	digest := func() feishu.MessageView { return titled("告警风暴") }
	down1, down2, down3 := down("a-first", "critical", time.Now()), down("b-held", "critical", time.Now()), down("c-silenced", "critical", time.Now())
	am.tell(time.Minute, watchdog(), down1)
	fs.waitCards(t, "red 🚨 [CRITICAL] a-first is down")
	am.tell(time.Minute, watchdog(), down1, down2, down3)
	eventually(t, func() bool {
		return strings.Contains(digest().Text, "b-held") && strings.Contains(digest().Text, "c-silenced")
	}, func() string { return "the digest says " + digest().Text })
	if _, err := fs.Press(t.Context(), digest().MessageID, "确认", "ou_ana"); err == nil {
		t.Error("a digest has a button to acknowledge")
	}

	// Somebody silences one in Alertmanager, and there is room for cards of their own.
	am.silence("agent_name", "c-silenced")
	eventually(t, func() bool { return strings.Contains(digest().Text, "已静默 1") }, func() string { return "the digest says " + digest().Text })
	fs.fault(t, feishu.Fault{Kind: feishu.FaultHangAfter, Ops: []feishu.Op{feishu.OpCreate}, Times: 1})
	chain.extra = "storm: {per_receiver_per_minute: 0, digest_every: 1s}"
	writeConfig(t, chain)
	if err := b.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return titled("b-held").MessageID != "" }, func() string { return "the held card is not sent" })
	p, err := fs.Press(t.Context(), titled("b-held").MessageID, "确认", "ou_ana")
	if err != nil || p.Kind != "success" {
		t.Errorf("the press while the card's creation is in doubt: %+v, %v", p, err)
	}
	eventually(t, func() bool { return strings.Contains(titled("b-held").Text, "已确认") }, func() string { return "the card says " + titled("b-held").Text })
	if v := titled("c-silenced"); v.MessageID != "" {
		t.Errorf("what is silenced has a card: %s", v.Title)
	}
	am.tell(time.Minute, watchdog(), down1.up(time.Now()), down2.up(time.Now()), down3.up(time.Now()))
	eventually(t, func() bool {
		return strings.HasPrefix(digest().Template, "green") && strings.HasPrefix(titled("b-held").Template, "green")
	}, func() string { return fmt.Sprintf("%+v", fs.views()) })
	if n := len(fs.views()); n != 3 {
		t.Errorf("%d messages, want two cards and a digest: %+v", n, fs.views())
	}
}
