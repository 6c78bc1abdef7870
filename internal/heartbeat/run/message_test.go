package run

import (
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

func TestWaitingLine(t *testing.T) {
	for want, task := range map[string]tasksource.Task{
		"发布（workboard：card-2）：受阻":                                     {State: tasksource.Blocked},
		"发布（workboard：card-2）：等待 card-1":                              {BlockedBy: []string{"card-1"}},
		"发布（workboard：card-2）：互相等待，card-1、card-3":                     {BlockedBy: []string{"card-1", "card-3"}, Cycle: true},
		"发布（workboard：card-2）：等待 MUL-1、MUL-2、MUL-3、MUL-4、MUL-5 等 6 项": {BlockedBy: []string{"MUL-1", "MUL-2", "MUL-3", "MUL-4", "MUL-5", "MUL-6"}},
	} {
		task.Title, task.Source, task.ID = "发布", "workboard", "card-2"
		if got := waitingLine(worklist.Task{Task: task}); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
