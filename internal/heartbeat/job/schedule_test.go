package job

import (
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	location, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func cronOf(t *testing.T, expression, zoneName, spread string) Schedule {
	t.Helper()
	schedule, err := ParseCron(expression, zone(t, zoneName), spread)
	if err != nil {
		t.Fatal(err)
	}
	return schedule
}

// dueIn lists the due times in (from, to] as UTC "15:04" texts.
func dueIn(schedule Schedule, from, to time.Time) []string {
	var out []string
	for at := schedule.Next(from); !at.IsZero() && !at.After(to); at = schedule.Next(at) {
		out = append(out, at.UTC().Format("02 15:04"))
	}
	return out
}

// New York 2026: clocks jump 02:00 -> 03:00 on March 8 (07:00 UTC) and fall
// back 02:00 -> 01:00 on November 1 (06:00 UTC).
func TestCronOverDaylightSavingChanges(t *testing.T) {
	spring := time.Date(2026, 3, 8, 5, 0, 0, 0, time.UTC)
	autumn := time.Date(2026, 11, 1, 4, 0, 0, 0, time.UTC)
	tests := []struct {
		name, expression, zone string
		from                   time.Time
		want                   []string
	}{
		{"half-hourly over a gap follows elapsed time", "*/30 * * * *", "America/New_York", spring,
			[]string{"08 05:30", "08 06:00", "08 06:30", "08 07:00", "08 07:30", "08 08:00"}},
		{"half-hourly over an overlap beats in both hours", "*/30 * * * *", "America/New_York", autumn,
			[]string{"01 04:30", "01 05:00", "01 05:30", "01 06:00", "01 06:30", "01 07:00"}},
		{"fixed time inside the gap is due once at the jump", "30 2 * * *", "America/New_York", spring, []string{"08 07:00"}},
		{"several left-out times are due once", "*/10 2 * * *", "America/New_York", spring, []string{"08 07:00"}},
		{"left-out time and a fixed one at the jump coincide", "0 2,3 * * *", "America/New_York", spring, []string{"08 07:00"}},
		{"fixed time before the gap", "30 1 * * *", "America/New_York", spring, []string{"08 06:30"}},
		{"fixed time in the overlap is due the first time only", "30 1 * * *", "America/New_York", autumn, []string{"01 05:30"}},
		{"other day of the week is not due at the jump", "30 2 * * 1", "America/New_York", spring, nil},
		{"Shanghai has no changes", "0 13 * * *", "Asia/Shanghai", spring, []string{"08 05:00"}[:0]},
		{"CRON_TZ wins over the zone", "CRON_TZ=Asia/Shanghai 0 14 * * *", "America/New_York", spring, []string{"08 06:00"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := dueIn(cronOf(t, test.expression, test.zone, ""), test.from, test.from.Add(3*time.Hour))
			if !slices.Equal(got, test.want) && len(got)+len(test.want) > 0 {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

func TestScheduleIsAFunctionOfItsArgument(t *testing.T) {
	from := time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
	schedules := map[string]Schedule{
		"every":       Every{Interval: 7 * time.Minute, Offset: Spread("coo", 7*time.Minute)},
		"cron":        cronOf(t, "*/10 * * * *", "America/New_York", ""),
		"cron spread": cronOf(t, "*/10 * * * *", "America/New_York", "coo"),
		"cron fixed":  cronOf(t, "30 2,14 * * *", "America/New_York", "coo"),
		"@every":      cronOf(t, "@every 90s", "UTC", "coo"),
	}
	for name, schedule := range schedules {
		t.Run(name, func(t *testing.T) {
			at := schedule.Next(from)
			for range 400 {
				next := schedule.Next(at)
				if !next.After(at) {
					t.Fatalf("%v is not after %v", next, at)
				}
				// Asked from anywhere in between, the answer is the same.
				for _, step := range []time.Duration{1, (next.Sub(at)) / 3, next.Sub(at) - 1} {
					if got := schedule.Next(at.Add(step)); !got.Equal(next) {
						t.Fatalf("Next(%v) = %v, want %v", at.Add(step), got, next)
					}
				}
				at = next
			}
		})
	}
}

func TestSpreadPlacesAgentsApart(t *testing.T) {
	seen := map[time.Duration]bool{}
	early := 0
	for i := range 1000 {
		at := Spread(fmt.Sprintf("agent-%d", i), 10*time.Minute)
		if at < 0 || at >= 10*time.Minute {
			t.Fatalf("%v is outside the interval", at)
		}
		seen[at] = true
		if at < 5*time.Minute {
			early++
		}
	}
	if len(seen) < 990 || early < 420 || early > 580 {
		t.Errorf("1000 ids: %d places, %d in the first half", len(seen), early)
	}
	// The place is part of the record: a changed hash would move every slot.
	if got := Spread("coo", time.Hour); got != 3*time.Minute+23245*time.Millisecond || Spread("", time.Hour) != 0 {
		t.Errorf("coo is placed at %v", got)
	}
}

func TestCronSpreadStaysNearItsTime(t *testing.T) {
	exact, moved := cronOf(t, "0 9 * * *", "UTC", ""), cronOf(t, "0 9 * * *", "UTC", "lawyer")
	from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	shift := moved.Next(from).Sub(exact.Next(from))
	if shift <= 0 || shift >= maxCronSpread {
		t.Errorf("moved by %v", shift)
	}
}
