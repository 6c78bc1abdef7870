package render

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/visible"
)

// DigestCount is how many groups of an alert a digest tells of, by their state.
type DigestCount struct {
	Name, Severity                      string
	Firing, Silenced, Unknown, Resolved int
	Subjects                            []string // of those that fire
}

// DigestRequest is one rendering of a digest.
type DigestRequest struct {
	Card      *card.Card    // with Digest
	Counts    []DigestCount // the most urgent first
	Worst     []DigestCount // subjects that most groups fire about, in Name
	PerMinute int           // cards that the receiver gets a minute; 0 = no limit
	Now       time.Time
	Plain     bool
	Budget    int // bytes
	Mention   []string
	Keyword   string
	Former    time.Time
	Repeated  bool
}

// Digest renders the digest of a storm. The result is at most q.Budget bytes;
// what does not fit is counted, the least urgent first.
func (r *Renderer) Digest(q DigestRequest) (json.RawMessage, error) {
	for _, l := range []digestLimits{{40, 40}, {30, 20}, {20, 10}, {15, 4}, {8, 0}} {
		data, err := json.Marshal(r.digest(q, l))
		if err != nil {
			return nil, fmt.Errorf("encoding a digest: %w", err)
		}
		if len(data) <= q.Budget {
			return data, nil
		}
		if l.subjects == 0 {
			return nil, fmt.Errorf("a digest of %d bytes does not fit into %d", len(data), q.Budget)
		}
	}
	return nil, nil // unreachable: the last step returns
}

// DigestText renders a digest without any card.
func (r *Renderer) DigestText(q DigestRequest) string {
	lines := []string{r.digestTitle(q)}
	for _, f := range r.digestFacts(q) {
		lines = append(lines, f.name+r.words.colon+f.text())
	}
	lines = append(append(lines, r.kinds(q, digestLimits{15, 6})...), r.digestFooter(q))
	out := neutral(visible.Text(strings.Join(lines, "\n")))
	if at := textMentions(q.Mention); at != "" {
		out += "\n" + at
	}
	return out
}

// digestLimits bound one rendering: kinds of alerts, and subjects of each.
type digestLimits struct{ kinds, subjects int }

func (r *Renderer) digest(q DigestRequest, l digestLimits) document {
	title := r.digestTitle(q)
	d := document{Schema: "2.0", Config: config{UpdateMulti: true, Summary: summary{Content: title}}}
	d.Header = &header{Title: plain(title), Template: r.digestTemplate(q)}
	for _, f := range r.digestFacts(q) {
		if q.Plain {
			d.Body.Elements = append(d.Body.Elements, line(f.name+r.words.colon+f.text()))
			continue
		}
		d.Body.Elements = append(d.Body.Elements, row(f))
	}
	for _, text := range r.kinds(q, l) {
		d.Body.Elements = append(d.Body.Elements, line(text))
	}
	if links := r.digestLinks(q.Card); len(links) > 0 && !q.Plain {
		d.Body.Elements = append(d.Body.Elements, buttonRow(links))
	}
	if at := mentions(q.Mention); at != "" {
		d.Body.Elements = append(d.Body.Elements, markdown{Tag: "markdown", Content: at})
	}
	if !q.Plain {
		d.Body.Elements = append(d.Body.Elements, rule{Tag: "hr"})
	}
	d.Body.Elements = append(d.Body.Elements, note(r.digestFooter(q)))
	return d
}

// sum adds up one count over all alerts, or over those of a severity.
func (q DigestRequest) sum(severity string, of func(DigestCount) int) int {
	total := 0
	for _, c := range q.Counts {
		if severity == "" || c.Severity == severity {
			total += of(c)
		}
	}
	return total
}

func firing(c DigestCount) int { return c.Firing }

func (r *Renderer) digestTemplate(q DigestRequest) string {
	switch {
	case q.Card.Closed():
		return "green"
	case q.sum("", firing) == 0:
		return "grey"
	case q.sum("critical", firing) > 0:
		return "red"
	case q.sum("info", firing) == q.sum("", firing):
		return "blue"
	default:
		return "yellow"
	}
}

func (r *Renderer) digestTitle(q DigestRequest) string {
	w := r.words.digest
	icon, text := "🌊", fmt.Sprintf(w.title, q.sum("", firing))
	if q.Card.Closed() {
		icon, text = "✅", fmt.Sprintf(w.over, q.Card.Digest.Total)
	}
	if r.options.TitlePrefix != "" {
		icon += " " + r.options.TitlePrefix
	}
	if n := q.sum("critical", firing); n > 0 && !q.Card.Closed() {
		text += " " + fmt.Sprintf(w.criticals, n)
	}
	return icon + " " + text
}

// digestName is the title of a digest where nothing is counted.
func (r *Renderer) digestName(c *card.Card) string {
	if c.Closed() {
		return r.digestTitle(DigestRequest{Card: c})
	}
	return "🌊 " + fmt.Sprintf(r.words.digest.total, c.Digest.Total)
}

// digestFacts are in the order in which a person needs them: about what, since
// when, how bad, what to do. What fires follows, alert by alert.
func (r *Renderer) digestFacts(q DigestRequest) []fact {
	w := r.words
	var out []fact
	add := func(name, value string) {
		if value != "" {
			out = append(out, fact{name: name, value: value})
		}
	}
	add(w.subject, r.worst(q))
	add(w.since, r.digestSince(q))
	add(w.value, r.totals(q))
	if !q.Card.Closed() {
		add(w.next, w.digest.next)
	}
	return append(out, r.remarks(Request{Former: q.Former, Repeated: q.Repeated})...)
}

// kinds are what a digest says alert by alert.
func (r *Renderer) kinds(q DigestRequest, l digestLimits) []string {
	var out []string
	for i, c := range q.Counts {
		if i == l.kinds {
			rest := DigestRequest{Counts: q.Counts[i:]}
			return append(out, fmt.Sprintf(r.words.digest.moreKinds, len(rest.Counts), rest.sum("", firing)))
		}
		name := clip(oneLine(c.Name), 80)
		if name == "" {
			name = "alert"
		}
		out = append(out, badge(c)+" "+name+r.words.colon+r.kind(c, l.subjects))
	}
	return out
}

func badge(c DigestCount) string {
	switch {
	case c.Firing == 0 && c.Silenced+c.Unknown == 0:
		return "✅"
	case c.Severity == "critical":
		return "🚨"
	case c.Severity == "info":
		return "ℹ️"
	default:
		return "⚠️"
	}
}

// kind is what a digest says about one alert: how many groups, and about what.
func (r *Renderer) kind(c DigestCount, most int) string {
	out := r.states(c)
	var names []string
	for i, s := range c.Subjects {
		if i == most {
			break
		}
		names = append(names, clip(oneLine(s), 80))
	}
	if len(names) == 0 {
		return out
	}
	list := strings.Join(names, r.words.list)
	if rest := c.Firing - len(names); rest > 0 {
		list += r.words.list + fmt.Sprintf(r.words.more, rest)
	}
	return out + "\n" + list
}

// states are the counts that are not zero, in words.
func (r *Renderer) states(c DigestCount) string {
	w := r.words
	var parts []string
	for _, x := range []struct {
		n    int
		word string
	}{{c.Firing, w.states[card.StateFiring]}, {c.Silenced, w.states[card.StateSilenced]}, {c.Unknown, w.states[card.StateUnknown]}, {c.Resolved, w.states[card.StateResolved]}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", x.word, x.n))
		}
	}
	return strings.Join(parts, r.words.list)
}

// worst are the subjects that most groups fire about; where each has one, the
// first of the most urgent.
func (r *Renderer) worst(q DigestRequest) string {
	var names []string
	for _, c := range q.Worst {
		names = append(names, fmt.Sprintf("%s ×%d", clip(oneLine(c.Name), 60), c.Firing))
	}
	if len(names) > 0 {
		return strings.Join(names, r.words.list)
	}
	for _, c := range q.Counts {
		for _, s := range c.Subjects {
			if names = append(names, clip(oneLine(s), 60)); len(names) == firstSubjects {
				break
			}
		}
		if len(names) == firstSubjects {
			break
		}
	}
	if rest := q.sum("", firing) - len(names); rest > 0 && len(names) > 0 {
		names = append(names, fmt.Sprintf(r.words.more, rest))
	}
	return strings.Join(names, r.words.list)
}

// firstSubjects is how many subjects stand for all where none is worse than the
// others.
const firstSubjects = 3

func (r *Renderer) digestSince(q DigestRequest) string {
	end, how := q.Now, r.words.ago
	if q.Card.Closed() {
		end, how = q.Card.ClosedAt, r.words.lasted
	}
	return r.clock(q.Card.OpenedAt) + " (" + fmt.Sprintf(how, r.words.duration(max(end.Sub(q.Card.OpenedAt), 0))) + ")"
}

// totals are the counts over everything that the digest took in.
func (r *Renderer) totals(q DigestRequest) string {
	w := r.words.digest
	all := DigestCount{
		Firing: q.sum("", firing), Silenced: q.sum("", func(c DigestCount) int { return c.Silenced }),
		Unknown: q.sum("", func(c DigestCount) int { return c.Unknown }), Resolved: q.sum("", func(c DigestCount) int { return c.Resolved }),
	}
	out := fmt.Sprintf(w.total, q.Card.Digest.Total)
	if s := r.states(all); s != "" {
		out += r.words.colon + s
	}
	if n := q.Card.Digest.Carded; n > 0 {
		out += r.words.list + fmt.Sprintf(w.carded, n)
	}
	return out
}

// digestLinks lead to the dashboard, and to Alertmanager's own list.
func (r *Renderer) digestLinks(c *card.Card) []button {
	var out []button
	if base := web(r.options.Grafana); base != "" {
		q := url.Values{"from": {fmt.Sprint(c.OpenedAt.Add(-30 * time.Minute).UnixMilli())}, "to": {"now"}}
		if u := fit(strings.TrimRight(base, "/") + "/" + strings.TrimLeft(r.options.Dashboard, "/") + "?" + q.Encode()); u != "" {
			out = append(out, link(r.words.dashboard, u, "primary"))
		}
	}
	if base := web(c.ExternalURL); base != "" {
		if u := fit(strings.TrimRight(base, "/") + "/#/alerts"); u != "" {
			out = append(out, link(r.words.digest.list, u, "default"))
		}
	}
	return out
}

func (r *Renderer) digestFooter(q DigestRequest) string {
	var parts []string
	if q.PerMinute > 0 {
		parts = append(parts, fmt.Sprintf(r.words.digest.why, q.PerMinute))
	}
	parts = append(parts, Mark(q.Card))
	if q.Keyword != "" {
		parts = append(parts, q.Keyword)
	}
	return strings.Join(parts, " · ")
}
