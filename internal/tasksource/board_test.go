package tasksource_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

func TestBoardOf(t *testing.T) {
	tasks := []tasksource.Task{{ID: "a", Assignee: "u-1"}, {ID: "b"}, {ID: "c", Assignee: "u-2"}, {ID: "d", Assignee: "u-1"}}
	silent := tasksource.Board{Tasks: tasks}
	silent.AddFault("u-2", errors.New("first"))
	silent.AddFault("u-2", errors.New("second"))
	telling := tasksource.Board{Tasks: tasks}
	telling.AddAssignee("u-1", "ops")
	telling.AddAssignee("u-2", "twin")
	telling.AddAssignee("u-3", "twin", "")
	silent.Index()
	telling.Index()
	for _, c := range []struct {
		name, assignee, his, fault string
		board                      tasksource.Board
	}{
		{name: "by id", board: silent, assignee: "u-1", his: "a d"},
		{name: "who has none", board: silent, assignee: "u-9"},
		{name: "a task not understood", board: silent, assignee: "u-2", fault: "first"},
		{name: "by name", board: telling, assignee: "ops", his: "a d"},
		{name: "known, by id", board: telling, assignee: "u-3"},
		{name: "unknown", board: telling, assignee: "opps", fault: `there is nobody with the name or id "opps"`},
		{name: "no name", board: telling, assignee: "", fault: "nobody"},
		{name: "a name of two", board: telling, assignee: "twin", fault: "expected an id: one of u-2, u-3"},
	} {
		his, err := c.board.Of(c.assignee)
		if ids(his) != c.his || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %q, %v", c.name, ids(his), err)
		}
	}
}

// TestBehind: what tasks wait for is found over boards and over others' tasks, once
// each, and without end where they wait for each other.
func TestBehind(t *testing.T) {
	board := func(source string, texts ...string) tasksource.Board {
		b := tasksource.Board{Tasks: parse(texts...)}
		for i := range b.Tasks {
			b.Tasks[i].Source = source
		}
		b.Index()
		return b
	}
	boards := []tasksource.Board{board("x", "a:todo>b,q", "b:todo>c", "e:todo", "f:done>e"), board("y", "c:todo>a", "d:todo", "q:done>d")}
	for name, c := range map[string]struct {
		tasks []tasksource.Task
		want  string
	}{
		"nothing":           {nil, ""},
		"waits for nothing": {boards[1].Tasks[1:2], ""},
		"over both, in a ring, and no further than what is done": {boards[0].Tasks[:1], "b q c"},
		"own ones are not repeated":                              {boards[0].Tasks[:2], "q c"},
		"what is done waits for nothing":                         {boards[0].Tasks[3:], ""},
		"of a source that is no board":                           {parse("doc:todo>d,nobody"), "d"},
	} {
		if got := ids(tasksource.Behind(c.tasks, boards)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func ids(tasks []tasksource.Task) string {
	var out []string
	for _, task := range tasks {
		out = append(out, task.ID)
	}
	return strings.Join(out, " ")
}

func TestTitle(t *testing.T) {
	for _, c := range [][2]string{
		{"升级\n网关\x00", "升级 网关"}, {" \t", "id-1"}, {"\xff", "\uFFFD"}, {strings.Repeat("长", 300), strings.Repeat("长", 199) + "…"},
	} {
		if got := tasksource.Title(c[0], "id-1"); got != c[1] {
			t.Errorf("%q: %q", c[0], got)
		}
	}
}

func TestParkedIsNotWorkable(t *testing.T) {
	task := tasksource.Task{State: tasksource.Todo, Parked: true}
	if task.Workable() {
		t.Error("a task that is kept for later can be worked on")
	}
	task.State = tasksource.InProgress
	if !task.Workable() {
		t.Error("a task in progress cannot")
	}
}
