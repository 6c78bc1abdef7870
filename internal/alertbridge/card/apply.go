package card

import (
	"slices"
	"time"
)

// reminderGap is how far apart two equal notifications must be for the second
// to count as a reminder: the peers of an Alertmanager cluster repeat each
// other within seconds.
const reminderGap = time.Minute

// Open decides what a notice means for a group that has no open card. previous
// is the group's last generation, nil if there is none. It returns the new
// card, without an id and a generation, or nil where the notice only repeats
// what the last generation has already told.
//
// A notice that holds nothing but firings older than the last resolve opens a
// card in [StateSettling]: it is kept, but shown only if Alertmanager confirms.
// A resolve of an episode that was never heard of opens a card too, since
// "fired and resolved" beats silence.
func Open(receiver string, group map[string]string, n Notice, previous *Card) *Card {
	c := &Card{
		Receiver: receiver, GroupKey: GroupKey(group), GroupLabels: group, Truncated: n.Truncated,
		ExternalURL: n.ExternalURL, OpenedAt: n.At, ChangedAt: n.At, NotifiedAt: n.At,
	}
	var contested []Alert
	for _, a := range n.Alerts {
		a = received(a, n.At)
		old := overlap(previous, a)
		switch {
		case old && a.Status == Firing:
			contested = append(contested, a)
		case old:
			// The end of an episode that is already told.
		case c.Has(a.Fingerprint):
		case a.Status == Firing:
			c.add(a)
		default:
			a.Status = Ended
			c.add(a)
		}
	}
	fresh := len(c.Alerts) > 0
	for _, a := range contested {
		if !fresh {
			a.Status = Contested
		}
		if !c.Has(a.Fingerprint) {
			c.add(a)
		}
	}
	if len(c.Alerts) == 0 {
		return nil
	}
	c.State = c.state()
	if c.State != StateSettling {
		c.Shown, c.Revision = c.State, 1
	}
	return c
}

// overlap reports whether the alert's episode began before the end that the
// last generation has told.
func overlap(previous *Card, a Alert) bool {
	if previous == nil {
		return false
	}
	old := previous.find(a.Fingerprint)
	return old != nil && old.Status == Resolved && !a.StartsAt.After(old.EndsAt)
}

// received bounds an alert to what can be true at the moment of its arrival: an
// alert posted without startsAt carries one in the future.
func received(a Alert, at time.Time) Alert {
	a.HeardAt = at
	if a.StartsAt.IsZero() || a.StartsAt.After(at) {
		a.StartsAt = at
	}
	switch {
	case a.Status == Firing:
		a.EndsAt = time.Time{}
	case a.EndsAt.IsZero() || a.EndsAt.After(at):
		a.EndsAt = at
	}
	return a
}

// Apply takes over a notice about an open card and reports whether what is
// shown has changed. Alerts that the notice does not mention stay as they are.
// previous is the generation before, nil if there is none: an end that it has told
// is sent again for a while, and is no part of this one.
func (c *Card) Apply(n Notice, previous *Card) bool {
	before := c.face()
	firing := false
	for _, a := range n.Alerts {
		a = received(a, n.At)
		firing = firing || a.Status == Firing
		old := c.find(a.Fingerprint)
		switch {
		case old == nil && a.Status == Resolved && overlap(previous, a):
		case old == nil && a.Status == Resolved:
			a.Status = Ended
			c.add(a)
		case old == nil:
			c.add(a)
		case a.Status == Firing:
			c.fire(old, a)
		default:
			old.end(a)
		}
	}
	c.Truncated, c.ExternalURL = n.Truncated, n.ExternalURL
	changed := c.settle(before, n.At)
	if !changed && firing && n.At.Sub(c.NotifiedAt) >= reminderGap && c.State != StateSettling {
		c.Reminders++
		c.Revision++
		c.ChangedAt = n.At
		changed = true
	}
	c.NotifiedAt = n.At
	c.forget(n.At)
	return changed
}

// endedLife is how long an alert that has ended stays on a card of which others are
// open: much longer than Alertmanager repeats an end.
const endedLife = 24 * time.Hour

// forget lets go of what ended long ago, so that a group that never ends as a whole
// does not grow for ever. It is no news: the card shows it with its next change.
func (c *Card) forget(at time.Time) {
	if c.Closed() {
		return
	}
	c.Alerts = slices.DeleteFunc(c.Alerts, func(a Alert) bool {
		return (a.Status == Resolved || a.Status == Discarded) && at.Sub(a.HeardAt) > endedLife && at.Sub(a.EndsAt) > endedLife
	})
}

// fire takes over a firing of an alert that the card knows.
func (c *Card) fire(old *Alert, a Alert) {
	old.Labels, old.Annotations, old.GeneratorURL, old.HeardAt = a.Labels, a.Annotations, a.GeneratorURL, a.HeardAt
	switch old.Status {
	case Firing:
		// Merged episodes move the start back, never forward.
		if a.StartsAt.Before(old.StartsAt) {
			old.StartsAt = a.StartsAt
		}
	case Ended, Resolved:
		if a.StartsAt.After(old.EndsAt) {
			c.refire(old, a.StartsAt)
		} else if old.Status == Resolved {
			old.Status = Contested
		}
	case Unknown:
		c.refire(old, old.StartsAt)
	case Discarded:
		c.refire(old, a.StartsAt)
	case Contested:
		if !old.EndsAt.IsZero() && a.StartsAt.After(old.EndsAt) {
			c.refire(old, a.StartsAt)
		}
	}
}

func (c *Card) refire(a *Alert, starts time.Time) {
	if a.Status != Ended && !a.EndsAt.IsZero() {
		c.Refires++
	}
	a.Status, a.StartsAt, a.EndsAt, a.Doubtful, a.Mute = Firing, starts, time.Time{}, false, nil
}

// end takes over the claim that an alert has ended.
func (a *Alert) end(claim Alert) {
	a.HeardAt = claim.HeardAt
	if len(claim.Annotations) > 0 && a.Status == Firing {
		a.Annotations = claim.Annotations
	}
	switch a.Status {
	case Firing:
		a.Status, a.EndsAt, a.Doubtful = Ended, claim.EndsAt, claim.EndsAt.Before(a.StartsAt)
	case Unknown:
		a.Status, a.EndsAt = Ended, claim.EndsAt
	case Contested, Discarded:
		if a.EndsAt.IsZero() || claim.EndsAt.After(a.EndsAt) {
			a.Status, a.EndsAt = Ended, claim.EndsAt
		}
	case Ended, Resolved:
		if claim.EndsAt.After(a.EndsAt) {
			a.EndsAt = claim.EndsAt
		}
	}
}
