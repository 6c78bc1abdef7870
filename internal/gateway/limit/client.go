package limit

import (
	"slices"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// By names the limit that a client has reached.
type By string

// The limits of a client.
const (
	ByRPM     By = "rpm"
	ByTPM     By = "tpm"
	ByDaily   By = "daily_budget"
	ByMonthly By = "monthly_budget"
)

// Bys lists every limit of a client.
func Bys() []By { return []By{ByRPM, ByTPM, ByDaily, ByMonthly} }

// Period is what a budget is for.
type Period string

// The periods.
const (
	Day   Period = "day"
	Month Period = "month"
)

// Terms are what a client may use; 0 = no limit, each.
type Terms struct {
	RPM, TPM       int
	Daily, Monthly llm.Nano
	Zone           *time.Location // whose days and months budgets are for
}

// Client keeps one client within its terms. Its methods may be used from several
// goroutines.
type Client struct {
	mu       sync.Mutex
	terms    Terms
	rpm, tpm Window
	today    time.Time // when the day began that turn was last called in
	tomorrow time.Time // when it ends
	day      spending
	month    spending
	reserved llm.Nano // by requests under way
}

// spending is what was spent in the periods that the clock was in lately, the present
// one last. A clock that is set back finds the earlier period as it was left, and the
// later one when it comes to it again: no budget is there twice, and none is lost to a
// date that was wrong. The sums of the ledger, by which a restart knows, say the same.
type spending struct {
	periods []period
}

type period struct {
	begin time.Time
	spent llm.Nano
}

// remembered is how many periods are kept: more than a clock is ever set to and fro.
const remembered = 4

// turn makes the period that begins then the present one.
func (s *spending) turn(begin time.Time) {
	now := period{begin: begin}
	if i := slices.IndexFunc(s.periods, func(p period) bool { return p.begin.Equal(begin) }); i >= 0 {
		now = s.periods[i]
		s.periods = slices.Delete(s.periods, i, i+1)
	}
	if len(s.periods) == remembered {
		s.periods = slices.Delete(s.periods, 0, 1)
	}
	s.periods = append(s.periods, now)
}

// spent is what was spent in the present period, which turn has made.
func (s *spending) spent() *llm.Nano { return &s.periods[len(s.periods)-1].spent }

// Reservation is what a request under way may use. Exactly one Settle follows.
type Reservation struct {
	client *Client
	tokens int64
	cost   llm.Nano
	mark   Mark
}

// Configure takes over terms; what was used counts under them too.
func (c *Client) Configure(t Terms) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.terms, c.today, c.tomorrow = t, time.Time{}, time.Time{}
	c.rpm.Configure(t.RPM)
	c.tpm.Configure(t.TPM)
}

// Restore says what was spent before this process, in the day and the month of now.
func (c *Client) Restore(day, month llm.Nano, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	*c.day.spent(), *c.month.spent() = day, month
}

// turn makes the periods of now the present ones.
func (c *Client) turn(now time.Time) {
	if now.Before(c.tomorrow) && !now.Before(c.today) {
		return // the calendar is asked once a day
	}
	c.today, c.tomorrow = begin(Day, now, c.terms.Zone), next(Day, now, c.terms.Zone)
	c.day.turn(begin(Day, now, c.terms.Zone))
	c.month.turn(begin(Month, now, c.terms.Zone))
}

// begin returns when the period of now began.
func begin(p Period, now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	if p == Month {
		d = 1
	}
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}

// next returns when the period of now ends.
func next(p Period, now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	if p == Month {
		return time.Date(y, m+1, 1, 0, 0, 0, 0, zone)
	}
	return time.Date(y, m, d+1, 0, 0, 0, 0, zone)
}

// Reserve sets tokens and cost aside for a request, all or nothing. Where a limit is
// reached it is named, with how long it will be. A budget that has anything left lets
// a request in that may exceed it only where no other is under way.
func (c *Client) Reserve(tokens int64, cost llm.Nano, now time.Time) (r Reservation, by By, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	for _, b := range [...]struct {
		by     By
		period Period
		limit  llm.Nano
		spent  llm.Nano
	}{{ByMonthly, Month, c.terms.Monthly, *c.month.spent()}, {ByDaily, Day, c.terms.Daily, *c.day.spent()}} {
		if b.limit > 0 && (b.spent >= b.limit || c.reserved > 0 && b.spent+c.reserved+cost > b.limit) {
			if b.spent < b.limit {
				return r, b.by, busyWait // those under way may turn out cheaper
			}
			return r, b.by, next(b.period, now, c.terms.Zone).Sub(now)
		}
	}
	if wait := c.tpm.Wait(tokens, now); wait > 0 {
		return r, ByTPM, wait
	}
	if _, wait := c.rpm.Take(1, now); wait > 0 {
		return r, ByRPM, wait
	}
	c.reserved += cost
	return Reservation{client: c, tokens: tokens, cost: cost, mark: c.tpm.Use(tokens, now)}, "", 0
}

// busyWait is when it may make sense to try again where requests under way hold what
// is left of a budget.
const busyWait = time.Second

// Settle says what the request has used.
func (r *Reservation) Settle(tokens int64, cost llm.Nano, now time.Time) {
	c := r.client
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	c.tpm.Settle(r.mark, tokens-r.tokens, now)
	c.reserved -= r.cost
	*c.day.spent() += cost
	*c.month.spent() += cost
}

// Remaining returns the share of a budget that is left, 0 to 1, and whether there is one.
func (c *Client) Remaining(p Period, now time.Time) (ratio float64, limited bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	limit, spent := c.terms.Daily, *c.day.spent()
	if p == Month {
		limit, spent = c.terms.Monthly, *c.month.spent()
	}
	if limit == 0 {
		return 0, false
	}
	return max(0, 1-float64(spent)/float64(limit)), true
}
