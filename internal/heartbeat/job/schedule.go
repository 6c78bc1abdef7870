package job

import (
	"fmt"
	"hash/fnv"
	"math/bits"
	"time"

	"github.com/robfig/cron/v3"
)

// maxCronSpread bounds how far a spread moves a cron time, so that a daily job
// stays near the time that its expression names.
const maxCronSpread = 10 * time.Minute

// Schedule tells the due times of a job. Next is a pure function of its
// argument: the same question always has the same answer, on any machine, so a
// due time can be the key under which a slot is claimed once.
type Schedule interface {
	// Next returns the first due time strictly after the given one, or the
	// zero time if there is none within five years.
	Next(after time.Time) time.Time
}

// Every is a schedule of equal steps, counted from the Unix epoch plus Offset.
// It knows no zones: a change to or from daylight saving time moves nothing.
type Every struct {
	Interval, Offset time.Duration
}

// Next implements [Schedule].
func (e Every) Next(after time.Time) time.Time {
	if e.Interval <= 0 {
		return time.Time{}
	}
	since := after.Sub(time.Unix(0, 0)) - e.Offset
	steps := int64(since / e.Interval)
	if since%e.Interval < 0 {
		steps--
	}
	return time.Unix(0, 0).Add(e.Offset + time.Duration(steps+1)*e.Interval).UTC()
}

// Cron follows a cron expression in a zone.
//
// An expression that matches every hour (like */10 * * * *) follows elapsed
// time: nothing happens in the hour that a change of the clock leaves out, and
// the repeated hour has its beats. Any other expression follows the clock on
// the wall: a time that the change leaves out is due once, at the moment the
// clock jumps; a time that comes twice is due the first time only.
type Cron struct {
	spec      *cron.SpecSchedule
	everyHour bool
	// spread moves each time by the same hash inside its own gap.
	spread uint64
}

// ParseCron reads a five-field expression (or a descriptor like @hourly) in a
// zone; a CRON_TZ= prefix wins over the zone. An @every expression gives an
// [Every]. A spread id moves each due time inside the gap to its next one, by
// ten minutes at most; "" leaves it exact.
func ParseCron(expression string, zone *time.Location, spreadID string) (Schedule, error) {
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	parsed, err := parser.Parse(expression)
	if err != nil {
		return nil, fmt.Errorf("parsing cron expression %q: %w", expression, err)
	}
	if constant, ok := parsed.(cron.ConstantDelaySchedule); ok {
		return Every{Interval: constant.Delay, Offset: Spread(spreadID, constant.Delay)}, nil
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("parsing cron expression %q: unexpected schedule %T", expression, parsed)
	}
	if spec.Location == time.Local {
		spec.Location = zone
	}
	const hours = 1<<24 - 1
	out := Cron{spec: spec, everyHour: bits.OnesCount64(spec.Hour&hours) == 24}
	if spreadID != "" {
		out.spread = hash(spreadID)
	}
	return out, nil
}

// Next implements [Schedule].
func (c Cron) Next(after time.Time) time.Time {
	if c.spread == 0 {
		return c.exact(after)
	}
	// The time before a spread one lies at most maxCronSpread earlier.
	for fire := c.exact(after.Add(-maxCronSpread - time.Nanosecond)); !fire.IsZero(); fire = c.exact(fire) {
		next := c.exact(fire)
		if due := fire.Add(c.shift(fire, next)); due.After(after) {
			return due
		}
	}
	return time.Time{}
}

func (c Cron) shift(fire, next time.Time) time.Duration {
	gap := maxCronSpread
	if !next.IsZero() {
		gap = min(gap, next.Sub(fire))
	}
	return within(c.spread, gap)
}

func (c Cron) exact(after time.Time) time.Time {
	next := c.spec.Next(after.In(c.spec.Location))
	if c.everyHour {
		return utc(next)
	}
	for !next.IsZero() && repeated(next) {
		next = c.spec.Next(next)
	}
	if jump := c.leftOut(after, next); !jump.IsZero() {
		return utc(jump)
	}
	return utc(next)
}

// leftOut returns the first moment after the given one, and before the limit,
// at which the clock jumps over a time that the expression names.
func (c Cron) leftOut(after, limit time.Time) time.Time {
	at := after.In(c.spec.Location)
	for {
		_, jump := at.ZoneBounds()
		if jump.IsZero() || (!limit.IsZero() && !jump.Before(limit)) || jump.Sub(after) > 5*366*24*time.Hour {
			return time.Time{}
		}
		if gap := offset(jump) - offset(jump.Add(-time.Second)); gap > 0 && c.names(jump, gap) {
			return jump
		}
		at = jump
	}
}

// names reports whether the expression names a local time inside the gap that
// ends at jump.
func (c Cron) names(jump time.Time, gap time.Duration) bool {
	end := floating(jump)
	begin := end.Add(-gap)
	spec := *c.spec
	spec.Location = time.UTC
	next := spec.Next(begin.Add(-time.Second))
	return !next.IsZero() && next.Before(end)
}

// repeated reports whether the wall clock already showed the same time before
// the last change of the zone's offset.
func repeated(at time.Time) bool {
	change, _ := at.ZoneBounds()
	if change.IsZero() {
		return false
	}
	back := offset(change.Add(-time.Second)) - offset(change)
	return back > 0 && at.Sub(change) < back
}

func floating(at time.Time) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC)
}

func offset(at time.Time) time.Duration {
	_, seconds := at.Zone()
	return time.Duration(seconds) * time.Second
}

func utc(at time.Time) time.Time {
	if at.IsZero() {
		return time.Time{}
	}
	return at.UTC()
}

// Spread places an id inside an interval: stable over restarts and machines,
// whole milliseconds, 0 for an empty id.
func Spread(id string, interval time.Duration) time.Duration {
	if id == "" {
		return 0
	}
	return within(hash(id), interval)
}

func within(hash uint64, interval time.Duration) time.Duration {
	steps := uint64(interval / time.Millisecond)
	if steps == 0 {
		return 0
	}
	high, _ := bits.Mul64(hash, steps)
	return time.Duration(high) * time.Millisecond
}

// hash is FNV-1a with a final mix, since within takes the high bits.
func hash(id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id))
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	x ^= x >> 33
	return x
}
