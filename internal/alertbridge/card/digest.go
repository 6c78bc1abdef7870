package card

import (
	"slices"
	"strings"
	"time"
)

// Digest is what makes a card a digest: it stands for groups that fired while
// their receiver got more cards than it is to get. Such a card has no alerts of
// its own; what it shows is counted in the store when it is sent.
type Digest struct {
	Lane   string `json:"lane"`
	Total  int    `json:"total"`  // groups that it took in
	Carded int    `json:"carded"` // of them, those that have got a card of their own since
}

// OpenDigest opens a digest for a lane of a receiver.
func OpenDigest(id, receiver, lane string, at time.Time) *Card {
	return &Card{
		ID: id, Receiver: receiver, GroupKey: "digest/" + id, GroupLabels: map[string]string{}, Generation: 1, State: StateFiring, Shown: StateFiring,
		Revision: 1, Digest: &Digest{Lane: lane}, OpenedAt: at, ChangedAt: at, NotifiedAt: at,
	}
}

// EndDigest closes a digest of which no group is open any more.
func (c *Card) EndDigest(at time.Time) {
	c.State, c.Shown, c.ClosedAt, c.ChangedAt = StateResolved, StateResolved, at, at
	c.Revision++
}

// Name is the alertname of the group: that of its labels, or of its first alert
// where the group has none.
func (c *Card) Name() string {
	if name := c.GroupLabels["alertname"]; name != "" || len(c.Alerts) == 0 {
		return name
	}
	return c.Alerts[0].Labels["alertname"]
}

// SubjectLabels name what an alert is about, the first that is set wins.
func SubjectLabels() []string {
	return []string{"agent_name", "backend", "model", "client", "host", "instance"}
}

// Subject is what the alert is about, on one line; "" where no label says.
func (a *Alert) Subject() string {
	for _, label := range SubjectLabels() {
		if v := strings.Join(strings.Fields(a.Labels[label]), " "); v != "" {
			return v
		}
	}
	return ""
}

// Subjects are what the card is about, each once, in the order of its alerts.
func (c *Card) Subjects() []string {
	var names []string
	for i := range c.Alerts {
		if v := c.Alerts[i].Subject(); v != "" && !slices.Contains(names, v) {
			names = append(names, v)
		}
	}
	return names
}
