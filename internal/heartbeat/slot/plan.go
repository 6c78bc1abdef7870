package slot

import "time"

// Schedule tells due times; Next must be a pure function.
type Schedule interface {
	Next(after time.Time) time.Time
}

// Policy says what happens to slots that came due while nobody looked.
type Policy string

// The policies. Latest runs the newest slot only, Skip none, All the newest
// ones up to the cap, oldest first.
const (
	Latest Policy = "latest"
	Skip   Policy = "skip"
	All    Policy = "all"
)

// Policies lists the policies.
func Policies() []Policy { return []Policy{Latest, Skip, All} }

// CatchUp bounds what is made up for.
type CatchUp struct {
	Policy Policy
	// Window is how old a slot may be to be run at all; 0 = no limit.
	Window time.Duration
	// Cap is the number of slots that All runs at most, at least 1.
	Cap int
}

// OnTime is how late a slot may be noticed and still count as not missed: the
// longest time between two looks of the loop.
const OnTime = 30 * time.Second

// maxListed bounds the search through a long absence.
const maxListed = 20_000

// Missed sums up slots that will not be run.
type Missed struct {
	Count       int
	First, Last time.Time
	// More says that Count is a lower bound.
	More bool
}

func (m *Missed) add(at time.Time) {
	if m.Count == 0 {
		m.First = at
	}
	m.Count++
	m.Last = at
}

// Plan splits the slots that are due: every one of them is in exactly one part.
type Plan struct {
	Run    []time.Time // oldest first
	Missed Missed
}

// Due plans the slots after the cursor, up to and including now. No slot at or
// before the cursor is in the plan.
func Due(schedule Schedule, cursor, now time.Time, c CatchUp) Plan {
	var plan Plan
	keep := 1
	if c.Policy == All {
		keep = max(1, c.Cap)
	}
	listed := 0
	for at := schedule.Next(cursor); !at.IsZero() && !at.After(now); at = schedule.Next(at) {
		if listed++; listed == maxListed && c.Window > 0 && at.Before(now.Add(-c.Window)) {
			plan.Missed.More = true
			plan.Missed.add(at)
			at = now.Add(-c.Window)
			continue
		}
		plan.Run = append(plan.Run, at)
		if len(plan.Run) > keep {
			plan.Missed.add(plan.Run[0])
			plan.Run = plan.Run[1:]
		}
	}
	plan.dropOld(now, c)
	return plan
}

func (p *Plan) dropOld(now time.Time, c CatchUp) {
	for len(p.Run) > 0 {
		late := now.Sub(p.Run[0])
		onTime := late <= OnTime
		if onTime || (c.Policy != Skip && (c.Window == 0 || late <= c.Window)) {
			return
		}
		p.Missed.add(p.Run[0])
		p.Run = p.Run[1:]
	}
}
