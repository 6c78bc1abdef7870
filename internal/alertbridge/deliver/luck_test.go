package deliver_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestDigestInDoubt: a digest whose creation was lost sight of for longer than
// Feishu remembers it is found in the chat, and marked where it cannot be looked
// for.
func TestDigestInDoubt(t *testing.T) {
	for to, most := range map[string]int{"chat": 1, "person": 2} {
		t.Run(to, func(t *testing.T) {
			inBubble(t, fivePerMinute(), func(b *bubble) {
				b.fault(sandbox.Fault{Kind: sandbox.FaultDropAfter, Contains: "告警风暴", Times: 1})
				b.fault(sandbox.Fault{Kind: sandbox.FaultOutage, Contains: "告警风暴", Seconds: 5400})
				all := groups("AgentDown", "critical", 9)
				b.tell(to, card.Firing, all...)
				b.wait(2 * time.Second)
				b.counts(5, 1)
				b.tell(to, card.Resolved, all...)
				b.wait(2 * time.Hour)
				_, digests := b.counts(5, most)
				last := digests[len(digests)-1]
				if last.Template != "green" {
					t.Errorf("the digest is %s", last.Template)
				}
				if at, waiting, err := b.store.OldestPending(b.ctx); err != nil || waiting {
					t.Errorf("something waits since %v, %v", at, err)
				}
			})
		})
	}
}

// TestReplayOfADigest: what a digest was refused with is told once the chat takes
// messages again.
func TestReplayOfADigest(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultCode, Code: 230002, Msg: "bot is not in the chat", Ops: []sandbox.Op{sandbox.OpCreate}})
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 12)...)
		b.wait(5 * time.Minute)
		b.counts(0, 0)
		b.feishu.ClearFaults()
		dead, err := b.store.Dead(b.ctx, false, 100)
		if err != nil || len(dead) != 12 {
			t.Fatalf("%d dead letters, %v", len(dead), err)
		}
		for _, d := range dead {
			if err := b.store.Replay(b.ctx, d.ID, b.config.Channels, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		b.wake()
		b.wait(5 * time.Minute)
		own, digests := b.cards()
		if len(own) != 12 || len(digests) > 1 {
			t.Errorf("%d cards and %d digests of twelve groups", len(own), len(digests))
		}
		if dead, err := b.store.Dead(b.ctx, false, 100); err != nil || len(dead) != 0 {
			t.Errorf("%d dead letters are left, %v", len(dead), err)
		}
		for _, v := range digests {
			if v.Template != "green" {
				t.Errorf("the digest is %s", v.Template)
			}
		}
	})
}

// TestReplayOfWhatIsOver: a letter can be replayed for as long as it is kept, also
// long after its card has closed and others of that age were deleted.
func TestReplayOfWhatIsOver(t *testing.T) {
	inBubble(t, deliver.Storm{Every: time.Minute}, func(b *bubble) {
		g := groups("AgentDown", "critical", 1)
		b.fault(sandbox.Fault{Kind: sandbox.FaultCode, Code: 230002, Msg: "bot is not in the chat", Ops: []sandbox.Op{sandbox.OpCreate}})
		b.tell("chat", card.Firing, g...)
		b.wait(time.Minute)
		b.tell("chat", card.Resolved, g...)
		b.wait(time.Minute)
		b.stop()
		time.Sleep(16 * 24 * time.Hour)
		b.start()
		b.wait(time.Minute)
		b.sweep()
		dead, err := b.store.Dead(b.ctx, false, 100)
		if err != nil || len(dead) != 1 {
			t.Fatalf("%d dead letters, %v, want one", len(dead), err)
		}
		b.feishu.ClearFaults()
		if err := b.store.Replay(b.ctx, dead[0].ID, b.config.Channels, time.Now()); err != nil {
			t.Fatal(err)
		}
		b.wake()
		b.wait(10 * time.Second)
		if own, _ := b.counts(1, 0); own[0].Template != "green" {
			t.Errorf("the card is %s", own[0].Template)
		}
		b.sweep()
		if _, err := b.store.Card(b.ctx, dead[0].CardID); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("the card is kept after its letter was replayed: %v", err)
		}
	})
}

// TestReplayOfAShownDigest: a digest that could no longer be changed is brought up
// to date by its own letter.
func TestReplayOfAShownDigest(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 12)
		b.tell("both", card.Firing, all...)
		b.wait(10 * time.Second)
		_, digests := b.counts(5, 1)
		b.change("both", func(r *deliver.Receiver) { r.Failover = false })
		b.fault(sandbox.Fault{Kind: sandbox.FaultCode, Code: 230002, Msg: "bot is not in the chat", Ops: []sandbox.Op{sandbox.OpPatch}, Contains: "告警风暴"})
		for _, g := range all {
			if strings.Contains(digests[0].Text, g.subject) {
				b.mute(g, true)
				break
			}
		}
		b.wait(40 * time.Second)
		b.feishu.ClearFaults()
		if _, digests = b.cards(); digests[0].Template != "red" {
			t.Fatalf("the digest is %s", digests[0].Template)
		}
		dead, err := b.store.Dead(b.ctx, false, 100)
		if err != nil || len(dead) != 8 {
			t.Fatalf("%d dead letters, %v, want those of seven groups and the digest", len(dead), err)
		}
		for _, d := range dead {
			if d.Title != "digest" {
				continue
			}
			if err := b.store.Replay(b.ctx, d.ID, b.config.Channels, time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		b.wake()
		b.wait(10 * time.Second)
		if _, digests = b.cards(); digests[0].Template != "green" {
			t.Errorf("the digest is %s", digests[0].Template)
		}
		for _, v := range digests[1:] {
			if strings.Contains(v.Text, digests[0].Text[strings.LastIndex(digests[0].Text, "#"):]) {
				t.Error("the digest of one way was sent by another")
			}
		}
	})
}

// TestReceiverComesBack: a receiver that was taken out of the configuration in a
// storm, and put back, gets its cards and a digest that ends.
func TestReceiverComesBack(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 12)
		b.tell("chat", card.Firing, all...)
		b.wait(59 * time.Second)
		b.counts(5, 1)
		b.stop()
		gone := b.config.Receivers["chat"]
		delete(b.config.Receivers, "chat")
		b.start()
		b.wait(5 * time.Minute)
		b.stop()
		b.config.Receivers["chat"] = gone
		b.start()
		b.wait(5 * time.Minute)
		b.counts(12, 1)
		b.tell("chat", card.Resolved, all...)
		b.wait(5 * time.Minute)
		own, digests := b.counts(12, 1)
		for _, v := range append(own, digests...) {
			if v.Template != "green" {
				t.Errorf("%s is %s", v.Title, v.Template)
			}
		}
	})
}

// TestFasterDigests: a shorter pace that was configured between two runs is kept.
func TestFasterDigests(t *testing.T) {
	inBubble(t, deliver.Storm{PerMinute: 1, Every: time.Hour}, func(b *bubble) {
		all := groups("AgentLate", "warning", 12)
		b.tell("chat", card.Firing, all[:6]...)
		b.wait(10 * time.Second)
		b.stop()
		b.config.Storm.Every = 5 * time.Second
		b.start()
		b.tell("chat", card.Firing, all[6:]...)
		b.wait(130 * time.Second)
		_, digests := b.cards()
		says(t, digests[0], "本轮合并 11 组")
	})
}

// TestClockSetBack: what waits for a time that the clock has moved away from is
// sent all the same.
func TestClockSetBack(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		b.fault(sandbox.Fault{Kind: sandbox.FaultHTML502, Ops: []sandbox.Op{sandbox.OpCreate}})
		b.tell("chat", card.Firing, groups("AgentDown", "critical", 1)...)
		b.wait(10 * time.Second)
		b.stop()
		b.feishu.ClearFaults()
		b.start()
		ids, err := b.store.OpenCards(b.ctx, false)
		if err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
		legs, err := b.store.Legs(b.ctx, ids[0])
		if err != nil || len(legs) != 1 {
			t.Fatal(legs, err)
		}
		legs[0].NextAt = time.Now().Add(3 * time.Hour)
		if err := b.store.Finish(b.ctx, legs[0], true); err != nil {
			t.Fatal(err)
		}
		b.wait(3 * time.Minute)
		b.counts(1, 0)
	})
}

// TestDigestThatIsRecalled: a new one takes its place, and once more where that is
// too old to be changed.
func TestDigestThatIsRecalled(t *testing.T) {
	inBubble(t, fivePerMinute(), func(b *bubble) {
		all := groups("AgentDown", "critical", 6)
		b.tell("chat", card.Firing, all...)
		b.wait(10 * time.Second)
		_, digests := b.counts(5, 1)
		if !b.feishu.Recall(digests[0].MessageID) {
			t.Fatal("the digest was not recalled")
		}
		for _, g := range all {
			if !strings.Contains(digests[0].Text, g.subject) {
				continue
			}
			b.mute(g, true)
		}
		b.wait(time.Minute)
		_, digests = b.counts(5, 2)
		says(t, digests[1], "已静默 1", "接续")
		b.wait(15 * 24 * time.Hour)
		b.tell("chat", card.Resolved, all...)
		b.wait(time.Minute)
		_, digests = b.cards()
		if last := digests[len(digests)-1]; len(digests) != 3 || last.Template != "green" {
			t.Errorf("%d digests, the last is %s; want three, green", len(digests), last.Template)
		}
	})
}

// TestStormThatFlaps: groups that are over before the next ones fire make no
// digest each.
func TestStormThatFlaps(t *testing.T) {
	for _, to := range []string{"chat", "bot"} {
		t.Run(to, func(t *testing.T) {
			inBubble(t, fivePerMinute(), func(b *bubble) {
				for _, g := range groups("AgentDown", "critical", 60) {
					b.tell(to, card.Firing, g)
					b.wait(time.Second)
					b.tell(to, card.Resolved, g)
					b.wait(time.Second)
				}
				b.wait(5 * time.Minute)
				_, digests := b.cards()
				opened := map[string]bool{}
				for _, v := range digests {
					opened[v.Text[strings.LastIndex(v.Text, "#"):]] = true
				}
				if len(opened) == 0 || len(opened) > 3 {
					t.Errorf("%d digests in two minutes", len(opened))
				}
				if last := digests[len(digests)-1]; last.Template != "green" {
					t.Errorf("the last digest is %s", last.Template)
				}
				if at, waiting, err := b.store.OldestPending(b.ctx); err != nil || waiting {
					t.Errorf("something waits since %v, %v", at, err)
				}
			})
		})
	}
}
