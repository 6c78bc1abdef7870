package tasksource_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// parse reads "id:state>dependency,dependency".
func parse(texts ...string) []tasksource.Task {
	var tasks []tasksource.Task
	for _, text := range texts {
		head, deps, _ := strings.Cut(text, ">")
		id, state, _ := strings.Cut(head, ":")
		t := tasksource.Task{ID: id, State: tasksource.State(state)}
		if deps != "" {
			t.DependsOn = strings.Split(deps, ",")
		}
		tasks = append(tasks, t)
	}
	return tasks
}

func TestResolve(t *testing.T) {
	for name, c := range map[string]struct {
		tasks []tasksource.Task
		want  string // id(blocked by)! for a cycle, of what is not workable
	}{
		"nothing":                      {parse("a:todo", "b:in_progress"), ""},
		"met":                          {parse("a:todo>b", "b:done"), ""},
		"unmet":                        {parse("a:todo>b", "b:todo"), "a(b)"},
		"unknown is unmet":             {parse("a:todo>gone"), "a(gone)"},
		"one of two":                   {parse("a:todo>b,c", "b:done", "c:review"), "a(c) c()"},
		"twice the same":               {parse("a:todo>b,b", "b:todo"), "a(b)"},
		"a chain":                      {parse("a:todo>b", "b:todo>c", "c:todo"), "a(b) b(c)"},
		"itself":                       {parse("a:todo>a"), "a(a)!"},
		"two":                          {parse("a:todo>b", "b:todo>a"), "a(b)! b(a)!"},
		"three, and one that waits":    {parse("a:todo>b", "b:todo>c", "c:todo>a", "d:todo>a"), "a(b)! b(c)! c(a)! d(a)"},
		"a cycle that is done":         {parse("a:done>b", "b:todo>a"), ""},
		"in progress is not held up":   {parse("a:in_progress>b", "b:todo"), ""},
		"blocked by the source itself": {parse("a:blocked"), "a()"},
		"two cycles that share a node": {parse("a:todo>b,c", "b:todo>a", "c:todo>a"), "a(b c)! b(a)! c(a)!"},
	} {
		var got []string
		for _, task := range tasksource.Resolve(c.tasks) {
			if task.State == tasksource.Done || task.Workable() {
				continue
			}
			text := fmt.Sprintf("%s(%s)", task.ID, strings.Join(task.BlockedBy, " "))
			if task.Cycle {
				text += "!"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: not workable are %q, want %q", name, strings.Join(got, " "), c.want)
		}
	}
}

// TestResolveEnds: a ring and a chain of a hundred thousand tasks.
func TestResolveEnds(t *testing.T) {
	const n = 100_000
	tasks := make([]tasksource.Task, n)
	for i := range tasks {
		tasks[i] = tasksource.Task{ID: fmt.Sprint(i), State: tasksource.Todo, DependsOn: []string{fmt.Sprint((i + 1) % n)}}
	}
	for _, task := range tasksource.Resolve(tasks) {
		if !task.Cycle || task.Workable() {
			t.Fatalf("in a ring: %+v", task)
		}
	}
	tasks[n-1].DependsOn = nil
	workable := 0
	for _, task := range tasksource.Resolve(tasks) {
		if task.Cycle {
			t.Fatalf("in a chain: %+v", task)
		}
		if task.Workable() {
			workable++
		}
	}
	if workable != 1 {
		t.Errorf("%d of a chain can be worked on, want the last alone", workable)
	}
}

func TestOrder(t *testing.T) {
	tasks := parse("c:todo", "b:todo", "a:in_progress", "d:todo")
	tasks[3].Priority, tasks[1].Priority = tasksource.Urgent, tasksource.Low
	tasksource.Order(tasks)
	var ids []string
	for _, task := range tasks {
		ids = append(ids, task.ID)
	}
	if got := strings.Join(ids, " "); got != "a d c b" {
		t.Errorf("got %s", got)
	}
}
