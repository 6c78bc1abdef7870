package collector

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/exporter/verdict"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

// thousand is a view of as many agents with every signal they can have.
func thousand() View {
	now := time.Now()
	view := View{Sources: []SourceView{{Name: "heartbeat", Polled: true, Up: true, At: now, Took: time.Millisecond}}}
	for i := range 1000 {
		agent := fleet.Agent{ID: fmt.Sprintf("agent-%d", i), Label: fmt.Sprintf("智能体 %d", i), Class: "regular", Every: time.Minute, Grace: time.Minute}
		b := &beat.Agent{ID: agent.ID, State: beat.StateUp, Reason: beat.ReasonBeating, LastBeat: now, LastStart: now, LastFailure: now, LastSign: now, NextDue: now.Add(time.Minute),
			Rounds: 1, RoundLimit: 50, RoundWarning: 40, Sources: []beat.Source{{Name: "documents", State: beat.SourceOK}},
			Tasks: []beat.Task{{ID: "1", Source: "documents", State: beat.TaskInProgress, LastProgress: now}}}
		watches := []verdict.Signal{{Name: "process", Known: true, Up: true}, {Name: "port", Known: true, Up: i%2 == 0}, {Name: "unit"}}
		view.Agents = append(view.Agents, AgentView{Agent: agent, Beat: b, Now: now, Watches: watches, Work: WorkOf(b, now),
			Verdict: verdict.Of(verdict.Signals{HeartbeatKnown: true, Beat: b, Now: now, Watches: watches})})
	}
	return view
}

// seriesPerAgent bounds the cardinality: what an agent can have at most with one
// task source and two known watches.
const seriesPerAgent = 27

func TestThousandAgents(t *testing.T) {
	view := thousand()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewFleet(func() View { return view }))
	for name, want := range map[string]int{
		"agent_info": 1000, "agent_heartbeat_state": 5000, "agent_heartbeat_status": 1000, "agent_up": 2000, "agent_signal_conflict": 1000,
		"agent_tasks": 4000, "agent_task_stagnation_seconds": 1000, "agent_last_activity_timestamp_seconds": 1000, "agent_source_up": 1,
	} {
		if got, err := testutil.GatherAndCount(registry, name); err != nil || got != want {
			t.Errorf("%s: %d series, want %d (%v)", name, got, want, err)
		}
	}
	if got, err := testutil.GatherAndCount(registry); err != nil || got > seriesPerAgent*1000+10 {
		t.Errorf("%d series for 1000 agents, want at most %d each (%v)", got, seriesPerAgent, err)
	}
}

func TestStatesAreOneHot(t *testing.T) {
	view := thousand()
	view.Agents = view.Agents[:2] // the second one's port is down
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewFleet(func() View { return view }))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	on := map[string][]string{}
	for _, family := range families {
		if family.GetName() != "agent_heartbeat_state" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if m.GetGauge().GetValue() == 1 {
				on[labels["agent_name"]] = append(on[labels["agent_name"]], labels["state"])
			}
		}
	}
	if got := fmt.Sprint(on); got != "map[agent-0:[ok] agent-1:[down]]" {
		t.Errorf("states that are 1: %s", got)
	}
}

func BenchmarkScrapeThousandAgents(b *testing.B) {
	view := thousand()
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewFleet(func() View { return view }))
	for b.Loop() {
		if _, err := registry.Gather(); err != nil {
			b.Fatal(err)
		}
	}
}
