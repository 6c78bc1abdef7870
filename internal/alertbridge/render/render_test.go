package render_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	feishucard "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

func renderer(t testing.TB, language string) *render.Renderer {
	t.Helper()
	r, err := render.New(render.Options{
		Language: language, Location: time.FixedZone("CST", 8*3600), Grafana: "https://grafana.example/", Dashboard: "/d/agent-health", Runbooks: "https://runbooks.example/r",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func agentDown(agent string, change func(*card.Alert)) card.Alert {
	a := card.Alert{
		Fingerprint: agent, Status: card.Firing, StartsAt: now.Add(-12 * time.Minute),
		Labels: map[string]string{"alertname": "AgentDown", "agent_name": agent, "severity": "critical", "owner": "coo"},
		Annotations: map[string]string{
			"summary": agent + " is down", "description": "No sign of life from " + agent + " for 12 minutes.", "value": "0",
			"next_action": "Look at the unit: systemctl status openclaw-" + agent,
		},
	}
	if change != nil {
		change(&a)
	}
	return a
}

func cardOf(state card.State, alerts ...card.Alert) *card.Card {
	return &card.Card{
		ID: "01TESTCARD", Receiver: "oncall", State: state, Shown: state, Revision: 2, Alerts: alerts, ExternalURL: "http://alertmanager.example:9093",
		GroupLabels: map[string]string{"alertname": "AgentDown"}, OpenedAt: now.Add(-12 * time.Minute),
	}
}

// requests are the cards of the golden files, by name.
func requests() map[string]render.Request {
	ended := func(a *card.Alert) { a.Status, a.EndsAt = card.Resolved, now.Add(-time.Minute) }
	silenced := func(a *card.Alert) {
		a.Mute = &card.Mute{Silences: []string{"s"}, Until: now.Add(time.Hour), By: "ana"}
	}
	hostile := cardOf(card.StateFiring, agentDown("x", func(a *card.Alert) {
		a.Labels["agent_name"] = `<at id=all></at> **bold** [link](http://evil) \ " ` + "`code`\n# title"
		a.Labels["severity"] = "warning"
		a.Annotations = map[string]string{"summary": "<at user_id=\"all\"></at>\n\n back\\slash & <font color='red'>", "runbook_url": "javascript:alert(1)", "dashboard_uid": "../../login?", "panel": "1&orgId=2", "description": "line one\nline two"}
	}))
	reminded := cardOf(card.StateFiring, agentDown("lawyer", nil))
	reminded.Reminders, reminded.Truncated = 3, 7
	linked := agentDown("secretary", func(a *card.Alert) { a.Annotations["dashboard_uid"], a.Annotations["panel"] = "agent-health", "8" })
	pressed := func(state card.State, change func(*card.Card), actions ...render.Action) render.Request {
		c := cardOf(state, agentDown("secretary", nil))
		if state == card.StateSilenced {
			c.Alerts[0].Mute = &card.Mute{Silences: []string{"s"}, Until: now.Add(4 * time.Hour), By: "ou_ana"}
		}
		c.Ack = &card.Mark{By: "ou_ana", At: now.Add(-2 * time.Minute)}
		c.Hold = &card.Hold{ID: "H", By: "ou_ana", At: now, Until: now.Add(4 * time.Hour), Parts: []card.Part{{Matchers: map[string]string{"alertname": "AgentDown"}}}}
		change(c)
		return render.Request{Card: c, Actions: actions}
	}
	button := func(kind render.ActionKind, length time.Duration) render.Action {
		return render.Action{Kind: kind, For: length, Value: map[string]string{"fleetwatch": "v1." + string(kind)}}
	}
	silences := []render.Action{button(render.Silence, time.Hour), button(render.Silence, 4*time.Hour), button(render.Silence, 24*time.Hour)}
	end := button(render.EndSilence, 0)
	return map[string]render.Request{
		"buttons":      {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Actions: append([]render.Action{button(render.Acknowledge, 0)}, silences...)},
		"acknowledged": pressed(card.StateFiring, func(c *card.Card) { c.Hold = nil }, silences...),
		"asked":        pressed(card.StateFiring, func(*card.Card) {}, end),
		"held":         pressed(card.StateSilenced, func(c *card.Card) { c.Hold.MadeAt = now }, end),
		"partly_held":  pressed(card.StateFiring, func(c *card.Card) { c.Hold.MadeAt = now }, end),
		"ending":       pressed(card.StateSilenced, func(c *card.Card) { c.Hold.MadeAt, c.Hold.End = now, &card.Mark{By: "ou_ben", At: now} }),
		"ended":        pressed(card.StateFiring, func(c *card.Card) { c.Hold.End, c.Hold.EndedAt = &card.Mark{By: "ou_ben", At: now}, now }, silences...),
		"gone":         pressed(card.StateFiring, func(c *card.Card) { c.Hold.EndedAt = now }, silences...),
		"refused":      pressed(card.StateFiring, func(c *card.Card) { c.Hold.Failure, c.Hold.EndedAt = "<at id=all></at> no", now }, silences...),
		"acked_green":  pressed(card.StateResolved, func(c *card.Card) { ended(&c.Alerts[0]) }),
		"escalated": {Card: func() *card.Card {
			c := cardOf(card.StateFiring, agentDown("secretary", nil))
			c.From = "critical-oncall"
			for i, e := range []card.Escalation{{Step: "urgent_app"}, {Step: "to", To: "coo"}, {Step: "urgent_sms", Failure: "no quota"}, {Step: "urgent_phone"}} {
				e.At = now.Add(time.Duration(i) * time.Minute)
				c.Escalations = append(c.Escalations, e)
			}
			return c
		}()},
		"acked_plain": {Card: pressed(card.StateFiring, func(*card.Card) {}).Card, Plain: true, Actions: silences},
		"linked":      {Card: cardOf(card.StateFiring, linked)},
		"firing":      {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Mention: []string{"ou_ana"}},
		"group":       {Card: cardOf(card.StateFiring, agentDown("coo", nil), agentDown("lawyer", ended), agentDown("secretary", silenced))},
		"resolved":    {Card: cardOf(card.StateResolved, agentDown("secretary", ended))},
		"unseen":      {Card: cardOf(card.StateResolved, agentDown("secretary", ended)), First: true},
		"silenced":    {Card: cardOf(card.StateSilenced, agentDown("secretary", silenced))},
		"unknown":     {Card: cardOf(card.StateUnknown, agentDown("secretary", func(a *card.Alert) { a.Status, a.EndsAt = card.Unknown, now }))},
		"reminded":    {Card: reminded, Former: now.Add(-15 * 24 * time.Hour), Repeated: true, Keyword: "KEYWORD"},
		"hostile":     {Card: hostile},
		"plain":       {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Plain: true},
	}
}

func TestGolden(t *testing.T) {
	checker := feishucard.NewChecker()
	for name, q := range requests() {
		for _, language := range render.Languages() {
			t.Run(name+"."+language, func(t *testing.T) {
				q.Now, q.Budget = now, render.AppBudget
				got, err := renderer(t, language).Card(q)
				if err != nil {
					t.Fatal(err)
				}
				if err := checker.Check(got); err != nil {
					t.Errorf("Feishu would refuse it: %v", err)
				}
				compare(t, name+"."+language+".json", indented(t, got))
			})
		}
	}
}

func TestTextForms(t *testing.T) {
	for _, language := range render.Languages() {
		r, hostile := renderer(t, language), requests()["hostile"]
		hostile.Now, hostile.Mention = now, []string{"ou_ana"}
		text := r.Text(hostile)
		if strings.Count(text, "<") != 2 || !strings.Contains(text, `<at user_id="ou_ana"></at>`) {
			t.Errorf("a label's markup got into the text: %q", text)
		}
		reply := r.Reply(hostile.Card, true, nil)
		if strings.Contains(reply, "<") {
			t.Errorf("a label's markup got into the reply: %q", reply)
		}
		compare(t, "text."+language+".txt", []byte(text+"\n"+reply+"\n"))
	}
}

// TestOrder is the order in which a person who was woken reads.
func TestOrder(t *testing.T) {
	q := requests()["firing"]
	q.Now, q.Budget = now, render.AppBudget
	q.Actions = requests()["buttons"].Actions
	q.Card.Ack = &card.Mark{By: "ou_ana", At: now}
	got, err := renderer(t, "en").Card(q)
	if err != nil {
		t.Fatal(err)
	}
	last := -1
	for _, name := range []string{"Subject", "Since", "Value", "Next", "Alert", "State", "Severity", "Acknowledged", "Details", "Acknowledge\"", "Silence 1h", "Silence 4h", "Silence 24h", "Dashboard", "Runbook", "Source"} {
		at := bytes.Index(got, []byte(`"content":"`+name))
		if at <= last {
			t.Errorf("%s stands too early, at %d after %d", name, at, last)
		}
		last = at
	}
}

func TestBudget(t *testing.T) {
	checker := feishucard.NewChecker()
	long := strings.Repeat("很长的文字\"\\\n", 4000)
	var alerts []card.Alert
	for i := range 300 {
		alerts = append(alerts, agentDown(string(rune('a'+i%26))+strings.Repeat("x", i), func(a *card.Alert) {
			for j := range 30 {
				a.Labels["label"+strings.Repeat("y", j)] = long[:min(len(long), 100*i)]
			}
			maps.Copy(a.Annotations, map[string]string{"summary": long, "description": long, "value": long, "next_action": long, "runbook_url": "https://r.example/" + strings.Repeat("z", 40000)})
		}))
	}
	slices.SortFunc(alerts, func(a, b card.Alert) int { return strings.Compare(a.Fingerprint, b.Fingerprint) })
	for _, state := range []card.State{card.StateFiring, card.StateResolved, card.StateUnknown} {
		c := cardOf(state, alerts...)
		c.GroupLabels = map[string]string{}
		c.ExternalURL = "http://" + strings.Repeat("a", 100000)
		for _, budget := range []int{render.AppBudget, render.WebhookBudget} {
			for _, plain := range []bool{false, true} {
				got, err := renderer(t, "zh-CN").Card(render.Request{Card: c, Now: now, Budget: budget, Plain: plain, Mention: []string{"ou_a"}, Keyword: "KEYWORD"})
				if err != nil || len(got) > budget {
					t.Fatalf("%s: %d bytes, %v", state, len(got), err)
				}
				if err := checker.Check(got); err != nil {
					t.Errorf("%s: Feishu would refuse it: %v", state, err)
				}
			}
		}
	}
}

func FuzzCard(f *testing.F) {
	f.Add("secretary", "summary", "description", "critical", uint8(1))
	f.Add("<at id=all></at>", "\x00\xff", "{{ . }}", "", uint8(200))
	checker := feishucard.NewChecker()
	f.Fuzz(func(t *testing.T, label, summary, description, severity string, count uint8) {
		var alerts []card.Alert
		for i := range int(count) {
			alerts = append(alerts, agentDown(label, func(a *card.Alert) {
				a.Labels[label], a.Labels["severity"], a.Labels["n"] = summary, severity, strings.Repeat("n", i)
				a.Annotations["summary"], a.Annotations["description"] = summary, description
			}))
		}
		for _, language := range render.Languages() {
			for _, state := range append(card.OpenStates(), card.StateResolved) {
				q := render.Request{Card: cardOf(state, alerts...), Now: now, Budget: render.WebhookBudget, Keyword: label}
				got, err := renderer(t, language).Card(q)
				if err != nil {
					t.Fatal(err)
				}
				if err := checker.Check(got); err != nil || len(got) > render.WebhookBudget {
					t.Fatalf("%d bytes, %v: %s", len(got), err, got)
				}
				_ = renderer(t, language).Text(q)
			}
		}
	})
}

func indented(t *testing.T, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := json.Indent(&out, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	out.WriteByte('\n')
	return out.Bytes()
}

func compare(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs, run with -update if it should:\n%s", name, diff)
	}
}

// TestPersonsAreNoMarkup is an id that is no open id: it stands nowhere as markup.
func TestPersonsAreNoMarkup(t *testing.T) {
	for _, id := range []string{"all", "ou_x></at><at id=all", "<at id=all></at>", "ou_" + strings.Repeat("x", 100), ""} {
		q := requests()["held"]
		q.Now, q.Budget = now, render.AppBudget
		q.Card.Ack, q.Card.Hold.By, q.Card.Alerts[0].Mute.By = &card.Mark{By: id, At: now}, id, id
		got, err := renderer(t, "en").Card(q)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(got, []byte(`"tag":"markdown"`)) {
			t.Errorf("%q is shown as markup: %s", id, got)
		}
		if text := renderer(t, "en").Text(q); strings.Contains(text, "<") {
			t.Errorf("%q is markup in %q", id, text)
		}
	}
}
