package setclock

import (
	"testing"
	"time"
)

func TestShift(t *testing.T) {
	before := time.Now()
	for _, by := range []time.Duration{0, time.Second, 2 * time.Hour, -2 * time.Hour, 400 * 24 * time.Hour, -24 * time.Hour} {
		after := Shift(before, by)
		if !after.Round(0).Equal(before.Round(0).Add(by)) {
			t.Errorf("by %s: it shows %s instead of %s", by, after, before)
		}
		if moved := after.Sub(before); moved != 0 {
			t.Errorf("by %s: the monotonic part moves by %s", by, moved)
		}
	}
}

func TestClock(t *testing.T) {
	var c Clock
	before := c.Now()
	c.Set(-2 * time.Hour)
	after := c.Now()
	if shown := after.Round(0).Sub(before.Round(0)); shown > -time.Hour || after.Before(before) {
		t.Errorf("it shows %s more, and %s has passed", shown, after.Sub(before))
	}
	c.Set(0)
	if again := c.Now(); again.Round(0).Before(before.Round(0)) {
		t.Errorf("it shows %s after %s", again, before)
	}
}
