package preflight

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Reading is what the sources of an agent said. The tasks are those of the sources
// that are ok, resolved against each other.
type Reading struct {
	Tasks   []tasksource.Task
	Sources []beat.Source // in the roster's order, one for each that the agent names
}

// Stat is the health of one source over all agents that were asked for.
type Stat struct {
	Up   bool          // the last answer for each agent could be used
	Took time.Duration // the slowest of those answers
}

// Survey reads the sources of agents. Each source of an agent, or of all, is read by
// one goroutine at a time; a read that does not end is waited for no longer than its
// timeout, and no second one is started behind it. A source that is read for all is
// asked once in its cache's time, whoever wants to know.
type Survey struct {
	life context.Context //nolint:containedctx // of all reads; ended by Close
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	sources map[string]Source
	cells   map[cellKey]*cell
}

// NewSurvey returns a survey that can read the sources.
func NewSurvey(sources []Source) *Survey {
	life, end := context.WithCancel(context.Background())
	s := &Survey{life: life, end: end}
	s.Set(sources)
	return s
}

// Set replaces the sources and forgets what was read.
func (s *Survey) Set(sources []Source) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sources, s.cells = map[string]Source{}, map[cellKey]*cell{}
	for _, source := range sources {
		s.sources[source.Name] = source
	}
}

// Close ends the reads that are under way and waits for them.
func (s *Survey) Close(ctx context.Context) error {
	s.end()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ending reads of task sources: %w", ctx.Err())
	}
}

// Read returns what the agent's sources say: now, where fresh is true, else an
// answer that is not older than its source's cache.
func (s *Survey) Read(ctx context.Context, agent fleet.Agent, fresh bool) Reading {
	names := agent.Sources.Names()
	answers := make([]answer, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { answers[i] = s.ask(ctx, agent, name, fresh) })
	}
	wg.Wait()
	out := Reading{Sources: make([]beat.Source, 0, len(names))}
	var boards []tasksource.Board
	for i, name := range names {
		source := beat.Source{Name: name, State: beat.SourceOK, LastSuccess: answers[i].success.UTC()}
		if answers[i].success.IsZero() {
			source.LastSuccess = time.Time{}
		}
		if answers[i].err != nil {
			source.State, source.Detail = beat.SourceUnknown, answers[i].err.Error()
		}
		out.Sources = append(out.Sources, source)
		out.Tasks = append(out.Tasks, answers[i].tasks...)
		boards = append(boards, answers[i].board)
	}
	own := len(out.Tasks)
	out.Tasks = tasksource.Resolve(append(out.Tasks, tasksource.Behind(out.Tasks, boards)...))[:own:own]
	return out
}

// Unread is the answer before the first one.
func Unread(agent fleet.Agent) Reading {
	var out Reading
	for _, name := range agent.Sources.Names() {
		out.Sources = append(out.Sources, beat.Source{Name: name, State: beat.SourceUnknown, Detail: "not read yet"})
	}
	return out
}

// Stats returns the health of each source that was asked at least once.
func (s *Survey) Stats() map[string]Stat {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]Stat{}
	for key, c := range s.cells {
		if c.answer.at.IsZero() {
			continue
		}
		stat, known := out[key.source]
		stat.Up = (stat.Up || !known) && c.answer.err == nil && len(c.faults) == 0
		stat.Took = max(stat.Took, c.answer.took)
		out[key.source] = stat
	}
	return out
}

var (
	errUnavailable = errors.New("not available in this version")
	errClosed      = errors.New("heartbeat is stopping")
	errHangs       = errors.New("does not answer")
)

func (s *Survey) ask(ctx context.Context, agent fleet.Agent, name string, fresh bool) answer {
	s.mu.Lock()
	source, known := s.sources[name]
	c := s.cell(agent, source, name)
	switch {
	case !known:
		c.answer = answer{at: time.Now(), err: errUnavailable}
	case !fresh && source.fresh(c.answer):
	case !fresh && source.usable(c.answer):
		s.begin(c, source, agent)
	case s.begin(c, source, agent):
		running := c.running
		s.mu.Unlock()
		answer := s.await(ctx, c, running, source)
		s.mu.Lock()
		defer s.mu.Unlock()
		return c.part(answer, source, agent)
	default:
		defer s.mu.Unlock()
		return answer{at: time.Now(), err: errClosed, success: c.answer.success}
	}
	defer s.mu.Unlock()
	return c.part(c.answer, source, agent)
}

// cell returns the agent's cell of a source, or the one of all; the caller holds the
// lock.
func (s *Survey) cell(agent fleet.Agent, source Source, name string) *cell {
	key := cellKey{agent.ID, name}
	if source.All != nil {
		key.agent = ""
	}
	c := s.cells[key]
	if c == nil {
		c = &cell{}
		s.cells[key] = c
	}
	return c
}

// begin sees to it that a read is under way, and reports whether one is: none begins
// any more once the survey is closed. The caller holds the lock.
func (s *Survey) begin(c *cell, source Source, agent fleet.Agent) bool {
	if c.running == nil && !s.closed {
		c.running = make(chan struct{})
		s.wg.Add(1)
		go s.read(c, source, agent)
	}
	return c.running != nil
}

// read reads once. An answer that comes when its time is over is none.
func (s *Survey) read(c *cell, source Source, agent fleet.Agent) {
	defer s.wg.Done()
	ctx, cancel := context.WithTimeout(s.life, source.Timeout)
	defer cancel()
	a := answer{at: time.Now()}
	if source.All != nil {
		a.board, a.err = source.All(ctx)
	} else {
		a.tasks, a.err = source.Read(ctx, agent)
	}
	if ctx.Err() != nil {
		a.err = fmt.Errorf("no answer within %s: %w", source.Timeout, errHangs)
	}
	a.took = time.Since(a.at)
	s.mu.Lock()
	defer s.mu.Unlock()
	c.set(a)
	close(c.running)
	c.running = nil
}

// await waits for the read that is under way, with the source's patience.
func (s *Survey) await(ctx context.Context, c *cell, running <-chan struct{}, source Source) answer {
	timer := time.NewTimer(source.Timeout)
	defer timer.Stop()
	select {
	case <-running:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.running != running:
	case ctx.Err() != nil: // the caller gave up: that says nothing about the source
		return answer{at: time.Now(), err: ctx.Err(), success: c.answer.success}
	default:
		c.set(answer{at: time.Now(), took: source.Timeout, err: fmt.Errorf("no answer within %s: %w", source.Timeout, errHangs)})
	}
	return c.answer
}
