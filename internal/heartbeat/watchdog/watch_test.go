package watchdog

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/notify"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

type rig struct {
	*Watch
	t      *testing.T
	clock  time.Time
	record *ledger.Ledger
	path   string
	kicked int
}

func watchdogCheck() Check {
	return Check{Name: "watchdog", Key: "k", Every: time.Minute, Grace: 4 * time.Minute, Notify: []string{"bot", "mail"}}
}

func bridgeCheck() Check {
	return Check{Name: "bridge", Key: "b", Every: 0, ClearAfter: 5 * time.Minute, Notify: []string{"bot"}}
}

func newRig(t *testing.T, checks ...Check) *rig {
	t.Helper()
	r := &rig{t: t, clock: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), path: filepath.Join(t.TempDir(), "h.db")}
	r.open(checks)
	t.Cleanup(func() { _ = r.record.Close() })
	return r
}

func (r *rig) open(checks []Check) {
	r.t.Helper()
	var err error
	if r.record, err = ledger.Open(r.t.Context(), sqlstore.URL("sqlite:"+r.path)); err != nil {
		r.t.Fatal(err)
	}
	r.Watch = New(r.record, slog.New(slog.DiscardHandler), func() time.Time { return r.clock }, func() { r.kicked++ })
	if err := r.Set(r.t.Context(), checks); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) after(d time.Duration) *rig {
	r.clock = r.clock.Add(d)
	r.Tick(r.t.Context())
	return r
}

func (r *rig) ping(name string, kind liveness.Kind, body string) {
	r.t.Helper()
	if err := r.Ping(r.t.Context(), name, kind, body); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) state(name string) State {
	for _, s := range r.Snapshots() {
		if s.Name == name {
			return s.State
		}
	}
	r.t.Fatalf("no check %s", name)
	return State{}
}

// told takes all notices in order and returns "target:state/reason" of each.
func (r *rig) told() []string {
	r.t.Helper()
	var out []string
	for {
		notices, err := r.record.OpenNotices(context.WithoutCancel(r.t.Context()))
		if err != nil {
			r.t.Fatal(err)
		}
		if len(notices) == 0 {
			return out
		}
		for _, n := range notices {
			var m notify.Message
			if err := json.Unmarshal([]byte(n.Body), &m); err != nil {
				r.t.Fatal(err)
			}
			text := n.Target + ":" + m.State + "/" + m.Reason
			if m.Repeats {
				text += "+"
			}
			out = append(out, text)
			if err := r.record.EndNotice(r.t.Context(), n.ID, "sent", r.clock); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func (r *rig) expect(when string, want ...string) {
	r.t.Helper()
	if got := strings.Join(r.told(), " "); got != strings.Join(want, " ") {
		r.t.Errorf("%s: told %q, want %q", when, got, strings.Join(want, " "))
	}
}

func TestSilenceIsToldOnceAndRecoveryToo(t *testing.T) {
	r := newRig(t, watchdogCheck())
	r.ping("watchdog", liveness.PingSuccess, "")
	r.expect("first ping")
	r.after(5 * time.Minute)
	r.expect("inside the grace")
	r.after(time.Second)
	r.expect("silent", "bot:down/missed", "mail:down/missed")
	r.after(time.Hour)
	r.expect("still silent")
	if got := r.state("watchdog"); got.Status != StatusDown || got.Reason != reasonMissed {
		t.Errorf("got %+v", got)
	}
	r.ping("watchdog", liveness.PingSuccess, "")
	r.expect("back", "bot:up/pinged", "mail:up/pinged")
	if r.kicked != 2 {
		t.Errorf("kicked %d times", r.kicked)
	}
}

func TestACheckThatNeverPingsIsTold(t *testing.T) {
	r := newRig(t, watchdogCheck())
	if got := r.state("watchdog"); got.Status != StatusNew {
		t.Errorf("got %+v", got)
	}
	r.after(5*time.Minute + time.Second)
	r.expect("never came", "bot:down/missed", "mail:down/missed")
}

func TestStartLogAndProgressAreNoPings(t *testing.T) {
	r := newRig(t, watchdogCheck())
	r.ping("watchdog", liveness.PingSuccess, "")
	for range 4 {
		r.after(time.Minute)
		for _, kind := range []liveness.Kind{liveness.PingStart, liveness.PingLog, liveness.PingProgress} {
			r.ping("watchdog", kind, "")
		}
	}
	r.after(2 * time.Minute)
	r.expect("silent", "bot:down/missed", "mail:down/missed")
}

const fired = `{"version":"4","status":"firing","alerts":[
 {"status":"firing","labels":{"alertname":"AlertbridgeDown","severity":"critical"},"annotations":{"summary":"the bridge is gone"}},
 {"status":"resolved","labels":{"alertname":"Other"}}]}`

func TestFailuresOnly(t *testing.T) {
	r := newRig(t, bridgeCheck())
	r.after(48 * time.Hour)
	r.expect("no news")
	r.ping("bridge", liveness.PingFail, fired)
	r.expect("failed", "bot:down/failed")
	if got := r.state("bridge"); got.Detail != "AlertbridgeDown (critical): the bridge is gone" {
		t.Errorf("detail %q", got.Detail)
	}
	r.after(4 * time.Minute)
	r.ping("bridge", liveness.PingFail, fired)
	r.expect("the same again")
	r.ping("bridge", liveness.PingFail, strings.ReplaceAll(fired, "AlertbridgeDown", "AlertmanagerNotificationsFailing"))
	r.expect("another one joins", "bot:down/failed+")
	r.after(4 * time.Minute)
	r.expect("not yet")
	r.after(time.Minute)
	r.expect("cleared", "bot:up/no_further_failure")
	if got := r.state("bridge"); got.Status != StatusUp || !strings.Contains(got.Detail, "nothing says that all is well") {
		t.Errorf("got %+v", got)
	}
	r.ping("bridge", liveness.PingFail, "plain words")
	r.expect("failed again", "bot:down/failed")
}

// TestAnAlertThatComesBack: while another alert keeps the check down, one that was
// over and comes back is told again.
func TestAnAlertThatComesBack(t *testing.T) {
	r := newRig(t, bridgeCheck())
	other := strings.ReplaceAll(fired, "AlertbridgeDown", "BridgeReceiverUnconfigured")
	r.ping("bridge", liveness.PingFail, other)
	r.expect("the lasting one", "bot:down/failed")
	r.ping("bridge", liveness.PingFail, fired)
	r.expect("joins", "bot:down/failed+")
	for range 4 {
		r.after(time.Minute)
		r.ping("bridge", liveness.PingFail, other)
	}
	r.ping("bridge", liveness.PingFail, fired)
	r.expect("still the same failure")
	for range 6 {
		r.after(time.Minute)
		r.ping("bridge", liveness.PingFail, other)
	}
	r.expect("it was over meanwhile")
	r.ping("bridge", liveness.PingFail, fired)
	r.expect("and comes back", "bot:down/failed+")
}

func TestResolvedAlertsAreNoFailure(t *testing.T) {
	r := newRig(t, bridgeCheck())
	r.ping("bridge", liveness.PingFail, `{"status":"resolved","alerts":[{"status":"resolved","labels":{"alertname":"A"}}]}`)
	r.expect("resolved")
}

func TestStateAndNoticesSurviveARestart(t *testing.T) {
	r := newRig(t, watchdogCheck(), bridgeCheck())
	r.ping("watchdog", liveness.PingSuccess, "")
	r.ping("bridge", liveness.PingFail, "x")
	if err := r.record.Close(); err != nil {
		t.Fatal(err)
	}
	// Off for an hour: pings could not arrive.
	r.clock = r.clock.Add(time.Hour)
	r.open([]Check{watchdogCheck(), bridgeCheck()})
	r.Tick(t.Context())
	if got := r.state("watchdog"); got.Status != StatusUp {
		t.Errorf("silence while heartbeat was off counts: %+v", got)
	}
	r.expect("the undelivered notice, then the clearing", "bot:down/failed", "bot:up/no_further_failure")
	r.after(5*time.Minute + time.Second)
	r.expect("silent after the restart", "bot:down/missed", "mail:down/missed")
}

func TestSilenceWhileTheMachineSleptDoesNotCount(t *testing.T) {
	r := newRig(t, watchdogCheck())
	r.ping("watchdog", liveness.PingSuccess, "")
	r.clock = r.clock.Add(time.Hour)
	r.Absent(r.clock)
	r.after(time.Minute)
	r.expect("just woken")
	r.after(5 * time.Minute)
	r.expect("still silent", "bot:down/missed", "mail:down/missed")
}

func TestReloadKeepsStates(t *testing.T) {
	r := newRig(t, watchdogCheck())
	r.ping("watchdog", liveness.PingSuccess, "")
	r.after(6 * time.Minute)
	r.told()
	changed := watchdogCheck()
	changed.Every = 2 * time.Minute
	if err := r.Set(t.Context(), []Check{changed, bridgeCheck()}); err != nil {
		t.Fatal(err)
	}
	r.after(time.Minute)
	r.expect("after a reload")
	if got := r.state("watchdog"); got.Status != StatusDown {
		t.Errorf("got %+v", got)
	}
	if err := r.Ping(t.Context(), "gone", liveness.PingSuccess, ""); err == nil {
		t.Error("an unknown check took a ping")
	}
}

func TestParseReport(t *testing.T) {
	tests := map[string]struct {
		body, text string
		alerts     int
	}{
		"alertmanager": {fired, "AlertbridgeDown (critical): the bridge is gone", 1},
		"text":         {"  it broke\n", "it broke", 0},
		"empty":        {"", "", 0},
		"other json":   {`{"a":1}`, `{"a":1}`, 0},
		"cut json":     {fired[:80], fired[:80], 0},
		"bad utf-8":    {"a\xffb", "a\uFFFDb", 0},
	}
	for name, test := range tests {
		if got := ParseReport(test.body); got.Text != test.text || len(got.Alerts) != test.alerts {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	if got := ParseReport(strings.Repeat("界", 5000)).Text; len(got) > maxReport+10 || !strings.HasSuffix(got, "界 …") {
		t.Errorf("long text: %d bytes", len(got))
	}
}
