package preflight

import (
	"context"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Source is one task source that can be read: for each agent, by Read, or for all at
// once, by All, where a question is dear.
type Source struct {
	Name string
	// Cache is how long an answer is used again; Timeout is of one question.
	Cache, Timeout time.Duration
	// Read returns all tasks of the agent, done ones included, or an error.
	Read func(context.Context, fleet.Agent) ([]tasksource.Task, error)
	// All returns the tasks of everybody, or an error; Assignee is who an agent is
	// there.
	All      func(context.Context) (tasksource.Board, error)
	Assignee func(fleet.Agent) string
}

// failuresKept is the part of a cache's time for which a failure to read for all at
// once is kept: it may be over soon, and asking costs as much as an answer.
const failuresKept = 4

// fresh reports whether the answer is to be used again.
func (s Source) fresh(a answer) bool {
	kept := s.Cache
	if s.All != nil && a.err != nil {
		kept /= failuresKept
	}
	return !a.at.IsZero() && time.Since(a.at) < kept
}

// usable reports whether the answer does while the next one is under way. A source
// that takes long and is read for all at once must not hold up what else there is to
// read.
func (s Source) usable(a answer) bool {
	return s.All != nil && !a.at.IsZero() && time.Since(a.at) < s.Cache+s.Timeout
}

// cellKey names a cell; the agent is "" where one answer is for all.
type cellKey struct{ agent, source string }

// cell is one source of one agent, or of all.
type cell struct {
	running chan struct{} // closed when the read that is under way ends; nil = none
	answer  answer
	faults  map[string]bool // agents whose part of the last answer could not be used
}

type answer struct {
	at      time.Time // when the read began; zero = never read
	took    time.Duration
	tasks   []tasksource.Task // of one agent
	board   tasksource.Board  // of all
	err     error
	success time.Time
}

// part is the agent's part of an answer; the caller holds the lock.
func (c *cell) part(a answer, source Source, agent fleet.Agent) answer {
	if source.All == nil || a.err != nil {
		return a
	}
	a.tasks, a.err = a.board.Of(source.Assignee(agent))
	if a.err == nil {
		delete(c.faults, agent.ID)
		return a
	}
	if c.faults == nil {
		c.faults = map[string]bool{}
	}
	c.faults[agent.ID] = true
	return a
}

// set takes an answer in; an error has no tasks, and leaves the last success.
func (c *cell) set(a answer) {
	if a.err == nil {
		a.success = a.at
	} else {
		a.tasks, a.board, a.success = nil, tasksource.Board{}, c.answer.success
	}
	c.answer = a
}
