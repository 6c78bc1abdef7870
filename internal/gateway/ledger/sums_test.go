package ledger

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// at is a moment of 2026 in UTC; days begin eight hours earlier there.
func at(month time.Month, day, hour, minute int) time.Time {
	return time.Date(2026, month, day, hour, minute, 0, 0, time.UTC)
}

// filled holds seven requests, of four days and two months in China, behind others.
func filled(t *testing.T, others ...Row) *Ledger {
	t.Helper()
	l, _, _ := started(t, filepath.Join(t.TempDir(), "l.db"))
	for _, r := range append(others, []Row{
		{StartedAt: at(10, 31, 15, 59), Client: "ann", Backend: "a", Pool: "primary", Model: "m", Status: Completed, Cost: 1_000},
		{StartedAt: at(10, 31, 16, 0), Client: "ann", Backend: "a", Pool: "primary", Model: "m", Status: Completed, Cost: 100}, // the 1st in China
		{StartedAt: at(11, 22, 10, 0), Client: "ann", Backend: "a", Pool: "primary", Model: "m", Status: Completed, Cost: 10, Duration: 2 * time.Second, TTFB: time.Second,
			Usage: llm.Usage{Input: 1, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 1}},
		{StartedAt: at(11, 22, 10, 59), Client: "ann", Backend: "a", Pool: "primary", Model: "m", Status: Failed, Cost: 1, Duration: time.Second, Usage: llm.Usage{Input: 1}},
		{StartedAt: at(11, 22, 10, 30), Client: "bob", Backend: "b", Pool: "primary", Model: "n", Status: Completed, Cost: 5},
		{StartedAt: at(11, 22, 10, 30), Client: "bob", Backend: "c", Pool: "fallback", Model: "n", Status: Cancelled},
		{StartedAt: at(11, 22, 16, 0), Client: "bob", Model: "odd", Label: "other", Status: Interrupted, Cost: 7}, // the 23rd in China
	}...) {
		r.ID = l.NextID(r.StartedAt)
		commit(t, l, &r)
	}
	if err := l.fresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestHourly(t *testing.T) {
	l := filled(t)
	ann := Hour{At: at(11, 22, 10, 0), Backend: "a", Model: "m", Client: "ann", Sums: Sums{
		Requests: 2, Errors: 1, Usage: llm.Usage{Input: 2, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 1}, Cost: 11, Duration: 3 * time.Second, TTFB: time.Second, TTFBCount: 1,
	}}
	bob := Hour{At: at(11, 22, 10, 0), Backend: "b", Model: "n", Client: "bob", Sums: Sums{Requests: 1, Cost: 5}}
	gone := Hour{At: at(11, 22, 10, 0), Backend: "c", Model: "n", Client: "bob", Sums: Sums{Requests: 1}}
	odd := Hour{At: at(11, 22, 16, 0), Model: "other", Client: "bob", Sums: Sums{Requests: 1, Errors: 1, Cost: 7}}
	for name, c := range map[string]struct {
		window Window
		want   []Hour
	}{
		"since":             {Window{Since: at(11, 1, 0, 0)}, []Hour{odd, ann, bob, gone}},
		"begin later":       {Window{Since: at(11, 22, 10, 1)}, []Hour{odd}},
		"until":             {Window{Since: at(11, 1, 0, 0), Until: at(11, 22, 16, 0)}, []Hour{ann, bob, gone}},
		"a moment later":    {Window{Since: at(11, 22, 16, 0), Until: at(11, 22, 16, 1)}, []Hour{odd}},
		"backend":           {Window{Since: at(11, 1, 0, 0), Backend: "a"}, []Hour{ann}},
		"model":             {Window{Model: "other"}, []Hour{odd}},
		"client":            {Window{Since: at(11, 1, 0, 0), Client: "bob"}, []Hour{odd, bob, gone}},
		"all of it, nobody": {Window{Backend: "a", Client: "bob"}, []Hour{}},
	} {
		got, err := l.Hourly(t.Context(), c.window, nil)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		var after *Hour
		for i := range c.want { // page by page
			page := c.window
			page.Limit = 1
			got, err := l.Hourly(t.Context(), page, after)
			if diff := cmp.Diff(c.want[i:i+1], got); err != nil || diff != "" {
				t.Fatalf("%s, page %d: %v\n%s", name, i, err, diff)
			}
			after = &got[0]
		}
		want := Sums{}
		for _, h := range c.want {
			want.Add(h.Sums)
		}
		sums, err := l.Sums(t.Context(), c.window)
		if diff := cmp.Diff(want, sums); err != nil || diff != "" {
			t.Errorf("%s, sums: %v\n%s", name, err, diff)
		}
	}
}

func TestDailyTotalAndSpent(t *testing.T) {
	l := filled(t)
	day := func(month time.Month, day int) time.Time { return at(month, day, 0, 0) }
	odd := Day{Date: day(11, 23), Sums: Sums{Requests: 1, Errors: 1, Cost: 7}}
	fallback := Day{Date: day(11, 22), Pool: "fallback", Backends: 1, Sums: Sums{Requests: 1}}
	primary := Day{Date: day(11, 22), Pool: "primary", Backends: 2, Sums: Sums{Requests: 3, Errors: 1, Usage: llm.Usage{Input: 2, Output: 2, CacheRead: 3, CacheWrite: 4, Reasoning: 1}, Cost: 16}}
	first := Day{Date: day(11, 1), Pool: "primary", Backends: 1, Sums: Sums{Requests: 1, Cost: 100}}
	last := Day{Date: day(10, 31), Pool: "primary", Backends: 1, Sums: Sums{Requests: 1, Cost: 1_000}}
	bob := primary
	bob.Backends, bob.Sums = 1, Sums{Requests: 1, Cost: 5}
	for name, c := range map[string]struct {
		window Window
		want   []Day
	}{
		"all":     {Window{}, []Day{odd, fallback, primary, first, last}},
		"since":   {Window{Since: at(11, 21, 16, 0)}, []Day{odd, fallback, primary}},
		"later":   {Window{Since: at(11, 21, 16, 1)}, []Day{odd}},
		"until":   {Window{Until: at(11, 21, 16, 0)}, []Day{first, last}},
		"backend": {Window{Backend: "b"}, []Day{bob}},
		"client":  {Window{Client: "bob"}, []Day{odd, fallback, bob}},
	} {
		got, err := l.Daily(t.Context(), c.window, nil)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
		var after *Day
		for i := range c.want {
			page := c.window
			page.Limit = 1
			got, err := l.Daily(t.Context(), page, after)
			if diff := cmp.Diff(c.want[i:i+1], got); err != nil || diff != "" {
				t.Fatalf("%s, page %d: %v\n%s", name, i, err, diff)
			}
			after = &got[0]
		}
	}
	want := Sums{Requests: 7, Errors: 2, Usage: primary.Usage, Cost: 1_123}
	total, err := l.Total(t.Context())
	if diff := cmp.Diff(want, total); err != nil || diff != "" {
		t.Errorf("total: %v\n%s", err, diff)
	}
	for _, c := range []struct {
		now  time.Time
		want map[string]Spend
	}{
		{at(11, 22, 15, 59), map[string]Spend{"ann": {Day: 11, Month: 111}, "bob": {Day: 5, Month: 5}}},
		{at(11, 22, 16, 0), map[string]Spend{"ann": {Month: 111}, "bob": {Day: 7, Month: 12}}},
		{at(10, 31, 15, 0), map[string]Spend{"ann": {Day: 1_000, Month: 1_000}}},
		{at(12, 1, 0, 0), map[string]Spend{}},
	} {
		got, err := l.Spent(t.Context(), c.now)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("spent at %s: %v\n%s", c.now, err, diff)
		}
	}
}

func TestCooldowns(t *testing.T) {
	l := filled(t)
	begun := []CooldownEvent{
		{Backend: "a", StartedAt: at(11, 22, 10, 0), Consecutive: 1, Cooldown: 30 * time.Second, Summary: "429 slow down"},
		{Backend: "b", StartedAt: at(11, 22, 10, 0), Consecutive: 2, Cooldown: 1500 * time.Millisecond},
		{Backend: "a", StartedAt: at(11, 22, 11, 0), Consecutive: 3, Cooldown: time.Minute},
	}
	keep(t, l, begun)
	ended := begun[0]
	ended.EndedAt, ended.Cooldown = at(11, 22, 10, 1), time.Minute // it was made longer, and is over
	keep(t, l, []CooldownEvent{ended})
	for name, c := range map[string]struct {
		window Window
		want   []CooldownEvent
	}{
		"all":     {Window{}, []CooldownEvent{begun[2], ended, begun[1]}},
		"backend": {Window{Backend: "b"}, []CooldownEvent{begun[1]}},
		"since":   {Window{Since: at(11, 22, 10, 1)}, []CooldownEvent{begun[2]}},
		"until":   {Window{Until: at(11, 22, 11, 0)}, []CooldownEvent{ended, begun[1]}},
	} {
		var after *CooldownEvent
		for i := range c.want {
			page := c.window
			page.Limit = 1
			got, err := l.Cooldowns(t.Context(), page, after)
			if diff := cmp.Diff(c.want[i:i+1], got); err != nil || diff != "" {
				t.Fatalf("%s, page %d: %v\n%s", name, i, err, diff)
			}
			after = &got[0]
		}
		if got, err := l.Cooldowns(t.Context(), c.window, after); err != nil || len(got) != 0 {
			t.Errorf("%s, behind the last: %v, %v", name, got, err)
		}
	}
}

// keep stores events as the commits do.
func keep(t *testing.T, l *Ledger, events []CooldownEvent) {
	t.Helper()
	u := unsaved{events: events}
	if err := l.db.Write(t.Context(), func(tx *sql.Tx) error { return u.write(t.Context(), tx, time.Now()) }); err != nil {
		t.Fatal(err)
	}
}

func TestUnsavedEventsAreBounded(t *testing.T) {
	n := 0
	o := &Options{States: func() map[string][]byte { return nil }, Events: func() []CooldownEvent { n++; return []CooldownEvent{{Consecutive: n}} }}
	var u unsaved
	for range maxEvents + 5 {
		u.collect(o)
	}
	if len(u.events) != maxEvents || u.events[maxEvents-1].Consecutive != n {
		t.Errorf("%d events, the newest is number %d of %d", len(u.events), u.events[len(u.events)-1].Consecutive, n)
	}
}

func TestPins(t *testing.T) {
	l := filled(t)
	for _, r := range []Row{
		{ResponseID: "resp_1", Backend: "a", Status: Completed, StartedAt: at(11, 20, 0, 0)},
		{ResponseID: "resp_2", Backend: "a", Status: Completed, StartedAt: at(11, 22, 0, 0)},
		{ResponseID: "resp_2", Backend: "b", Status: Completed, StartedAt: at(11, 22, 0, 1)},
		{ResponseID: "resp_3", Status: Failed, StartedAt: at(11, 22, 0, 1)}, // nobody answered
	} {
		r.ID, r.Client = l.NextID(r.StartedAt), "coo"
		commit(t, l, &r)
	}
	if backend, ok, err := l.Pin(t.Context(), "somebody", "resp_1"); ok || err != nil {
		t.Errorf("somebody else's response is of %q, %v", backend, err)
	}
	check := func(id, want string) {
		t.Helper()
		if backend, ok, err := l.Pin(t.Context(), "coo", id); backend != want || ok != (want != "") || err != nil {
			t.Errorf("%s is of %q, %t, %v, want %q", id, backend, ok, err, want)
		}
	}
	check("resp_1", "a")
	check("resp_2", "b")
	check("resp_3", "")
	check("resp_4", "")
	if err := l.Sweep(t.Context(), at(11, 21, 0, 0)); err != nil {
		t.Fatal(err)
	}
	check("resp_1", "")
	check("resp_2", "b")
}

func TestSweepsDeleteWhatIsOldAndNoMore(t *testing.T) {
	var old []Row
	for i := range 3 * firstSweep {
		old = append(old, Row{StartedAt: at(9, 1, 0, i), Status: Completed, Client: fmt.Sprint(i), ResponseID: fmt.Sprint(i), Backend: "a"})
	}
	l := filled(t, old...)
	keep(t, l, []CooldownEvent{{Backend: "a", StartedAt: at(11, 1, 0, 0)}, {Backend: "a", StartedAt: at(11, 22, 11, 0)}})
	left := func(table string) (n int) {
		t.Helper()
		if err := l.db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM `+table).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := l.Sweep(t.Context(), at(11, 22, 10, 30)); err != nil {
		t.Fatal(err)
	}
	if n, pins := left("requests"), left("response_pins"); n != 4 || pins != 0 {
		t.Errorf("%d requests and %d pins are left, want 4 and none", n, pins)
	}
	if n := left("hourly"); n != 3*firstSweep+6 {
		t.Errorf("%d hours are left with their requests gone", n)
	}
	for more := true; more; { // few at a time, down to the very last
		hourly := hourlyByAge()
		err := l.db.Write(t.Context(), func(tx *sql.Tx) (err error) {
			more, err = hourly.delete(t.Context(), tx, hourOf(at(11, 22, 10, 0)), 3)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n := left("hourly"); n != 4 {
		t.Errorf("%d hours are left, want 4", n)
	}
	if err := l.SweepSums(t.Context(), at(11, 22, 10, 59)); err != nil {
		t.Fatal(err)
	}
	if hours, days, cooldowns := left("hourly"), left("daily"), left("cooldown_events"); hours != 4 || days != 4 || cooldowns != 1 {
		t.Errorf("%d hours, %d days and %d cooldowns are left, want 4, 4 and 1", hours, days, cooldowns)
	}
}

func TestSweepsAdapt(t *testing.T) {
	for _, c := range []struct {
		size int
		took time.Duration
		want int
	}{
		{100, sweepTarget, 100},
		{100, 2 * sweepTarget, 50},
		{100, 1000 * sweepTarget, 1},
		{1, time.Second, 1},
		{100, sweepTarget / 10, 151},
		{100, 0, 151},
		{1, 0, 2},
		{maxSweep, 0, maxSweep},
	} {
		if got := nextSweep(c.size, c.took); got != c.want {
			t.Errorf("after %d in %s: %d, want %d", c.size, c.took, got, c.want)
		}
	}
}

func TestReliability(t *testing.T) {
	l := filled(t)
	failed := func(backend string, class llm.Class, at time.Duration) Attempt {
		return Attempt{Outcome: OutcomeFailed, Backend: backend, Provider: "p", Class: class, HTTPStatus: 500, Error: "broken", Started: at}
	}
	var ids []ID
	for i, r := range []Row{
		{Status: Completed, Timeline: []Attempt{{Outcome: OutcomeSkipped, Backend: "z"}, failed("x", llm.ServerError, time.Second), {Outcome: OutcomeSucceeded, Backend: "y", TTFB: time.Second}}},
		{Status: Failed, Timeline: []Attempt{failed("x", llm.Timeout, 0), failed("x", llm.Timeout, time.Minute)}},
		{Status: Failed, Timeline: []Attempt{failed("x", llm.InvalidRequest, 0)}},
		{Status: Cancelled, Timeline: []Attempt{failed("x", llm.ClientCancelled, 0)}},
		{Status: Completed, Backend: "x", Detail: Detail{TTFBAttempt: 2 * time.Second, Provider: "p"}, Client: "eve", Model: "odd", Label: "other"},
		{Status: Interrupted, Backend: "x"},
	} {
		r.StartedAt = at(11, 23, 10, i)
		r.ID = l.NextID(r.StartedAt)
		ids = append(ids, r.ID)
		commit(t, l, &r)
	}
	since := at(11, 23, 0, 0)
	x := Reliability{Backend: "x", Provider: "p", Succeeded: 1, Failed: 3, Classes: map[llm.Class]int64{llm.ServerError: 1, llm.Timeout: 2, llm.InvalidRequest: 1, llm.ClientCancelled: 1},
		TTFB50: 2 * time.Second, TTFB95: 2 * time.Second,
		LastFailure: &Failure{At: at(11, 23, 10, 2), Request: ids[1], Class: llm.Timeout, HTTPStatus: 500, Error: "broken"}}
	y := Reliability{Backend: "y", Succeeded: 1, Classes: map[llm.Class]int64{}, TTFB50: time.Second, TTFB95: time.Second}
	only := Reliability{Backend: "x", Provider: "p", Succeeded: 1, Classes: map[llm.Class]int64{}, TTFB50: 2 * time.Second, TTFB95: 2 * time.Second}
	for name, c := range map[string]struct {
		window Window
		want   []Reliability
	}{
		"all":     {Window{Since: since}, []Reliability{x, y}},
		"backend": {Window{Since: since, Backend: "y"}, []Reliability{y}},
		"client":  {Window{Since: since, Client: "eve"}, []Reliability{only}},
		"model":   {Window{Since: since, Model: "other"}, []Reliability{only}},
		"until":   {Window{Since: since, Until: since.Add(time.Hour)}, nil},
	} {
		got, from, err := l.Reliability(t.Context(), c.window)
		for i := range got {
			got[i].ttfb = nil
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(Reliability{})); err != nil || diff != "" || !from.Equal(since) {
			t.Errorf("%s: since %s, %v\n%s", name, from, err, diff)
		}
	}
}

func TestQuantile(t *testing.T) {
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	if quantile(hundred, 50) != 50 || quantile(hundred, 95) != 95 || quantile(hundred[:1], 95) != 1 || quantile(nil, 50) != 0 {
		t.Error("not the values that so many percent are at or below")
	}
}
