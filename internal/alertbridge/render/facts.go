package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// fact is one line of a card.
type fact struct {
	name, value string
	person      string // open id of who did it; then value is text of our own
	ours        bool   // what the bridge says of the card itself: a body of the user's own does not replace it
	more        bool   // may be long, so it stands below the buttons
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
	add(w.value, r.told(alerts, "value"), min(l.chars, 200))
	add(w.next, r.next(c, alerts), l.chars)
	add(w.alert, alertName(c), min(l.chars, 200))
	add(w.state, r.state(q), 200)
	add(w.severity, r.severity(c), 40)
	out = append(append(out, r.persons(c, q.Now)...), r.remarks(q)...)
	above := len(out)
	add(w.detail, r.told(alerts, "description"), l.chars)
	add(w.differ, r.differing(c, l), 40*l.chars)
	for i := above; i < len(out); i++ {
		out[i].more = true
	}
	if c.Truncated > 0 {
		out = append(out, fact{name: w.remark, value: fmt.Sprintf(w.truncated, c.Truncated), ours: true, more: true})
	}
	return out
}

// remarks are what the bridge has to say of the message itself.
func (r *Renderer) remarks(q Request) []fact {
	var out []fact
	if !q.Former.IsZero() {
		out = append(out, fact{name: r.words.remark, value: fmt.Sprintf(r.words.former, r.clock(q.Former)), ours: true})
	}
	if q.Repeated {
		out = append(out, fact{name: r.words.remark, value: r.words.twice, ours: true})
	}
	return out
}

// next is what a person does next: what the rule says, else where to look. A card
// that needs nobody says so, and one that knows nothing says what comes first.
func (r *Renderer) next(c *card.Card, alerts []card.Alert) string {
	w, do := r.words, r.told(alerts, "next_action")
	if do == "" {
		switch {
		case r.runbook(c) != "":
			do = w.openRunbook
		case r.Dashboard(c) != "":
			do = w.openDashboard
		}
	}
	switch s := shown(c); {
	case s == card.StateResolved && do == "":
		return w.nothing
	case s == card.StateResolved:
		return w.nothing + fmt.Sprintf(w.lookBack, do)
	case s == card.StateUnknown && do == "":
		return w.monitoringFirst
	case s == card.StateUnknown:
		return w.monitoringFirst + fmt.Sprintf(w.afterwards, do)
	default:
		return do
	}
}

// severity is the label's value, in words as well where they are known.
func (r *Renderer) severity(c *card.Card) string {
	s := oneLine(c.Severity())
	if word := r.words.severities[s]; word != "" {
		return s + word
	}
	return s
}

func (r *Renderer) subject(alerts []card.Alert) string {
	var names []string
	for i := range alerts {
		if v := alerts[i].Subject(); v != "" && !slices.Contains(names, v) {
			names = append(names, v)
		}
	}
	if len(names) > 8 {
		rest := len(names) - 8
		names = append(names[:8], fmt.Sprintf(r.words.more, rest))
	}
	return strings.Join(names, r.words.list)
}

// since is when the first of the alerts began, in local time with its zone, and
// how long ago, or when the last one ended and how long it all lasted.
func (r *Renderer) since(c *card.Card, alerts []card.Alert, now time.Time) string {
	first, last := span(alerts)
	if first.IsZero() {
		return ""
	}
	began := r.clock(first)
	if shown(c) != card.StateResolved || last.IsZero() {
		return began + " (" + fmt.Sprintf(r.words.ago, r.words.duration(max(now.Sub(first), 0))) + ")"
	}
	end := r.clock(last)
	if day := len("2006-01-02 "); end[:day] == began[:day] {
		end = end[day:]
	}
	return began + " → " + end + " (" + fmt.Sprintf(r.words.lasted, r.words.duration(max(last.Sub(first), 0))) + ")"
}

// span is when the first of the alerts began, and when the last one ended.
func span(alerts []card.Alert) (first, last time.Time) {
	for _, a := range alerts {
		if first.IsZero() || a.StartsAt.Before(first) {
			first = a.StartsAt
		}
		if a.EndsAt.After(last) {
			last = a.EndsAt
		}
	}
	return first, last
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

// told is an annotation that all alerts agree on. Where they do not, it is that of
// the first that has it, with the subject that it is about.
func (r *Renderer) told(alerts []card.Alert, name string) string {
	first := slices.IndexFunc(alerts, func(a card.Alert) bool { return strings.TrimSpace(a.Annotations[name]) != "" })
	if first < 0 {
		return ""
	}
	text := strings.TrimSpace(alerts[first].Annotations[name])
	agreed := !slices.ContainsFunc(alerts, func(a card.Alert) bool { return strings.TrimSpace(a.Annotations[name]) != text })
	if about := alerts[first].Subject(); !agreed && about != "" {
		return clip(about, 80) + r.words.colon + text
	}
	return text
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
