package deliver_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func fivePerMinute() deliver.Storm { return deliver.Storm{PerMinute: 5, Every: 30 * time.Second} }

// says checks that a digest's text holds all the parts.
func says(t *testing.T, v sandbox.MessageView, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(v.Title+"\n"+v.Text, p) {
			t.Errorf("the digest does not say %q:\n%s\n%s", p, v.Title, v.Text)
		}
	}
}

// counts checks how many cards of their own and digests there are.
func (b *bubble) counts(own, digests int) (cards, tellers []sandbox.MessageView) {
	b.t.Helper()
	cards, tellers = b.cards()
	if len(cards) != own || len(tellers) != digests {
		b.t.Fatalf("%d cards of their own and %d digests, want %d and %d", len(cards), len(tellers), own, digests)
	}
	return cards, tellers
}

func TestStormMakesOneDigest(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		late, down := groups("AgentLate", "warning", 40), groups("AgentDown", "critical", 10)
		b.tell("chat", card.Firing, late...)
		b.wait(2 * time.Second)
		_, digests := b.counts(5, 1)
		says(t, digests[0], "告警风暴：35 组触发中", "AgentLate")
		b.tell("chat", card.Firing, down...)
		b.wait(6 * time.Second)
		_, digests = b.counts(5, 1)
		if digests[0].Template != "red" {
			t.Errorf("with criticals the digest is %s", digests[0].Template)
		}
		says(t, digests[0], "告警风暴：45 组触发中 （严重 10）", "本轮合并 45 组", "下一步")
		for _, g := range down {
			says(t, digests[0], g.subject)
		}
		if !strings.Contains(digests[0].Text[:strings.Index(digests[0].Text, "AgentLate")], "AgentDown") {
			t.Errorf("criticals do not come first:\n%s", digests[0].Text)
		}

		// A group that is over before there is room for a card never gets one.
		b.tell("chat", card.Resolved, down[7:]...)
		b.tell("chat", card.Resolved, late[20:]...)
		b.wait(35 * time.Second)
		_, digests = b.counts(5, 1)
		says(t, digests[0], "告警风暴：22 组触发中 （严重 7）", "✅ 已恢复 23")

		// Room is for criticals first.
		b.wait(30 * time.Second)
		own, _ := b.counts(10, 1)
		for _, v := range own[5:] {
			if v.Template != "red" {
				t.Errorf("a card of its own for %q while criticals wait", v.Title)
			}
		}
		b.wait(30 * time.Second)
		_, digests = b.counts(10, 1)
		says(t, digests[0], "其中 5 组已单独成卡")

		// Once all is over the digest turns green, and says nothing more.
		b.tell("chat", card.Resolved, down[:7]...)
		b.tell("chat", card.Resolved, late[:20]...)
		b.wait(time.Minute)
		own, digests = b.counts(10, 1)
		if digests[0].Template != "green" {
			t.Errorf("the digest is %s", digests[0].Template)
		}
		says(t, digests[0], "告警风暴已结束：共 45 组", "持续")
		for _, v := range own {
			if v.Template != "green" {
				t.Errorf("%q is %s", v.Title, v.Template)
			}
		}
		revisions := digests[0].Revisions
		b.wait(time.Hour)
		if _, digests = b.counts(10, 1); digests[0].Revisions != revisions {
			t.Error("a digest that is over was sent again")
		}
		b.within()

		// The next storm is told of by a message of its own.
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 8)...)
		b.wait(10 * time.Second)
		b.counts(15, 2)
	})
}

// TestStormIsPaced: a digest is sent every 30 s, every 5 s while a critical waits.
func TestStormIsPaced(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.tell("chat", card.Firing, groups("AgentLate", "warning", 10)...)
		b.wait(2 * time.Second)
		seen := func() int { _, digests := b.counts(5, 1); return digests[0].Revisions }
		first := seen()
		for i, g := range groups("AgentSlow", "warning", 20) {
			b.tell("chat", card.Firing, g)
			b.wait(time.Second)
			if i > 2 && seen() != first {
				t.Fatalf("warnings were told after %d s", i+1)
			}
		}
		b.wait(12 * time.Second)
		if seen() != first+1 {
			t.Errorf("%d updates in half a minute, want 1", seen()-first)
		}
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 1)...)
		b.wait(5500 * time.Millisecond)
		_, digests := b.counts(5, 1)
		says(t, digests[0], "agentdown-000")
	})
}

// TestStormOverARestart: the share of a minute, and what a digest tells, outlive
// the process.
func TestStormOverARestart(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 30)
		b.tell("chat", card.Firing, all[:20]...)
		b.wait(2 * time.Second)
		b.counts(5, 1)
		b.stop()
		b.start()
		b.tell("chat", card.Firing, all[20:]...)
		b.wait(10 * time.Second)
		_, digests := b.counts(5, 1)
		says(t, digests[0], "告警风暴：25 组触发中")
		b.wait(time.Minute)
		b.counts(10, 1)
		b.within()
	})
}

// TestStormThatGoesOn: after an hour a digest lets a new one take over, so that
// people see it.
func TestStormThatGoesOn(t *testing.T) {
	inBubble(t, deliver.Storm{PerMinute: 1, Every: 30 * time.Second}, func(b *bubble) {
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 100)...)
		b.wait(61 * time.Minute)
		b.tell("chat", card.Firing, groups("AgentLate", "warning", 10)...)
		b.wait(time.Minute)
		_, digests := b.cards()
		if len(digests) != 2 {
			t.Fatalf("%d digests, want 2", len(digests))
		}
		says(t, digests[0], "AgentDown")
		says(t, digests[1], "AgentLate")
	})
}

// TestStormWithoutALimit: with 0, every group gets a card, also those that were
// held when the limit was taken away.
func TestStormWithoutALimit(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 20)...)
		b.wait(2 * time.Second)
		b.counts(5, 1)
		b.stop()
		b.config.Storm.PerMinute = 0
		b.start()
		b.wait(time.Minute)
		_, digests := b.counts(20, 1)
		if digests[0].Template != "green" {
			t.Errorf("the digest is %s", digests[0].Template)
		}
	})
}

// TestStormAtABot: a bot's message cannot be changed, so a digest is a new one,
// and only where there is something new to tell of.
func TestStormAtABot(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentLate", "warning", 30)
		b.tell("bot", card.Firing, all[:20]...)
		b.wait(2 * time.Second)
		b.counts(5, 1)
		b.wait(40 * time.Second)
		b.counts(5, 1)
		b.tell("bot", card.Firing, all[20:]...)
		b.wait(8 * time.Second)
		_, digests := b.counts(5, 2)
		says(t, digests[1], "本轮合并 25 组")
		b.tell("bot", card.Resolved, all...)
		b.wait(time.Minute)
		_, digests = b.cards()
		if last := digests[len(digests)-1]; len(digests) != 3 || last.Template != "green" {
			t.Errorf("%d digests, the last is %s; want 3, green", len(digests), last.Template)
		}
		b.within()
	})
}

// TestStormThatIsRefused: where the chat does not take the digest for good, each
// group is a dead letter and goes the receiver's other way.
func TestStormThatIsRefused(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultCode, Code: 230002, Msg: "bot is not in the chat", Ops: []sandbox.Op{sandbox.OpCreate}}); err != nil {
			t.Fatal(err)
		}
		b.tell("both", card.Firing, groups("AgentDown", "critical", 12)...)
		b.wait(10 * time.Second)
		dead, err := b.store.Dead(b.ctx, false, 100)
		if err != nil || len(dead) != 12 {
			t.Fatalf("%d dead letters, %v, want 12", len(dead), err)
		}
		for _, d := range dead {
			if d.Reason != store.ReasonTarget || d.Channel != store.App || d.Title == "" {
				t.Errorf("dead letter %+v", d)
			}
		}
		own, digests := b.cards()
		if len(own) != 5 || len(digests) == 0 {
			t.Fatalf("the bot got %d cards and %d digests, want 5 and at least 1", len(own), len(digests))
		}
		says(t, digests[len(digests)-1], "本轮合并 7 组")
	})
}

// TestStormWhileTheAppFails: the digest's groups go the other way when the app
// has failed for long enough.
func TestStormWhileTheAppFails(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultHTML502, Ops: []sandbox.Op{sandbox.OpCreate}}); err != nil {
			t.Fatal(err)
		}
		b.tell("both", card.Firing, groups("AgentDown", "critical", 20)...)
		b.wait(time.Minute)
		b.counts(0, 0)
		b.wait(5 * time.Minute)
		own, digests := b.cards()
		if len(own) < 5 || len(digests) == 0 {
			t.Fatalf("after six minutes the bot got %d cards and %d digests", len(own), len(digests))
		}
		told := map[string]bool{}
		for _, v := range append(own, digests...) {
			for _, g := range groups("AgentDown", "critical", 20) {
				if strings.Contains(v.Title+v.Text, g.subject) {
					told[g.subject] = true
				}
			}
		}
		if len(told) != 20 {
			t.Errorf("%d of 20 groups were told of", len(told))
		}
	})
}

// TestSilencedInAStorm: what is silenced by the time there is room gets no card,
// until it fires again.
func TestSilencedInAStorm(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 7)
		b.tell("chat", card.Firing, all...)
		b.wait(2 * time.Second)
		_, digests := b.counts(5, 1)
		var held []group
		for _, g := range all {
			if strings.Contains(digests[0].Text, g.subject) {
				held = append(held, g)
			}
		}
		if len(held) != 2 {
			t.Fatalf("the digest is about %v", held)
		}
		b.mute(held[0], true)
		b.wait(2 * time.Minute)
		own, digests := b.counts(6, 1)
		says(t, digests[0], "已静默 1")
		if slices.ContainsFunc(own, func(v sandbox.MessageView) bool { return strings.Contains(v.Title, held[0].subject) }) {
			t.Error("a silenced group got a card of its own")
		}
		b.mute(held[0], false)
		b.wait(time.Minute)
		b.counts(7, 1)
	})
}

// mute has Alertmanager say that a group is silenced, or no longer.
func (b *bubble) mute(g group, muted bool) {
	b.t.Helper()
	ids, err := b.store.OpenCards(b.ctx, false)
	if err != nil {
		b.t.Fatal(err)
	}
	s := card.Snapshot{Began: time.Now().UTC().Add(time.Second), Reachable: true, Alerts: map[string]card.Listing{}, Silences: map[string]card.Silence{"s1": {By: "ana", Until: time.Now().Add(time.Hour)}}}
	for _, id := range ids {
		c, err := b.store.Card(b.ctx, id)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, a := range c.Alerts {
			seen := card.Listing{}
			if muted && a.Labels["agent_name"] == g.subject {
				seen.SilencedBy = []string{"s1"}
			}
			s.Alerts[a.Fingerprint] = seen
		}
	}
	if _, err := b.store.Judge(b.ctx, ids, s); err != nil {
		b.t.Fatal(err)
	}
	b.wake()
}

// TestOutage is six hours without Feishu: everything that fired is told of
// afterwards, fired and resolved included, within the limits, and once.
func TestOutage(t *testing.T) {
	for _, c := range []struct {
		name  string
		storm deliver.Storm
	}{{"cards", deliver.Storm{Every: 30 * time.Second}}, {"digest", deliver.Storm{PerMinute: 20, Every: 30 * time.Second}}} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, c.storm, func(b *bubble) {
				span := 6 * time.Hour
				if testing.Short() {
					span = time.Hour
				}
				if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultOutage, Seconds: span.Seconds()}); err != nil {
					t.Fatal(err)
				}
				all := groups("AgentDown", "critical", 120)
				for i := range all {
					b.tell("chat", card.Firing, all[i])
					b.wait(span / 130)
					if i%2 == 0 {
						b.tell("chat", card.Resolved, all[i])
					}
				}
				b.counts(0, 0)
				b.wait(span/130*10 + 45*time.Minute)
				b.told(all)
				b.within()
				if at, waiting, err := b.store.OldestPending(b.ctx); err != nil || waiting {
					t.Errorf("something waits since %v, %v", at, err)
				}
			})
		})
	}
}

// told checks that each group is on one card of its own in its last state, or
// was counted by a digest.
func (b *bubble) told(all []group) {
	b.t.Helper()
	own, digests := b.cards()
	cards := map[string]string{}
	for _, v := range own {
		for _, g := range all {
			if strings.Contains(v.Title, g.subject) {
				if cards[g.subject] != "" {
					b.t.Errorf("%s has two cards", g.subject)
				}
				cards[g.subject] = v.Template
			}
		}
	}
	digested := 0
	for _, v := range digests {
		if v.Template != "green" {
			b.t.Errorf("a digest is %s after everything got a card: %s\n%s", v.Template, v.Title, v.Text)
		}
		var total, carded int
		if _, err := fmt.Sscanf(v.Title, "✅ 告警风暴已结束：共 %d 组", &total); err != nil {
			b.t.Errorf("%q: %v", v.Title, err)
		}
		if i := strings.Index(v.Text, "其中 "); i >= 0 {
			if _, err := fmt.Sscanf(v.Text[i:], "其中 %d 组已单独成卡", &carded); err != nil {
				b.t.Errorf("%q: %v", v.Text[i:], err)
			}
		}
		digested += total - carded
	}
	for i, g := range all {
		want := "red"
		if i%2 == 0 {
			want = "green"
		}
		if got := cards[g.subject]; got != "" && got != want || got == "" && want == "red" {
			b.t.Errorf("%s is %q, want %s", g.subject, got, want)
		}
	}
	if len(cards)+digested != len(all) {
		b.t.Errorf("%d groups have cards and digests count %d, of %d", len(cards), digested, len(all))
	}
}

// TestFiringIsNeverTooOld: what could not be delivered in time is given up only
// once it is over, with a dead letter.
func TestFiringIsNeverTooOld(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		b.config.MaxAge = 10 * time.Minute
		if err := b.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultOutage}); err != nil {
			t.Fatal(err)
		}
		all := groups("AgentDown", "critical", 2)
		b.tell("chat", card.Firing, all...)
		b.wait(time.Minute)
		b.tell("chat", card.Resolved, all[0])
		b.wait(30 * time.Minute)
		dead, err := b.store.Dead(b.ctx, false, 10)
		if err != nil || len(dead) != 1 || dead[0].Reason != store.ReasonMaxAge || !strings.Contains(dead[0].Title, all[0].subject) {
			t.Errorf("dead letters %+v, %v; want one, of what is over", dead, err)
		}
		b.feishu.ClearFaults()
		b.wait(10 * time.Minute)
		own, _ := b.counts(1, 0)
		if !strings.Contains(own[0].Title, all[1].subject) || own[0].Template != "red" {
			t.Errorf("the card is %+v", own[0])
		}
	})
}
