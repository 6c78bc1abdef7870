// Package render turns a card into what Feishu shows.
//
// A card can be rendered in three forms, each simpler than the one before, for
// when Feishu refuses the content: rich, plain, text. Label and annotation text
// never becomes markup, mentions come from the configuration alone, and what is
// rendered stays within the size budget whatever the alerts hold.
package render

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
	"github.com/fleetwatch/fleetwatch/internal/visible"
)

// Size budgets in bytes, below Feishu's own limits (30 KB and 20 KB).
const (
	AppBudget     = 24 << 10
	WebhookBudget = 16 << 10
)

// Options are the same for all cards.
type Options struct {
	Language    string // one of Languages
	Location    *time.Location
	TitlePrefix string
	Grafana     string // base URLs; a link whose base is empty is left out
	Dashboard   string // path of the dashboard, below Grafana
	Runbooks    string
	Templates   *override.Set // the user's own title and body; nil: none
}

// Request is one rendering.
type Request struct {
	Card     *card.Card
	Now      time.Time
	Plain    bool      // leave out everything but text
	Budget   int       // bytes
	Mention  []string  // open ids
	Keyword  string    // has to occur in the card, where set
	Former   time.Time // when the message was made that this one continues; zero for none
	Repeated bool      // the message may be a second one
	First    bool      // nothing of the card was sent before
	Actions  []Action  // buttons that call the bridge back
}

// Renderer renders cards. It is immutable.
type Renderer struct {
	options Options
	words   words
	report  func(template string, err error) // nil: nobody is told
}

// New returns a renderer, or an error that names the languages there are.
func New(o Options) (*Renderer, error) {
	w, ok := languages()[o.Language]
	if !ok {
		return nil, fmt.Errorf("language %q is not known, expected one of: %s", o.Language, strings.Join(Languages(), ", "))
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	return &Renderer{options: o, words: w}, nil
}

// Title is the card's headline, one line: the user's own, where there is one.
func (r *Renderer) Title(c *card.Card) string {
	if c.Digest != nil {
		return r.digestName(c)
	}
	return r.title(c, r.custom(Request{Card: c, Now: time.Now()}, override.Title))
}

func (r *Renderer) title(c *card.Card, own custom) string {
	if own.title != "" {
		return visible.Text(own.title)
	}
	return visible.Text(r.builtinTitle(c))
}

func (r *Renderer) builtinTitle(c *card.Card) string {
	icon := "⚠️"
	switch shown(c) {
	case card.StateResolved:
		icon = "✅"
	case card.StateSilenced:
		icon = "🔕"
	case card.StateUnknown:
		icon = "❔"
	default:
		switch c.Severity() {
		case "critical":
			icon = "🚨"
		case "info":
			icon = "ℹ️"
		}
	}
	title := icon
	if r.options.TitlePrefix != "" {
		title += " " + r.options.TitlePrefix
	}
	if s := oneLine(c.Severity()); s != "" {
		title += " [" + strings.ToUpper(clip(s, 20)) + "]"
	}
	return title + " " + clip(oneLine(headline(c)), 120)
}

// shown is the state that people see: one that waits for a judgement shows what
// was shown before.
func shown(c *card.Card) card.State {
	if c.State == card.StateSettling && c.Shown != "" {
		return c.Shown
	}
	if c.State == card.StateSettling {
		return card.StateFiring
	}
	return c.State
}

func (r *Renderer) template(c *card.Card) string {
	switch shown(c) {
	case card.StateResolved:
		return "green"
	case card.StateSilenced, card.StateUnknown:
		return "grey"
	case card.StateFiring, card.StateSettling, card.StateDiscarded:
	}
	switch c.Severity() {
	case "critical":
		return "red"
	case "info":
		return "blue"
	default:
		return "yellow"
	}
}

// Card renders a card. The result is at most q.Budget bytes. Only the rich form has
// the user's own title and body: they are not to be the reason why a simpler form is
// refused as well.
func (r *Renderer) Card(q Request) (json.RawMessage, error) {
	var own custom
	if !q.Plain {
		own = r.custom(q, override.Names()...)
	}
	// Each step leaves out more; the last one holds what has a fixed bound.
	for _, limit := range []limits{{800, 10}, {300, 10}, {200, 4}, {80, 2}, {40, 0}} {
		data, err := json.Marshal(r.document(q, own, limit))
		if err != nil {
			return nil, fmt.Errorf("encoding a card: %w", err)
		}
		if len(data) <= q.Budget {
			return data, nil
		}
		if limit.alerts == 0 {
			return nil, fmt.Errorf("a card of %d bytes does not fit into %d", len(data), q.Budget)
		}
	}
	return nil, nil // unreachable: the last step returns
}

// limits bound one rendering: characters of a long text, lines of a list.
type limits struct{ chars, alerts int }

// bodyShare is how many times the bound of a long text a body of the user's own may
// have: it stands for all facts.
const bodyShare = 6

func (r *Renderer) document(q Request, own custom, l limits) document {
	title := r.title(q.Card, own)
	d := document{Schema: "2.0", Config: config{UpdateMulti: true, Summary: summary{Content: title}}}
	d.Header = &header{Title: plain(title), Template: r.template(q.Card)}
	add := func(elements ...any) { d.Body.Elements = append(d.Body.Elements, elements...) }
	if own.body != "" {
		add(line(clip(own.body, bodyShare*l.chars)))
	}
	above, below := r.rows(q, own, l)
	add(above...)
	if buttons := r.actions(q.Actions); len(buttons) > 0 && !q.Plain {
		add(buttonRow(buttons))
	}
	add(below...)
	if links := r.links(q.Card); len(links) > 0 && !q.Plain {
		add(buttonRow(links))
	}
	if at := mentions(q.Mention); at != "" {
		add(markdown{Tag: "markdown", Content: at})
	}
	if !q.Plain {
		add(rule{Tag: "hr"})
	}
	footer := r.footer(q)
	if q.Keyword != "" && !strings.Contains(title, q.Keyword) {
		footer += " · " + q.Keyword
	}
	add(note(footer))
	return d
}

// rows are the facts as they stand above and below the buttons, which are to be on
// the first screen of a phone however much there is to tell.
func (r *Renderer) rows(q Request, own custom, l limits) (above, below []any) {
	for _, f := range r.facts(q, l) {
		if own.body != "" && !f.ours {
			continue
		}
		var element any = row(f)
		if q.Plain {
			element = line(f.name + r.words.colon + f.text())
		}
		if f.more {
			below = append(below, element)
		} else {
			above = append(above, element)
		}
	}
	return above, below
}

func clip(s string, chars int) string {
	runes := []rune(s)
	if len(runes) <= chars {
		return s
	}
	return string(runes[:chars-1]) + "…"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// live returns the alerts that are shown as firing, or all of the card where
// none is.
func live(c *card.Card) []card.Alert {
	var alerts []card.Alert
	for _, a := range c.Alerts {
		if a.Live() {
			alerts = append(alerts, a)
		}
	}
	if len(alerts) == 0 {
		return c.Alerts
	}
	slices.SortStableFunc(alerts, func(a, b card.Alert) int { return card.Rank(a.Severity()) - card.Rank(b.Severity()) })
	return alerts
}

func headline(c *card.Card) string {
	alerts := live(c)
	for _, a := range alerts {
		if s := strings.TrimSpace(a.Annotations["summary"]); s != "" {
			if len(alerts) > 1 {
				return fmt.Sprintf("%s (+%d)", clip(s, 100), len(alerts)-1)
			}
			return s
		}
	}
	if name := alertName(c); name != "" {
		return name
	}
	return "alert"
}

func alertName(c *card.Card) string {
	if name := c.GroupLabels["alertname"]; name != "" {
		return name
	}
	var names []string
	for _, a := range live(c) {
		if n := a.Labels["alertname"]; n != "" && !slices.Contains(names, n) {
			names = append(names, n)
		}
	}
	if len(names) > 3 {
		return strings.Join(names[:3], ", ") + fmt.Sprintf(" (+%d)", len(names)-3)
	}
	return strings.Join(names, ", ")
}
