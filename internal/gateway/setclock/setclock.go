// Package setclock makes, for tests, the times of a clock that is set while a program
// runs. As with the system's clock, what it shows moves, and the monotonic part of its
// times, by which differences are taken, does not.
package setclock

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Clock is the system's clock until it is set. The zero value may be used, from several
// goroutines.
type Clock struct {
	ahead atomic.Int64
}

// Now returns the time that the clock shows, with the monotonic part of the system's.
func (c *Clock) Now() time.Time { return Shift(time.Now(), time.Duration(c.ahead.Load())) }

// Set sets the clock that far ahead of the system's, or behind it where negative; what
// is less than a second is left out.
func (c *Clock) Set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// secondsFrom is the bit of a time's first word at which its seconds begin, where the
// time has a monotonic part: see type Time in the source of package time.
const secondsFrom = 30

// Shift returns t as a clock shows it that was set by so much, to the second. The
// monotonic part, which t must have, stays.
func Shift(t time.Time, by time.Duration) time.Time {
	word := (*uint64)(unsafe.Pointer(&t)) //nolint:gosec // no other way leads to a time whose two parts are apart
	*word += uint64(by/time.Second) << secondsFrom
	return t
}
