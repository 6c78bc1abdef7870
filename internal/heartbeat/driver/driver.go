// Package driver makes a beat happen: it starts what wakes the agent, waits for
// it within bounds of time and memory, and says how it ended.
//
// It promises: nothing of a run is left when a run that timed out or was
// stopped returns (on Linux also what moved to a session of its own); captured
// output is bounded whatever the command writes; a command sees only the
// environment that it was given, and output is masked before anyone sees it.
package driver

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

// Call is one call of a driver.
type Call struct {
	// RunID marks everything that belongs to the run; it is the idempotency
	// key together with Attempt.
	RunID   string
	Attempt int
	Agent   string
	Slot    time.Time
	Trigger string
	Reason  string
	Message string
}

// Result is how a call ended.
type Result struct {
	Outcome beat.Outcome // ok, failed, timeout or interrupted
	Reason  Reason
	// Detail is one sentence for people; it holds no secret.
	Detail string
	// ExitCode is the command's; -1 where it did not exit by itself.
	ExitCode int
	// Log is the captured output, masked.
	Log string
	// Retryable says that the call had no effect and may be tried again.
	Retryable bool
}

// Reason says why a run ended as it did. The set is closed.
type Reason string

// The reasons of this package.
const (
	ReasonNone     Reason = ""
	ReasonExit     Reason = "exit_status"
	ReasonSignal   Reason = "signal"
	ReasonStart    Reason = "cannot_start"
	ReasonDeadline Reason = "deadline"
	ReasonStopped  Reason = "stopped"
)

// Process identifies a started process beyond reuse of its id.
type Process struct {
	PID  int // also the process group
	Born int64
}
