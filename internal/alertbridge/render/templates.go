package render

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/template"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
)

// TemplateData is what a user's template is given: Alertmanager's data, and what
// the built-in form says. Times are in the zone of display, zero where there is
// none; texts are in the language of the cards.
//
// An alert's Status is firing, resolved, or unknown; .Status is resolved where the
// card is, and firing otherwise. Annotations and labels are as they came: what the
// template writes becomes text, never markup.
type TemplateData struct {
	template.Data

	Title    string // the built-in title
	Body     string // the built-in facts, one a line
	Language string

	State     string // firing, silenced, unknown, resolved
	StateText string
	Severity  string // the highest
	AlertName string

	Subject    string
	Since      string // when, and how long ago or how long it lasted
	Value      string
	NextAction string
	Details    string
	StartsAt   time.Time // of the first alert
	EndsAt     time.Time // of the last alert, where all have ended

	FiredAndResolved bool // nothing was shown while it fired
	Truncated        int  // alerts that Alertmanager left out
	Reminders        int

	Acknowledged   bool
	AcknowledgedBy string // open id
	AcknowledgedAt time.Time
	SilencedUntil  time.Time
	SilencedBy     string // as Alertmanager has it, or an open id

	Dashboard string // address, or empty
	Runbook   string // address, or empty
}

// custom is what a user's templates say of one card; empty where the built-in form
// stands.
type custom struct{ title, body string }

// custom runs the user's templates. A template that fails, and one that writes
// nothing, leaves the built-in form; failures are reported.
func (r *Renderer) custom(q Request, names ...string) custom {
	var out custom
	var data *TemplateData
	for _, name := range names {
		if !r.options.Templates.Defines(name) {
			continue
		}
		if data == nil {
			data = r.data(q)
		}
		text, err := r.options.Templates.Execute(name, data)
		if r.report != nil {
			r.report(name, err)
		}
		switch {
		case err != nil:
		case name == override.Title:
			out.title = clip(oneLine(text), 200)
		default:
			out.body = strings.TrimSpace(text)
		}
	}
	return out
}

// Reporting returns a renderer that also tells how the executions of the user's
// templates end. It may be told by several goroutines at once.
func (r *Renderer) Reporting(report func(template string, err error)) *Renderer {
	out := *r
	out.report = report
	return &out
}

// TemplatesVersion tells the user's templates apart by what they say; "" without any.
func (r *Renderer) TemplatesVersion() string { return r.options.Templates.Version() }

// TryTemplates runs the user's templates on sample cards, a firing and a resolved
// one, and returns what fails there, by template.
func (r *Renderer) TryTemplates(now time.Time) map[string]error {
	failed := map[string]error{}
	trial := r.Reporting(func(name string, err error) {
		if err != nil {
			failed[name] = err
		}
	})
	for _, status := range []card.Status{card.Firing, card.Resolved} {
		trial.custom(Request{Card: sample(status, now), Now: now}, override.Names()...)
	}
	return failed
}

// sample is a card of two alerts that has everything a template may ask for.
func sample(status card.Status, now time.Time) *card.Card {
	c := &card.Card{
		ID: "SAMPLE", Receiver: "sample", State: card.StateFiring, Shown: card.StateFiring, Revision: 1, OpenedAt: now,
		GroupLabels: map[string]string{"alertname": "AgentDown"}, ExternalURL: "http://alertmanager.example",
		Ack: &card.Mark{By: "ou_sample", At: now},
	}
	for _, agent := range []string{"coo", "secretary"} {
		a := card.Alert{
			Fingerprint: agent, Status: status, StartsAt: now.Add(-time.Hour), GeneratorURL: "http://prometheus.example/graph",
			Labels: map[string]string{"alertname": "AgentDown", "agent_name": agent, "severity": "critical", "owner": "coo"},
			Annotations: map[string]string{
				"summary": agent + " is down", "description": "No sign of life.", "value": "0", "next_action": "Look at it.",
				"runbook_url": "https://runbooks.example/AgentDown",
			},
		}
		if status == card.Resolved {
			a.EndsAt = now
			c.State, c.Shown = card.StateResolved, card.StateResolved
		}
		c.Alerts = append(c.Alerts, a)
	}
	return c
}

func (r *Renderer) data(q Request) *TemplateData {
	c, alerts := q.Card, live(q.Card)
	d := &TemplateData{
		Data: template.Data{
			Receiver: c.Receiver, Status: "firing", GroupLabels: template.KV(c.GroupLabels), ExternalURL: c.ExternalURL,
			CommonLabels:      common(c.Alerts, func(a *card.Alert) map[string]string { return a.Labels }),
			CommonAnnotations: common(c.Alerts, func(a *card.Alert) map[string]string { return a.Annotations }),
		},
		Title: r.builtinTitle(c), Language: r.options.Language,
		State: string(shown(c)), StateText: r.state(q), Severity: c.Severity(), AlertName: alertName(c),
		Subject: r.subject(alerts), Since: r.since(c, alerts, q.Now), Value: r.told(alerts, "value"), NextAction: r.next(c, alerts), Details: r.told(alerts, "description"),
		FiredAndResolved: q.First && shown(c) == card.StateResolved, Truncated: c.Truncated, Reminders: c.Reminders,
		Dashboard: r.Dashboard(c), Runbook: r.runbook(c),
	}
	if shown(c) == card.StateResolved {
		d.Status = "resolved"
	}
	first, last := span(alerts)
	d.StartsAt = r.local(first)
	if !slices.ContainsFunc(c.Alerts, func(a card.Alert) bool { return a.Live() }) {
		d.EndsAt = r.local(last)
	}
	for i := range c.Alerts {
		d.Alerts = append(d.Alerts, r.templateAlert(&c.Alerts[i]))
	}
	if c.Ack != nil {
		d.Acknowledged, d.AcknowledgedBy, d.AcknowledgedAt = true, c.Ack.By, r.local(c.Ack.At)
	}
	if m := longestMute(c); m != nil {
		d.SilencedUntil, d.SilencedBy = r.local(m.Until), m.By
	}
	var lines []string
	for _, f := range r.facts(q, limits{800, 10}) {
		if !f.ours {
			lines = append(lines, f.name+r.words.colon+f.value)
		}
	}
	d.Body = strings.Join(lines, "\n")
	return d
}

func (r *Renderer) templateAlert(a *card.Alert) template.Alert {
	status := "resolved"
	switch a.Status {
	case card.Firing, card.Ended:
		status = "firing"
	case card.Unknown:
		status = "unknown"
	case card.Resolved, card.Contested, card.Discarded:
	}
	out := template.Alert{
		Status: status, Labels: template.KV(a.Labels), Annotations: template.KV(a.Annotations), StartsAt: r.local(a.StartsAt),
		GeneratorURL: a.GeneratorURL, Fingerprint: a.Fingerprint,
	}
	if !a.Live() {
		out.EndsAt = r.local(a.EndsAt)
	}
	return out
}

// local is the moment in the zone of display; zero stays zero.
func (r *Renderer) local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.In(r.options.Location)
}

// common are the pairs that all alerts have.
func common(alerts []card.Alert, of func(*card.Alert) map[string]string) template.KV {
	out := template.KV{}
	if len(alerts) == 0 {
		return out
	}
	for name, value := range of(&alerts[0]) {
		differs := func(a card.Alert) bool {
			other, has := of(&a)[name]
			return !has || other != value
		}
		if !slices.ContainsFunc(alerts[1:], differs) {
			out[name] = value
		}
	}
	return out
}
