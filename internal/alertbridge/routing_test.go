package alertbridge_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// TestWhoSawItBegin: routing that changes while an alert fires tells nobody less of
// it: who was shown the firing is shown the end.
func TestWhoSawItBegin(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	s := settings{feishu: fs.url, dir: t.TempDir()}
	b := startBridge(t, s)
	x := down("a", "critical", time.Now().Add(-time.Minute))
	b.post(payload(group("a"), x))
	fs.waitCards(t, "red")
	s.severity = "severity: {critical: [coo], default: [coo]}"
	writeConfig(t, s)
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, text)
	}
	b.post(payload(group("a"), x.up(time.Now())))
	fs.waitCards(t, "green", "green") // and the new receiver, which had not heard of it
}
