package card

import (
	"maps"
	"slices"
	"time"
)

// Mark is what a person did: who, by open id, and when.
type Mark struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Hold is a silence that a person asked for on the card. What is asked for is
// stored first and carried out in Alertmanager afterwards.
type Hold struct {
	ID      string    `json:"id"` // stands in the comments of its silences, by which they are found again
	By      string    `json:"by"` // open id
	Chat    string    `json:"chat,omitempty"`
	At      time.Time `json:"at"`
	Until   time.Time `json:"until"`
	Parts   []Part    `json:"parts"`
	MadeAt  time.Time `json:"made_at,omitzero"` // when Alertmanager had all parts; zero before
	End     *Mark     `json:"end,omitempty"`    // who asked to end it before its time
	EndedAt time.Time `json:"ended_at,omitzero"`
	Failure string    `json:"failure,omitempty"` // why it could not be made
}

// Part is one silence of a hold.
type Part struct {
	Matchers map[string]string `json:"matchers"`
	Silence  string            `json:"silence,omitempty"` // its id in Alertmanager, once it is there
}

// Phase is how far a hold is.
type Phase string

// The phases of a hold.
const (
	HoldNone   Phase = ""
	HoldAsked  Phase = "asked"  // not yet in Alertmanager
	HoldMade   Phase = "made"   // in force
	HoldEnding Phase = "ending" // its end is asked for, Alertmanager not yet told
	HoldEnded  Phase = "ended"
	HoldFailed Phase = "failed" // never came into force
)

// Phase is how far the hold is, without regard to the time. A nil hold is none.
func (h *Hold) Phase() Phase {
	switch {
	case h == nil:
		return HoldNone
	case h.Failure != "":
		return HoldFailed
	case !h.EndedAt.IsZero():
		return HoldEnded
	case h.End != nil:
		return HoldEnding
	case h.MadeAt.IsZero():
		return HoldAsked
	default:
		return HoldMade
	}
}

// Holding reports whether a silence that was asked for on the card is, or is
// about to be, in force.
func (c *Card) Holding(now time.Time) bool {
	switch c.Hold.Phase() {
	case HoldAsked, HoldMade, HoldEnding:
		return now.Before(c.Hold.Until)
	default:
		return false
	}
}

// Acting reports whether something that was asked for on the card is still to be
// done in Alertmanager.
func (c *Card) Acting() bool {
	p := c.Hold.Phase()
	return p == HoldAsked || p == HoldEnding
}

// Acknowledge notes who has taken the card on. It reports false where somebody
// has already.
func (c *Card) Acknowledge(m Mark) bool {
	if c.Ack != nil {
		return false
	}
	c.touched(m.At, func() { c.Ack = &m })
	return true
}

// Silence asks for a silence. It reports false while one is in force, and where
// there is nothing to be silenced. The parts are those of h's card: the group's
// labels where it has any, else each alert by itself.
func (c *Card) Silence(h Hold) bool {
	h.Parts = c.parts()
	if c.Holding(h.At) || len(h.Parts) == 0 || c.Acting() {
		return false
	}
	c.touched(h.At, func() {
		c.Hold = &h
		c.Holds++
	})
	return true
}

// parts are the matchers of the silences that mute the card.
func (c *Card) parts() []Part {
	group := map[string]string{}
	for name, value := range c.GroupLabels {
		if value != "" {
			group[name] = value
		}
	}
	if len(group) > 0 {
		return []Part{{Matchers: group}}
	}
	var out []Part
	for i := range c.Alerts {
		if c.Alerts[i].Live() && len(c.Alerts[i].Labels) > 0 {
			out = append(out, Part{Matchers: maps.Clone(c.Alerts[i].Labels)})
		}
	}
	return out
}

// EndSilence asks to end the silence in force. It reports false where there is
// none, or its end was asked for already.
func (c *Card) EndSilence(m Mark) bool {
	if !c.Holding(m.At) || c.Hold.End != nil {
		return false
	}
	c.touched(m.At, func() { c.Hold.End = &m })
	return true
}

// Change lets the hold of that id be changed, and reports false where the card
// has another by now.
func (c *Card) Change(hold string, at time.Time, change func(*Hold)) bool {
	if c.Hold == nil || c.Hold.ID != hold {
		return false
	}
	c.touched(at, func() { change(c.Hold) })
	return true
}

// touched makes a change that a person asked for visible. Unlike [Card.settle] it
// counts at once also while the card waits for a judgement: what is shown by then
// holds both.
func (c *Card) touched(at time.Time, change func()) {
	before := c.face()
	change()
	if !before.equal(c.face()) {
		c.Revision++
		c.ChangedAt = at
	}
}

// overlooked ends a hold that Alertmanager no longer knows: somebody has ended
// its silences there.
func (c *Card) overlooked(s Snapshot) {
	if c.Hold.Phase() != HoldMade || !s.Reachable || !c.Hold.MadeAt.Before(s.Began) || !s.Began.Before(c.Hold.Until) {
		return
	}
	listed := false
	for i := range c.Alerts {
		l, found := s.Alerts[c.Alerts[i].Fingerprint]
		if !found {
			continue
		}
		listed = true
		if c.Hold.mutes(l.SilencedBy) {
			return
		}
	}
	if listed {
		c.Hold.EndedAt = s.Began
	}
}

func (h *Hold) mutes(silences []string) bool {
	for _, p := range h.Parts {
		if slices.Contains(silences, p.Silence) {
			return true
		}
	}
	return false
}
