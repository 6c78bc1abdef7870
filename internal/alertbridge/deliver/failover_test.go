package deliver_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// openClawSaid is what went through OpenClaw.
func (b *bubble) openClawSaid() string {
	b.t.Helper()
	text, err := os.ReadFile(b.said)
	if err != nil && !os.IsNotExist(err) {
		b.t.Fatal(err)
	}
	return string(text)
}

// TestFailoverChain: the bot is used once the app has failed for long enough, and
// OpenClaw once the bot has; what was used hears the end.
func TestFailoverChain(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultOutage}); err != nil {
			t.Fatal(err)
		}
		down := groups("AgentDown", "critical", 1)
		b.tell("chain", card.Firing, down...)
		b.wait(100 * time.Second)
		for _, r := range b.feishu.Requests() {
			if r.Op == sandbox.OpBot {
				t.Fatal("the bot was tried before the app had failed for two minutes")
			}
		}
		b.wait(2 * time.Minute)
		if said := b.openClawSaid(); said != "" {
			t.Fatalf("OpenClaw was used before the bot had failed for two minutes: %s", said)
		}
		b.wait(6 * time.Minute)
		said := b.openClawSaid()
		if strings.Count(said, "agentdown-000 is down") != 1 || !strings.Contains(said, "触发中") {
			t.Fatalf("OpenClaw said %q, want the alert once", said)
		}
		b.tell("chain", card.Resolved, down...)
		b.wait(time.Minute)
		if said := b.openClawSaid(); !strings.Contains(said, "✅ 已恢复") {
			t.Errorf("OpenClaw was not told of the end: %q", said)
		}
		b.feishu.ClearFaults()
		b.wait(10 * time.Minute)
		if views := b.feishu.Snapshot().Views(); len(views) == 0 || views[0].Template != "green" {
			t.Errorf("the app's card is %+v", views)
		}
	})
}

// TestFailoverTakenBack: an app that answers again in time leaves the others out.
func TestFailoverTakenBack(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultOutage, Seconds: 10}); err != nil {
			t.Fatal(err)
		}
		b.tell("chain", card.Firing, groups("AgentDown", "critical", 1)...)
		b.wait(time.Hour)
		if n := len(b.feishu.Snapshot().Views()); n != 1 || b.openClawSaid() != "" {
			t.Errorf("%d messages in Feishu, OpenClaw said %q; want one and nothing", n, b.openClawSaid())
		}
	})
}

// TestGoneForGood: a chat that refuses for good goes to the next way at once.
func TestGoneForGood(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		for _, f := range []sandbox.Fault{
			{Kind: sandbox.FaultCode, Code: 230002, Msg: "bot is not in the chat", Ops: []sandbox.Op{sandbox.OpCreate}},
			{Kind: sandbox.FaultCode, Code: 19001, Msg: "token is invalid", Ops: []sandbox.Op{sandbox.OpBot}},
		} {
			if err := b.feishu.AddFault(f); err != nil {
				t.Fatal(err)
			}
		}
		b.tell("chain", card.Firing, groups("AgentDown", "critical", 1)...)
		b.wait(5 * time.Second)
		if said := b.openClawSaid(); !strings.Contains(said, "agentdown-000") {
			t.Errorf("OpenClaw said %q", said)
		}
	})
}
