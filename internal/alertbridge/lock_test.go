package alertbridge_test

import (
	"errors"
	"log/slog"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// TestTwoBridgesDoNotShareAStore: each would send its cards.
func TestTwoBridgesDoNotShareAStore(t *testing.T) {
	s := settings{feishu: "http://127.0.0.1:1", dir: t.TempDir()}
	b := startBridge(t, s)
	o := alertbridge.Options{ConfigFile: writeConfig(t, s), Log: slog.New(slog.DiscardHandler)}
	if _, err := alertbridge.New(t.Context(), o); !errors.Is(err, sqlstore.ErrServed) {
		t.Errorf("a second bridge on the same store: %v", err)
	}
	b.stop()
	second, err := alertbridge.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
