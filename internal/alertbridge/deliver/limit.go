package deliver

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// window is how many calls a target takes in a span of time.
type window struct {
	span time.Duration
	most int
}

// slack widens every window, for clocks that do not go quite alike.
const slack = 50 * time.Millisecond

// Published limits, each with some room left for what else uses the same app or
// chat. https://open.feishu.cn/document/server-docs/im-v1/message/create
func appLimits() []window {
	return []window{{time.Second, 45}, {time.Minute, 950}}
}

func recipientLimits() []window { return []window{{time.Second, 5}} }

func botLimits() []window { return []window{{time.Second, 5}, {time.Minute, 95}} }

// openClawLimits keep what OpenClaw sends into one chat below Feishu's limit, and
// its processes few.
func openClawLimits() []window { return []window{{time.Second, 2}, {time.Minute, 60}} }

// Backoff bounds, and how many failures in a row close a target for all.
const (
	firstBackoff   = time.Second
	longestBackoff = 5 * time.Minute
	breakAfter     = 3
	longestBreak   = 30 * time.Second
)

// backoff is full jitter: any time up to a bound that doubles with each failure.
func backoff(failures int, longest time.Duration) time.Duration {
	bound := longest
	if shift := max(failures-1, 0); shift < 20 {
		bound = min(firstBackoff<<shift, longest)
	}
	return time.Duration(rand.Int64N(int64(bound)) + 1) //nolint:gosec // spreads retries, guards nothing
}

// gates hold what is known of each target: how much it may be sent, until when
// it is to be left alone, and whether it fails.
type gates struct {
	mu    sync.Mutex
	gates map[string]*gate
}

type gate struct {
	windows  []window
	atOnce   int         // calls under way at the most; 0 = no limit of its own
	running  int         // calls under way: Feishu may count them at any moment until they end
	ended    []time.Time // when calls ended, so that one sent a window later arrives a window later
	until    time.Time
	failures int
}

func newGates() *gates { return &gates{gates: map[string]*gate{}} }

func (g *gates) get(t target) *gate {
	if g.gates[t.key] == nil {
		g.gates[t.key] = &gate{}
	}
	g.gates[t.key].windows, g.gates[t.key].atOnce = t.windows, t.atOnce
	return g.gates[t.key]
}

// take counts a call against all the targets until [gates.done], or none of them
// where one has to be left alone; then it returns until when.
func (g *gates) take(targets []target, now time.Time) (until time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range targets {
		if at := g.get(t).free(now); at.After(now) && at.After(until) {
			until = at
		}
	}
	if !until.IsZero() {
		return until, false
	}
	for _, t := range targets {
		g.get(t).running++
	}
	return time.Time{}, true
}

// done notes that a call that was taken has ended.
func (g *gates) done(targets []target, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range targets {
		x := g.get(t)
		x.running--
		x.ended = append(x.ended, now)
	}
}

// blocked returns until when any of the targets is to be left alone; zero for
// not at all.
func (g *gates) blocked(targets []target, now time.Time) (until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, t := range targets {
		if at := g.get(t).free(now); at.After(now) && at.After(until) {
			until = at
		}
	}
	return until
}

// free returns when the gate lets the next call pass, now at the earliest. Where
// only calls under way stand before it, that is a guess: their end is looked at
// anew.
func (x *gate) free(now time.Time) time.Time {
	at, longest := now, time.Duration(0)
	if x.until.After(at) {
		at = x.until
	}
	for _, w := range x.windows {
		longest = max(longest, w.span+slack)
		others := w.most - 1 - x.running // of the window, beside the next call
		opens := now
		switch {
		case others < 0:
			opens = now.Add(w.span)
		case len(x.ended) > others:
			opens = x.ended[len(x.ended)-1-others].Add(w.span + slack)
		}
		if opens.After(at) {
			at = opens
		}
	}
	if guess := now.Add(time.Second); x.atOnce > 0 && x.running >= x.atOnce && guess.After(at) {
		at = guess
	}
	for len(x.ended) > 0 && now.Sub(x.ended[0]) > longest {
		x.ended = x.ended[1:]
	}
	return at
}

// room returns how many calls a target takes at once by its first window, and when
// it takes the next where that is none.
func (g *gates) room(t target, now time.Time) (n int, opens time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x, w := g.get(t), t.windows[0]
	opens = x.free(now)
	if opens.After(now) {
		return 0, opens
	}
	n = w.most - x.running
	for _, at := range x.ended {
		if now.Sub(at) < w.span+slack {
			n--
		}
	}
	return max(n, 0), opens
}

// seen counts calls that were made before.
func (g *gates) seen(t target, calls []time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.get(t)
	x.ended = append(slices.Clone(calls), x.ended...)
}

// hold leaves a target alone until a moment.
func (g *gates) hold(t target, until time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if x := g.get(t); until.After(x.until) {
		x.until = until
	}
}

// fail notes that the target did not answer; after some of these in a row it is
// left alone for a while, so that many waiting cards make few tries. Calls that
// were under way together count once: a moment's failure is not a long one.
func (g *gates) fail(t target, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.get(t)
	if x.failures >= breakAfter && now.Before(x.until) {
		return
	}
	x.failures++
	if x.failures >= breakAfter {
		x.until = now.Add(backoff(x.failures-breakAfter+2, longestBreak))
	}
}

// answer notes that the target answers, and reports whether it had been left
// alone for not answering.
func (g *gates) answer(t target) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	x := g.get(t)
	broken := x.failures >= breakAfter
	x.failures = 0
	return broken
}
