package compose

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Owners says whose each service's data is, by user.
func Owners() map[string]int {
	return map[string]int{
		"alertbridge": 10003, "alertmanager": 65534, "gateway": 10001, "grafana": 472, "heartbeat": 10004, "prometheus": 65534, "sandbox-agents": 10010, "sandbox-feishu": 10010,
	}
}

// GiveData gives each service the folder of its data below root, whatever the image
// made of it. What is in the folders is the service's own and stays as it is.
func GiveData(root string, owners map[string]int) error {
	for service, uid := range owners {
		if err := os.Chown(filepath.Join(root, service), uid, -1); err != nil {
			return fmt.Errorf("giving %s its data: %w", service, err)
		}
	}
	return nil
}

// InstallHealthcheck copies this program to dir, for containers of images that have
// nothing to ask an address with.
func InstallHealthcheck(dir string) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	from, err := os.Open(filepath.Clean(self))
	if err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	defer func() { _ = from.Close() }()
	fresh := filepath.Join(dir, "healthcheck.new")
	to, err := os.OpenFile(filepath.Clean(fresh), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755) //nolint:gosec // everybody may run it
	if err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	if _, err := io.Copy(to, from); err != nil {
		_ = to.Close() // the copy's error tells more
		return fmt.Errorf("copying this program: %w", err)
	}
	if err := to.Close(); err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	return os.Rename(fresh, filepath.Join(dir, "healthcheck"))
}
