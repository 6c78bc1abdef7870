package tasksource_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

func TestBoardSplit(t *testing.T) {
	tasks := []tasksource.Task{{ID: "a", Assignee: "u-1"}, {ID: "b"}, {ID: "c", Assignee: "u-2"}}
	silent := tasksource.Board{Tasks: tasks}
	silent.AddFault("u-2", errors.New("first"))
	silent.AddFault("u-2", errors.New("second"))
	telling := tasksource.Board{Tasks: tasks}
	telling.AddAssignee("u-1", "ops")
	telling.AddAssignee("u-2", "twin")
	telling.AddAssignee("u-3", "twin", "")
	for _, c := range []struct {
		name, assignee, his, others, fault string
		board                              tasksource.Board
	}{
		{name: "by id", board: silent, assignee: "u-1", his: "a", others: "b c"},
		{name: "who has none", board: silent, assignee: "u-9", others: "a b c"},
		{name: "a task not understood", board: silent, assignee: "u-2", fault: "first"},
		{name: "by name", board: telling, assignee: "ops", his: "a", others: "b c"},
		{name: "known, by id", board: telling, assignee: "u-3", others: "a b c"},
		{name: "unknown", board: telling, assignee: "opps", fault: `there is nobody with the name or id "opps"`},
		{name: "no name", board: telling, assignee: "", fault: "nobody"},
		{name: "a name of two", board: telling, assignee: "twin", fault: "expected an id: one of u-2, u-3"},
	} {
		his, others, err := c.board.Split(c.assignee)
		if ids(his) != c.his || ids(others) != c.others || (err == nil) != (c.fault == "") || err != nil && !strings.Contains(err.Error(), c.fault) {
			t.Errorf("%s: %q and %q, %v", c.name, ids(his), ids(others), err)
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
