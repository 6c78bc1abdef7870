package preflight

import (
	"bytes"
	"fmt"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
)

// Decision is what a slot becomes.
type Decision string

// The decisions: call the driver, nothing to do, or leave the slot out.
const (
	Call Decision = "call"
	Idle Decision = "idle"
	Skip Decision = "skip"
)

// Reason says why; empty for Call.
type Reason string

// The reasons.
const (
	// ReasonNoDriver: nothing but the agent itself beats it.
	ReasonNoDriver Reason = "no_driver"
	// ReasonNoWork: every source was read, and none has work.
	ReasonNoWork Reason = "no_work"
	// ReasonPartlyUnknown: the sources that could be read have no work; others
	// could not be read.
	ReasonPartlyUnknown Reason = "sources_partly_unknown"
	// ReasonSourcesUnknown: no source could be read, so whether there is work
	// is not known; to call would spend tokens on a guess.
	ReasonSourcesUnknown Reason = "sources_unknown"
)

// Decide decides on a run from what its sources said; pending counts the tasks
// that can be worked on now. An agent without sources
// has nothing that could say "nothing to do": its driver is called at every
// slot, like a plain cron job. A person's demand always calls.
func Decide(j job.Job, demand bool, sources []beat.Source, pending int) (Decision, Reason) {
	known := 0
	for _, source := range sources {
		if source.State == beat.SourceOK {
			known++
		}
	}
	switch {
	case j.PingsIn():
		return Idle, ReasonNoDriver
	case demand, j.AlwaysRun, len(sources) == 0, pending > 0:
		return Call, ""
	case known == 0:
		return Skip, ReasonSourcesUnknown
	case known < len(sources):
		return Idle, ReasonPartlyUnknown
	}
	return Idle, ReasonNoWork
}

// ours reports whether a process belongs to a run.
func ours(pid int) bool {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && bytes.Contains(append([]byte{0}, raw...), []byte("\x00"+driver.MarkVariable+"="))
}
