// Package card is the state machine of a card, without storage or network.
//
// A card shows the present state of one group of alerts to one receiver. It is
// identified by (receiver, group labels, generation): a generation opens at the
// first firing and ends when all of its alerts are resolved. The package
// promises that
//
//   - an alert is known by its fingerprint alone, never by when it started;
//   - an alert that a notification does not mention is not thereby resolved;
//   - a resolve is only a claim ([Ended]) until [Card.Judge] has seen evidence
//     that monitoring was alive at the alert's end;
//   - a firing that looks older than the last resolve is only a claim
//     ([Contested]) until Alertmanager was asked.
package card

import (
	"slices"
	"strings"
	"time"
)

// Status is what is known of one alert.
type Status string

// The statuses of an alert.
const (
	Firing    Status = "firing"
	Ended     Status = "ended"     // resolved by somebody's word, evidence not yet looked at; shown as firing
	Contested Status = "contested" // a firing that looks older than the resolve before it; Alertmanager not yet asked
	Unknown   Status = "unknown"   // ended without evidence that monitoring was alive
	Resolved  Status = "resolved"
	Discarded Status = "discarded" // a contested firing that Alertmanager does not know
)

// State is what the whole card shows.
type State string

// The states of a card.
const (
	StateFiring    State = "firing"
	StateSilenced  State = "silenced" // every firing alert is muted, by a silence or by inhibition
	StateSettling  State = "settling" // waiting for a judgement; what is shown stays as it is
	StateUnknown   State = "unknown"
	StateResolved  State = "resolved"  // final
	StateDiscarded State = "discarded" // final, never shown
)

// OpenStates are the states a card that is not closed can have.
func OpenStates() []State {
	return []State{StateFiring, StateSilenced, StateSettling, StateUnknown}
}

// Mute is why Alertmanager does not notify about an alert.
type Mute struct {
	Silences  []string  `json:"silences,omitempty"`
	Until     time.Time `json:"until,omitzero"` // end of the last silence
	By        string    `json:"by,omitempty"`   // who made that silence
	Inhibited bool      `json:"inhibited,omitempty"`
}

// Alert is one alert of a card. Times are UTC.
type Alert struct {
	Fingerprint  string            `json:"fingerprint"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	GeneratorURL string            `json:"generator_url,omitempty"`
	Status       Status            `json:"status"`
	StartsAt     time.Time         `json:"starts_at"`
	EndsAt       time.Time         `json:"ends_at,omitzero"`   // zero while firing
	Doubtful     bool              `json:"doubtful,omitempty"` // the end looks older than the firing
	Mute         *Mute             `json:"mute,omitempty"`     // nil while notified normally
	Listed       bool              `json:"listed,omitempty"`   // Alertmanager's API has listed it
	HeardAt      time.Time         `json:"heard_at"`           // last notification that named it
}

// Severity is the alert's severity label.
func (a *Alert) Severity() string { return a.Labels["severity"] }

// Live reports whether the alert is shown as firing.
func (a *Alert) Live() bool { return a.Status == Firing || a.Status == Ended }

// Notice is what one notification says about one group.
type Notice struct {
	At          time.Time // when it was accepted
	ExternalURL string    // Alertmanager's own address
	Truncated   int       // alerts left out by Alertmanager's max_alerts
	Alerts      []Alert   // Status is Firing or Resolved
}

// Card is one generation of one group for one receiver.
type Card struct {
	ID          string            `json:"id"`
	Receiver    string            `json:"receiver"`
	GroupKey    string            `json:"group_key"` // [GroupKey] of GroupLabels
	GroupLabels map[string]string `json:"group_labels"`
	Generation  int               `json:"generation"`
	State       State             `json:"state"`
	Shown       State             `json:"shown,omitempty"` // the last state that was not settling; empty before the first
	Revision    int64             `json:"revision"`        // grows with every change of what is shown
	Alerts      []Alert           `json:"alerts"`          // ordered by fingerprint
	Truncated   int               `json:"truncated,omitempty"`
	ExternalURL string            `json:"external_url,omitempty"`
	Reminders   int               `json:"reminders,omitempty"` // repeated notifications without news
	Refires     int               `json:"refires,omitempty"`   // alerts that fired again within the generation
	Ack         *Mark             `json:"ack,omitempty"`       // who has taken it on
	Hold        *Hold             `json:"hold,omitempty"`      // the last silence that was asked for on it
	Holds       int               `json:"holds,omitempty"`     // how many were asked for
	Escalations []Escalation      `json:"escalations,omitempty"`
	From        string            `json:"from,omitempty"`   // the receiver that it was escalated from
	Digest      *Digest           `json:"digest,omitempty"` // nil: an ordinary card
	OpenedAt    time.Time         `json:"opened_at"`
	ChangedAt   time.Time         `json:"changed_at"`
	NotifiedAt  time.Time         `json:"notified_at"`
	ClosedAt    time.Time         `json:"closed_at,omitzero"` // zero while open
}

// Closed reports whether the generation has ended.
func (c *Card) Closed() bool { return !c.ClosedAt.IsZero() }

// Waiting reports whether any alert waits for a judgement.
func (c *Card) Waiting() bool {
	return slices.ContainsFunc(c.Alerts, func(a Alert) bool { return a.Status == Ended || a.Status == Contested })
}

// Severity is the highest severity of the alerts that are live, or of all of
// them where none is.
func (c *Card) Severity() string {
	best, bestLive := "", ""
	for i := range c.Alerts {
		s := c.Alerts[i].Severity()
		if best == "" || Rank(s) < Rank(best) {
			best = s
		}
		if c.Alerts[i].Live() && (bestLive == "" || Rank(s) < Rank(bestLive)) {
			bestLive = s
		}
	}
	if bestLive != "" {
		return bestLive
	}
	return best
}

// Rank orders severities, 0 the most urgent. Unknown ones rank as warning: a
// misspelt severity must not be the last to be sent.
func Rank(severity string) int {
	switch severity {
	case "critical":
		return 0
	case "info":
		return 2
	default:
		return 1
	}
}

func (c *Card) find(fingerprint string) *Alert {
	i, ok := slices.BinarySearchFunc(c.Alerts, fingerprint, func(a Alert, f string) int {
		return strings.Compare(a.Fingerprint, f)
	})
	if !ok {
		return nil
	}
	return &c.Alerts[i]
}

// Has reports whether the card knows the alert.
func (c *Card) Has(fingerprint string) bool { return c.find(fingerprint) != nil }

func (c *Card) add(a Alert) {
	i, _ := slices.BinarySearchFunc(c.Alerts, a.Fingerprint, func(x Alert, f string) int {
		return strings.Compare(x.Fingerprint, f)
	})
	c.Alerts = slices.Insert(c.Alerts, i, a)
}

// state derives what the card shows from its alerts.
func (c *Card) state() State {
	var firing, muted, waiting, unknown, resolved int
	for i := range c.Alerts {
		switch c.Alerts[i].Status {
		case Firing:
			firing++
			if c.Alerts[i].Mute != nil {
				muted++
			}
		case Ended, Contested:
			waiting++
		case Unknown:
			unknown++
		case Resolved:
			resolved++
		case Discarded:
		}
	}
	switch {
	case firing > 0 && firing == muted:
		return StateSilenced
	case firing > 0:
		return StateFiring
	case waiting > 0:
		return StateSettling
	case unknown > 0:
		return StateUnknown
	case resolved > 0:
		return StateResolved
	default:
		return StateDiscarded
	}
}

// settle takes over the derived state at the given moment and reports whether
// what is shown differs from before.
func (c *Card) settle(before face, at time.Time) bool {
	c.State = c.state()
	if c.State == StateResolved || c.State == StateDiscarded {
		c.ClosedAt = at
	}
	if c.State == StateSettling || c.State == StateDiscarded {
		return false
	}
	c.Shown = c.State
	if before.equal(c.face()) {
		return false
	}
	c.Revision++
	c.ChangedAt = at
	return true
}
