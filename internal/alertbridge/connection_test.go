package alertbridge_test

import (
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestWhatIsNotWantedIsAbsent: alerts take a 0 of these for a failure, so there is
// no series where the configuration asks for nothing.
func TestWhatIsNotWantedIsAbsent(t *testing.T) {
	fs, am := newFeishu(t, feishu.Options{}), "http://"+freeAddress(t)
	s := settings{feishu: fs.url, dir: t.TempDir()}
	b := startBridge(t, s)
	metrics := []string{"alertbridge_callback_connected", "alertbridge_reconcile_last_success_timestamp_seconds"}
	for _, name := range metrics {
		if got := b.metric(name); got != "" {
			t.Errorf("%s is %q, want it absent", name, got)
		}
	}
	if err := fs.AddFault(feishu.Fault{Kind: feishu.FaultOutage, Ops: []feishu.Op{feishu.OpConnect}}); err != nil {
		t.Fatal(err)
	}
	s.operators, s.alertmanager = "ou_ana", am // neither of the two answers
	b.reload(t, s)
	for _, name := range metrics {
		if got := b.metric(name); got != "0" {
			t.Errorf("%s is %q, want 0", name, got)
		}
	}
	s.operators, s.alertmanager = "", ""
	b.reload(t, s)
	for _, name := range metrics {
		if got := b.metric(name); got != "" {
			t.Errorf("%s is %q after a reload, want it absent", name, got)
		}
	}
}
