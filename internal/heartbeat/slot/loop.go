// Package slot finds the due times of many jobs and hands each over once.
//
// It promises: every due time after a job's cursor is handed over exactly once,
// to be run or, summed up, as missed; the wall clock is looked at no less than
// every 30 seconds, so that a step of the clock or a suspended machine is
// noticed; a clock that steps back never makes the loop wait for the time to
// come again. After such a step a due time may be handed over again; the store's
// UNIQUE (job, scheduled_at) is what lets it start at most once.
package slot

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// sleptAfter is how much longer than asked a wait must take to count as an
// absence: the machine was suspended or the clock was set forward.
const sleptAfter = time.Minute

// stepBack is how far back the clock must go to count as a step.
const stepBack = time.Second

// Entry is one job of the loop.
type Entry struct {
	ID       string
	Schedule Schedule
	// Key names the schedule; a changed key starts afresh from now.
	Key string
	// Cursor is the newest slot already accounted for. It counts when the
	// loop does not know the job yet.
	Cursor time.Time
}

// Sink takes what is due. Its methods must not block.
type Sink interface {
	// Fire runs slots of one job one after the other.
	Fire(id string, slots []time.Time)
	// Missed records slots that are not run.
	Missed(id string, missed Missed)
	// Absent tells that nobody looked between the two times.
	Absent(from, to time.Time)
}

// Loop hands over due slots. Its methods may be called from any goroutine.
type Loop struct {
	sink    Sink
	now     func() time.Time
	changed chan struct{}

	mu      sync.Mutex
	catchUp CatchUp
	entries map[string]*item
	queue   queue
	last    time.Time
}

// New returns a loop that reads the wall clock from now.
func New(sink Sink, now func() time.Time) *Loop {
	return &Loop{
		sink: sink, now: now, changed: make(chan struct{}, 1),
		catchUp: CatchUp{Policy: Latest, Cap: 1}, entries: map[string]*item{},
	}
}

// Set replaces the jobs. A job that stays, with the same schedule, keeps its
// place; one that is left out is forgotten.
func (l *Loop) Set(entries []Entry, catchUp CatchUp) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.entries
	l.catchUp = catchUp
	l.entries = make(map[string]*item, len(entries))
	l.queue = l.queue[:0]
	now := l.now()
	for _, entry := range entries {
		it := old[entry.ID]
		switch {
		case it == nil:
			it = &item{entry: entry, cursor: entry.Cursor}
			if it.cursor.IsZero() || it.cursor.After(now) {
				it.cursor = now
			}
			it.wake = entry.Schedule.Next(it.cursor)
		case it.entry.Key != entry.Key:
			it.entry, it.cursor = entry, now
			it.wake = entry.Schedule.Next(now)
		}
		l.entries[entry.ID] = it
		l.push(it)
	}
	l.signal()
}

// Return takes back a slot that could not be claimed: it comes again, with
// whatever is due by then, after OnTime.
func (l *Loop) Return(id string, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	it := l.entries[id]
	if it == nil || !at.Before(it.cursor.Add(1)) {
		return
	}
	it.cursor = at.Add(-time.Nanosecond)
	it.wake = l.now().Add(OnTime)
	if it.index >= 0 {
		heap.Fix(&l.queue, it.index)
	} else {
		l.push(it)
	}
	l.signal()
}

// Next returns the next slot of a job, or the zero time.
func (l *Loop) Next(id string) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if it := l.entries[id]; it != nil {
		return it.wake
	}
	return time.Time{}
}

// Run hands over slots until ctx ends.
func (l *Loop) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-l.changed:
		}
		timer.Reset(l.Step())
	}
}

// Step hands over what is due now and returns how long to wait.
func (l *Loop) Step() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	switch {
	case l.last.IsZero():
	case now.Before(l.last.Add(-stepBack)):
		l.rewind(now)
	case now.Sub(l.last) > OnTime+sleptAfter:
		l.sink.Absent(l.last, now)
	}
	l.last = now
	for len(l.queue) > 0 && !l.queue[0].wake.After(now) {
		l.handOver(l.queue[0], now)
	}
	if len(l.queue) == 0 {
		return OnTime
	}
	return min(OnTime, l.queue[0].wake.Sub(now))
}

func (l *Loop) handOver(it *item, now time.Time) {
	plan := Due(it.entry.Schedule, it.cursor, now, l.catchUp)
	it.cursor = now
	it.wake = it.entry.Schedule.Next(now)
	if it.wake.IsZero() {
		heap.Pop(&l.queue)
	} else {
		heap.Fix(&l.queue, 0)
	}
	if plan.Missed.Count > 0 {
		l.sink.Missed(it.entry.ID, plan.Missed)
	}
	if len(plan.Run) > 0 {
		l.sink.Fire(it.entry.ID, plan.Run)
	}
}

// rewind makes jobs due again from a clock that was set back.
func (l *Loop) rewind(now time.Time) {
	for _, it := range l.entries {
		if it.cursor.After(now) {
			it.cursor = now
		}
		it.wake = it.entry.Schedule.Next(it.cursor)
	}
	l.queue = l.queue[:0]
	for _, it := range l.entries {
		l.push(it)
	}
}

func (l *Loop) push(it *item) {
	it.index = -1
	if !it.wake.IsZero() {
		heap.Push(&l.queue, it)
	}
}

func (l *Loop) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

type item struct {
	entry  Entry
	cursor time.Time
	wake   time.Time
	index  int // in the queue; -1 outside
}

// queue is a heap by wake time.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].wake.Before(q[j].wake) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	it, ok := x.(*item)
	if !ok {
		return
	}
	it.index = len(*q)
	*q = append(*q, it)
}

func (q *queue) Pop() any {
	old := *q
	it := old[len(old)-1]
	it.index = -1
	*q = old[:len(old)-1]
	return it
}
