package ledger

import (
	"sync/atomic"
	"time"
)

// Open is a request that has not ended. Begin makes it, End takes it off.
type Open struct {
	prev, next *Open
	started    time.Time
	row        *Row // what is known at the start; nil once it is stored as streaming
	backend    atomic.Pointer[string]
	streaming  atomic.Bool
	written    Status // the status its row was last stored with; of Run alone
}

// Begin notes a request as open. What is known of row at the start is copied.
func (l *Ledger) Begin(row *Row) *Open {
	known := *row
	o := &Open{started: row.StartedAt, row: &known}
	l.mu.Lock()
	o.prev, o.next = l.head.prev, &l.head
	o.prev.next, l.head.prev = o, o
	l.mu.Unlock()
	l.count.Add(1)
	return o
}

// Streams notes that an answer has begun, from the backend.
func (o *Open) Streams(backend string) {
	o.backend.Store(&backend)
	o.streaming.Store(true)
}

// End takes the request off the open ones. It comes after Commit, so that a row
// that Run stores meanwhile never hides the final one: that one replaces it, and an
// open row replaces nothing but an open row.
func (l *Ledger) End(o *Open) {
	l.mu.Lock()
	o.prev.next, o.next.prev = o.next, o.prev
	l.mu.Unlock()
	l.count.Add(-1)
}

// OpenRequests returns how many requests are open.
func (l *Ledger) OpenRequests() int { return int(l.count.Load()) }

// dueRow is a row to be stored of a request that has not ended.
type dueRow struct {
	*Row
	of     *Open
	before Status // what was stored last
}

// dueOpen returns the rows of requests that are open for long and whose status is
// not stored yet. The list is in the order of Begin, so the walk ends early.
func (l *Ledger) dueOpen(now time.Time) []dueRow {
	l.mu.Lock()
	defer l.mu.Unlock()
	var due []dueRow
	for o := l.head.next; o != &l.head && now.Sub(o.started) >= openAfter; o = o.next {
		status := Pending
		if o.streaming.Load() {
			status = Streaming
		}
		if o.written == status || o.row == nil {
			continue
		}
		row := *o.row
		row.Status = status
		if b := o.backend.Load(); b != nil {
			row.Backend = *b
		}
		due = append(due, dueRow{&row, o, o.written})
		o.written = status
	}
	return due
}

// forget lets go of what is needed no more: nothing follows streaming but the end.
func (l *Ledger) forget(rows []dueRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rows {
		if r.Status == Streaming {
			r.of.row = nil
		}
	}
}

// again has rows that could not be stored tried another time.
func again(rows []dueRow) {
	for _, r := range rows {
		r.of.written = r.before
	}
}
