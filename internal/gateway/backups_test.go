package gateway_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backup"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// TestBackupAndRestore: what was recorded up to a backup is there again after a
// restore, and its sums; what came later is in the store that is kept.
func TestBackupAndRestore(t *testing.T) {
	p := newProviders(t, provider.Options{})
	dir := t.TempDir()
	config := writeConfig(t, settings{providers: p.url, dir: dir, extra: "backup: {dir: kept, every: 1h, keep: 2h}"})
	g := start(t, config)
	if !testtool.Eventually(t, func() bool { return g.metric("gateway_last_backup_timestamp_seconds") > "1" }) {
		t.Error("no backup at the start by the metric")
	}
	if got := g.metric("gateway_backup_interval_seconds"); got != "3600" {
		t.Errorf("the interval is %q", got)
	}
	g.post(chat(false))
	g.post(chat(true))
	var made backup.Backup
	if a := g.admin(http.MethodPost, "/api/admin/backup", adminKey, nil); a.status != http.StatusCreated || json.Unmarshal([]byte(a.body), &made) != nil || made.SizeBytes == 0 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, token := range []string{"", readKey} {
		if a := g.admin(http.MethodPost, "/api/admin/backup", token, nil); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("a backup with token %q: %d", token, a.status)
		}
	}
	var listed []backup.Backup
	if a := g.admin(http.MethodGet, "/api/admin/backups", readKey, &listed); a.status != http.StatusOK || len(listed) != 2 || listed[0] != made {
		t.Errorf("listed %+v, want %+v first of two", listed, made)
	}
	g.post(chat(false))
	own := filepath.Join(dir, "own.db")
	if code, out := run(t, "backup", "-config", config, "--to", own); code != 0 || !strings.Contains(out, own) {
		t.Errorf("beside a running gateway: %d, %s", code, out)
	}
	file := filepath.Join(dir, "kept", made.Name)
	if code, out := run(t, "restore", "-config", config, file); code == 0 || !strings.Contains(out, "another process serves this store") {
		t.Errorf("beside a running gateway: %d, %s", code, out)
	}
	g.stop()
	for bad, want := range map[string]string{filepath.Join(dir, "none.db"): "no such file", config: "not a store"} {
		if code, out := run(t, "restore", "-config", config, bad); code != 1 || !strings.Contains(out, want) || !strings.Contains(out, "nothing was changed") {
			t.Errorf("restoring %s: %d, %s", bad, code, out)
		}
	}
	code, out := run(t, "restore", "-config", config, file)
	if code != 0 || !strings.Contains(out, "schema version") || !strings.Contains(out, ".before-restore-") {
		t.Fatalf("%d, %s", code, out)
	}
	g = start(t, config)
	g.holds(2)
	g.stop()
	if code, out := run(t, "restore", "-config", config, own); code != 0 {
		t.Fatal(out)
	}
	g = start(t, config)
	g.holds(3)
	former, err := filepath.Glob(filepath.Join(dir, "*.before-restore-*Z"))
	if err != nil || len(former) != 2 {
		t.Errorf("former stores: %v, %v", former, err)
	}
	if info, err := os.Stat(own); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup's mode: %v, %v", info, err)
	}
}

// holds checks how many requests the ledger holds, by its rows and by its sums.
func (g *running) holds(want int64) {
	g.t.Helper()
	var rows []admin.Request
	var total admin.Total
	g.get("/api/admin/requests", &rows)
	g.get("/api/admin/stats/total", &total)
	if int64(len(rows)) != want || total.Requests != want {
		g.t.Errorf("%d rows, sums of %d, want %d", len(rows), total.Requests, want)
	}
}
