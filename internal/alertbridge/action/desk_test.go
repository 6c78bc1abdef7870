package action_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	_ "modernc.org/sqlite"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/action"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// desk is a desk over a real store that has one open card.
type desk struct {
	*action.Desk
	t        *testing.T
	file     string
	store    *store.Store
	signer   *action.Signer
	registry *prometheus.Registry
	acted    int
	card     *card.Card
	events   int
}

func policy() action.Policy {
	return action.Policy{Buttons: true, Silencing: true, Operators: []string{"ou_ana"}, Silences: []time.Duration{time.Hour, 4 * time.Hour}, Language: "en"}
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, file: filepath.Join(t.TempDir(), "cards.db"), signer: action.NewSigner("key"), registry: prometheus.NewRegistry()}
	var err error
	if d.store, err = store.Open(t.Context(), store.Options{URL: sqlstore.URL("sqlite:" + d.file)}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Wait()
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
	d.Desk = action.NewDesk(d.store, d.signer, slog.New(slog.DiscardHandler), action.NewMetrics(d.registry), func() { d.acted++ }, policy())
	d.accept(card.Firing)
	d.card = d.now()
	return d
}

// accept takes a notification about the card's only alert.
func (d *desk) accept(status card.Status) {
	d.t.Helper()
	at := time.Now().UTC()
	_, err := d.store.Accept(d.t.Context(), store.Intake{
		Group: map[string]string{"alertname": "AgentDown"},
		Notice: card.Notice{At: at, Alerts: []card.Alert{{
			Fingerprint: "f", Status: status, StartsAt: at.Add(-time.Minute), Labels: map[string]string{"alertname": "AgentDown", "agent_name": "coo"},
		}}},
		Receivers: func(map[string]string) []string { return []string{"oncall"} },
		Channels:  func(string) store.Channels { return store.Channels{Ways: []store.Channel{store.App}} },
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) now() *card.Card {
	d.t.Helper()
	cards, err := d.store.Cards(d.t.Context(), store.Filter{Limit: 1})
	if err != nil || len(cards) != 1 {
		d.t.Fatalf("%d cards, %v", len(cards), err)
	}
	return cards[0]
}

// press presses what the card offers by that kind, or a value.
func (d *desk) press(by string, v action.Value) action.Toast {
	d.t.Helper()
	d.events++
	return d.Press(d.t.Context(), action.Press{EventID: fmt.Sprint("event-", d.events), Operator: by, MessageID: "om_1", ChatID: "oc_1", Value: sent(d.signer.Sign(v))})
}

func (d *desk) value(kind render.ActionKind, length time.Duration) action.Value {
	c := d.now()
	return action.Value{Kind: kind, For: length, Turn: c.Holds, Card: c.ID, Expires: time.Now().Add(time.Hour)}
}

func (d *desk) kinds() []string {
	var out []string
	for _, a := range d.Offers(d.now(), time.Now()) {
		out = append(out, strings.TrimSuffix(string(a.Kind)+" "+a.For.String(), " 0s"))
	}
	return out
}

func TestOffersAndPresses(t *testing.T) {
	d := newDesk(t)
	expect := func(want ...string) {
		t.Helper()
		if got := d.kinds(); !slices.Equal(got, want) {
			t.Errorf("offered %q, want %q", got, want)
		}
	}
	expect("acknowledge", "silence 1h0m0s", "silence 4h0m0s")
	if got := d.press("ou_ana", d.value(render.Acknowledge, 0)); got.Kind != action.KindSuccess {
		t.Errorf("%+v", got)
	}
	if c := d.now(); c.Ack == nil || c.Ack.By != "ou_ana" || c.Revision != d.card.Revision+1 || d.acted != 1 {
		t.Errorf("acknowledged by %+v, revision %d", c.Ack, c.Revision)
	}
	expect("silence 1h0m0s", "silence 4h0m0s")
	if got := d.press("ou_ana", d.value(render.Silence, 4*time.Hour)); got.Text != "Silencing for 4h, the card follows" {
		t.Errorf("%+v", got)
	}
	h := d.now().Hold
	if h.By != "ou_ana" || h.Until.Sub(h.At) != 4*time.Hour || len(h.Parts) != 1 || h.Parts[0].Matchers["alertname"] != "AgentDown" || h.Chat != "oc_1" {
		t.Errorf("asked for %+v", h)
	}
	expect("end_silence")
	// Alertmanager did not answer and is left alone; what is asked for now is due at
	// once.
	if err := d.store.Acted(t.Context(), d.card.ID, h.ID, time.Now().Add(time.Hour), func(*card.Hold) {}, store.AuditEntry{At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if got := d.press("ou_ana", d.value(render.EndSilence, 0)); got.Kind != action.KindSuccess {
		t.Errorf("%+v", got)
	}
	expect()
	cards, err := d.store.Acting(t.Context(), time.Now(), 10)
	if err != nil || len(cards) != 1 {
		t.Errorf("%d cards are to be acted on, %v", len(cards), err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		result action.Result
		press  func(*desk) action.Toast
	}{
		{"stranger", action.NotOperator, func(d *desk) action.Toast { return d.press("ou_eve", d.value(render.Acknowledge, 0)) }},
		{"nobody", action.NotOperator, func(d *desk) action.Toast { return d.press("", d.value(render.Acknowledge, 0)) }},
		{"expired", action.Expired, func(d *desk) action.Toast {
			v := d.value(render.Acknowledge, 0)
			v.Expires = time.Now().Add(-time.Second)
			return d.press("ou_ana", v)
		}},
		{"unknown card", action.UnknownCard, func(d *desk) action.Toast {
			v := d.value(render.Acknowledge, 0)
			v.Card = "01NONE"
			return d.press("ou_ana", v)
		}},
		{"resolved", action.Resolved, func(d *desk) action.Toast {
			v := d.value(render.Acknowledge, 0)
			d.accept(card.Resolved)
			if _, err := d.store.Judge(d.t.Context(), []string{v.Card}, card.Snapshot{Began: time.Now().Add(time.Second)}); err != nil {
				d.t.Fatal(err)
			}
			return d.press("ou_ana", v)
		}},
		{"acknowledged before", action.Superseded, func(d *desk) action.Toast {
			d.press("ou_ana", d.value(render.Acknowledge, 0))
			return d.press("ou_ana", d.value(render.Acknowledge, 0))
		}},
		{"silenced before", action.Superseded, func(d *desk) action.Toast {
			v := d.value(render.Silence, time.Hour)
			d.press("ou_ana", v)
			return d.press("ou_ana", v)
		}},
		{"silenced twice", action.Superseded, func(d *desk) action.Toast {
			d.press("ou_ana", d.value(render.Silence, time.Hour))
			return d.press("ou_ana", d.value(render.Silence, time.Hour))
		}},
		{"nothing to end", action.Superseded, func(d *desk) action.Toast { return d.press("ou_ana", d.value(render.EndSilence, 0)) }},
		{"not a choice", action.Superseded, func(d *desk) action.Toast { return d.press("ou_ana", d.value(render.Silence, 5*time.Hour)) }},
		{"no such action", action.Superseded, func(d *desk) action.Toast { return d.press("ou_ana", d.value("dance", 0)) }},
		{"another message", action.Superseded, func(d *desk) action.Toast {
			legs, err := d.store.Legs(d.t.Context(), d.card.ID)
			if err != nil {
				d.t.Fatal(err)
			}
			legs[0].MessageID = "om_2"
			if err := d.store.Finish(d.t.Context(), legs[0], false); err != nil {
				d.t.Fatal(err)
			}
			return d.press("ou_ana", d.value(render.Acknowledge, 0))
		}},
		{"no event id", action.Forged, func(d *desk) action.Toast {
			return d.Press(d.t.Context(), action.Press{Operator: "ou_ana", MessageID: "om_1", Value: sent(d.signer.Sign(d.value(render.Acknowledge, 0)))})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := newDesk(t)
			before := d.acted
			got := c.press(d)
			if got.Kind != action.KindWarning && got.Kind != action.KindError || got.Text == "" {
				t.Errorf("told %+v", got)
			}
			entries, err := d.store.Audit(t.Context(), 10)
			if err != nil || !strings.HasPrefix(entries[0].Detail, string(c.result)) {
				t.Errorf("the audit trail says %+v, %v, want %s", entries, err, c.result)
			}
			if n := len(entries); d.acted-before != n-1 {
				t.Errorf("%d presses, of which %d changed the card", n, d.acted-before)
			}
		})
	}
}

// TestSlowStore holds the store's file: the person is told in time, and the press
// is recorded all the same.
func TestSlowStore(t *testing.T) {
	d := newDesk(t)
	v := d.value(render.Acknowledge, 0)
	other, err := sql.Open("sqlite", d.file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	if got := d.press("ou_ana", v); got.Kind != action.KindInfo {
		t.Errorf("told %+v while the store is held", got)
	}
	if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
		t.Fatal(err)
	}
	d.Wait()
	if c := d.now(); c.Ack == nil {
		t.Error("the press was not recorded")
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	problems, err := testutil.GatherAndLint(newDesk(t).registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}
