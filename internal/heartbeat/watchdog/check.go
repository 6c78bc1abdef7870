// Package watchdog watches things that are no agents by their pings: when they
// stop, or say that they failed, it raises the alarm by heartbeat's own notice
// targets. Prometheus' always-firing Watchdog alert is one such thing, so that
// the alert path itself is watched from outside.
//
// It promises: a change of state and the notices that it makes are committed
// together, before the ping is answered, so neither is lost nor repeated; there
// is one notice for each change, and one more for each alert that joins an
// existing failure.
//
// A check is down when its pings stop for every + grace, or when it was told to
// fail. It recovers with the next success ping. A check with every 0 gets no
// pings while all is well: it recovers clear_after its last fail, and its
// notice says that this is the absence of bad news only. While heartbeat itself
// was off no ping could arrive, so silence counts from its return.
package watchdog

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Check is one entry of `checks:`.
type Check struct {
	Name       string        `yaml:"name"`
	Key        redact.Secret `yaml:"key"`
	Every      time.Duration `yaml:"every"`       // 0 = failures only
	Grace      time.Duration `yaml:"grace"`       // after every
	ClearAfter time.Duration `yaml:"clear_after"` // with every 0; 0 = 5m
	Notify     []string      `yaml:"notify"`
}

const defaultClearAfter = 5 * time.Minute

// Status is where a check stands. The set is closed.
type Status string

// The statuses. StatusNew: no ping yet, and not yet overdue.
const (
	StatusNew  Status = "new"
	StatusUp   Status = "up"
	StatusDown Status = "down"
)

// State is what is kept of a check.
type State struct {
	Status    Status    `json:"status"`
	Since     time.Time `json:"since"`
	FirstSeen time.Time `json:"first_seen"`
	LastPing  time.Time `json:"last_ping,omitzero"`
	LastFail  time.Time `json:"last_fail,omitzero"`
	// Back is when heartbeat last came back from an absence.
	Back   time.Time `json:"back,omitzero"`
	Reason string    `json:"reason,omitempty"` // missed or failed, while down
	Detail string    `json:"detail,omitempty"`
	// Alerts are the names told of in the present failure.
	Alerts []string `json:"alerts,omitempty"`
	// Heard is when each of them was last reported.
	Heard map[string]time.Time `json:"heard,omitempty"`
}

// The reasons of a check that is down or came up.
const (
	reasonMissed  = "missed"
	reasonFailed  = "failed"
	reasonPinged  = "pinged"
	reasonCleared = "no_further_failure"
)

// change is what a step made of a state.
type change struct {
	tell    bool
	reason  string
	repeats bool
}

// due returns when silence becomes an alarm, zero for a check without pings.
func (c Check) due(s State) time.Time {
	if c.Every <= 0 {
		return time.Time{}
	}
	from := s.FirstSeen
	for _, at := range []time.Time{s.LastPing, s.Back} {
		if at.After(from) {
			from = at
		}
	}
	return from.Add(c.Every + c.Grace)
}

// ticked returns the state as time alone makes it.
func (c Check) ticked(s State, now time.Time) (State, change) {
	if due := c.due(s); !due.IsZero() && s.Status != StatusDown && now.After(due) {
		s.Status, s.Since, s.Reason = StatusDown, now, reasonMissed
		s.Detail = "no ping for " + (c.Every + c.Grace).String()
		return s, change{tell: true, reason: reasonMissed}
	}
	quiet := c.quiet()
	if c.Every <= 0 && s.Status == StatusDown && now.Sub(s.LastFail) >= quiet {
		s.Detail = "no failure was reported for " + quiet.String() + "; nothing says that all is well"
		return s.risen(now), change{tell: true, reason: reasonCleared}
	}
	return s, change{}
}

// quiet is how long nothing must be heard of a failure before it is over.
func (c Check) quiet() time.Duration {
	if c.ClearAfter <= 0 {
		return defaultClearAfter
	}
	return c.ClearAfter
}

// pinged returns the state after a success.
func (c Check) pinged(s State, now time.Time) (State, change) {
	s.LastPing = now
	if s.Status == StatusUp {
		return s, change{}
	}
	told := s.Status == StatusDown
	s.Detail = "pings arrive again"
	return s.risen(now), change{tell: told, reason: reasonPinged}
}

func (s State) risen(now time.Time) State {
	s.Status, s.Since, s.Reason, s.Alerts, s.Heard = StatusUp, now, "", nil, nil
	return s
}

// failed returns the state after a fail. An alert that had not been heard of for as
// long as it takes to be over joins the failure anew.
func (c Check) failed(s State, now time.Time, report Report) (State, change) {
	s.LastFail = now
	heard := maps.Clone(s.Heard)
	if heard == nil {
		heard = map[string]time.Time{}
	}
	var more []string
	for _, name := range report.Alerts {
		last, known := heard[name]
		if !slices.Contains(s.Alerts, name) || (known && now.Sub(last) >= c.quiet()) {
			more = append(more, name)
		}
		heard[name] = now
	}
	s.Heard = heard
	if s.Status != StatusDown || s.Reason != reasonFailed {
		s.Status, s.Since, s.Reason = StatusDown, now, reasonFailed
		s.Detail, s.Alerts = report.Text, report.Alerts
		return s, change{tell: true, reason: reasonFailed}
	}
	if len(more) == 0 {
		return s, change{}
	}
	for _, name := range more {
		if !slices.Contains(s.Alerts, name) {
			s.Alerts = append(slices.Clone(s.Alerts), name)
		}
	}
	s.Detail = strings.TrimSpace(report.Text)
	return s, change{tell: true, reason: reasonFailed, repeats: true}
}
