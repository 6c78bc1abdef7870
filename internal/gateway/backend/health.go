package backend

import "time"

// Health is how well a backend has answered lately. It only ranks: whether a backend
// may be called is its Status.
type Health string

// The healths, best first.
const (
	Well     Health = "healthy"
	Degraded Health = "degraded"
	Down     Health = "down"
)

// Healths lists every health, best first.
func Healths() []Health { return []Health{Well, Degraded, Down} }

// Rank is 0 for the best.
func (h Health) Rank() int {
	switch h {
	case Degraded:
		return 1
	case Down:
		return 2
	default:
		return 0
	}
}

// Probe is what a free probe has found.
type Probe string

// The findings.
const (
	ProbeTaken  Probe = "taken"  // the backend answered, and takes the key
	ProbeSilent Probe = "silent" // it answered what says nothing, such as that there is no such address
	ProbeFailed Probe = "failed" // it did not answer, cannot, or refuses the key
)

const (
	healthWindow = 5               // minutes looked back at
	fewest       = 5               // outcomes that say something
	degradedFrom = 0.2             // share of failures
	downFrom     = 0.9             // share of failures
	probeCounts  = 5 * time.Minute // a failed probe says nothing any more after this
)

// health is the outcomes of the last minutes, and that of the last free probe.
type health struct {
	began       time.Time // when the first outcome came, which minutes are counted from
	minutes     [healthWindow]struct{ minute, good, bad int64 }
	probeFailed time.Time // zero = the last one found nothing wrong
}

// minute numbers the minutes since the first outcome. That is a difference, so a clock
// that is set does not move it.
func (h *health) minute(now time.Time) int64 {
	return max(0, int64(now.Sub(h.began)/time.Minute))
}

func (h *health) note(good bool, now time.Time) {
	if h.began.IsZero() {
		h.began = now
	}
	minute := h.minute(now)
	m := &h.minutes[minute%healthWindow]
	if m.minute != minute {
		m.minute, m.good, m.bad = minute, 0, 0
	}
	if good {
		m.good++
		h.probeFailed = time.Time{} // an answer to a request says more than a probe
	} else {
		m.bad++
	}
}

func (h *health) probed(p Probe, now time.Time) {
	h.probeFailed = time.Time{}
	if p == ProbeFailed {
		h.probeFailed = now
	}
}

func (h *health) at(now time.Time) Health {
	minute, good, bad := h.minute(now), int64(0), int64(0)
	for _, m := range h.minutes {
		if m.minute > minute-healthWindow {
			good, bad = good+m.good, bad+m.bad
		}
	}
	share := 0.0
	if good+bad >= fewest {
		share = float64(bad) / float64(good+bad)
	}
	switch {
	case share >= downFrom, !h.probeFailed.IsZero() && now.Sub(h.probeFailed) < probeCounts:
		return Down
	case share >= degradedFrom:
		return Degraded
	default:
		return Well
	}
}
