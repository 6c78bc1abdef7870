package worklist

import (
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

var epoch = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

func at(minutes int) time.Time { return epoch.Add(time.Duration(minutes) * time.Minute) }

func TestProgressIsAChangeOfTheMark(t *testing.T) {
	task := func(mark string, touched int) tasksource.Task {
		return tasksource.Task{Mark: mark, State: tasksource.InProgress, Touched: at(touched)}
	}
	first := Record{}.Seen(task("a", -300), at(0))
	for name, c := range map[string]struct {
		before Record
		task   tasksource.Task
		now    int
		want   time.Time
	}{
		"first seen: when it was touched":           {Record{}, task("a", -300), 0, at(-300)},
		"first seen, touched in the future":         {Record{}, task("a", 60), 0, at(0)},
		"first seen, not known when touched":        {Record{}, tasksource.Task{Mark: "a"}, 0, at(0)},
		"nothing new":                               {first, task("a", -300), 10, at(-300)},
		"touched alone is no progress":              {first, task("a", 9), 10, at(-300)},
		"a new mark: when it was touched":           {first, task("b", 9), 10, at(9)},
		"a new mark, touched in the future":         {first, task("b", 90), 10, at(10)},
		"a new mark in an older file, as by rename": {first, task("b", -400), 10, at(10)},
	} {
		if got := c.before.Seen(c.task, at(c.now)); !got.ProgressAt.Equal(c.want) {
			t.Errorf("%s: %s, want %s", name, got.ProgressAt, c.want)
		}
	}
	if !first.StartedAt.Equal(at(-300)) {
		t.Errorf("started %s", first.StartedAt)
	}
	if again := first.Seen(task("a", -300), at(59)); again != first {
		t.Errorf("reading alone changes the record: %+v", again)
	}
}

// TestStall walks beats and readings: t is a beat, a letter a reading with that mark.
func TestStall(t *testing.T) {
	for name, c := range map[string]struct {
		steps []string
		want  []Stall
	}{
		"progress in time":               {[]string{"a", "beat", "b", "beat"}, []Stall{"", "", "", ""}},
		"one beat suspects":              {[]string{"a", "wait", "beat"}, []Stall{"", "", Suspected}},
		"the second confirms":            {[]string{"a", "wait", "beat", "beat", "beat"}, []Stall{"", "", Suspected, Confirmed, Confirmed}},
		"progress in between clears":     {[]string{"a", "wait", "beat", "b", "beat"}, []Stall{"", "", Suspected, "", ""}},
		"reading alone confirms nothing": {[]string{"a", "wait", "beat", "a", "a"}, []Stall{"", "", Suspected, Suspected, Suspected}},
		"recovery stays until progress":  {[]string{"a", "wait", "beat", "beat", "recover", "beat", "a", "b", "wait", "beat", "beat"}, []Stall{"", "", Suspected, Confirmed, Recovering, Recovering, Recovering, "", "", Suspected, Confirmed}},
		"put back to todo":               {[]string{"a", "wait", "beat", "beat", "todo", "beat"}, []Stall{"", "", Suspected, Confirmed, "", ""}},
	} {
		r, now := Record{}, at(0)
		for i, step := range c.steps {
			now = now.Add(time.Minute)
			switch step {
			case "wait":
				now = now.Add(20 * time.Minute)
			case "beat":
				r = r.Beaten(20*time.Minute, now)
			case "recover":
				r.Stall = Recovering
			case "todo":
				r = r.Seen(tasksource.Task{Mark: "todo", State: tasksource.Todo, Touched: now}, now)
			default:
				r = r.Seen(tasksource.Task{Mark: step, State: tasksource.InProgress, Touched: now}, now)
			}
			if r.Stall != c.want[i] {
				t.Errorf("%s: after step %d (%s): %q, want %q", name, i+1, step, r.Stall, c.want[i])
			}
		}
	}
	old := Record{State: tasksource.InProgress, ProgressAt: at(-10000)}
	if got := old.Beaten(0, at(0)); got.Stall != NotStalled {
		t.Error("a timeout of 0 turns it off")
	}
}

func TestRounds(t *testing.T) {
	r := Record{}
	for i := range 3 {
		if r.Paused(3) {
			t.Fatalf("paused after %d rounds", i)
		}
		r = r.Spent(3, at(i))
	}
	if !r.Paused(3) || !r.PausedAt.Equal(at(2)) || !r.Paused(100) || !r.Paused(0) {
		t.Errorf("at its limit: %+v", r)
	}
	if r := (Record{Rounds: 7}); r.Paused(0) || r.Paused(8) || !r.Paused(7) || !r.Paused(5) {
		t.Error("a limit that was changed counts at once; 0 is none")
	}
}
