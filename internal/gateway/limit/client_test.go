package limit

import (
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

const unit = llm.Nano(llm.NanoPerUnit)

func client(t Terms) *Client {
	t.Zone = time.FixedZone("CST", 8*3600)
	c := &Client{}
	c.Configure(t)
	return c
}

func TestClientRates(t *testing.T) {
	c := client(Terms{RPM: 2, TPM: 1000})
	r, by, _ := c.Reserve(900, 0, start)
	if by != "" {
		t.Fatal(by)
	}
	if _, by, wait := c.Reserve(200, 0, start); by != ByTPM || wait < 59*time.Second {
		t.Errorf("tokens: %q after %s", by, wait)
	}
	r.Settle(100, 0, start)
	if _, by, _ := c.Reserve(200, 0, start); by != "" {
		t.Errorf("after settling: %q", by)
	}
	if _, by, wait := c.Reserve(1, 0, start); by != ByRPM || wait < 59*time.Second {
		t.Errorf("requests: %q after %s", by, wait)
	}
}

// TestBudget: what is spent never exceeds a budget by more than one request's guess
// was wrong, and its day and month are those of the zone.
func TestBudget(t *testing.T) {
	evening := time.Date(2026, 11, 30, 15, 30, 0, 0, time.UTC) // 23:30 in the zone, the last of the month
	c := client(Terms{Daily: 10 * unit, Monthly: 15 * unit})
	spend := func(cost llm.Nano, at time.Time, want By) time.Duration {
		t.Helper()
		r, by, wait := c.Reserve(1, cost, at)
		if by != want {
			t.Errorf("at %s: %q, want %q", at, by, want)
		}
		if by == "" {
			r.Settle(1, cost, at)
		}
		return wait
	}
	spend(9*unit, evening, "")
	spend(3*unit, evening, "") // a guess that is larger than the rest, nothing else under way
	if wait := spend(1, evening, ByDaily); wait != 30*time.Minute {
		t.Errorf("until the day ends: %s", wait)
	}
	if ratio, ok := c.Remaining(Day, evening); !ok || ratio != 0 {
		t.Errorf("of the day %v is left", ratio)
	}
	if ratio, _ := c.Remaining(Month, evening); ratio < 0.19 || ratio > 0.21 {
		t.Errorf("of the month %v is left", ratio)
	}
	spend(1, evening.Add(30*time.Minute), "")
	if ratio, _ := c.Remaining(Month, evening.Add(30*time.Minute)); ratio < 0.99 {
		t.Errorf("of the new month %v is left", ratio)
	}
	if wait := spend(1, evening, ByDaily); wait != 30*time.Minute { // a clock that goes back opens no budget anew
		t.Errorf("until the day ends again: %s", wait)
	}
	if ratio, _ := c.Remaining(Month, evening.Add(time.Hour)); ratio == 1 {
		t.Error("the month is whole again")
	}
	c = client(Terms{Daily: 10 * unit, Monthly: 15 * unit})
	c.Restore(2*unit, 15*unit, evening)
	if wait := spend(1, evening, ByMonthly); wait != 30*time.Minute {
		t.Errorf("until the month ends: %s", wait)
	}
	if _, limited := client(Terms{}).Remaining(Day, evening); limited {
		t.Error("a budget without a limit")
	}
}

// TestReservationsAreAtomic: of many requests at once as many are let in as the budget
// allows for.
func TestReservationsAreAtomic(t *testing.T) {
	c := client(Terms{Daily: 10 * unit})
	var mu sync.Mutex
	var held []Reservation
	var group sync.WaitGroup
	for range 64 {
		group.Go(func() {
			if r, by, wait := c.Reserve(1, unit, start); by == "" {
				mu.Lock()
				held = append(held, r)
				mu.Unlock()
			} else if by != ByDaily || wait != busyWait {
				t.Errorf("%q after %s", by, wait)
			}
		})
	}
	group.Wait()
	if len(held) != 10 {
		t.Errorf("%d of 10 let in", len(held))
	}
	for i := range held {
		held[i].Settle(1, unit/2, start)
	}
	if _, by, _ := c.Reserve(1, unit, start); by != "" {
		t.Errorf("half of the budget is left: %q", by)
	}
}

// TestBudgetsOutliveTheClock: a clock that is set to another day and back opens no
// budget anew, and takes none of a later day away.
func TestBudgetsOutliveTheClock(t *testing.T) {
	c := client(Terms{Daily: 10 * unit})
	const day = 24 * time.Hour
	for _, x := range []struct {
		at   time.Duration
		cost llm.Nano
		want By
	}{
		{0, 10 * unit, ""}, {0, 1, ByDaily},
		{400 * day, 10 * unit, ""}, {400 * day, 1, ByDaily}, // a wrong date
		{0, 1, ByDaily},
		{day, 9 * unit, ""}, {day, 1 * unit, ""}, {day, 1, ByDaily}, // the right one of the next day
		{0, 1, ByDaily},
		{2 * day, 10 * unit, ""},
	} {
		r, by, _ := c.Reserve(1, x.cost, start.Add(x.at))
		if by != x.want {
			t.Errorf("on day %d: %q, want %q", x.at/day, by, x.want)
		}
		if by == "" {
			r.Settle(1, x.cost, start.Add(x.at))
		}
	}
	if n := len(c.day.periods); n > remembered {
		t.Errorf("%d days are kept", n)
	}
}
