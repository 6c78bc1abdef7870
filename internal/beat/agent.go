package beat

import "time"

// State is heartbeat's verdict on one agent. The set is closed.
type State string

// The states, in the order in which a board sorts them by urgency.
const (
	// StateDown: past due + grace without a beat, or an explicit failure.
	StateDown State = "down"
	// StateUnknown: nothing says that it lives and nothing says that it is dead.
	StateUnknown State = "unknown"
	// StateLate: past due by less than the grace.
	StateLate State = "late"
	// StateStarted: a run is open, inside its deadline, with a fresh sign of life.
	StateStarted State = "started"
	// StateNew: never heard of, first due + grace not yet passed.
	StateNew State = "new"
	// StatePaused: a person paused it.
	StatePaused State = "paused"
	// StateUp: the last beat is not older than the interval.
	StateUp State = "up"
)

// States lists every state, for zero-initialised metrics and filters.
func States() []State {
	return []State{StateDown, StateUnknown, StateLate, StateStarted, StateNew, StatePaused, StateUp}
}

// Reason says why an agent is in its state. The set is closed.
type Reason string

// The reasons, each with the state that it explains.
const (
	ReasonBeating     Reason = "beating"            // up: beat inside the interval
	ReasonRunning     Reason = "running"            // started: run open, sign of life fresh
	ReasonAwaited     Reason = "awaiting_first"     // new: first due + grace not yet passed
	ReasonOverdue     Reason = "overdue"            // late: due passed, grace not
	ReasonMissed      Reason = "missed"             // down: due + grace passed without a beat
	ReasonFailed      Reason = "failed"             // down: the agent or its driver said so
	ReasonTimeout     Reason = "timeout"            // down: the last run did not end in time
	ReasonProbe       Reason = "probe_negative"     // down: idle, and its probe says that it is gone
	ReasonNeverHeard  Reason = "never_heard"        // unknown: no beat ever
	ReasonNoSign      Reason = "no_sign_of_life"    // unknown: only idle runs since the last beat
	ReasonUnverified  Reason = "unverified"         // unknown: driver said ok, no independent sign
	ReasonUnheard     Reason = "running_unheard"    // unknown: run still open past due + grace, no sign from the agent
	ReasonWasOff      Reason = "heartbeat_was_off"  // unknown: beats could not arrive while heartbeat was off
	ReasonClock       Reason = "clock_stepped_back" // unknown: the last beat lies in the future
	ReasonInterrupted Reason = "interrupted"        // unknown: the last run was cut off by a stop of heartbeat
	ReasonPaused      Reason = "paused"             // paused
)

// Reasons lists every reason.
func Reasons() []Reason {
	return []Reason{
		ReasonBeating, ReasonRunning, ReasonAwaited, ReasonOverdue, ReasonMissed, ReasonFailed,
		ReasonTimeout, ReasonProbe, ReasonNeverHeard, ReasonNoSign, ReasonUnverified, ReasonUnheard,
		ReasonWasOff, ReasonClock, ReasonInterrupted, ReasonPaused,
	}
}

// Outcome is the end of one run. The set is closed.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeIdle        Outcome = "idle"
	OutcomeUnverified  Outcome = "unverified"
	OutcomeFailed      Outcome = "failed"
	OutcomeTimeout     Outcome = "timeout"
	OutcomeSkipped     Outcome = "skipped"
	OutcomeInterrupted Outcome = "interrupted"
)

// Outcomes lists every outcome.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeOK, OutcomeIdle, OutcomeUnverified, OutcomeFailed,
		OutcomeTimeout, OutcomeSkipped, OutcomeInterrupted,
	}
}

// Agent is what heartbeat knows of one agent. Times are UTC; a time that
// never happened is absent from the JSON and zero here.
type Agent struct {
	ID         string `json:"id"`
	Label      string `json:"label"`
	Class      string `json:"class,omitempty"`
	Owner      string `json:"owner,omitempty"`
	Host       string `json:"host,omitempty"`
	Model      string `json:"model,omitempty"`
	Driver     string `json:"driver"`
	Discovered bool   `json:"discovered"`

	State  State  `json:"state"`
	Reason Reason `json:"reason"`
	// Detail is a human sentence beside Reason; may be empty.
	Detail string `json:"detail,omitempty"`
	// Since is when the agent came into its state, as far as this process saw it.
	Since time.Time `json:"since,omitzero"`

	// LastBeat is the last evidence of a beat: a success ping, a verified ok
	// run, or an idle run with a free sign of life.
	LastBeat time.Time `json:"last_beat,omitzero"`
	// LastSign is the last sign of life of any kind, failures included.
	LastSign    time.Time `json:"last_sign,omitzero"`
	LastStart   time.Time `json:"last_start,omitzero"`
	LastSuccess time.Time `json:"last_success,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
	LastRun     time.Time `json:"last_run,omitzero"`
	LastOutcome Outcome   `json:"last_outcome,omitempty"`
	// NextDue is when the next beat is expected; NextRun is the next slot.
	NextDue time.Time `json:"next_due,omitzero"`
	NextRun time.Time `json:"next_run,omitzero"`

	IntervalSeconds float64 `json:"interval_seconds"`
	GraceSeconds    float64 `json:"grace_seconds"`

	// Running is the open run, if any.
	Running *Running `json:"running,omitempty"`

	// Tasks holds the agent's tasks that its sources told of. A source that
	// could not be read contributes none: look at Sources before counting.
	Tasks   []Task   `json:"tasks"`
	Sources []Source `json:"sources"`
	// Rounds and RoundLimit are of the task with the most rounds used.
	Rounds     int `json:"rounds"`
	RoundLimit int `json:"round_limit"` // 0 = no limit
	// RoundWarning is the number of rounds from which to warn; 0 = no limit.
	RoundWarning int `json:"round_warning"`
}

// Running is a run that has not ended.
type Running struct {
	RunID    string    `json:"run_id,omitempty"`
	Since    time.Time `json:"since"`
	Deadline time.Time `json:"deadline"`
}

// Task is one piece of an agent's work.
type Task struct {
	ID           string    `json:"id"`
	Source       string    `json:"source"`
	Title        string    `json:"title,omitempty"`
	State        TaskState `json:"state"`
	StartedAt    time.Time `json:"started_at,omitzero"`
	LastProgress time.Time `json:"last_progress,omitzero"`
	// BlockedBy are the ids of the tasks that this one waits for; Cycle says that
	// it waits for itself that way.
	BlockedBy []string `json:"blocked_by,omitempty"`
	Cycle     bool     `json:"cycle,omitempty"`
	// Parked: to do, and its source keeps it for later.
	Parked bool `json:"parked,omitempty"`
	// Rounds are the driver calls that were spent on the task. A task that is
	// Paused is left out of them until a person resumes it.
	Rounds int  `json:"rounds"`
	Paused bool `json:"paused"`
	// StallSuspected: in progress, and none seen for the task timeout. Stalled: at
	// a later beat still none.
	StallSuspected bool `json:"stall_suspected"`
	Stalled        bool `json:"stalled"`
}

// TaskState is where a task stands. The set is closed.
type TaskState string

// The task states.
const (
	TaskTodo       TaskState = "todo"
	TaskInProgress TaskState = "in_progress"
	TaskBlocked    TaskState = "blocked"
	TaskReview     TaskState = "review"
)

// Source is the health of one task source of one agent.
type Source struct {
	Name  string      `json:"name"`
	State SourceState `json:"state"`
	// Detail says why the state is not ok.
	Detail      string    `json:"detail,omitempty"`
	LastSuccess time.Time `json:"last_success,omitzero"`
}

// SourceState is closed: ok means that the tasks of the source are known.
type SourceState string

// The source states.
const (
	SourceOK      SourceState = "ok"
	SourceUnknown SourceState = "unknown"
)

// Fleet is the body of GET /api/agents.
type Fleet struct {
	GeneratedAt time.Time `json:"generated_at"`
	Agents      []Agent   `json:"agents"`
}
