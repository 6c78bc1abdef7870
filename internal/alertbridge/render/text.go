package render

import (
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/visible"
)

// Text renders a card without any card: the last form before giving up.
func (r *Renderer) Text(q Request) string {
	lines := []string{r.title(q.Card, custom{})}
	for _, f := range r.facts(q, limits{300, 4}) {
		lines = append(lines, f.name+r.words.colon+f.text())
	}
	lines = append(lines, r.footer(q))
	if q.Keyword != "" {
		lines = append(lines, q.Keyword)
	}
	out := neutral(visible.Text(strings.Join(lines, "\n")))
	if at := textMentions(q.Mention); at != "" {
		out += "\n" + at
	}
	return out
}

// Reply is the text of a thread reply, whose purpose is that a phone rings.
func (r *Renderer) Reply(c *card.Card, firing bool, mention []string) string {
	word := r.words.states[card.StateResolved]
	if firing {
		word = "🔥 " + r.words.again
	}
	out := neutral(word + " " + r.Title(c))
	if at := textMentions(mention); at != "" {
		out += " " + at
	}
	return out
}

// Mark is a text that every card holds and no other card does: it finds the
// card again in a chat's history.
func Mark(c *card.Card) string { return "#" + c.ID }

func mentions(ids []string) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, "<at id="+id+"></at>")
	}
	return strings.Join(parts, " ")
}

func textMentions(ids []string) string {
	var parts []string
	for _, id := range ids {
		parts = append(parts, `<at user_id="`+id+`"></at>`)
	}
	return strings.Join(parts, " ")
}

// neutral keeps text messages, the only form that has tags in its text, from
// reading a label as one.
func neutral(s string) string { return strings.ReplaceAll(s, "<", "＜") }
