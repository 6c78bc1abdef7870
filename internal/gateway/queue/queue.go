// Package queue lets requests wait for a backend, first come first served.
//
// Requests that could be served by the same backends stand in one line. Only the first
// of a line tries; it is woken when what it waits for is due, or when something has
// become free, and never polls. Who leaves, for whatever reason, wakes the next.
package queue

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// ErrFull is returned where as many wait as may.
var ErrFull = errors.New("the queue is full")

// ErrTimeout is returned to who has waited as long as it may.
var ErrTimeout = errors.New("the queue took too long")

// Line names requests that could be served by the same backends.
type Line struct {
	Plan     any // what identifies the configuration: a later one may have more backends
	Model    string
	Dialect  string
	Backends string // their names, where not all of the model and dialect will do
	Own      uint64 // not 0: of one request alone, which has tried some of them already
}

// Queue holds the lines. The zero value lets nobody wait.
type Queue struct {
	waiting atomic.Int64

	mu       sync.Mutex
	capacity int
	lines    map[Line]*line
}

// line is the tickets of those who wait for the same, first come first.
type line struct {
	tickets []*Ticket
}

// Ticket is a place in a line. Exactly one Leave follows.
type Ticket struct {
	queue *Queue
	line  Line
	woken chan struct{} // holds one wake-up that was not looked at yet
}

// Configure sets how many may wait in all lines together.
func (q *Queue) Configure(capacity int) {
	q.mu.Lock()
	q.capacity = capacity
	q.mu.Unlock()
}

// Capacity returns how many may wait.
func (q *Queue) Capacity() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.capacity
}

// Depth returns how many wait.
func (q *Queue) Depth() int { return int(q.waiting.Load()) }

// Busy reports whether anybody waits in the line: who comes later stands behind them.
func (q *Queue) Busy(l Line) bool {
	if q.waiting.Load() == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.lines[l] != nil
}

// Join takes the last place of a line. Its error is ErrFull.
func (q *Queue) Join(name Line) (*Ticket, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if int(q.waiting.Load()) >= q.capacity {
		return nil, ErrFull
	}
	if q.lines == nil {
		q.lines = map[Line]*line{}
	}
	l := q.lines[name]
	if l == nil {
		l = &line{}
		q.lines[name] = l
	}
	t := &Ticket{queue: q, line: name, woken: make(chan struct{}, 1)}
	l.tickets = append(l.tickets, t)
	q.waiting.Add(1)
	return t, nil
}

// Wake lets the first of every line try: something has become free. It costs next to
// nothing while nobody waits.
func (q *Queue) Wake() {
	if q.waiting.Load() == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, l := range q.lines {
		l.tickets[0].wake()
	}
}

func (t *Ticket) wake() {
	select {
	case t.woken <- struct{}{}:
	default:
	}
}

func (t *Ticket) first() bool {
	t.queue.mu.Lock()
	defer t.queue.mu.Unlock()
	return t.queue.lines[t.line].tickets[0] == t
}

// Wait returns once the holder is the first of its line and due has passed since the
// call, or something has become free. due is 0 where trying at once makes sense. Its
// errors are ErrTimeout at the deadline, and that of ctx.
func (t *Ticket) Wait(ctx context.Context, due time.Duration, deadline time.Time) error {
	limit := time.NewTimer(time.Until(deadline))
	defer limit.Stop()
	ready := time.NewTimer(due)
	defer ready.Stop()
	passed := ready.C
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-limit.C:
			return ErrTimeout
		case <-t.woken:
			if t.first() {
				return nil
			}
		case <-passed:
			if t.first() {
				return nil
			}
			passed = nil // whoever is first wakes this one by leaving
		}
	}
}

// Leave gives up the place, and lets the next one try.
func (t *Ticket) Leave() {
	q := t.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting.Add(-1)
	l := q.lines[t.line]
	for i, other := range l.tickets {
		if other == t {
			l.tickets = append(l.tickets[:i], l.tickets[i+1:]...)
			break
		}
	}
	if len(l.tickets) == 0 {
		delete(q.lines, t.line)
		return
	}
	l.tickets[0].wake()
}
