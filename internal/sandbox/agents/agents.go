// Package agents simulates a fleet: one small operating system process per agent
// that beats by pinging heartbeat, and a supervisor that starts them, shows them,
// and lets a person kill, stall and revive them.
//
// A killed agent is really dead (SIGKILL) and stays so until it is revived, also
// when a person killed it by hand. A stalled one lives but neither beats nor
// answers its tasks, like an agent that hangs; the task in its documents stays in
// progress and makes none. None outlives the supervisor.
package agents

import (
	"errors"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

// Member is one agent to simulate.
type Member struct {
	ID    string
	Label string
	Every time.Duration // between two beats
	Works bool          // it has documents with tasks, and works on them
	// Issues says that its tasks are told as issues, by the stand-in for Multica.
	Issues bool
}

// State is how an agent is.
type State string

// The states.
const (
	StateStarting State = "starting"
	StateRunning  State = "running"
	StateStalled  State = "stalled" // the process lives and does nothing
	StateDead     State = "dead"
)

// Status is what the supervisor knows of an agent.
type Status struct {
	ID       string     `json:"id"`
	Label    string     `json:"label"`
	Every    float64    `json:"every_seconds"`
	State    State      `json:"state"`
	PID      int        `json:"pid,omitempty"` // of the living process
	Since    time.Time  `json:"since"`         // when it came into this state
	Reason   string     `json:"reason,omitempty"`
	LastPing *time.Time `json:"last_ping,omitempty"` // last ping that heartbeat took
	Problem  string     `json:"problem,omitempty"`   // why the newest ping failed
	Pings    int        `json:"pings"`               // that heartbeat took, since the supervisor started
	Answers  int        `json:"answers"`             // of the gateway, since the supervisor started
	Refusal  string     `json:"refusal,omitempty"`   // why the newest request to the gateway failed
	Steps    int        `json:"steps"`               // done in its documents, since the supervisor started
	Obstacle string     `json:"obstacle,omitempty"`  // why the newest step could not be done
}

// Action is what can be done to an agent.
type Action string

// The actions.
const (
	ActionKill   Action = "kill"   // SIGKILL
	ActionStall  Action = "stall"  // lives on, beats no more
	ActionResume Action = "resume" // ends a stall
	ActionRevive Action = "revive" // starts a dead agent
)

// ErrUnknown says that there is no agent of that id.
var ErrUnknown = errors.New("no such agent")

// StateError says that an action does not fit an agent's state.
type StateError struct {
	ID     string
	Action Action
	State  State
}

// Error says what does not fit.
func (e *StateError) Error() string {
	return fmt.Sprintf("agent %s is %s: it cannot %s", e.ID, e.State, e.Action)
}

// FromRoster returns the members of a fleet. An agent with a cron schedule beats as
// often as its next two times are apart.
func FromRoster(roster *fleet.Roster, now time.Time) ([]Member, error) {
	members := make([]Member, 0, len(roster.Agents))
	for _, a := range roster.Agents {
		member := Member{ID: a.ID, Label: a.Label, Every: a.Every, Works: a.Sources.Documents != nil || a.Sources.Multica != nil, Issues: a.Sources.Multica != nil}
		if a.Cron != "" {
			schedule, err := roster.Schedule(a)
			if err != nil {
				return nil, fmt.Errorf("reading the schedule of %s: %w", a.ID, err)
			}
			next := schedule.Next(now)
			member.Every = schedule.Next(next).Sub(next)
		}
		members = append(members, member)
	}
	return members, nil
}
