// Package limit keeps callers within rates and budgets.
//
// What it promises: in no 60 seconds is more used than the limit, as long as no single
// use is larger than it. A limit is taken before what it limits is known in full, and
// settled afterwards: what was taken too much comes back, what was taken too little
// counts from then on.
package limit

import "time"

const (
	// length is what a limit is about.
	length = time.Minute
	// grain is how exactly the time of a use is kept; together with length it bounds
	// what a window holds.
	grain = 100 * time.Millisecond
)

// Window limits how much may be used in any minute. The zero value has no limit. It is
// not safe for concurrent use.
type Window struct {
	limit int64
	sum   int64 // of uses
	uses  []use // oldest first
	first int   // how many uses have left the window since the beginning
}

type use struct {
	at time.Time
	n  int64
}

// Mark names what was taken, to be settled.
type Mark int

const noMark Mark = -1

// Configure sets the limit; 0 = none. What was used counts under a new limit too.
func (w *Window) Configure(limit int) {
	w.limit = int64(limit)
	if limit == 0 {
		w.first, w.uses, w.sum = w.first+len(w.uses), nil, 0
	}
}

// Limited reports whether there is a limit.
func (w *Window) Limited() bool { return w.limit > 0 }

// pass lets go of what has left the window. A clock that went back only makes uses
// stay longer.
func (w *Window) pass(now time.Time) {
	gone := 0
	for gone < len(w.uses) && now.Sub(w.uses[gone].at) >= length {
		w.sum -= w.uses[gone].n
		gone++
	}
	if gone > 0 {
		w.first += gone
		w.uses = append(w.uses[:0], w.uses[gone:]...)
	}
}

// Wait returns how long until n can be taken; 0 = now. What is larger than the limit
// can be taken when nothing else is used, else it never could.
func (w *Window) Wait(n int64, now time.Time) time.Duration {
	if w.limit == 0 {
		return 0
	}
	w.pass(now)
	lacking := w.sum + min(n, w.limit) - w.limit
	if lacking <= 0 {
		return 0
	}
	i := 0
	for ; i < len(w.uses)-1 && lacking > w.uses[i].n; i++ {
		lacking -= w.uses[i].n
	}
	return max(w.uses[i].at.Add(length).Sub(now), time.Millisecond)
}

// Take takes n, or returns how long until it can.
func (w *Window) Take(n int64, now time.Time) (Mark, time.Duration) {
	if wait := w.Wait(n, now); wait > 0 {
		return noMark, wait
	}
	return w.Use(n, now), 0
}

// Use takes n whatever the limit says.
func (w *Window) Use(n int64, now time.Time) Mark {
	if w.limit == 0 {
		return noMark // a limit may be set before it is settled
	}
	w.pass(now)
	w.sum += n
	slot := now.Add(grain - now.Sub(now.Truncate(grain))) // the end of its slot, with the monotonic part of now
	if last := len(w.uses) - 1; last < 0 || w.uses[last].at.Before(slot) {
		w.uses = append(w.uses, use{at: slot})
	}
	w.uses[len(w.uses)-1].n += n
	return Mark(w.first + len(w.uses) - 1)
}

// Settle changes what was taken by more, which may be negative. What has left the
// window meanwhile counts as of now.
func (w *Window) Settle(m Mark, more int64, now time.Time) {
	if w.limit == 0 || more == 0 || m == noMark {
		return
	}
	w.pass(now)
	if i := int(m) - w.first; i >= 0 && i < len(w.uses) {
		w.uses[i].n += more
		w.sum += more
	} else if more > 0 {
		w.Use(more, now)
	}
}

// Used is the share of the limit that is used, 0 to 1; 0 without a limit.
func (w *Window) Used(now time.Time) float64 {
	if w.limit == 0 {
		return 0
	}
	w.pass(now)
	return min(1, max(0, float64(w.sum)/float64(w.limit)))
}
