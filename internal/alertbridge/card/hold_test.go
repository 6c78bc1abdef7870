package card_test

import (
	"maps"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

func heldAt(t *testing.T, group map[string]string) (*card.Card, time.Time) {
	t.Helper()
	at := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	labels := func(agent string) map[string]string {
		return map[string]string{"alertname": "AgentDown", "agent_name": agent}
	}
	c := card.Open("oncall", group, card.Notice{At: at, Alerts: []card.Alert{
		{Fingerprint: "a", Status: card.Firing, StartsAt: at, Labels: labels("a")},
		{Fingerprint: "b", Status: card.Firing, StartsAt: at, Labels: labels("b")},
	}}, nil)
	return c, at
}

func TestPartsOfASilence(t *testing.T) {
	for _, c := range []struct {
		name  string
		group map[string]string
		want  []map[string]string
	}{
		{"by group", map[string]string{"alertname": "AgentDown"}, []map[string]string{{"alertname": "AgentDown"}}},
		{"empty labels are left out", map[string]string{"alertname": "AgentDown", "team": ""}, []map[string]string{{"alertname": "AgentDown"}}},
		{"none", nil, []map[string]string{{"alertname": "AgentDown", "agent_name": "a"}, {"alertname": "AgentDown", "agent_name": "b"}}},
		{"only empty ones", map[string]string{"team": ""}, []map[string]string{{"alertname": "AgentDown", "agent_name": "a"}, {"alertname": "AgentDown", "agent_name": "b"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, at := heldAt(t, c.group)
			if !x.Silence(card.Hold{ID: "H", At: at, Until: at.Add(time.Hour)}) || len(x.Hold.Parts) != len(c.want) {
				t.Fatalf("%+v", x.Hold)
			}
			for i, p := range x.Hold.Parts {
				if !maps.Equal(p.Matchers, c.want[i]) {
					t.Errorf("part %d is %v, want %v", i, p.Matchers, c.want[i])
				}
			}
		})
	}
}

// TestHoldOverlooked is Alertmanager's word on a hold that is in force.
func TestHoldOverlooked(t *testing.T) {
	muted := map[string]card.Listing{"a": {SilencedBy: []string{"s"}}, "b": {}}
	bare := map[string]card.Listing{"a": {SilencedBy: []string{"another"}}, "b": {}}
	for _, c := range []struct {
		name   string
		after  time.Duration // from the moment it was made to that of asking
		reach  bool
		alerts map[string]card.Listing
		want   card.Phase
	}{
		{"one alert is muted by it", time.Second, true, muted, card.HoldMade},
		{"none is", time.Second, true, bare, card.HoldEnded},
		{"asked before it was made", -time.Second, true, bare, card.HoldMade},
		{"no answer", time.Second, false, nil, card.HoldMade},
		{"no alert is listed", time.Second, true, map[string]card.Listing{}, card.HoldMade},
		{"its time is up", time.Hour, true, bare, card.HoldMade},
	} {
		t.Run(c.name, func(t *testing.T) {
			x, at := heldAt(t, map[string]string{"alertname": "AgentDown"})
			made := at.Add(time.Minute)
			x.Silence(card.Hold{ID: "H", At: at, Until: made.Add(time.Hour)})
			x.Change("H", made, func(h *card.Hold) { h.MadeAt, h.Parts[0].Silence = made, "s" })
			x.Judge(card.Snapshot{Began: made.Add(c.after), Reachable: c.reach, Alerts: c.alerts})
			if got := x.Hold.Phase(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

// TestActionsShowWhileSettling: what a person did is shown whatever the card waits
// for.
func TestActionsShowWhileSettling(t *testing.T) {
	c, at := heldAt(t, map[string]string{"alertname": "AgentDown"})
	var ends []card.Alert
	for _, a := range c.Alerts {
		a.Status, a.EndsAt = card.Resolved, at.Add(time.Minute)
		ends = append(ends, a)
	}
	c.Apply(card.Notice{At: at.Add(time.Minute), Alerts: ends}, nil)
	before := c.Revision
	if c.State != card.StateSettling || !c.Acknowledge(card.Mark{By: "ou_a", At: at}) || c.Revision != before+1 {
		t.Errorf("%s, revision %d after %d", c.State, c.Revision, before)
	}
	if c.Acknowledge(card.Mark{By: "ou_b", At: at}) || c.Ack.By != "ou_a" || c.Revision != before+1 {
		t.Errorf("acknowledged again: %+v, revision %d", c.Ack, c.Revision)
	}
}

func TestHoldsFollowEachOther(t *testing.T) {
	c, at := heldAt(t, map[string]string{"alertname": "AgentDown"})
	ask := func(id string, at time.Time) bool {
		return c.Silence(card.Hold{ID: id, At: at, Until: at.Add(time.Hour)})
	}
	end := func(at time.Time) bool { return c.EndSilence(card.Mark{By: "ou_a", At: at}) }
	steps := []struct {
		name   string
		do     func() bool
		want   bool
		acting bool
	}{
		{"nothing to end", func() bool { return end(at) }, false, false},
		{"asked", func() bool { return ask("1", at) }, true, true},
		{"asked twice", func() bool { return ask("2", at) }, false, true},
		{"made", func() bool { return c.Change("1", at, func(h *card.Hold) { h.MadeAt = at }) }, true, false},
		{"another's change", func() bool { return c.Change("0", at, func(h *card.Hold) { h.MadeAt = time.Time{} }) }, false, false},
		{"end", func() bool { return end(at) }, true, true},
		{"end twice", func() bool { return end(at) }, false, true},
		{"not while it ends", func() bool { return ask("3", at.Add(2*time.Hour)) }, false, true},
		{"ended", func() bool { return c.Change("1", at, func(h *card.Hold) { h.EndedAt = at }) }, true, false},
		{"again", func() bool { return ask("4", at) }, true, true},
		{"made again", func() bool { return c.Change("4", at, func(h *card.Hold) { h.MadeAt = at }) }, true, false},
		{"after its time", func() bool { return ask("5", at.Add(time.Hour)) }, true, true},
	}
	for _, s := range steps {
		if got := s.do(); got != s.want || c.Acting() != s.acting {
			t.Errorf("%s: %t, acting %t", s.name, got, c.Acting())
		}
	}
	if c.Holds != 3 {
		t.Errorf("%d holds, want 3", c.Holds)
	}
}
