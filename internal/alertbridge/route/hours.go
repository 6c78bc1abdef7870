package route

import (
	"fmt"
	"strings"
	"time"
)

// hours is a weekly window such as Mon-Fri 09:00-19:00. A window whose end is
// not after its start runs over midnight into the next day.
type hours struct {
	days     [7]bool // by time.Weekday, the day on which the window begins
	from, to time.Duration
}

func parseHours(text string) (*hours, error) {
	bad := fmt.Errorf("expected days and times such as \"Mon-Fri 09:00-19:00\" or \"Sat,Sun 00:00-24:00\", got %q", text)
	days, clock, ok := strings.Cut(strings.TrimSpace(text), " ")
	from, to, ok2 := strings.Cut(strings.TrimSpace(clock), "-")
	if !ok || !ok2 {
		return nil, bad
	}
	h := &hours{}
	var err1, err2 error
	h.from, err1 = clockTime(from)
	h.to, err2 = clockTime(to)
	if err1 != nil || err2 != nil || !h.setDays(days) {
		return nil, bad
	}
	return h, nil
}

func (h *hours) setDays(text string) bool {
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		a, b := weekday(first), weekday(last)
		if a < 0 || b < 0 {
			return false
		}
		for d := a; ; d = (d + 1) % 7 {
			h.days[d] = true
			if d == b {
				break
			}
		}
	}
	return true
}

func weekday(text string) int {
	for d := range 7 {
		if strings.EqualFold(text, time.Weekday(d).String()[:3]) {
			return d
		}
	}
	return -1
}

func clockTime(text string) (time.Duration, error) {
	if strings.TrimSpace(text) == "24:00" {
		return 24 * time.Hour, nil
	}
	t, err := time.Parse("15:04", strings.TrimSpace(text))
	if err != nil {
		return 0, fmt.Errorf("reading a time of day: %w", err)
	}
	return time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute, nil
}

// contains works on the wall clock, so that a change of summer time does not
// move the window.
func (h *hours) contains(local time.Time) bool {
	clock := time.Duration(local.Hour())*time.Hour + time.Duration(local.Minute())*time.Minute + time.Duration(local.Second())*time.Second
	today, yesterday := local.Weekday(), (local.Weekday()+6)%7
	if h.to > h.from {
		return h.days[today] && clock >= h.from && clock < h.to
	}
	return (h.days[today] && clock >= h.from) || (h.days[yesterday] && clock < h.to)
}
