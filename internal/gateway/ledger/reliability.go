package ledger

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// MaxReliabilityRows is how many requests Reliability looks at, the newest ones.
const MaxReliabilityRows = 10_000

// Reliability is how one backend did what it was asked. A call that ended for another
// reason than the backend counts in Classes alone.
type Reliability struct {
	Backend     string
	Provider    string
	Succeeded   int64
	Failed      int64 // by the backend's fault
	Classes     map[llm.Class]int64
	TTFB50      time.Duration // median time to the first byte of calls that succeeded; 0 = there is none
	TTFB95      time.Duration
	LastFailure *Failure // nil = none

	ttfb []time.Duration
}

// Failure is one call that failed by the backend's fault.
type Failure struct {
	At         time.Time
	Request    ID
	Class      llm.Class
	HTTPStatus int
	Error      string
}

// Reliability tells how every backend did in the window, of which Limit does not
// count. Where the window holds more than MaxReliabilityRows requests the older ones
// are left out: since is then the beginning of the oldest that counts, else that of
// the window.
func (l *Ledger) Reliability(ctx context.Context, w Window) (all []Reliability, since time.Time, err error) {
	var c conditions
	c.add(!w.Since.IsZero(), "id >= ?", w.Since.UnixMilli()<<counterBits)
	c.add(!w.Until.IsZero(), "id < ?", w.Until.UnixMilli()<<counterBits)
	backends, rows := map[string]*Reliability{}, 0
	since = w.Since
	err = each(ctx, l.db.Read(), func(r *Row) {
		if rows++; rows == MaxReliabilityRows {
			since = r.StartedAt
		}
		if w.Client != "" && r.Client != w.Client || w.Model != "" && cmp.Or(r.Label, r.Model) != w.Model {
			return
		}
		for _, a := range r.Calls() {
			if w.Backend == "" || a.Backend == w.Backend {
				count(backends, r, &a)
			}
		}
	}, `SELECT `+columns+` FROM requests WHERE `+c.where()+` ORDER BY id DESC LIMIT ?`, append(c.args, MaxReliabilityRows)...)
	if err != nil {
		return nil, since, err
	}
	for _, b := range backends {
		slices.Sort(b.ttfb)
		b.TTFB50, b.TTFB95 = quantile(b.ttfb, 50), quantile(b.ttfb, 95)
		all = append(all, *b)
	}
	slices.SortFunc(all, func(a, b Reliability) int { return cmp.Compare(a.Backend, b.Backend) })
	return all, since, nil
}

// Calls returns the calls that were made for a request that has ended, with what is
// known of them. A request that one backend answered at once says it in the row.
func (r *Row) Calls() []Attempt {
	if len(r.Timeline) == 0 {
		if r.Status != Completed || r.Backend == "" {
			return nil
		}
		return []Attempt{{Outcome: OutcomeSucceeded, Backend: r.Backend, Pool: r.Pool, Provider: r.Detail.Provider, NativeID: r.Detail.NativeID, TTFB: r.Detail.TTFBAttempt}}
	}
	return slices.DeleteFunc(slices.Clone(r.Timeline), func(a Attempt) bool { return a.Outcome == OutcomeSkipped })
}

// count adds a call of a request that is older than all before.
func count(backends map[string]*Reliability, r *Row, a *Attempt) {
	b := backends[a.Backend]
	if b == nil {
		b = &Reliability{Backend: a.Backend, Classes: map[llm.Class]int64{}}
		backends[a.Backend] = b
	}
	b.Provider = cmp.Or(b.Provider, a.Provider)
	if a.Outcome == OutcomeSucceeded {
		b.Succeeded++
		if a.TTFB > 0 {
			b.ttfb = append(b.ttfb, a.TTFB)
		}
		return
	}
	b.Classes[a.Class]++
	if !a.Class.BlamesBackend() {
		return
	}
	b.Failed++
	if at := r.StartedAt.Add(a.Started); b.LastFailure == nil || at.After(b.LastFailure.At) {
		b.LastFailure = &Failure{At: at, Request: r.ID, Class: a.Class, HTTPStatus: a.HTTPStatus, Error: a.Error}
	}
}

// quantile returns the value below or at which percent of the sorted ones are.
func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[(len(sorted)*percent+99)/100-1]
}
