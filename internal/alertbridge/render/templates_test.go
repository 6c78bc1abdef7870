package render_test

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/template"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
	feishucard "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// view renders the rich form and reads it as Feishu would.
func view(t *testing.T, r *render.Renderer, q render.Request) feishucard.Card {
	t.Helper()
	q.Now = now
	if q.Budget == 0 {
		q.Budget = render.AppBudget
	}
	content, err := r.Card(q)
	if err != nil {
		t.Fatal(err)
	}
	if err := feishucard.NewChecker().Check(content); err != nil {
		t.Fatalf("Feishu would refuse it: %v", err)
	}
	parsed, err := feishucard.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func both(title, body string) string {
	return `{{ define "feishu.title" }}` + title + `{{ end }}{{ define "feishu.body" }}` + body + `{{ end }}`
}

func TestFailedTemplatesLeaveTheBuiltIn(t *testing.T) {
	q := requests()["firing"]
	want := view(t, renderer(t, "en"), q)
	for name, text := range map[string]string{
		"panic":      both(`{{ reReplaceAll "(" "" .Title }}`, `{{ reReplaceAll "[" "" .Title }}`),
		"error":      both(`{{ .Nothing }}`, `half {{ .Nothing }}`),
		"no end":     both(`x{{ range 10000000000 }}{{ end }}`, `x{{ range 10000000000 }}{{ end }}`),
		"half ready": both("half {{ (index .Alerts 5).Status }}", "half {{ (index .Alerts 5).Status }}"),
	} {
		t.Run(name, func(t *testing.T) {
			failed := map[string]error{}
			r := rendererOf(t, "en", templates(t, text)).Reporting(func(name string, err error) { failed[name] = err })
			if diff := cmp.Diff(want, view(t, r, q)); diff != "" {
				t.Errorf("not the built-in form:\n%s", diff)
			}
			if len(failed) != 2 || failed[override.Title] == nil || failed[override.Body] == nil {
				t.Errorf("reported: %v", failed)
			}
		})
	}
}

func TestEmptyOutputLeavesTheBuiltIn(t *testing.T) {
	q := requests()["firing"]
	var told []string
	r := rendererOf(t, "en", templates(t, both(`{{ if eq .Severity "info" }}own{{ end }} `, "\n"))).
		Reporting(func(name string, err error) { told = append(told, name); noError(t, err) })
	if diff := cmp.Diff(view(t, renderer(t, "en"), q), view(t, r, q)); diff != "" {
		t.Errorf("not the built-in form:\n%s", diff)
	}
	if len(told) != 2 {
		t.Errorf("told of %v", told)
	}
	if title := view(t, r, requests()["info"]).Title; title != "own" {
		t.Errorf("title %q", title)
	}
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// TestSimplerFormsAreOurs is that what Feishu refuses for a user's template is sent
// without it.
func TestSimplerFormsAreOurs(t *testing.T) {
	r, q := rendererOf(t, "en", templates(t, both("OWN", "OWN"))), requests()["firing"]
	q.Now, q.Budget = now, render.AppBudget
	rich, err := r.Card(q)
	noError(t, err)
	q.Plain = true
	plain, err := r.Card(q)
	noError(t, err)
	if !bytes.Contains(rich, []byte(`"content":"OWN"`)) || bytes.Contains(plain, []byte("OWN")) || strings.Contains(r.Text(q), "OWN") {
		t.Errorf("rich %s\nplain %s\ntext %s", rich, plain, r.Text(q))
	}
	if title, reply := r.Title(q.Card), r.Reply(q.Card, false, nil); title != "OWN" || !strings.Contains(reply, "OWN") {
		t.Errorf("title %q, reply %q", title, reply)
	}
}

// TestTemplateTextIsNoMarkup is that neither labels nor the template itself make
// markup or mentions.
func TestTemplateTextIsNoMarkup(t *testing.T) {
	q := requests()["hostile"]
	r := rendererOf(t, "en", templates(t, both(`<at id=all></at> {{ .Subject }}`, `**own** <at id=all></at> {{ .Subject }}`+"\u202e"+`{{ "\x00" }}`)))
	q.Now, q.Budget = now, render.AppBudget
	content, err := r.Card(q)
	noError(t, err)
	if bytes.Contains(content, []byte(`"tag":"markdown"`)) || bytes.Contains(content, []byte("lark_md")) || bytes.ContainsAny(content, "\u202e\x00") {
		t.Errorf("%s", content)
	}
	if body := view(t, r, q).Elements[0].Lines[0].Text(); !strings.HasPrefix(body, "**own** <at id=all></at> <at id=all></at> **bold**") || !strings.HasSuffix(body, "\ufffd\ufffd") {
		t.Errorf("body %q", body)
	}
}

// TestTemplateBodyFitsTheBudget is the longest body, in both budgets, with
// everything else that a card may hold.
func TestTemplateBodyFitsTheBudget(t *testing.T) {
	r := rendererOf(t, "zh-CN", templates(t, both(`{{ range 100000 }}很"{{ end }}`, `{{ range 100000 }}<很"\{{ end }}`)))
	for name, q := range requests() {
		for _, budget := range []int{render.AppBudget, render.WebhookBudget} {
			q.Now, q.Budget, q.Keyword = now, budget, "KEYWORD"
			content, err := r.Card(q)
			if err != nil || len(content) > budget || !bytes.Contains(content, []byte("KEYWORD")) {
				t.Errorf("%s: %d bytes of %d, %v", name, len(content), budget, err)
			}
			noError(t, feishucard.NewChecker().Check(content))
		}
	}
}

func TestTemplateData(t *testing.T) {
	const text = `{{ .State }}|{{ .Status }}|{{ len .Alerts.Firing }}/{{ len .Alerts.Resolved }}/{{ len .Alerts }}|{{ .Acknowledged }}|{{ .AcknowledgedBy }}|` +
		`{{ .StartsAt.Format "15:04 MST" }}|{{ .EndsAt.IsZero }}|{{ .SilencedUntil.Format "15:04" }}|{{ .SilencedBy }}|{{ .FiredAndResolved }}|{{ .CommonLabels.owner }}|{{ .CommonLabels.agent_name }}|{{ .Truncated }}|{{ .Reminders }}`
	r := rendererOf(t, "en", templates(t, both(text, "")))
	for name, want := range map[string]string{
		"firing":           "firing|firing|1/0/1|false||20:18 CST|true|00:00||false|coo|secretary|0|0",
		"group":            "firing|firing|2/1/3|false||20:18 CST|true|00:00||false|coo||0|0",
		"resolved":         "resolved|resolved|0/1/1|false||20:18 CST|false|00:00||false|coo|secretary|0|0",
		"unseen":           "resolved|resolved|0/1/1|false||20:18 CST|false|00:00||true|coo|secretary|0|0",
		"unknown":          "unknown|firing|0/0/1|false||20:18 CST|false|00:00||false|coo|secretary|0|0",
		"silenced":         "silenced|firing|1/0/1|false||20:18 CST|true|21:30|ana|false|coo|secretary|0|0",
		"settling_firing":  "firing|firing|1/0/1|false||20:18 CST|true|00:00||false|coo|secretary|0|0",
		"settling_unknown": "unknown|firing|1/0/1|false||20:18 CST|true|00:00||false|coo|secretary|0|0",
		"contested":        "resolved|resolved|0/1/1|false||20:18 CST|false|00:00||false|coo|secretary|0|0",
		"acknowledged":     "firing|firing|1/0/1|true|ou_ana|20:18 CST|true|00:00||false|coo|secretary|0|0",
		"truncated":        "firing|firing|1/0/1|false||20:18 CST|true|00:00||false|coo|lawyer|7|0",
		"continued":        "firing|firing|1/0/1|false||20:18 CST|true|00:00||false|coo|lawyer|0|3",
	} {
		if got := view(t, r, requests()[name]).Title; got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	body := rendererOf(t, "en", templates(t, both("{{ .Title }} {{ .Language }}", "{{ .Body }}\n{{ .Dashboard }}\n{{ .Runbook }}")))
	got := view(t, body, requests()["firing"])
	for _, want := range []string{"Subject: secretary\nSince: 2026", "State: 🔥 Firing\n", "\nhttps://grafana.example/d/agent-health?", "\nhttps://runbooks.example/r/AgentDown"} {
		if !strings.Contains(got.Text(), want) {
			t.Errorf("%q is not in %q", want, got.Text())
		}
	}
	if got.Title != "🚨 [CRITICAL] secretary is down en" {
		t.Errorf("title %q", got.Title)
	}
}

func TestTryTemplates(t *testing.T) {
	if failed := rendererOf(t, "en", templates(t, ownTemplates)).TryTemplates(now); len(failed) != 0 {
		t.Errorf("%v", failed)
	}
	// One that fails for resolved cards only is found too.
	failed := rendererOf(t, "en", templates(t, both("x", `{{ if eq .State "resolved" }}{{ .Nothing }}{{ end }}`))).TryTemplates(time.Now())
	if len(failed) != 1 || failed[override.Body] == nil {
		t.Errorf("%v", failed)
	}
	if failed := renderer(t, "en").TryTemplates(now); len(failed) != 0 {
		t.Errorf("%v", failed)
	}
}

func FuzzTemplateCard(f *testing.F) {
	f.Add(`{{ .Title }}`, `{{ range .Alerts }}{{ .Labels }}{{ end }}`, "label")
	f.Add(`{{ reReplaceAll "(" "" .Title }}`, `{{ range 1000000 }}"\{{ end }}`, "<at id=all></at>\x00\u202e")
	checker := feishucard.NewChecker()
	f.Fuzz(func(t *testing.T, title, body, label string) {
		set, problems := override.Parse([]override.File{{Path: "own.tmpl", Text: both(title, body)}})
		if len(problems) > 0 {
			return
		}
		r := rendererOf(t, "en", set)
		c := cardOf(card.StateFiring, agentDown(label, func(a *card.Alert) { a.Labels[label] = body }), agentDown("b", ended))
		for _, budget := range []int{render.AppBudget, render.WebhookBudget} {
			content, err := r.Card(render.Request{Card: c, Now: now, Budget: budget, Keyword: label, Actions: firingButtons()})
			if err != nil || len(content) > budget {
				t.Fatalf("%d bytes of %d, %v", len(content), budget, err)
			}
			if err := checker.Check(content); err != nil {
				t.Fatalf("%v: %s", err, content)
			}
		}
	})
}

// TestTheDocumentedTemplates is that docs/cards.md shows the templates of the
// goldens, and every field there is.
func TestTheDocumentedTemplates(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(testtool.Root(t), "docs", "cards.md"))
	noError(t, err)
	_, rest, _ := strings.Cut(string(page), "```gotemplate\n")
	if shown, _, _ := strings.Cut(rest, "\n```"); shown != ownTemplates {
		t.Errorf("docs/cards.md shows %q", shown)
	}
	for _, data := range []reflect.Type{reflect.TypeFor[render.TemplateData](), reflect.TypeFor[template.Data]()} {
		for f := range data.Fields() {
			if !f.Anonymous && !bytes.Contains(page, []byte("`."+f.Name+"`")) {
				t.Errorf("docs/cards.md does not name .%s", f.Name)
			}
		}
	}
}
