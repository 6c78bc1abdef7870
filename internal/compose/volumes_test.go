package compose

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestGiveData(t *testing.T) {
	root := t.TempDir()
	for _, service := range []string{"heartbeat", "grafana"} {
		if err := os.Mkdir(filepath.Join(root, service), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	owners := map[string]int{"heartbeat": os.Getuid(), "grafana": os.Getuid()}
	if os.Getuid() == 0 {
		owners["heartbeat"] = 10004
	}
	if err := GiveData(root, owners); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(root, "heartbeat"))
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || int(stat.Uid) != owners["heartbeat"] {
		t.Errorf("heartbeat's data belongs to %+v", info.Sys())
	}
	if err := GiveData(root, map[string]int{"prometheus": os.Getuid()}); err == nil || !strings.Contains(err.Error(), "giving prometheus its data") {
		t.Errorf("without a volume: %v", err)
	}
}

// TestOwnersAreTheUsers compares the owners with who runs, and with init's mounts.
func TestOwnersAreTheUsers(t *testing.T) {
	all := services(t)
	for name, uid := range Owners() {
		s, ok := all[name]
		if got, _, _ := strings.Cut(s.User, ":"); !ok || got != strconv.Itoa(uid) {
			t.Errorf("%s runs as %q, its data belong to %d", name, s.User, uid)
		}
	}
	for name, s := range all {
		for _, v := range s.Volumes {
			volume, _, _ := strings.Cut(v, ":")
			if _, owned := Owners()[volume]; volume == name && !owned {
				t.Errorf("nobody is the owner of %s's data", name)
			}
		}
	}
	for name := range Owners() {
		if want := name + ":/data/" + name; !strings.Contains(strings.Join(all["init"].Volumes, "\n")+"\n", want+"\n") {
			t.Errorf("init does not mount %s", want)
		}
	}
}

func TestInstallHealthcheck(t *testing.T) {
	dir := t.TempDir()
	for range 2 {
		if err := InstallHealthcheck(dir); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "healthcheck"), "-test.list", "^TestInstallHealthcheck$").CombinedOutput(); err != nil || !strings.Contains(string(out), "TestInstallHealthcheck") {
		t.Errorf("the copy does not run: %s, %v", out, err)
	}
}
