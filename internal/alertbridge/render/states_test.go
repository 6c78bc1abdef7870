package render_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
)

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

// ownTemplates are a user's own title and body, as docs/cards.md shows them.
const ownTemplates = `{{ define "feishu.title" }}{{ .StateText }} {{ .CommonLabels.agent_name | toUpper }}: {{ .CommonAnnotations.summary }}{{ end }}
{{ define "feishu.body" }}
{{- .Subject }} · {{ .Since }} · {{ .Value }}
→ {{ .NextAction }}
{{ range .Alerts.Firing }}
- {{ .Labels.alertname }} ({{ .Labels.owner }}), {{ .StartsAt.Format "15:04" }}
{{- end }}
{{- end }}`

// brokenTemplates fail on every card.
const brokenTemplates = `{{ define "feishu.title" }}{{ reReplaceAll "(" "" .Title }}{{ end }}{{ define "feishu.body" }}{{ .Nothing }}{{ end }}`

func templates(t testing.TB, text string) *override.Set {
	t.Helper()
	set, problems := override.Parse([]override.File{{Path: "own.tmpl", Text: text}})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

// ownOf are the templates that a golden is rendered with, by its name.
func ownOf(t testing.TB, name string) *override.Set {
	switch name {
	case "template", "template_resolved":
		return templates(t, ownTemplates)
	case "template_failed":
		return templates(t, brokenTemplates)
	default:
		return nil
	}
}

// What happens to an alert.
func ended(a *card.Alert) { a.Status, a.EndsAt = card.Resolved, now.Add(-time.Minute) }

func silenced(a *card.Alert) {
	a.Mute = &card.Mute{Silences: []string{"s"}, Until: now.Add(time.Hour), By: "ana"}
}

func of(severity string) func(*card.Alert) {
	return func(a *card.Alert) { a.Labels["severity"] = severity }
}

func button(kind render.ActionKind, length time.Duration) render.Action {
	return render.Action{Kind: kind, For: length, Value: map[string]string{"fleetwatch": "v1." + string(kind)}}
}

func silences() []render.Action {
	return []render.Action{button(render.Silence, time.Hour), button(render.Silence, 4*time.Hour), button(render.Silence, 24*time.Hour)}
}

func firingButtons() []render.Action {
	return append([]render.Action{button(render.Acknowledge, 0)}, silences()...)
}

// pressed is a card on which somebody has acknowledged and silenced.
func pressed(state card.State, change func(*card.Card), actions ...render.Action) render.Request {
	c := cardOf(state, agentDown("secretary", nil))
	if state == card.StateSilenced {
		c.Alerts[0].Mute = &card.Mute{Silences: []string{"s"}, Until: now.Add(4 * time.Hour), By: "ou_ana"}
	}
	c.Ack = &card.Mark{By: "ou_ana", At: now.Add(-2 * time.Minute)}
	c.Hold = &card.Hold{ID: "H", By: "ou_ana", At: now, Until: now.Add(4 * time.Hour), Parts: []card.Part{{Matchers: map[string]string{"alertname": "AgentDown"}}}}
	change(c)
	return render.Request{Card: c, Actions: actions}
}

// requests are the cards of the golden files, by name: every state that a card can
// show, and every form.
func requests() map[string]render.Request {
	out := shownStates()
	maps.Copy(out, pressedStates())
	maps.Copy(out, forms())
	return out
}

// shownStates are what alerts make of a card.
func shownStates() map[string]render.Request {
	inhibited := func(a *card.Alert) { a.Mute = &card.Mute{Inhibited: true} }
	unsure := func(a *card.Alert) { a.Status, a.EndsAt = card.Unknown, now }
	settling := func(last card.State, status card.Status) render.Request {
		c := cardOf(card.StateSettling, agentDown("secretary", func(a *card.Alert) { a.Status, a.EndsAt = status, now }))
		c.Shown = last
		return render.Request{Card: c}
	}
	return map[string]render.Request{
		"firing":           {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Mention: []string{"ou_ana"}},
		"warning":          {Card: cardOf(card.StateFiring, agentDown("secretary", of("warning")))},
		"info":             {Card: cardOf(card.StateFiring, agentDown("secretary", of("info")))},
		"other_severity":   {Card: cardOf(card.StateFiring, agentDown("secretary", of("page")))},
		"group":            {Card: cardOf(card.StateFiring, agentDown("coo", nil), agentDown("lawyer", ended), agentDown("secretary", silenced)), Actions: firingButtons()},
		"resolved":         {Card: cardOf(card.StateResolved, agentDown("secretary", ended))},
		"unseen":           {Card: cardOf(card.StateResolved, agentDown("secretary", ended)), First: true},
		"group_resolved":   {Card: cardOf(card.StateResolved, agentDown("coo", ended), agentDown("lawyer", ended))},
		"silenced":         {Card: cardOf(card.StateSilenced, agentDown("secretary", silenced))},
		"inhibited":        {Card: cardOf(card.StateSilenced, agentDown("secretary", inhibited))},
		"unknown":          {Card: cardOf(card.StateUnknown, agentDown("secretary", unsure))},
		"group_unknown":    {Card: cardOf(card.StateUnknown, agentDown("coo", unsure), agentDown("lawyer", ended))},
		"settling_firing":  settling(card.StateFiring, card.Ended),
		"settling_unknown": settling(card.StateUnknown, card.Ended),
		"contested":        settling(card.StateResolved, card.Contested),
	}
}

// pressedStates are what people, and waiting for them, make of a card.
func pressedStates() map[string]render.Request {
	end := button(render.EndSilence, 0)
	escalated := cardOf(card.StateFiring, agentDown("secretary", nil))
	escalated.From = "critical-oncall"
	for i, e := range []card.Escalation{{Step: "urgent_app"}, {Step: "to", To: "coo"}, {Step: "urgent_sms", Failure: "no quota"}, {Step: "urgent_phone"}} {
		e.At = now.Add(time.Duration(i) * time.Minute)
		escalated.Escalations = append(escalated.Escalations, e)
	}
	return map[string]render.Request{
		"buttons":      {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Actions: firingButtons()},
		"acknowledged": pressed(card.StateFiring, func(c *card.Card) { c.Hold = nil }, silences()...),
		"asked":        pressed(card.StateFiring, func(*card.Card) {}, end),
		"held":         pressed(card.StateSilenced, func(c *card.Card) { c.Hold.MadeAt = now }, end),
		"partly_held":  pressed(card.StateFiring, func(c *card.Card) { c.Hold.MadeAt = now }, end),
		"ending":       pressed(card.StateSilenced, func(c *card.Card) { c.Hold.MadeAt, c.Hold.End = now, &card.Mark{By: "ou_ben", At: now} }),
		"ended":        pressed(card.StateFiring, func(c *card.Card) { c.Hold.End, c.Hold.EndedAt = &card.Mark{By: "ou_ben", At: now}, now }, silences()...),
		"gone":         pressed(card.StateFiring, func(c *card.Card) { c.Hold.EndedAt = now }, silences()...),
		"refused":      pressed(card.StateFiring, func(c *card.Card) { c.Hold.Failure, c.Hold.EndedAt = "<at id=all></at> no", now }, silences()...),
		"acked_green":  pressed(card.StateResolved, func(c *card.Card) { ended(&c.Alerts[0]) }),
		"escalated":    {Card: escalated, Actions: firingButtons()},
	}
}

// forms are the ways in which a card can be written.
func forms() map[string]render.Request {
	hostile := cardOf(card.StateFiring, agentDown("x", func(a *card.Alert) {
		a.Labels["agent_name"] = `<at id=all></at> **bold** [link](http://evil) \ " ` + "`code`\n# title"
		a.Labels["severity"] = "warning"
		maps.Copy(a.Annotations, map[string]string{
			"summary": "<at user_id=\"all\"></at>\n\n back\\slash & <font color='red'>", "runbook_url": "javascript:alert(1)", "dashboard_uid": "../../login?", "panel": "1&orgId=2",
			"description": "line one\nline two\u202eenil\u200b\x00", "value": "**0**\t\x1b[31m",
		})
	}))
	truncated := cardOf(card.StateFiring, agentDown("lawyer", nil))
	truncated.Truncated = 7
	reminded := cardOf(card.StateFiring, agentDown("lawyer", nil))
	reminded.Reminders = 3
	linked := agentDown("secretary", func(a *card.Alert) { a.Annotations["dashboard_uid"], a.Annotations["panel"] = "agent-health", "8" })
	terse := agentDown("secretary", func(a *card.Alert) { delete(a.Annotations, "next_action") })
	long := cardOf(card.StateFiring, agentDown(strings.Repeat("taobaospecialist-", 4), func(a *card.Alert) {
		a.Annotations["description"] = strings.Repeat("The unit is gone and its log ends without a word. ", 60)
		a.Annotations["next_action"] = strings.Repeat("Look at the unit, then at the host, then at the gateway. ", 5)
	}), agentDown("b", nil))
	for i := range 40 {
		long.Alerts = append(long.Alerts, agentDown("agent-"+strings.Repeat("z", i), nil))
	}
	return map[string]render.Request{
		"hostile":           {Card: hostile},
		"truncated":         {Card: truncated},
		"continued":         {Card: reminded, Former: now.Add(-15 * 24 * time.Hour)},
		"repeated":          {Card: cardOf(card.StateFiring, agentDown("lawyer", nil)), Repeated: true},
		"linked":            {Card: cardOf(card.StateFiring, linked)},
		"terse":             {Card: cardOf(card.StateFiring, terse)},
		"long":              {Card: long, Actions: firingButtons()},
		"bot":               {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Keyword: "KEYWORD", Mention: []string{"all"}},
		"bot_resolved":      {Card: cardOf(card.StateResolved, agentDown("secretary", ended)), Keyword: "KEYWORD"},
		"plain":             {Card: cardOf(card.StateFiring, agentDown("secretary", nil)), Plain: true},
		"acked_plain":       {Card: pressed(card.StateFiring, func(*card.Card) {}).Card, Plain: true, Actions: silences()},
		"template":          {Card: pressed(card.StateFiring, func(c *card.Card) { c.Hold = nil }).Card, Actions: silences(), Mention: []string{"ou_ana"}},
		"template_resolved": {Card: cardOf(card.StateResolved, agentDown("secretary", ended))},
		"template_failed":   {Card: cardOf(card.StateFiring, agentDown("secretary", nil))},
	}
}
