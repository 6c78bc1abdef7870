package alertbridge_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// TestASecondBridgeIsRefused: two would send each card twice.
func TestASecondBridgeIsRefused(t *testing.T) {
	fs, dir := newFeishu(t, feishu.Options{}), t.TempDir()
	s := settings{feishu: fs.url, dir: dir}
	b := startBridge(t, s)
	second, err := alertbridge.New(t.Context(), alertbridge.Options{ConfigFile: writeConfig(t, s), Log: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, sqlstore.ErrServed) || !strings.Contains(err.Error(), "store.url") {
		t.Errorf("a second bridge on the same store: %v, %v", second, err)
	}
	b.post(payload(group("a"), down("a", "critical", time.Now())))
	fs.waitCards(t, "red 🚨 [CRITICAL] a is down")
	b.stop()
	startBridge(t, s)
}

// TestReloadsAtOnce: whoever reloads, by a signal or a request, the file as it was
// when the last one began is in force.
func TestReloadsAtOnce(t *testing.T) {
	fs, dir := newFeishu(t, feishu.Options{}), t.TempDir()
	s := settings{feishu: fs.url, dir: dir}
	b := startBridge(t, s)
	for i := range 60 {
		var wait sync.WaitGroup
		for range 3 {
			wait.Go(func() {
				if err := b.Reload(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		s.dir = t.TempDir()
		s.receivers = standardReceivers + fmt.Sprintf("  - name: number-%d\n", i)
		if err := os.Rename(writeConfig(t, s), dir+"/alertbridge.yaml"); err != nil {
			t.Fatal(err)
		}
		wait.Go(func() {
			if err := b.Reload(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wait.Wait()
		if _, text := b.do(http.MethodGet, "/api/receivers", "admin-token-value", ""); !strings.Contains(text, fmt.Sprintf("number-%d", i)) {
			t.Fatalf("after reload %d: %s", i, text)
		}
	}
}
