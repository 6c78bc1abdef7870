package worklist

import (
	"slices"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Agenda is what a call of the driver is about. No task that is paused is named in it.
type Agenda struct {
	Sources []beat.Source
	// Now are the tasks that the call asks to be worked on; each costs a round: the
	// stuck ones where the recovery is due, else those in progress, else the next.
	Now []Task
	// Next are the others that could be begun, by urgency. They cost nothing until
	// their turn comes.
	Next []Task
	// Waiting are those that wait for others, or are blocked where they stand.
	Waiting []Task
	// Paused is how many are left out until a person releases them.
	Paused int
	// Recovery says that the call is the recovery of the tasks in Now.
	Recovery bool
}

// Pending is how many tasks can be worked on.
func (a Agenda) Pending() int { return len(a.Now) + len(a.Next) }

// maxNow is how many tasks one call asks to be worked on at most.
const maxNow = 10

func agendaOf(p Picture, limit int) Agenda {
	a := Agenda{Sources: p.Sources}
	var due, active, todo []Task
	for _, task := range p.Tasks {
		switch {
		case task.Record.Paused(limit):
			a.Paused++
		case task.Record.Stall == Confirmed:
			due = append(due, task)
		case !task.Workable():
			if len(task.BlockedBy) > 0 || task.State == tasksource.Blocked {
				a.Waiting = append(a.Waiting, task)
			}
		case task.State == tasksource.InProgress:
			active = append(active, task)
		default:
			todo = append(todo, task)
		}
	}
	switch {
	case len(due) > 0:
		a.Recovery, a.Now = true, due
		a.Next = slices.Concat(active, todo)
	case len(active) > 0:
		a.Now, a.Next = active, todo
	case len(todo) > 0:
		a.Now, a.Next = todo[:1:1], todo[1:]
	}
	if len(a.Now) > maxNow {
		a.Next = slices.Concat(a.Now[maxNow:], a.Next)
		a.Now = a.Now[:maxNow]
	}
	return a
}

// Wire returns the tasks as the API tells them, and the highest number of rounds
// among them.
func (p Picture) Wire(limit int) (tasks []beat.Task, rounds int) {
	tasks = make([]beat.Task, 0, len(p.Tasks))
	for _, task := range p.Tasks {
		r := task.Record
		rounds = max(rounds, r.Rounds)
		out := beat.Task{
			ID: task.ID, Source: task.Source, Title: task.Title, State: beat.TaskState(task.State), LastProgress: r.ProgressAt,
			BlockedBy: task.BlockedBy, Cycle: task.Cycle, Parked: task.Parked, Rounds: r.Rounds, Paused: r.Paused(limit),
			StallSuspected: r.Stall == Suspected, Stalled: r.Stalled(),
		}
		if task.State == tasksource.InProgress {
			out.StartedAt = r.StartedAt
		}
		tasks = append(tasks, out)
	}
	return tasks, rounds
}
