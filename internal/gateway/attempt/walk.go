package attempt

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
)

// walk is the way of one request.
type walk struct {
	*Walker
	call   *Call
	limits Limits
	sink   Sink
	result *Result

	known   []known       // by candidate
	limited int           // candidates that a limit of ours kept from the last pass
	ticket  *queue.Ticket // of a request that waits
	until   time.Time     // the end of its patience; zero = it has not waited yet
}

// known is what the request has learnt of a candidate.
type known struct {
	called bool
	spent  bool         // waiting makes it no better
	told   backend.Skip // what it was last skipped for
}

// Do makes attempts until one answers, none is left, or ctx, which is the client's,
// ends.
func (w *Walker) Do(ctx context.Context, call *Call, limits Limits, sink Sink) *Result {
	result := &Result{Status: ledger.Failed, Usage: llm.Usage{Source: llm.Missing}}
	k := &walk{Walker: w, call: call, limits: limits, sink: sink, result: result, known: make([]known, len(call.Candidates))}
	defer k.leave()
	k.run(ctx)
	return result
}

// run passes over the candidates, again after each wait.
func (k *walk) run(ctx context.Context) {
	if k.limits.Queue > 0 && k.Queue.Busy(k.call.Line) && !k.wait(ctx, 0) {
		return
	}
	for {
		calls := k.result.Calls
		ended, hope := k.pass(ctx)
		left := k.patience()
		switch {
		case ended, k.result.Calls >= k.limits.MaxAttempts:
			return
		case left > 0 && (hope.anyTime || hope.due > 0 && hope.due < left):
			if hope.due == 0 || hope.due > left {
				hope.due = left // or when it is woken
			}
			if !k.wait(ctx, hope.due) {
				return
			}
		case !k.until.IsZero() && calls == k.result.Calls && (hope.anyTime || hope.due > 0):
			k.result.Refused = queue.ErrTimeout
			return
		default:
			k.emergency(ctx)
			return
		}
	}
}

// hope is when a candidate could be asked after all.
type hope struct {
	due     time.Duration // 0 = that is not known
	anyTime bool          // when a request that is under way ends
}

// pass asks every candidate that may be asked, in order. It reports whether the request
// has ended, and what hope there is if not.
func (k *walk) pass(ctx context.Context) (ended bool, h hope) {
	skips := 0
	k.limited, k.result.Wait = 0, 0
	for i := range k.call.Candidates {
		c := &k.call.Candidates[i]
		if k.known[i].spent {
			continue
		}
		if k.result.Calls >= k.limits.MaxAttempts {
			k.skipped(i, backend.SkipAttempts)
			break
		}
		permit, skip, wait := c.Acquire(k.ask(c), k.Now())
		if skip != "" {
			skips++
			if skip.Limits() {
				k.limited++
			}
			if skip == backend.SkipFull || skip == backend.SkipTrial {
				h.anyTime = true
			} else {
				h.soonest(wait)
			}
			k.result.soonest(wait)
			k.skipped(i, skip)
			continue
		}
		k.leave() // the next in line may try now
		if k.try(ctx, i, permit, false) {
			return true, h
		}
		// What failed and was not put aside for it would fail again.
		recovery := c.Recovery(k.call.Model, k.Now())
		k.known[i].spent = recovery == 0
		h.soonest(recovery)
		k.result.soonest(recovery)
	}
	k.result.Limited = k.result.Calls == 0 && skips > 0 && skips == k.limited
	return false, h
}

func (h *hope) soonest(wait time.Duration) {
	if wait > 0 && (h.due == 0 || wait < h.due) {
		h.due = wait
	}
}

func (k *walk) ask(c *pool.Candidate) backend.Ask {
	return backend.Ask{Model: k.call.Model, MaxInflight: c.MaxInflight, Tokens: k.call.Tokens}
}

// try makes one attempt, and reports whether the request ends with it.
func (k *walk) try(ctx context.Context, i int, permit backend.Permit, emergency bool) bool {
	k.result.Calls++
	k.known[i].called = true
	t := &try{
		walker: k.Walker, call: k.call, limits: k.limits, sink: k.sink, result: k.result, candidate: &k.call.Candidates[i],
		permit: permit, emergency: emergency, started: k.Now(),
	}
	ran := false
	defer func() {
		if !ran {
			t.permit.Release() // a panic must not keep a place, or the one trial, for ever
		}
	}()
	ended := t.run(ctx)
	ran = true
	return ended
}

// patience is for how long the request may wait in line.
func (k *walk) patience() time.Duration {
	left := k.limits.Queue
	if !k.until.IsZero() {
		left = time.Until(k.until)
	}
	return min(left, k.limits.Request-time.Since(k.call.Started))
}

// wait stands in line until it is the request's turn and due has passed. Where it
// returns false, the request has ended.
func (k *walk) wait(ctx context.Context, due time.Duration) bool {
	began := k.Now()
	if k.until.IsZero() {
		k.until = began.Add(k.patience()) // once for all waits of the request
	}
	var err error
	if k.ticket == nil {
		k.ticket, err = k.Queue.Join(k.line())
		due = 0 // a place that became free since the last look woke nobody
	}
	if err == nil {
		err = k.ticket.Wait(ctx, due, k.until)
	}
	k.result.Queued += time.Since(began)
	switch {
	case err == nil:
		return true
	case ctx.Err() != nil:
		k.result.Status, k.result.Fault = ledger.Cancelled, &llm.Fault{Class: llm.ClientCancelled, Message: "the client went away while its request waited"}
	default:
		k.result.Refused = err
		k.result.soonest(due)
	}
	return false
}

// line is in which the request waits. One that some backends are spent for cannot be
// served as soon as others, and must not stand before them.
func (k *walk) line() queue.Line {
	l := k.call.Line
	if slices.ContainsFunc(k.known, func(x known) bool { return x.spent }) {
		l.Own = k.own.Add(1)
	}
	return l
}

func (k *walk) leave() {
	if k.ticket != nil {
		k.ticket.Leave()
		k.ticket = nil
	}
}

// emergency calls backends that are cooling, the one that would be back first first,
// as far as each allows it. While one only has used up what it may, it is no emergency.
func (k *walk) emergency(ctx context.Context) {
	if !k.limits.Emergency || k.limited > 0 {
		return
	}
	now := k.Now()
	var order []int
	for i := range k.call.Candidates {
		if !k.known[i].called {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(k.call.Candidates[a].Recovery(k.call.Model, now), k.call.Candidates[b].Recovery(k.call.Model, now))
	})
	for _, i := range order {
		if k.result.Calls >= k.limits.MaxAttempts {
			return
		}
		c := &k.call.Candidates[i]
		permit, ok := c.Emergency(k.ask(c), k.Now())
		if !ok {
			continue
		}
		if k.try(ctx, i, permit, true) {
			return
		}
	}
}

// skipped notes that a candidate was left out, once for each reason in turn.
func (k *walk) skipped(i int, skip backend.Skip) {
	if k.known[i].told == skip {
		return
	}
	k.known[i].told = skip
	c := &k.call.Candidates[i]
	a := ledger.Attempt{
		Outcome: ledger.OutcomeSkipped, Backend: c.Name, Pool: c.Pool, Provider: c.Provider(), NativeID: c.Model.NativeID,
		Skip: string(skip), Started: time.Since(k.call.Started),
	}
	k.result.Timeline = append(k.result.Timeline, a)
	k.call.Observe(c, &a)
}

// soonest notes when a backend could be back.
func (r *Result) soonest(wait time.Duration) {
	if wait > 0 && (r.Wait == 0 || wait < r.Wait) {
		r.Wait = wait
	}
}
