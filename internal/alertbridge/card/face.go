package card

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"time"
)

// face is what a person sees of a card, as far as it changes.
type face struct {
	state     State
	truncated int
	reminders int
	acked     bool
	hold      string
	phase     Phase
	steps     int
	alerts    []alertFace
}

type alertFace struct {
	fingerprint   string
	shown         Status
	starts, ends  time.Time
	mutedUntil    time.Time
	muted, inhibs bool
	annotations   map[string]string
}

// face treats Ended as firing and a contested resolve as resolved: neither has
// been judged, so neither is shown.
func (c *Card) face() face {
	f := face{state: c.Shown, truncated: c.Truncated, reminders: c.Reminders, acked: c.Ack != nil, phase: c.Hold.Phase(), steps: len(c.Escalations), alerts: make([]alertFace, len(c.Alerts))}
	if c.Hold != nil {
		f.hold = c.Hold.ID
	}
	for i := range c.Alerts {
		a := &c.Alerts[i]
		v := alertFace{fingerprint: a.Fingerprint, shown: a.Status, starts: a.StartsAt, annotations: a.Annotations}
		switch a.Status {
		case Ended:
			v.shown = Firing
		case Contested:
			v.shown = Resolved
		case Resolved, Unknown:
			v.ends = a.EndsAt
		case Firing, Discarded:
		}
		if a.Mute != nil {
			v.muted, v.inhibs, v.mutedUntil = true, a.Mute.Inhibited, a.Mute.Until
		}
		f.alerts[i] = v
	}
	return f
}

func (f face) equal(g face) bool {
	return f.state == g.state && f.truncated == g.truncated && f.reminders == g.reminders &&
		f.acked == g.acked && f.hold == g.hold && f.phase == g.phase && f.steps == g.steps &&
		slices.EqualFunc(f.alerts, g.alerts, func(a, b alertFace) bool {
			return a.fingerprint == b.fingerprint && a.shown == b.shown && a.starts.Equal(b.starts) &&
				a.ends.Equal(b.ends) && a.muted == b.muted && a.inhibs == b.inhibs &&
				a.mutedUntil.Equal(b.mutedUntil) && maps.Equal(a.annotations, b.annotations)
		})
}

// GroupKey is the identity of a set of group labels, independent of their order.
func GroupKey(labels map[string]string) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		for _, part := range []string{name, labels[name]} {
			// The length keeps ("a","bc") apart from ("ab","c").
			h.Write(strconv.AppendInt(nil, int64(len(part)), 10))
			h.Write([]byte{':'})
			h.Write([]byte(part))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// UUID is the idempotency key of one operation on a card. It depends on its
// arguments alone, so that a process that was killed sends the same one again.
// Feishu takes at most 50 characters.
func UUID(cardID, channel, operation string, sequence int) string {
	sum := sha256.Sum256([]byte(cardID + "\x00" + channel + "\x00" + operation + "\x00" + strconv.Itoa(sequence)))
	return hex.EncodeToString(sum[:16])
}
