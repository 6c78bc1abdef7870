package compose

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// volumes are the mount points that init expects, and uids lets everything belong
// to whoever runs the test.
func volumes(t *testing.T) (root string, uids map[string]int) {
	t.Helper()
	root, uids = t.TempDir(), map[string]int{}
	for _, h := range Holders() {
		uids[h.Service] = os.Getuid()
		if err := os.Mkdir(filepath.Join(root, h.Service), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(root, all), 0o755); err != nil {
		t.Fatal(err)
	}
	return root, uids
}

// data is the folder of the services' data; nothing is there unless a test makes it.
func data(root string) string { return filepath.Join(root, "data") }

func TestPrepareNeverMakesAKeyBesideADatabase(t *testing.T) {
	root, uids := volumes(t)
	if err := os.MkdirAll(filepath.Join(data(root), "gateway"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data(root), "gateway", "gateway.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := Prepare(root, data(root), uids); err == nil || made != 0 || !strings.Contains(err.Error(), "encryption key") {
		t.Errorf("%d made, %v", made, err)
	}
}

func TestPrepare(t *testing.T) {
	root, uids := volumes(t)
	if _, err := Secret(root, "heartbeat_ping_key"); err == nil || !strings.Contains(err.Error(), "has not been made yet") {
		t.Errorf("before the first start: %v", err)
	}
	made, err := Prepare(root, data(root), uids)
	if err != nil || made != len(Names()) {
		t.Fatalf("first start: %d made, %v", made, err)
	}
	key, err := Secret(root, "heartbeat_ping_key")
	if err != nil || len(key) != 64 {
		t.Fatalf("secret %q, %v", key, err)
	}
	if _, err := Secret(root, "../heartbeat/heartbeat_token"); err == nil {
		t.Error("a path was taken for a name")
	}
	stray := filepath.Join(root, "exporter", "heartbeat_token")
	if err := os.WriteFile(stray, []byte("no longer needed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if made, err := Prepare(root, data(root), uids); err != nil || made != 0 {
		t.Errorf("second start: %d made, %v", made, err)
	}
	if _, err := os.Stat(stray); !os.IsNotExist(err) {
		t.Errorf("what exporter does not need is still there: %v", err)
	}
	for _, h := range Holders() {
		for _, file := range h.Files {
			path := filepath.Join(root, h.Service, file)
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o400 {
				t.Errorf("%s: %v, %v, want mode 0400", path, info, err)
			}
			text, _ := os.ReadFile(path)
			want, err := Secret(root, keyOf(file))
			if err != nil || !strings.Contains(string(text), want) {
				t.Errorf("%s does not hold %s (%v)", path, keyOf(file), err)
			}
		}
	}
	url, _ := os.ReadFile(filepath.Join(root, "alertmanager", "bridge_ping_fail_url"))
	if bridge, _ := Secret(root, "bridge_ping_key"); string(url) != "http://heartbeat:9095/ping/"+bridge+"/fail" {
		t.Errorf("the bridge's ping URL is %s", url)
	}
}

func TestPrepareGivesFilesAway(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("skipped: only root can give files away")
	}
	root, _ := volumes(t)
	if _, err := Prepare(root, data(root), map[string]int{"heartbeat": 1234}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{"heartbeat/heartbeat_token": 1234, "grafana/" + GrafanaPassword: 472, "all/heartbeat_token": 0} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != want {
			t.Errorf("%s belongs to %v, want %d", path, info.Sys(), want)
		}
	}
}

func TestPrepareNeedsTheVolumes(t *testing.T) {
	root, uids := volumes(t)
	if err := os.Remove(filepath.Join(root, "grafana")); err != nil {
		t.Fatal(err)
	}
	if _, err := Prepare(root, data(root), uids); err == nil || !strings.Contains(err.Error(), "handing secrets to grafana") {
		t.Errorf("without a volume: %v", err)
	}
}
