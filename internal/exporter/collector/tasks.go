package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/workboard"
)

// Work is what is known of an agent's tasks.
type Work struct {
	Sources []beat.Source
	Tasks   []beat.Task // open ones, of the sources that are ok
	Now     time.Time   // by the clock of the times in Tasks
	// Rounds are heartbeat's account of its calls; nil where nobody keeps it.
	Rounds *Rounds
}

// Rounds are how many calls were spent on the task with the most of them.
type Rounds struct{ Used, Limit, Warning int }

// WorkOf is what heartbeat tells of an agent; nil where that is nothing.
func WorkOf(b *beat.Agent, now time.Time) *Work {
	if b == nil || len(b.Sources) == 0 {
		return nil
	}
	return &Work{Sources: b.Sources, Tasks: b.Tasks, Now: now, Rounds: &Rounds{b.Rounds, b.RoundLimit, b.RoundWarning}}
}

// Board is one task board that the exporter reads itself, where there is no
// heartbeat that does.
type Board struct {
	*Poller[tasksource.Board]
	Names    func(fleet.Agent) bool
	Assignee func(fleet.Agent) string
}

// WorkOn is what the boards tell of an agent; nil where it names none. A source of
// another kind is unknown: only heartbeat reads it.
func WorkOn(boards []Board, agent fleet.Agent, now time.Time) *Work {
	names := agent.Sources.Names()
	if len(names) == 0 {
		return nil
	}
	out := &Work{Now: now}
	for _, name := range names {
		source := beat.Source{Name: name, State: beat.SourceUnknown, Detail: "read by heartbeat only"}
		for _, board := range boards {
			if board.Name() == name {
				source = out.add(board, agent, now)
			}
		}
		out.Sources = append(out.Sources, source)
	}
	return out
}

// add takes in what one board tells, and returns how that went.
func (w *Work) add(board Board, agent fleet.Agent, now time.Time) beat.Source {
	source, last := beat.Source{Name: board.Name(), State: beat.SourceUnknown}, board.Last()
	source.LastSuccess = last.At
	switch {
	case last.Usable(now):
	case last.Err != nil:
		source.Detail = last.Err.Error()
		return source
	default:
		source.Detail = "not read yet"
		return source
	}
	his, err := last.Value.Of(board.Assignee(agent))
	if err != nil {
		source.Detail = err.Error()
		return source
	}
	source.State = beat.SourceOK
	for _, task := range his {
		if task.State != tasksource.Done {
			w.Tasks = append(w.Tasks, beat.Task{ID: task.ID, Source: task.Source, Title: task.Title, State: beat.TaskState(task.State), LastProgress: task.Touched})
		}
	}
	return source
}

// taskStates are the states of open tasks.
func taskStates() []beat.TaskState {
	return []beat.TaskState{beat.TaskTodo, beat.TaskInProgress, beat.TaskBlocked, beat.TaskReview}
}

// tasks shows what the task sources that are known say; the stagnation needs
// all of them.
func (s series) tasks(w *Work) {
	if w == nil {
		return
	}
	counts := map[string]map[beat.TaskState]int{}
	allKnown := true
	for _, source := range w.Sources {
		s.gauge(taskSource, truth(source.State == beat.SourceOK), source.Name)
		if source.State != beat.SourceOK {
			allKnown = false
			continue
		}
		counts[source.Name] = map[beat.TaskState]int{}
		for _, each := range taskStates() {
			counts[source.Name][each] = 0
		}
	}
	oldest, bySource := time.Time{}, map[string]time.Time{}
	for _, task := range w.Tasks {
		of, known := counts[task.Source]
		if !known {
			continue
		}
		of[task.State]++
		if task.State != beat.TaskInProgress || task.LastProgress.IsZero() {
			continue
		}
		oldest = earlier(oldest, task.LastProgress)
		bySource[task.Source] = earlier(bySource[task.Source], task.LastProgress)
	}
	for source, of := range counts {
		for taskState, n := range of {
			s.gauge(tasks, float64(n), source, string(taskState))
		}
		s.time(progress, bySource[source], source)
	}
	if !allKnown {
		return
	}
	s.rounds(w.Rounds)
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, w.Now.Sub(oldest).Seconds())
	}
	s.gauge(stagnation, age)
}

func (s series) rounds(r *Rounds) {
	if r == nil {
		return
	}
	s.gauge(rounds, float64(r.Used))
	s.gauge(roundLimit, float64(r.Limit))
	if r.Warning > 0 {
		s.gauge(roundWarning, float64(r.Warning))
	}
}

// pendingCards shows the fleet's open cards. A part of them would look like fewer, so
// there is no number unless the cards of all are known.
func pendingCards(ch chan<- prometheus.Metric, agents []AgentView) {
	counts, named := map[beat.TaskState]int{}, false
	for _, a := range agents {
		if a.Agent.Sources.WorkBoard == nil {
			continue
		}
		named = true
		if !a.Work.knows(workboard.Name) {
			return
		}
		for _, task := range a.Work.Tasks {
			if task.Source == workboard.Name {
				counts[task.State]++
			}
		}
	}
	if !named {
		return
	}
	for _, each := range taskStates() {
		ch <- prometheus.MustNewConstMetric(pending, prometheus.GaugeValue, float64(counts[each]), string(each))
	}
}

func (w *Work) knows(name string) bool {
	if w == nil {
		return false
	}
	for _, source := range w.Sources {
		if source.Name == name {
			return source.State == beat.SourceOK
		}
	}
	return false
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
