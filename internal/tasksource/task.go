// Package tasksource is what the readers of task sources have in common: a task
// as its source tells it, and the rule that says which tasks wait for others.
//
// It promises: a task that waits for another is never workable, however the
// dependencies are tangled, and one that waits for itself is named as such.
package tasksource

import (
	"slices"
	"strings"
	"time"
)

// State is where a task stands. The set is closed.
type State string

// The states. All but Done are open.
const (
	Todo       State = "todo"
	InProgress State = "in_progress"
	Blocked    State = "blocked"
	Review     State = "review"
	Done       State = "done"
)

// Priority orders tasks that could be begun; higher comes first.
type Priority int

// The priorities.
const (
	Low Priority = iota - 1
	Normal
	High
	Urgent
)

// PriorityOf reads the word for a priority; ok is false, and the priority Normal, where
// it is none.
func PriorityOf(word string) (p Priority, ok bool) {
	p, ok = map[string]Priority{"low": Low, "normal": Normal, "medium": Normal, "high": High, "urgent": Urgent, "critical": Urgent}[word]
	return p, ok
}

// Task is one piece of work as its source tells it.
type Task struct {
	// Source and ID name the task; ID is unique inside a source and stays the same
	// for as long as the task is the same.
	Source, ID string
	Title      string
	State      State
	Priority   Priority
	// Assignee is whose task it is, where the source is read for everybody at once.
	Assignee string
	// Parked says that its source keeps a task that is to do for later: nobody is to
	// begin it yet.
	Parked bool
	// Mark changes exactly when the task makes progress.
	Mark string
	// Touched is when the source was last changed where it holds the task: the
	// latest moment at which Mark can have become what it is. Zero = not known.
	Touched time.Time
	// StartedAt is when the work began; zero = the source does not say.
	StartedAt time.Time
	// DependsOn are ids of tasks that have to be done first.
	DependsOn []string
	// BlockedBy are those of DependsOn that are not done; set by [Resolve].
	BlockedBy []string
	// Cycle says that the task waits, over others or directly, for itself; set by
	// [Resolve].
	Cycle bool
}

// Workable reports whether the task can be worked on now: it is in progress, or
// to do, not kept for later, and waits for nothing.
func (t Task) Workable() bool {
	return t.State == InProgress || t.State == Todo && !t.Parked && len(t.BlockedBy) == 0
}

// Resolve sets BlockedBy and Cycle. A dependency is met when a task with that id,
// in any source, is done; one that nobody knows is not met. A task in the state
// todo with an unmet dependency stays todo. The tasks given are not changed.
func Resolve(tasks []Task) []Task {
	done, open := map[string]bool{}, map[string][]string{}
	for _, t := range tasks {
		if t.State == Done {
			done[t.ID] = true
		}
	}
	out := slices.Clone(tasks)
	for i := range out {
		out[i].BlockedBy = nil
		if out[i].State == Done {
			continue
		}
		for _, id := range out[i].DependsOn {
			if !done[id] && !slices.Contains(out[i].BlockedBy, id) {
				out[i].BlockedBy = append(out[i].BlockedBy, id)
			}
		}
		open[out[i].ID] = append(open[out[i].ID], out[i].BlockedBy...)
	}
	inCycle := cycles(open)
	for i := range out {
		out[i].Cycle = out[i].State != Done && inCycle[out[i].ID]
	}
	return out
}

// cycles returns the nodes from which a way leads back to them. It walks the
// graph once (Tarjan's strongly connected components), without recursion, so that
// neither the length of a chain nor a cycle can stop it.
func cycles(edges map[string][]string) map[string]bool {
	w := walk{edges: edges, index: map[string]int{}, low: map[string]int{}, onStack: map[string]bool{}, found: map[string]bool{}}
	for node := range edges {
		if _, seen := w.index[node]; !seen {
			w.from(node)
		}
	}
	return w.found
}

type walk struct {
	edges      map[string][]string
	index, low map[string]int
	onStack    map[string]bool
	stack      []string
	found      map[string]bool
}

// frame is a node on the way, and the next of its edges to follow.
type frame struct {
	node string
	next int
}

func (w *walk) enter(node string) frame {
	w.index[node], w.low[node] = len(w.index), len(w.index)
	w.stack, w.onStack[node] = append(w.stack, node), true
	return frame{node: node}
}

func (w *walk) from(node string) {
	way := []frame{w.enter(node)}
	for len(way) > 0 {
		at := &way[len(way)-1]
		if to := w.edges[at.node]; at.next < len(to) {
			next := to[at.next]
			at.next++
			switch _, seen := w.index[next]; {
			case !seen:
				way = append(way, w.enter(next))
			case w.onStack[next]:
				w.low[at.node] = min(w.low[at.node], w.index[next])
			}
			continue
		}
		left := at.node
		way = way[:len(way)-1]
		w.close(left)
		if len(way) > 0 {
			parent := way[len(way)-1].node
			w.low[parent] = min(w.low[parent], w.low[left])
		}
	}
}

// close ends a component whose first node is the given one.
func (w *walk) close(node string) {
	if w.low[node] != w.index[node] {
		return
	}
	start := len(w.stack) - 1
	for w.stack[start] != node {
		start--
	}
	component := w.stack[start:]
	w.stack = w.stack[:start]
	for _, member := range component {
		delete(w.onStack, member)
		w.found[member] = len(component) > 1 || slices.Contains(w.edges[member], member)
	}
}

// Order sorts tasks by what should be done first: those in progress, then by
// priority, then by id.
func Order(tasks []Task) {
	slices.SortFunc(tasks, func(a, b Task) int {
		switch {
		case (a.State == InProgress) != (b.State == InProgress):
			if a.State == InProgress {
				return -1
			}
			return 1
		case a.Priority != b.Priority:
			return int(b.Priority - a.Priority)
		case a.Source != b.Source:
			return strings.Compare(a.Source, b.Source)
		}
		return strings.Compare(a.ID, b.ID)
	})
}
