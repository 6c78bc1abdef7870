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
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
	feishucard "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var now = time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)

func renderer(t testing.TB, language string) *render.Renderer { return rendererOf(t, language, nil) }

func rendererOf(t testing.TB, language string, own *override.Set) *render.Renderer {
	t.Helper()
	r, err := render.New(render.Options{
		Templates: own, Language: language, Location: time.FixedZone("CST", 8*3600), Grafana: "https://grafana.example/", Dashboard: "/d/agent-health", Runbooks: "https://runbooks.example/r",
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestGolden is every state and form in each language: as the golden file has it,
// accepted by Feishu within both budgets, and with what a person who was woken asks
// for in the order of asking.
func TestGolden(t *testing.T) {
	checker := feishucard.NewChecker()
	for name, q := range requests() {
		for _, language := range render.Languages() {
			t.Run(name+"."+language, func(t *testing.T) {
				q.Now = now
				r := rendererOf(t, language, ownOf(t, name))
				for _, budget := range []int{render.WebhookBudget, render.AppBudget} {
					q.Budget = budget
					got, err := r.Card(q)
					if err != nil {
						t.Fatal(err)
					}
					if err := checker.Check(got); err != nil || len(got) > budget {
						t.Errorf("Feishu would refuse %d bytes for %d: %v", len(got), budget, err)
					}
					inOrder(t, got, name, language)
					if budget == render.AppBudget {
						compare(t, name+"."+language+".json", indented(t, got))
					}
				}
			})
		}
	}
}

// inOrder asserts that subject, since, value and next action are there, in that
// order, and before everything else.
func inOrder(t *testing.T, content []byte, name, language string) {
	t.Helper()
	view, err := feishucard.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"zh-CN": {"对象", "开始时间", "当前值", "下一步", "告警名称"}, "en": {"Subject", "Since", "Value", "Next", "Alert"}}[language]
	if strings.HasPrefix(name, "template") && name != "template_failed" {
		want = []string{"secretary ·", "2026-11-22 20:18:00 CST", "· 0\n→ "} // as the user's own template has it
	}
	text := view.Text()
	last := -1
	for i, word := range want {
		at := strings.Index(text, word)
		if at <= last || (i == 0 && at != 0) {
			t.Errorf("%q stands at %d, after %d, in\n%s", word, at, last, text)
		}
		last = at
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
		for name, q := range shownStates() {
			q.Now, q.Keyword = now, "KEYWORD"
			compare(t, "text_"+name+"."+language+".txt", []byte(r.Text(q)+"\n"))
		}
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
	for _, name := range []string{"Subject", "Since", "Value", "Next", "Alert", "State", "Severity", "Acknowledged", "Acknowledge\"", "Silence 1h", "Silence 4h", "Silence 24h", "Details", "Dashboard", "Runbook", "Source"} {
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
