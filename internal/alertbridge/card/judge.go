package card

import "time"

// Listing is one alert in Alertmanager's API.
type Listing struct {
	SilencedBy []string
	Inhibited  bool
}

// Silence is an active silence in Alertmanager.
type Silence struct {
	Until time.Time
	By    string
}

// Snapshot is what Alertmanager says at one moment.
type Snapshot struct {
	Began     time.Time // when it was asked: nothing heard at or after this is judged by absence
	Reachable bool      // false: nothing below but Evidence is known
	Settled   bool      // it has been up for long enough that absence means something
	MinUptime time.Duration
	Alerts    map[string]Listing // by fingerprint
	Silences  map[string]Silence
	Evidence  Evidence
}

// Evidence is whether monitoring was alive, told by an alert that always fires.
type Evidence struct {
	Required   bool          // such an alert is configured and has been seen at least once
	LastHeard  time.Time     // its last update in Alertmanager
	FreshSince time.Time     // since when it has been updated without a gap; zero while stale
	MaxAge     time.Duration // how old it may be
}

// covers reports whether monitoring is known to have been alive around t.
func (e Evidence) covers(t time.Time) bool {
	return !e.Required || !e.LastHeard.Before(t.Add(-e.MaxAge))
}

// returned reports whether monitoring has been alive again for long enough at t
// that what it does not list is over.
func (e Evidence) returned(t time.Time) bool {
	return !e.Required || (!e.FreshSince.IsZero() && t.Sub(e.FreshSince) >= e.MaxAge)
}

// Judge compares an open card with Alertmanager and reports whether what is
// shown has changed. A card turns green only here.
func (c *Card) Judge(s Snapshot) bool {
	before := c.face()
	for i := range c.Alerts {
		a := &c.Alerts[i]
		listed, found := s.Alerts[a.Fingerprint]
		switch {
		case s.Reachable && found:
			c.judgeListed(a, listed, s)
		default:
			c.judgeAbsent(a, s)
		}
	}
	c.overlooked(s)
	return c.settle(before, s.Began)
}

func (c *Card) judgeListed(a *Alert, l Listing, s Snapshot) {
	// A claim that is younger than the listing is judged by the next one.
	if a.Status != Firing && !a.HeardAt.Before(s.Began) {
		return
	}
	if a.Status != Firing {
		c.refire(a, a.StartsAt)
	}
	a.Listed = true
	a.Mute = nil
	if len(l.SilencedBy) == 0 && !l.Inhibited {
		return
	}
	a.Mute = &Mute{Silences: l.SilencedBy, Inhibited: l.Inhibited}
	for _, id := range l.SilencedBy {
		if x, ok := s.Silences[id]; ok && x.Until.After(a.Mute.Until) {
			a.Mute.Until, a.Mute.By = x.Until, x.By
		}
	}
}

func (c *Card) judgeAbsent(a *Alert, s Snapshot) {
	known := s.Reachable && s.Settled && a.HeardAt.Before(s.Began) // absence means something
	switch a.Status {
	case Firing:
		// An alert that Alertmanager has never listed may belong to another
		// Alertmanager, or not have arrived yet.
		if !known || (!a.Listed && s.Began.Sub(a.HeardAt) < s.MinUptime) {
			return
		}
		a.EndsAt = s.Began
		a.conclude(s)
	case Contested:
		switch {
		case !s.Reachable || !s.Settled:
			// A false card beats a lost one.
			c.refire(a, a.StartsAt)
		case !known:
		case a.EndsAt.IsZero():
			a.Status = Discarded
		default:
			a.Status = Resolved
		}
	case Ended:
		switch {
		case a.Doubtful && !s.Reachable:
			a.Status, a.EndsAt, a.Doubtful = Firing, time.Time{}, false
		case s.Reachable && !a.HeardAt.Before(s.Began):
		default:
			a.conclude(s)
		}
	case Unknown:
		if known && s.Evidence.returned(s.Began) {
			a.Status = Resolved
		}
	case Resolved, Discarded:
	}
}

// conclude ends an alert: green with evidence, grey without.
func (a *Alert) conclude(s Snapshot) {
	a.Doubtful, a.Mute = false, nil
	if s.Evidence.covers(a.EndsAt) {
		a.Status = Resolved
		return
	}
	a.Status = Unknown
}
