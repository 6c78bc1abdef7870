package card_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// TestAGroupThatNeverEnds does not grow for ever: where one alert fires for a month
// and others come and go, the card keeps those of the last day, and forgetting the
// others is no news.
func TestAGroupThatNeverEnds(t *testing.T) {
	g := &group{}
	g.notice(notice(0, firing("always", 0)))
	day := 0
	for hour := 1; hour <= 30*24; hour++ {
		s, name := hour*3600, fmt.Sprintf("alert-%d", hour)
		g.notice(notice(s, firing(name, s)))
		g.notice(notice(s+600, resolved(name, s, s+600)))
		g.judge(listing(s+601, "always"))
		body, err := json.Marshal(g.card)
		if err != nil {
			t.Fatal(err)
		}
		if hour == 48 {
			day = len(body)
		}
		if hour > 48 && len(body) > day+day/10 {
			t.Fatalf("after %d hours the card holds %d alerts in %d bytes, after two days it was %d bytes", hour, len(g.card.Alerts), len(body), day)
		}
	}
	if n := len(g.card.Alerts); n < 24 || n > 27 || !g.card.Has("always") || !g.card.Has("alert-720") {
		t.Errorf("%d alerts on the card, want those of a day", n)
	}
	// A day later everything else is old.
	revision := g.card.Revision
	quiet := card.Notice{At: at(33 * 24 * 3600), Alerts: nil}
	if changed := g.card.Apply(quiet, nil); changed || g.card.Revision != revision || len(g.card.Alerts) != 1 {
		t.Errorf("forgetting is told as news: %t, revision %d after %d, %d alerts", changed, g.card.Revision, revision, len(g.card.Alerts))
	}
	g.judge(listing(33*24*3600+1, "always"))
	if g.card.Revision != revision || g.state() != card.StateFiring {
		t.Errorf("revision %d after %d, state %s", g.card.Revision, revision, g.state())
	}
	// What fires again after it was forgotten is there again, and the end is green.
	g.notice(notice(33*24*3600+10, firing("alert-1", 33*24*3600)))
	if !g.card.Has("alert-1") {
		t.Error("an alert that was forgotten does not come again")
	}
	end := 33*24*3600 + 60
	g.notice(notice(end, resolved("alert-1", 33*24*3600, end), resolved("always", 0, end)))
	g.judge(listing(end + 1))
	if g.state() != card.StateResolved || g.previous.ClosedAt.IsZero() {
		t.Errorf("the end is %s", g.state())
	}
	if d := 24 * time.Hour; g.previous.ClosedAt.Sub(g.previous.OpenedAt) < 30*d {
		t.Error("it was more than one generation")
	}
}
