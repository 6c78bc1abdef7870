package compose

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// all is the volume that only init sees; it holds the secrets themselves.
const all = "all"

// encryptionKey opens what the gateway's database holds.
const encryptionKey = "gateway_encryption_key"

// GrafanaPassword is the one secret that the native suite does not have.
const GrafanaPassword = "grafana_admin_password"

// Holder is a service that is given secrets, in a volume of its own.
type Holder struct {
	Service string
	UID     int // of its user, who owns the files
	Files   []string
}

// Holders lists them. Each is given what it needs and nothing else.
func Holders() []Holder {
	return []Holder{
		{"alertbridge", 10003, []string{"alertbridge_webhook_token", "alertbridge_admin_token"}},
		{"alertmanager", 65534, []string{"alertbridge_webhook_token", "watchdog_ping_url", "bridge_ping_fail_url"}},
		{"exporter", 10002, []string{"exporter_token", "heartbeat_read_token"}},
		{"gateway", 10001, append([]string{"gateway_admin_token", "gateway_read_token", encryptionKey}, clientKeys()...)},
		{"grafana", 472, []string{GrafanaPassword}},
		{"heartbeat", 10004, []string{"heartbeat_token", "heartbeat_read_token", "heartbeat_ping_key", "watchdog_ping_key", "bridge_ping_key"}},
		{"sandbox-agents", 10010, append([]string{"heartbeat_ping_key"}, clientKeys()...)},
	}
}

// clientKeys are the gateway's keys of the shipped roster's agents.
func clientKeys() []string {
	return slices.DeleteFunc(stack.Secrets(), func(name string) bool { return !strings.HasPrefix(name, "client_") })
}

// derived are files that hold a secret inside an address, for programs that take
// the whole address from a file.
func derived() map[string]func(secret string) string {
	return map[string]func(string) string{
		"watchdog_ping_url":    func(key string) string { return "http://heartbeat:9095/ping/" + key },
		"bridge_ping_fail_url": func(key string) string { return "http://heartbeat:9095/ping/" + key + "/fail" },
	}
}

// keyOf returns the secret behind a file.
func keyOf(file string) string {
	switch file {
	case "watchdog_ping_url":
		return "watchdog_ping_key"
	case "bridge_ping_fail_url":
		return "bridge_ping_key"
	default:
		return file
	}
}

// Names lists the secrets, without what is derived from them.
func Names() []string {
	var names []string
	for _, h := range Holders() {
		for _, file := range h.Files {
			names = append(names, keyOf(file))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Secret reads a secret from the volumes below root.
func Secret(root, name string) (string, error) {
	if !slices.Contains(Names(), name) {
		return "", fmt.Errorf("there is no secret %q; there are %q", name, Names())
	}
	text, err := os.ReadFile(filepath.Join(root, all, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s has not been made yet; start the suite first", name)
	}
	if err != nil {
		return "", fmt.Errorf("reading a secret: %w", err)
	}
	return string(text), nil
}

// Prepare makes the secrets that are missing and hands each holder its own; the
// holders' volumes are folders of their names below root. uids replace the users
// of holders that run elsewhere. It returns how many secrets it made. It refuses to
// make an encryption key where the gateway's database is there already, in the folder
// of its service below data.
//
// An existing secret is never replaced; the holders' files are written each time.
func Prepare(root, data string, uids map[string]int) (made int, err error) {
	if err := stack.CheckEncryptionKey(filepath.Join(root, all, encryptionKey), filepath.Join(data, "gateway", "gateway.db")); err != nil {
		return 0, err
	}
	for _, name := range Names() {
		fresh, err := stack.MakeSecret(filepath.Join(root, all, name))
		if err != nil {
			return made, err
		}
		if fresh {
			made++
		}
	}
	for _, h := range Holders() {
		if uid, ok := uids[h.Service]; ok {
			h.UID = uid
		}
		if err := h.fill(root); err != nil {
			return made, fmt.Errorf("handing secrets to %s: %w", h.Service, err)
		}
	}
	return made, nil
}

func (h Holder) fill(root string) error {
	dir := filepath.Join(root, h.Service)
	for _, file := range h.Files {
		text, err := Secret(root, keyOf(file))
		if err != nil {
			return err
		}
		if address := derived()[file]; address != nil {
			text = address(text)
		}
		if err := put(filepath.Join(dir, file), []byte(text), h.UID); err != nil {
			return err
		}
	}
	return removeOthers(dir, h.Files)
}

// put replaces a file as a whole, so that no reader sees a part of it. The mode
// is set while the file is still ours: what belongs to another cannot be changed
// without more privileges.
func put(path string, text []byte, uid int) error {
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(fresh, text, 0o400); err != nil {
		return err
	}
	if err := os.Chown(fresh, uid, -1); err != nil {
		return err
	}
	return os.Rename(fresh, path)
}

// removeOthers takes away what the holder no longer needs.
func removeOthers(dir string, keep []string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !slices.Contains(keep, e.Name()) {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
