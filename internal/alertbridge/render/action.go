package render

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// ActionKind is what a button asks the bridge for.
type ActionKind string

// The actions.
const (
	Acknowledge ActionKind = "acknowledge"
	Silence     ActionKind = "silence"
	EndSilence  ActionKind = "end_silence"
)

// ActionKinds lists every action.
func ActionKinds() []ActionKind { return []ActionKind{Acknowledge, Silence, EndSilence} }

// Action is a button that calls the bridge back.
type Action struct {
	Kind  ActionKind
	For   time.Duration     // of a silence
	Value map[string]string // what comes back
}

func (r *Renderer) actions(offered []Action) []button {
	var out []button
	for _, a := range offered {
		name, look := "", "default"
		switch a.Kind {
		case Acknowledge:
			name, look = r.words.acknowledge, "primary_filled"
		case Silence:
			name = fmt.Sprintf(r.words.silence, SpanIn(r.options.Language)(a.For))
		case EndSilence:
			name = r.words.endSilence
		}
		out = append(out, button{Tag: "button", Type: look, Text: plain(name), Behaviors: []behavior{{Type: "callback", Value: a.Value}}})
	}
	return out
}

// personID is what may stand as a person: Feishu puts the name in its place.
var personID = regexp.MustCompile(`^ou_[A-Za-z0-9_-]{1,64}$`)

// who is the person of a fact, in the form of mentions.
func (f fact) who() []string {
	if !personID.MatchString(f.person) {
		return nil
	}
	return []string{f.person}
}

// text is a fact where nothing but text is shown.
func (f fact) text() string {
	if f.person == "" {
		return f.value
	}
	return oneLine(clip(f.person, 100)) + " " + f.value
}

// persons says what people did: who has acknowledged, and who silences until
// when.
func (r *Renderer) persons(c *card.Card, now time.Time) []fact {
	var out []fact
	w := r.words
	add := func(name, value, person string) {
		out = append(out, fact{name: name, value: value, person: person, ours: true})
	}
	if c.Ack != nil {
		add(w.acked, r.clock(c.Ack.At), c.Ack.By)
	}
	if steps := r.escalations(c); steps != "" {
		add(w.escalated, steps, "")
	}
	if shown(c) == card.StateResolved {
		return out
	}
	mute := longestMute(c)
	switch h := c.Hold; {
	case mute != nil && !mute.Until.IsZero() && (h == nil || mute.By != h.By):
		add(w.until, r.clock(mute.Until), "")
		if by := oneLine(mute.By); by != "" {
			add(w.by, clip(by, 100), "")
		}
	case mute != nil && !mute.Until.IsZero() && h.Phase() != card.HoldEnding:
		add(w.until, r.clock(mute.Until), h.By)
	case h != nil:
		if value, person := r.hold(h, now); value != "" {
			add(w.hold, value, person)
		}
	}
	return out
}

// shownSteps bounds the steps of an escalation that a card lists: the last ones.
const shownSteps = 3

// escalations lists the steps that were done because nobody took the card on.
func (r *Renderer) escalations(c *card.Card) string {
	var lines []string
	if c.From != "" {
		lines = append(lines, fmt.Sprintf(r.words.from, clip(oneLine(c.From), 80)))
	}
	for _, e := range c.Escalations[max(0, len(c.Escalations)-shownSteps):] {
		what := r.words.steps[e.Step]
		if e.To != "" {
			what = "→ " + clip(oneLine(e.To), 80)
		}
		if e.Failure != "" {
			what += r.words.list + r.words.stepFailed
		}
		lines = append(lines, what+" "+r.clock(e.At))
	}
	return strings.Join(lines, "\n")
}

// hold says how far a silence is that was asked for on the card.
func (r *Renderer) hold(h *card.Hold, now time.Time) (value, person string) {
	w := r.words
	switch h.Phase() {
	case card.HoldAsked:
		return fmt.Sprintf(w.holdAsked, r.clock(h.Until)), h.By
	case card.HoldMade:
		if now.Before(h.Until) {
			return w.until + " " + r.clock(h.Until), h.By
		}
	case card.HoldEnding:
		return w.holdEnding, h.End.By
	case card.HoldFailed:
		// What Alertmanager says may quote labels, so it is no text of our own.
		return fmt.Sprintf(w.holdFailed, clip(oneLine(h.Failure), 200)), ""
	case card.HoldEnded:
		if h.End == nil {
			return w.holdGone, ""
		}
		return fmt.Sprintf(w.holdEnded, r.clock(h.EndedAt)), h.End.By
	case card.HoldNone:
	}
	return "", ""
}
