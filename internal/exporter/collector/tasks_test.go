package collector

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// cards are an agent's with so many to do, in a WorkBoard that is in that state.
func cards(state beat.SourceState, todo int) AgentView {
	w := &Work{Sources: []beat.Source{{Name: "workboard", State: state}, {Name: "documents", State: beat.SourceOK}}, Tasks: []beat.Task{{Source: "documents", State: beat.TaskTodo}}}
	for range todo {
		w.Tasks = append(w.Tasks, beat.Task{Source: "workboard", State: beat.TaskTodo})
	}
	return AgentView{Agent: fleet.Agent{Sources: fleet.Sources{WorkBoard: &fleet.AgentSource{}}}, Work: w}
}

// TestPendingCards are of the whole fleet, or there is no number.
func TestPendingCards(t *testing.T) {
	for name, c := range map[string]struct {
		agents []AgentView
		want   string // the number to do; "" = absent
	}{
		"two agents":             {[]AgentView{cards(beat.SourceOK, 2), cards(beat.SourceOK, 1), {}}, "3"},
		"none to do":             {[]AgentView{cards(beat.SourceOK, 0)}, "0"},
		"one is not known":       {[]AgentView{cards(beat.SourceOK, 2), cards(beat.SourceUnknown, 0)}, ""},
		"nothing is known":       {[]AgentView{cards(beat.SourceOK, 2), {Agent: cards(beat.SourceOK, 0).Agent}}, ""},
		"nobody names WorkBoard": {[]AgentView{{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range c.agents {
				c.agents[i].Agent.ID = string(rune('a' + i))
			}
			registry := prometheus.NewPedanticRegistry()
			registry.MustRegister(NewFleet(func() View { return View{Agents: c.agents} }))
			want := ""
			if c.want != "" {
				want = `# HELP agent_workboard_pending Open cards of WorkBoard that are the roster's agents', by type; absent while the cards of any agent that names it are unknown.
# TYPE agent_workboard_pending gauge
agent_workboard_pending{type="blocked"} 0
agent_workboard_pending{type="in_progress"} 0
agent_workboard_pending{type="review"} 0
agent_workboard_pending{type="todo"} ` + c.want + "\n"
			}
			if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "agent_workboard_pending"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestWorkOn: what a board tells is used until its time is over; what could not be
// understood, and what only heartbeat reads, is unknown.
func TestWorkOn(t *testing.T) {
	var err error
	board := tasksource.Board{Tasks: []tasksource.Task{
		{ID: "1", Source: "workboard", Assignee: "x", State: tasksource.InProgress, Touched: time.Unix(100, 0)}, {ID: "2", Source: "workboard", Assignee: "x", State: tasksource.Done},
		{ID: "3", Source: "workboard", Assignee: "y", State: tasksource.Todo},
	}}
	board.Index()
	poller := NewPoller("workboard", time.Minute, time.Second, slog.New(slog.DiscardHandler), func(context.Context) (tasksource.Board, error) { return board, err })
	boards := []Board{{Poller: poller, Assignee: func(fleet.Agent) string { return "x" }}}
	agent := fleet.Agent{Sources: fleet.Sources{WorkBoard: &fleet.AgentSource{}, Documents: &fleet.DocumentSource{}}}
	tell := func(now time.Time) string {
		w := WorkOn(boards, agent, now)
		return string(w.Sources[0].State) + ": " + w.Sources[0].Detail + strings.Repeat(" task", len(w.Tasks))
	}
	if got := tell(time.Now()); got != "unknown: not read yet" {
		t.Error(got)
	}
	poller.Poll(t.Context())
	w := WorkOn(boards, agent, time.Now())
	if len(w.Tasks) != 1 || w.Tasks[0].ID != "1" || !w.Tasks[0].LastProgress.Equal(time.Unix(100, 0)) || w.Rounds != nil || w.Sources[1].State != beat.SourceUnknown || w.Sources[1].Detail != "read by heartbeat only" {
		t.Errorf("got %+v", w)
	}
	err = errors.New("exit status 1")
	poller.Poll(t.Context())
	if got := tell(time.Now()); got != "ok:  task" {
		t.Errorf("after one failure: %s", got)
	}
	if got := tell(time.Now().Add(time.Hour)); got != "unknown: exit status 1" {
		t.Errorf("an hour later: %s", got)
	}
	err = nil
	board.AddFault("x", errors.New("card 9: status"))
	poller.Poll(t.Context())
	if got := tell(time.Now()); got != "unknown: card 9: status" {
		t.Errorf("a card that is not understood: %s", got)
	}
	if WorkOn(boards, fleet.Agent{}, time.Now()) != nil {
		t.Error("an agent without sources has work")
	}
}
