package verdict_test

import (
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/exporter/verdict"
)

func TestOf(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	agent := func(state beat.State, reason beat.Reason, lastBeat, nextDue time.Duration) *beat.Agent {
		return &beat.Agent{State: state, Reason: reason, LastBeat: now.Add(lastBeat), NextDue: now.Add(nextDue), GraceSeconds: 10}
	}
	up := agent(beat.StateUp, beat.ReasonBeating, -5*time.Second, 5*time.Second)
	down := agent(beat.StateDown, beat.ReasonMissed, -time.Minute, -50*time.Second)
	late := agent(beat.StateLate, beat.ReasonOverdue, -12*time.Second, -2*time.Second)
	busy := func(of *beat.Agent, source beat.SourceState, stalled bool) *beat.Agent {
		b := *of
		b.Sources = []beat.Source{{Name: "documents", State: source}}
		b.Tasks = []beat.Task{{ID: "list#1", Source: "documents", State: beat.TaskInProgress, LastProgress: now.Add(-time.Hour), Stalled: stalled, StallSuspected: !stalled}}
		return &b
	}
	process := func(known, up bool) []verdict.Signal {
		return []verdict.Signal{{Name: "process", Known: known, Up: up, Detail: "pid 1"}}
	}
	for name, c := range map[string]struct {
		in       verdict.Signals
		state    verdict.State
		reason   string
		conflict bool
	}{
		"beating":                            {verdict.Signals{HeartbeatKnown: true, Beat: up}, verdict.OK, "beating", false},
		"beating, process up":                {verdict.Signals{HeartbeatKnown: true, Beat: up, Watches: process(true, true)}, verdict.OK, "beating", false},
		"beating, process down":              {verdict.Signals{HeartbeatKnown: true, Beat: up, Watches: process(true, false)}, verdict.Down, "process_down", true},
		"beating, process not readable":      {verdict.Signals{HeartbeatKnown: true, Beat: up, Watches: process(false, false)}, verdict.OK, "beating", false},
		"started":                            {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateStarted, beat.ReasonRunning, -time.Hour, -time.Hour)}, verdict.OK, "running", false},
		"answer grew old: late":              {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateUp, beat.ReasonBeating, -11*time.Second, -time.Second)}, verdict.Late, "overdue", false},
		"answer grew old: missed":            {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateUp, beat.ReasonBeating, -30*time.Second, -11*time.Second)}, verdict.Down, "missed", false},
		"late":                               {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateLate, beat.ReasonOverdue, -12*time.Second, -2*time.Second)}, verdict.Late, "overdue", false},
		"up without a beat":                  {verdict.Signals{HeartbeatKnown: true, Beat: &beat.Agent{State: beat.StateUp, Reason: beat.ReasonBeating}}, verdict.Unknown, "never_heard", false},
		"down":                               {verdict.Signals{HeartbeatKnown: true, Beat: down}, verdict.Down, "missed", false},
		"down, process up":                   {verdict.Signals{HeartbeatKnown: true, Beat: down, Watches: process(true, true)}, verdict.Down, "missed", true},
		"down, process down":                 {verdict.Signals{HeartbeatKnown: true, Beat: down, Watches: process(true, false)}, verdict.Down, "missed", false},
		"new":                                {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateNew, beat.ReasonAwaited, 0, 0)}, verdict.Unknown, "awaiting_first", false},
		"unknown":                            {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StateUnknown, beat.ReasonNoSign, 0, 0)}, verdict.Unknown, "no_sign_of_life", false},
		"a state of a newer heartbeat":       {verdict.Signals{HeartbeatKnown: true, Beat: agent("resting", "tired", 0, 0)}, verdict.Unknown, "tired", false},
		"paused, process down":               {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StatePaused, beat.ReasonPaused, 0, 0), Watches: process(true, false)}, verdict.Paused, "paused", false},
		"heartbeat gone":                     {verdict.Signals{Beat: up}, verdict.Unknown, "heartbeat_unreachable", false},
		"heartbeat gone, process up":         {verdict.Signals{Watches: process(true, true)}, verdict.Unknown, "heartbeat_unreachable", false},
		"heartbeat gone, process down":       {verdict.Signals{Watches: process(true, false)}, verdict.Down, "process_down", false},
		"not listed":                         {verdict.Signals{HeartbeatKnown: true}, verdict.Unknown, "not_in_heartbeat", false},
		"beating, all requests fail":         {verdict.Signals{HeartbeatKnown: true, Beat: up, AllFailed: true}, verdict.Down, "all_requests_failed", true},
		"unknown, all requests fail":         {verdict.Signals{AllFailed: true}, verdict.Unknown, "heartbeat_unreachable", false},
		"paused, all requests fail":          {verdict.Signals{HeartbeatKnown: true, Beat: agent(beat.StatePaused, beat.ReasonPaused, 0, 0), AllFailed: true}, verdict.Paused, "paused", false},
		"beating, task stalled":              {verdict.Signals{HeartbeatKnown: true, Beat: busy(up, beat.SourceOK, true)}, verdict.Down, "task_stalled", true},
		"late, task stalled":                 {verdict.Signals{HeartbeatKnown: true, Beat: busy(late, beat.SourceOK, true)}, verdict.Down, "task_stalled", false},
		"down, task stalled":                 {verdict.Signals{HeartbeatKnown: true, Beat: busy(down, beat.SourceOK, true)}, verdict.Down, "missed", false},
		"beating, stall suspected":           {verdict.Signals{HeartbeatKnown: true, Beat: busy(up, beat.SourceOK, false)}, verdict.OK, "beating", false},
		"stalled, but its source is unknown": {verdict.Signals{HeartbeatKnown: true, Beat: busy(up, beat.SourceUnknown, true)}, verdict.OK, "beating", false},
		"nothing known, process unknown":     {verdict.Signals{Watches: process(false, true)}, verdict.Unknown, "heartbeat_unreachable", false},
	} {
		c.in.Now = now
		v := verdict.Of(c.in)
		if v.State != c.state || v.Reason != c.reason || v.Conflict != c.conflict {
			t.Errorf("%s: %s, %s, conflict %v; want %s, %s, %v", name, v.State, v.Reason, v.Conflict, c.state, c.reason, c.conflict)
		}
		if last := v.Why[len(v.Why)-1]; !strings.Contains(last, string(c.state)) {
			t.Errorf("%s: the explanation ends with %q", name, last)
		}
		healthy, known := v.Healthy()
		if healthy != (c.state == verdict.OK || c.state == verdict.Late) || known != (c.state == verdict.OK || c.state == verdict.Late || c.state == verdict.Down) {
			t.Errorf("%s: Healthy() = %v, %v", name, healthy, known)
		}
	}
}
