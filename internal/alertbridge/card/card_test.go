package card_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// epoch is when the tables' clock starts; their times are seconds after it.
var epoch = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return epoch.Add(time.Duration(seconds) * time.Second) }

func firing(fingerprint string, starts int) card.Alert {
	return card.Alert{Fingerprint: fingerprint, Status: card.Firing, StartsAt: at(starts), Labels: map[string]string{"severity": "critical"}}
}

func resolved(fingerprint string, starts, ends int) card.Alert {
	a := firing(fingerprint, starts)
	a.Status, a.EndsAt = card.Resolved, at(ends)
	return a
}

func notice(seconds int, alerts ...card.Alert) card.Notice {
	return card.Notice{At: at(seconds), Alerts: alerts}
}

// group replays what a store does with the notices and judgements of one group.
type group struct {
	card, previous *card.Card
	generation     int
}

func (g *group) notice(n card.Notice) {
	if g.card != nil {
		g.card.Apply(n, g.previous)
		g.close()
		return
	}
	if g.card = card.Open("r", map[string]string{"a": "b"}, n, g.previous); g.card != nil {
		g.generation++
		g.close()
	}
}

func (g *group) judge(s card.Snapshot) {
	if g.card != nil {
		g.card.Judge(s)
		g.close()
	}
}

func (g *group) close() {
	if g.card.Closed() {
		g.previous, g.card = g.card, nil
	}
}

func (g *group) state() card.State {
	switch {
	case g.card != nil:
		return g.card.State
	case g.previous != nil:
		return g.previous.State
	default:
		return "none"
	}
}

// listing is Alertmanager up for long, with the given alerts active, and
// monitoring alive until the moment of asking.
func listing(seconds int, fingerprints ...string) card.Snapshot {
	s := card.Snapshot{
		Began: at(seconds), Reachable: true, Settled: true, MinUptime: 3 * time.Minute, Alerts: map[string]card.Listing{},
		Evidence: card.Evidence{Required: true, LastHeard: at(seconds), FreshSince: at(-3600), MaxAge: 2 * time.Minute},
	}
	for _, f := range fingerprints {
		s.Alerts[f] = card.Listing{}
	}
	return s
}

func deadSince(s card.Snapshot, seconds int) card.Snapshot {
	s.Evidence.LastHeard, s.Evidence.FreshSince = at(seconds), time.Time{}
	return s
}

func unreachable(s card.Snapshot) card.Snapshot {
	s.Reachable, s.Settled, s.Alerts = false, false, nil
	return s
}

func TestLife(t *testing.T) {
	muted := listing(20, "x")
	muted.Alerts["x"] = card.Listing{SilencedBy: []string{"s1"}}
	muted.Silences = map[string]card.Silence{"s1": {Until: at(3600), By: "ana"}}
	restarted := listing(20)
	restarted.Settled = false
	ownWord := unreachable(listing(20))
	ownWord.Evidence.Required = false
	backFor1m, backFor3m := listing(1000), listing(1120)
	backFor1m.Evidence.FreshSince, backFor3m.Evidence.FreshSince = at(940), at(940)

	for _, c := range []struct {
		name       string
		steps      []any
		want       card.State
		generation int
	}{
		{"firing", []any{notice(0, firing("x", 0))}, card.StateFiring, 1},
		{"a resolve is only a claim", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9))}, card.StateSettling, 1},
		{"evidence makes it green", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20)}, card.StateResolved, 1},
		{"no evidence makes it grey", []any{notice(0, firing("x", 0)), notice(300, resolved("x", 0, 299)), deadSince(listing(310), 60)}, card.StateUnknown, 1},
		{"heard before the end and dead since is evidence", []any{notice(0, firing("x", 0)), notice(600, resolved("x", 0, 60)), deadSince(listing(610), 30)}, card.StateResolved, 1},
		{"no watchdog, own word", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), ownWord}, card.StateResolved, 1},
		{"grey is not settled at once", []any{notice(0, firing("x", 0)), notice(300, resolved("x", 0, 299)), deadSince(listing(310), 60), backFor1m}, card.StateUnknown, 1},
		{"grey is settled when monitoring is back for long", []any{notice(0, firing("x", 0)), notice(300, resolved("x", 0, 299)), deadSince(listing(310), 60), backFor3m}, card.StateResolved, 1},
		{"grey fires again", []any{notice(0, firing("x", 0)), notice(300, resolved("x", 0, 299)), deadSince(listing(310), 60), listing(320, "x")}, card.StateFiring, 1},
		{"an alert not mentioned is not resolved", []any{notice(0, firing("x", 0), firing("y", 0)), notice(10, resolved("y", 0, 9)), listing(20, "x")}, card.StateFiring, 1},
		{"nor does it wait for a judgement", []any{notice(0, firing("x", 0), firing("y", 0)), notice(10, resolved("y", 0, 9))}, card.StateFiring, 1},
		{"resolve overruled by Alertmanager", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20, "x")}, card.StateFiring, 1},
		{"a listing older than the claim does not judge it", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(10, "x")}, card.StateSettling, 1},
		{"silenced", []any{notice(0, firing("x", 0)), muted}, card.StateSilenced, 1},
		{"silence over", []any{notice(0, firing("x", 0)), muted, listing(30, "x")}, card.StateFiring, 1},
		{"resolved under silence", []any{notice(0, firing("x", 0)), muted, listing(30)}, card.StateResolved, 1},
		{"never listed is not judged by absence at once", []any{notice(0, firing("x", 0)), listing(20)}, card.StateFiring, 1},
		{"never listed is over after a while", []any{notice(0, firing("x", 0)), listing(200)}, card.StateResolved, 1},
		{"Alertmanager restarted", []any{notice(0, firing("x", 0)), listing(10, "x"), restarted}, card.StateFiring, 1},
		{"Alertmanager gone", []any{notice(0, firing("x", 0)), listing(10, "x"), unreachable(listing(20))}, card.StateFiring, 1},
		{"ran out unheard", []any{notice(0, firing("x", 0)), listing(10, "x"), deadSince(listing(300), 10)}, card.StateUnknown, 1},
		{"same resolve from the other peer", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(21, resolved("x", 0, 9))}, card.StateResolved, 1},
		{"late firing of the same episode waits", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(21, firing("x", 0))}, card.StateSettling, 2},
		{"late firing that Alertmanager does not know", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(21, firing("x", 0)), listing(30)}, card.StateDiscarded, 2},
		{"late firing that Alertmanager knows", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(21, firing("x", 0)), listing(30, "x")}, card.StateFiring, 2},
		{"late firing, Alertmanager unreachable", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(21, firing("x", 0)), unreachable(listing(30))}, card.StateFiring, 2},
		{"new episode", []any{notice(0, firing("x", 0)), notice(10, resolved("x", 0, 9)), listing(20), notice(31, firing("x", 30))}, card.StateFiring, 2},
		{"fired and resolved before it was heard of", []any{notice(10, resolved("x", 0, 9)), listing(20)}, card.StateResolved, 1},
		{"late firing within the generation", []any{notice(0, firing("x", 0), firing("y", 0)), notice(10, resolved("y", 0, 9)), listing(20, "x"), notice(21, firing("y", 0)), listing(30, "x"), notice(40, resolved("x", 0, 39)), listing(50)}, card.StateResolved, 1},
		{"an end before the beginning, Alertmanager unreachable", []any{notice(100, firing("x", 100)), notice(110, resolved("x", 0, 9)), unreachable(listing(120))}, card.StateFiring, 1},
		{"start in the future, as Alertmanager posts it", []any{notice(0, firing("x", 240)), notice(10, resolved("x", 9, 9)), listing(20)}, card.StateResolved, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := &group{}
			for _, step := range c.steps {
				switch s := step.(type) {
				case card.Notice:
					g.notice(s)
				case card.Snapshot:
					g.judge(s)
				}
			}
			if g.state() != c.want || g.generation != c.generation {
				t.Errorf("got %s in generation %d, want %s in %d", g.state(), g.generation, c.want, c.generation)
			}
		})
	}
}

func TestWhatIsShownChanges(t *testing.T) {
	c := card.Open("r", nil, notice(0, firing("x", 0)), nil)
	for _, step := range []struct {
		name string
		do   func() bool
		want bool
	}{
		{"same again", func() bool { return c.Apply(notice(5, firing("x", 0)), nil) }, false},
		{"a reminder", func() bool { return c.Apply(notice(100, firing("x", 0)), nil) }, true},
		{"another alert", func() bool { return c.Apply(notice(101, firing("x", 0), firing("y", 100)), nil) }, true},
		{"an unjudged resolve", func() bool { return c.Apply(notice(102, resolved("y", 100, 101)), nil) }, false},
		{"its judgement", func() bool { return c.Judge(listing(103, "x")) }, true},
		{"nothing new", func() bool { return c.Judge(listing(104, "x")) }, false},
		{"all unjudged", func() bool { return c.Apply(notice(105, resolved("x", 0, 104)), nil) }, false},
		{"overruled", func() bool { return c.Judge(listing(106, "x")) }, false},
	} {
		before := c.Revision
		if got := step.do(); got != step.want || (c.Revision > before) != step.want {
			t.Errorf("%s: changed %v (revision %d -> %d), want %v", step.name, got, before, c.Revision, step.want)
		}
	}
}

// TestShuffled delivers the notifications of two episodes in every kind of
// disorder, with repeats, and lets Alertmanager have the last word.
func TestShuffled(t *testing.T) {
	rounds := 10000
	if testing.Short() {
		rounds = 1000
	}
	for seed := range rounds {
		r := rand.New(rand.NewPCG(1, uint64(seed)))
		all := []card.Alert{firing("x", 0), resolved("x", 0, 50), firing("x", 100), resolved("x", 100, 150), firing("y", 20), resolved("y", 20, 60)}
		stillFiring := r.IntN(2) == 0
		if stillFiring {
			all = append(all, firing("x", 200))
		}
		all = append(all, all[r.IntN(len(all))], all[r.IntN(len(all))])
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		g, now := &group{}, 300
		active := []string{}
		if stillFiring {
			active = []string{"x"}
		}
		for _, a := range all {
			now += 10
			g.notice(notice(now, a))
			if r.IntN(3) == 0 {
				now += 10
				g.judge(listing(now, active...))
			}
		}
		g.judge(listing(now+10, active...))
		g.judge(listing(now+400, active...))
		open := g.card != nil && g.card.State == card.StateFiring
		if open != stillFiring {
			t.Fatalf("seed %d: x still firing is %v, the card shows %s", seed, stillFiring, g.state())
		}
	}
}

func TestGroupKeyTellsLabelsApart(t *testing.T) {
	seen := map[string]map[string]string{}
	for _, labels := range []map[string]string{
		nil, {"a": ""}, {"a": "b"}, {"a": "bc"}, {"ab": "c"}, {"a": "b", "c": "d"}, {"a": "b:1:c"},
	} {
		key := card.GroupKey(labels)
		if old, ok := seen[key]; ok {
			t.Errorf("%v and %v have the same key", old, labels)
		}
		seen[key] = labels
	}
}

func TestUUIDFitsAndDiffers(t *testing.T) {
	a, b := card.UUID("c", "app", "create", 1), card.UUID("c", "app", "create", 2)
	if a == b || a != card.UUID("c", "app", "create", 1) || len(a) > 50 {
		t.Errorf("got %q and %q", a, b)
	}
}

// TestTheEndOfTheLastGeneration: Alertmanager repeats an end for a while. It is no
// part of the group's next generation, unless it is the end of a new episode.
func TestTheEndOfTheLastGeneration(t *testing.T) {
	g := &group{}
	g.notice(notice(0, firing("x", 0)))
	g.notice(notice(50, resolved("x", 0, 50)))
	g.judge(listing(60))
	g.notice(notice(100, firing("y", 100), resolved("x", 0, 50)))
	g.notice(notice(110, firing("y", 100), firing("z", 105), resolved("x", 0, 50)))
	if g.card == nil || g.card.Has("x") || !g.card.Has("z") {
		t.Fatalf("the second generation is %+v", g.card)
	}
	g.notice(notice(120, firing("y", 100), resolved("x", 111, 115)))
	if !g.card.Has("x") {
		t.Error("an episode that nobody was told of is left out")
	}
}
