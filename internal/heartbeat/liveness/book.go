package liveness

import (
	"fmt"
	"sync"
	"sync/atomic"
)

// Book holds the facts of all jobs in memory. A change is made durable before
// anyone can read it.
type Book struct {
	mu    sync.RWMutex
	pages map[string]*page
}

type page struct {
	change sync.Mutex // held over a change and its commit
	facts  atomic.Pointer[Facts]
}

// NewBook returns an empty book.
func NewBook() *Book { return &Book{pages: map[string]*page{}} }

// Open adds a job; one that is in the book already stays as it is. Jobs are
// never taken out: a run may outlive its job's place in the roster.
func (b *Book) Open(id string, facts Facts) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pages[id] == nil {
		p := &page{}
		p.facts.Store(&facts)
		b.pages[id] = p
	}
}

// Facts returns what is known of a job.
func (b *Book) Facts(id string) (Facts, bool) {
	if p := b.page(id); p != nil {
		return *p.facts.Load(), true
	}
	return Facts{}, false
}

// Change replaces the facts of a job after commit made them durable; where
// commit fails, nothing changes. Changes of one job happen one after the other.
func (b *Book) Change(id string, change func(Facts) Facts, commit func(Facts) error) error {
	p := b.page(id)
	if p == nil {
		return fmt.Errorf("job %s is not known", id)
	}
	p.change.Lock()
	defer p.change.Unlock()
	facts := change(*p.facts.Load())
	if err := commit(facts); err != nil {
		return err
	}
	p.facts.Store(&facts)
	return nil
}

func (b *Book) page(id string) *page {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.pages[id]
}
