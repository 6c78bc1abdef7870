package render

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// fact is one line of a card.
type fact struct {
	name, value string
	person      string // open id of who did it; then value is text of our own
}

// subjectLabels name what an alert is about, the first that is set wins.
func subjectLabels() []string {
	return []string{"agent_name", "backend", "model", "client", "host", "instance"}
}

// facts are in the order in which a person who was woken needs them: what, since
// when, how bad, what to do; then the rest.
func (r *Renderer) facts(q Request, l limits) []fact {
	c, w := q.Card, r.words
	alerts := live(c)
	var out []fact
	add := func(name, value string, chars int) {
		if value = strings.TrimSpace(value); value != "" {
			out = append(out, fact{name: name, value: clip(value, chars)})
		}
	}
	add(w.subject, r.subject(alerts), min(l.chars, 200))
	add(w.since, r.since(c, alerts, q.Now), 200)
	add(w.value, shared(alerts, "value"), min(l.chars, 200))
	add(w.next, shared(alerts, "next_action"), l.chars)
	add(w.alert, alertName(c), min(l.chars, 200))
	add(w.state, r.state(q), 200)
	add(w.severity, c.Severity(), 40)
	out = append(out, r.persons(c, q.Now)...)
	add(w.detail, shared(alerts, "description"), l.chars)
	add(w.differ, r.differing(c, l), 40*l.chars)
	if c.Truncated > 0 {
		add("…", fmt.Sprintf(w.truncated, c.Truncated), 100)
	}
	if !q.Former.IsZero() {
		add("↩", fmt.Sprintf(w.former, r.clock(q.Former)), 200)
	}
	if q.Repeated {
		add("‼", w.twice, 100)
	}
	return out
}

func (r *Renderer) subject(alerts []card.Alert) string {
	var names []string
	for _, a := range alerts {
		for _, label := range subjectLabels() {
			if v := oneLine(a.Labels[label]); v != "" {
				if !slices.Contains(names, v) {
					names = append(names, v)
				}
				break
			}
		}
	}
	if len(names) > 8 {
		rest := len(names) - 8
		names = append(names[:8], fmt.Sprintf(r.words.more, rest))
	}
	return strings.Join(names, r.words.list)
}

// since is when the first of the alerts began, in local time with its zone, and
// how long ago, or how long it lasted.
func (r *Renderer) since(c *card.Card, alerts []card.Alert, now time.Time) string {
	var first, last time.Time
	for _, a := range alerts {
		if first.IsZero() || a.StartsAt.Before(first) {
			first = a.StartsAt
		}
		if a.EndsAt.After(last) {
			last = a.EndsAt
		}
	}
	if first.IsZero() {
		return ""
	}
	how := fmt.Sprintf(r.words.ago, r.words.duration(max(now.Sub(first), 0)))
	if shown(c) == card.StateResolved && !last.IsZero() {
		how = fmt.Sprintf(r.words.lasted, r.words.duration(max(last.Sub(first), 0)))
	}
	return r.clock(first) + " (" + how + ")"
}

func (r *Renderer) clock(t time.Time) string {
	return t.In(r.options.Location).Format("2006-01-02 15:04:05 MST")
}

func (r *Renderer) state(q Request) string {
	c, s := q.Card, shown(q.Card)
	text := r.words.states[s]
	switch s {
	case card.StateUnknown:
		return text + " — " + r.words.unknownWhy
	case card.StateSilenced:
		if m := longestMute(c); m != nil && m.Inhibited && len(m.Silences) == 0 {
			return text + " — " + r.words.inhibited
		}
	case card.StateResolved:
		if q.First {
			return text + " — " + r.words.firedAndResolved
		}
	case card.StateFiring:
		var firing, resolved int
		for _, a := range c.Alerts {
			switch {
			case a.Live():
				firing++
			case a.Status == card.Resolved:
				resolved++
			}
		}
		if firing+resolved > 1 {
			text += " — " + fmt.Sprintf(r.words.stillFiring, firing)
		}
		if resolved > 0 {
			text += r.words.list + fmt.Sprintf(r.words.alsoResolved, resolved)
		}
	case card.StateSettling, card.StateDiscarded:
		// Neither is shown.
	}
	return text
}

func longestMute(c *card.Card) *card.Mute {
	var longest *card.Mute
	if shown(c) != card.StateSilenced {
		return nil
	}
	for i := range c.Alerts {
		if m := c.Alerts[i].Mute; m != nil && (longest == nil || m.Until.After(longest.Until)) {
			longest = m
		}
	}
	return longest
}

// shared is an annotation that all alerts agree on, or that of the first that
// has it.
func shared(alerts []card.Alert, name string) string {
	for _, a := range alerts {
		if v := a.Annotations[name]; v != "" {
			return v
		}
	}
	return ""
}

// differing shows, for a group of several alerts, the labels in which they
// differ, one alert a line.
func (r *Renderer) differing(c *card.Card, l limits) string {
	if len(c.Alerts) < 2 {
		return ""
	}
	names := differingLabels(c.Alerts)
	var lines []string
	for i, a := range c.Alerts {
		if i == l.alerts {
			lines = append(lines, fmt.Sprintf(r.words.more, len(c.Alerts)-i))
			break
		}
		mark := "🔥"
		switch a.Status {
		case card.Resolved, card.Contested, card.Discarded:
			mark = "✅"
		case card.Unknown:
			mark = "❔"
		case card.Firing, card.Ended:
			if a.Mute != nil {
				mark = "🔕"
			}
		}
		var parts []string
		for _, n := range names {
			if v := a.Labels[n]; v != "" {
				parts = append(parts, clip(n, 40)+"="+clip(oneLine(v), 80))
			}
		}
		if v := a.Annotations["value"]; v != "" {
			parts = append(parts, "("+clip(oneLine(v), 40)+")")
		}
		lines = append(lines, mark+" "+clip(strings.Join(parts, " "), l.chars))
	}
	return strings.Join(lines, "\n")
}

func differingLabels(alerts []card.Alert) []string {
	values := map[string]map[string]bool{}
	for _, a := range alerts {
		for name := range a.Labels {
			values[name] = map[string]bool{}
		}
	}
	for name, seen := range values {
		for _, a := range alerts {
			seen[a.Labels[name]] = true
		}
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if len(values[name]) > 1 {
			names = append(names, name)
		}
	}
	return names
}

// links are the card's ways out. A base that is not configured, and an address
// that is not http, make no link.
func (r *Renderer) links(c *card.Card) []button {
	var out []button
	if u := r.Dashboard(c); u != "" {
		out = append(out, link(r.words.dashboard, u, "primary"))
	}
	if u := r.runbook(c); u != "" {
		out = append(out, link(r.words.runbook, u, "default"))
	}
	return out
}

// Dashboard is where a person sees what the alerts are about: the panel that their
// rule names, else the configured dashboard; "" where no dashboards are configured.
func (r *Renderer) Dashboard(c *card.Card) string {
	base := web(r.options.Grafana)
	alerts := live(c)
	if base == "" || len(alerts) == 0 {
		return ""
	}
	path := strings.TrimLeft(r.options.Dashboard, "/")
	q := url.Values{}
	if uid := shared(alerts, "dashboard_uid"); dashboardUID.MatchString(uid) {
		path = "d/" + uid
		if panel := shared(alerts, "panel"); panelID.MatchString(panel) {
			q.Set("viewPanel", panel)
		}
	}
	for label, variable := range map[string]string{"agent_name": "var-agent", "backend": "var-backend", "client": "var-client"} {
		if value := alerts[0].Labels[label]; value != "" {
			q.Set(variable, value)
		}
	}
	start := alerts[0].StartsAt
	q.Set("from", strconv.FormatInt(start.Add(-30*time.Minute).UnixMilli(), 10))
	q.Set("to", strconv.FormatInt(start.Add(30*time.Minute).UnixMilli(), 10))
	return fit(strings.TrimRight(base, "/") + "/" + path + "?" + q.Encode())
}

// What Grafana takes for a uid and for a panel's number.
var (
	dashboardUID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)
	panelID      = regexp.MustCompile(`^[0-9]{1,9}$`)
)

func (r *Renderer) runbook(c *card.Card) string {
	given := shared(live(c), "runbook_url")
	if u := web(given); u != "" {
		return fit(u)
	}
	base := web(r.options.Runbooks)
	name := alertName(c)
	if base == "" || name == "" || strings.Contains(name, ", ") {
		return ""
	}
	return fit(strings.TrimRight(base, "/") + "/" + url.PathEscape(name))
}

// fit drops an address that would take too much of the size budget.
func fit(u string) string {
	if len(u) > 1000 {
		return ""
	}
	return u
}

// web returns u if it is an absolute http or https URL.
func web(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return ""
	}
	return u
}

func (r *Renderer) footer(q Request) string {
	parts := []string{}
	if source := web(q.Card.ExternalURL); source != "" {
		parts = append(parts, r.words.source+r.words.colon+clip(source, 100))
	}
	if q.Card.Reminders > 0 {
		parts = append(parts, fmt.Sprintf(r.words.reminders, q.Card.Reminders))
	}
	return strings.Join(append(parts, Mark(q.Card)), " · ")
}
