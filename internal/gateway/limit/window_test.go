package limit

import (
	"math/rand/v2"
	"testing"
	"time"
)

var start = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func take(t *testing.T, w *Window, n int64, at time.Duration, want time.Duration) Mark {
	t.Helper()
	m, wait := w.Take(n, start.Add(at))
	if wait != want {
		t.Errorf("taking %d at %s: waits %s, want %s", n, at, wait, want)
	}
	return m
}

func TestWindow(t *testing.T) {
	var w Window
	take(t, &w, 1e9, 0, 0)
	if w.Limited() || w.Used(start) != 0 {
		t.Error("the zero value limits")
	}
	w.Configure(60)
	take(t, &w, 40, 0, 0)
	second := take(t, &w, 20, 10*time.Second, 0)
	take(t, &w, 1, 10*time.Second, 50*time.Second+grain)
	take(t, &w, 41, 10*time.Second, 60*time.Second+grain)
	take(t, &w, 500, 10*time.Second, 60*time.Second+grain) // larger than the limit: when nothing else is used
	w.Settle(second, -15, start.Add(11*time.Second))
	take(t, &w, 15, 11*time.Second, 0)
	if used := w.Used(start.Add(11 * time.Second)); used != 1 {
		t.Errorf("used %v", used)
	}
	take(t, &w, 1, -time.Hour, time.Hour+60*time.Second+grain) // a clock that went back
	w.Configure(30)
	take(t, &w, 1, 61*time.Second, 0) // 20 are in the window still
	w.Settle(second, 100, start.Add(300*time.Second))
	take(t, &w, 1, 300*time.Second, 60*time.Second+grain) // owed: used beyond what was taken
	w.Configure(0)
	take(t, &w, 1000, 300*time.Second, 0)
}

// TestALimitThatIsSetLater: what began without one settles nothing of what others took.
func TestALimitThatIsSetLater(t *testing.T) {
	var w Window
	before := take(t, &w, 1000, 0, 0)
	w.Configure(1000)
	take(t, &w, 1000, 0, 0)
	w.Settle(before, -1000, start)
	take(t, &w, 1, 0, 60*time.Second+grain)
}

// TestNoMinuteHoldsMore: whatever comes when, what was let through in any 60 seconds
// is within the limit, and what waited as long as it was told is let through.
func TestNoMinuteHoldsMore(t *testing.T) {
	const limit = 50
	r := rand.New(rand.NewPCG(1, 2))
	var w Window
	w.Configure(limit)
	type taken struct {
		at time.Duration
		n  int64
	}
	var all []taken
	at := time.Duration(0)
	for range 20_000 {
		at += time.Duration(r.Int64N(int64(2 * time.Second)))
		n := 1 + r.Int64N(9)
		m, wait := w.Take(n, start.Add(at))
		if wait > 0 {
			at += wait
			if m, wait = w.Take(n, start.Add(at)); wait > 0 {
				t.Fatalf("at %s it waits again, %s", at, wait)
			}
		}
		used := r.Int64N(n + 1)
		w.Settle(m, used-n, start.Add(at))
		all = append(all, taken{at, used})
	}
	for i, last := range all {
		sum := int64(0)
		for j := i; j >= 0 && last.at-all[j].at < time.Minute; j-- {
			sum += all[j].n
		}
		if sum > limit {
			t.Fatalf("the minute before %s holds %d", last.at, sum)
		}
	}
	if len(w.uses) > int(length/grain)+2 {
		t.Errorf("the window holds %d uses", len(w.uses))
	}
}
