package card

import (
	"maps"
	"slices"
	"time"
)

// Escalation is one step of a card's escalation that was done, or given up.
type Escalation struct {
	Step    string    `json:"step"` // to, urgent_app, urgent_sms, urgent_phone
	To      string    `json:"to,omitempty"`
	At      time.Time `json:"at"`
	Failure string    `json:"failure,omitempty"`
}

// Escalating reports whether nobody has taken the card on while it fires.
func (c *Card) Escalating() bool { return !c.Closed() && c.State == StateFiring && c.Ack == nil }

// Escalated notes a step.
func (c *Card) Escalated(e Escalation) {
	c.touched(e.At, func() { c.Escalations = append(c.Escalations, e) })
}

// For is the card as another receiver is shown it from now on: what is live of
// it, without what people did on it. It has no id and no generation yet.
func (c *Card) For(receiver string, at time.Time) *Card {
	x := &Card{
		Receiver: receiver, GroupKey: c.GroupKey, GroupLabels: maps.Clone(c.GroupLabels), Truncated: c.Truncated, ExternalURL: c.ExternalURL,
		From: c.Receiver, OpenedAt: at, ChangedAt: at, NotifiedAt: at,
	}
	x.Alerts = slices.DeleteFunc(slices.Clone(c.Alerts), func(a Alert) bool { return !a.Live() })
	x.State = x.state()
	x.Shown, x.Revision = x.State, 1
	return x
}
