package deliver_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func (b *bubble) fault(f sandbox.Fault) {
	b.t.Helper()
	if err := b.feishu.AddFault(f); err != nil {
		b.t.Fatal(err)
	}
}

// change has the program start again with a receiver changed.
func (b *bubble) change(receiver string, change func(*deliver.Receiver)) {
	b.t.Helper()
	b.stop()
	r := b.config.Receivers[receiver]
	change(&r)
	b.config.Receivers[receiver] = r
	b.start()
}

// to are the messages that a chat, a person or a bot got.
func (b *bubble) to(name string) []sandbox.MessageView {
	b.t.Helper()
	var out []sandbox.MessageView
	for _, v := range b.feishu.Snapshot().Views() {
		if v.To == name {
			out = append(out, v)
		}
	}
	return out
}

// TestTargetThatHangs: a target that does not answer keeps no worker from the
// cards of others.
func TestTargetThatHangs(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultHang, Ops: []sandbox.Op{sandbox.OpBot}})
		b.change("both", func(r *deliver.Receiver) { r.App = nil })
		b.tell("bot", card.Firing, groups("AgentLate", "warning", 40)...)
		b.tell("both", card.Firing, groups("AgentLate", "warning", 40)...)
		b.wait(3 * time.Second)
		for _, g := range groups("AgentDown", "critical", 20) {
			b.tell("chat", card.Firing, g)
			began := len(b.to("oc_1"))
			b.wait(time.Second)
			if len(b.to("oc_1")) != began+1 {
				t.Fatalf("%s had no card after a second", g.subject)
			}
			b.wait(2 * time.Second)
		}
		b.within()
	})
}

// TestWayThatIsRemoved: where the first way is taken out of the configuration,
// the next one tells what fires.
func TestWayThatIsRemoved(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultHTML502, Ops: []sandbox.Op{sandbox.OpCreate}})
		all := groups("AgentDown", "critical", 12)
		b.tell("both", card.Firing, all...)
		b.wait(10 * time.Second)
		b.counts(0, 0)
		b.change("both", func(r *deliver.Receiver) { r.App = nil })
		b.wait(3 * time.Minute)
		own, digests := b.cards()
		var said strings.Builder
		for _, v := range append(own, digests...) {
			said.WriteString(v.Title + v.Text)
		}
		for _, g := range all {
			if !strings.Contains(said.String(), g.subject) {
				t.Errorf("nobody was told of %s", g.subject)
			}
		}
	})
}

// TestWayThatIsRemovedAfterwards: what changes of a card whose way was taken out of
// the configuration is told by the next one.
func TestWayThatIsRemovedAfterwards(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 8)
		b.tell("both", card.Firing, all...)
		b.wait(10 * time.Second)
		b.counts(5, 1)
		b.change("both", func(r *deliver.Receiver) { r.App = nil })
		b.tell("both", card.Resolved, all...)
		b.wait(2 * time.Minute)
		green := 0
		for _, v := range b.feishu.Snapshot().Views() {
			if v.To != "oc_2" && v.Template == "green" {
				green++
			}
		}
		_, digests := b.cards()
		says(t, digests[len(digests)-1], "告警风暴已结束：共 3 组")
		if green != 6 {
			t.Errorf("the bot was told of %d ends, want five and a digest", green)
		}
	})
}

// TestFailoverBecomesAll: ways that were kept back are used when all are to be.
func TestFailoverBecomesAll(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		all := groups("AgentDown", "critical", 3)
		b.tell("both", card.Firing, all...)
		b.wait(10 * time.Second)
		b.counts(3, 0)
		b.change("both", func(r *deliver.Receiver) { r.Failover = false })
		b.fault(sandbox.Fault{Kind: sandbox.FaultHTML502, Ops: []sandbox.Op{sandbox.OpPatch}})
		b.tell("both", card.Resolved, all...)
		b.wait(10 * time.Minute)
		b.counts(6, 0)
	})
}

// TestOneWayInAStorm: a card that one way has shown is escalated, though a digest
// tells of it on another.
func TestOneWayInAStorm(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.change("both", func(r *deliver.Receiver) { r.Failover = false })
		b.fault(sandbox.Fault{Kind: sandbox.FaultHTML502, Ops: []sandbox.Op{sandbox.OpBot}})
		b.tell("both", card.Firing, groups("AgentDown", "critical", 8)...)
		escalable := func() int {
			cards, err := b.store.Escalable(b.ctx, "both", 0, time.Now(), 100)
			if err != nil {
				t.Fatal(err)
			}
			return len(cards)
		}
		b.wait(2 * time.Second)
		if n := escalable(); n != 5 {
			t.Errorf("%d cards are escalated while five are shown", n)
		}
		b.wait(70 * time.Second)
		b.counts(8, 1)
		if n := escalable(); n != 8 {
			t.Errorf("%d cards are escalated while eight are shown", n)
		}
	})
}

// TestDigestThatFailed: a group that got a card of its own after all is not told
// once more by the way that its failing digest had made due.
func TestDigestThatFailed(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultHTML502, Contains: "告警风暴", Seconds: 90})
		b.tell("both", card.Firing, groups("AgentDown", "critical", 7)...)
		b.wait(10 * time.Minute)
		own, _ := b.cards()
		if len(own) != 7 {
			t.Errorf("%d cards of seven groups", len(own))
		}
	})
}

// TestDigestInText: a digest that can only be text is sent where new groups came
// in, not at every change.
func TestDigestInText(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultCode, Code: 230001, Msg: "the card is not valid", Contains: "告警风暴", Times: 2})
		b.tell("chat", card.Firing, groups("AgentLate", "warning", 60)...)
		b.wait(6 * time.Minute)
		sent := 0
		for _, r := range b.feishu.Requests() {
			if r.Op == sandbox.OpReply {
				sent++
			}
		}
		if sent != 0 {
			t.Errorf("%d replies with a digest in which nothing is new", sent)
		}
	})
}

// TestStormWestOfGreenwich: the share of a minute outlives the process wherever
// the clock hangs.
func TestStormWestOfGreenwich(t *testing.T) {
	for _, hours := range []int{-8, 8} {
		here := time.Local
		time.Local = time.FixedZone("there", hours*3600) //nolint:gosmopolitan // what the host's setting is
		t.Cleanup(func() { time.Local = here })          //nolint:gosmopolitan // likewise
		inBubble(t, fivePerMinute(), func(b *bubble) {
			b.tell("chat", card.Firing, groups("AgentDown", "critical", 5)...)
			b.wait(10 * time.Second)
			b.stop()
			b.start()
			b.tell("chat", card.Firing, groups("AgentLate", "warning", 5)...)
			b.wait(10 * time.Second)
			b.counts(5, 1)
			begun, err := b.store.Begun(b.ctx, time.Now().Add(time.Second))
			if err != nil || len(begun) != 0 {
				t.Errorf("begun in the future: %v, %v", begun, err)
			}
		})
	}
}

// hanging carries calls that get no answer.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestBotsThatHang: custom bots that do not answer, however many, keep no worker
// from one that does.
func TestBotsThatHang(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		b.stop()
		var hung []string
		for i := range 12 {
			name := fmt.Sprintf("hung-%d", i)
			hung = append(hung, name)
			b.config.Receivers[name] = deliver.Receiver{Name: name, BotKey: name, Bot: feishu.NewBot(feishu.BotOptions{
				URL: redact.Secret("http://hung.example/" + name), Timeout: 10 * time.Second, Transport: hanging{},
			})}
		}
		b.start()
		for _, name := range hung {
			b.tell(name, card.Firing, groups("AgentDown", "critical", 40)...)
		}
		b.wait(time.Second)
		for _, g := range groups("AgentLate", "warning", 40) {
			b.tell("bot", card.Firing, g)
			began := len(b.feishu.Snapshot().Views())
			b.wait(time.Second)
			if len(b.feishu.Snapshot().Views()) != began+1 {
				t.Fatalf("%s had no card after a second", g.subject)
			}
			b.wait(time.Second)
		}
	})
}
