package stack

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// generated are the secrets that the first start makes. Each program is given
// only those that it needs.
var generated = []string{
	"alertbridge_webhook_token", "alertbridge_admin_token",
	"heartbeat_token", "heartbeat_read_token", "heartbeat_ping_key",
	"watchdog_ping_key", "bridge_ping_key", "exporter_token", "sandbox_feishu_secret", "sandbox_ops_hook",
	"gateway_admin_token", "gateway_read_token", encryptionKey,
	"client_coo", "client_secretary", "client_opengineer", "client_projectmanager", "client_costcodev", "client_productmanager", "client_architect",
	"client_designer", "client_contentspecialist", "client_cvexpert", "client_prompt-engineer", "client_mediaspecialist", "client_taobaospecialist",
	"client_marketanalysis", "client_lawyer",
}

// encryptionKey opens what the gateway's database holds.
const encryptionKey = "gateway_encryption_key"

// makeSecrets makes the secrets that are not there yet and returns how many it
// made. An existing secret is never replaced.
func (l Layout) makeSecrets() (int, error) {
	if err := CheckEncryptionKey(l.secret(encryptionKey), filepath.Join(l.data(Gateway), "gateway.db")); err != nil {
		return 0, err
	}
	made := 0
	for _, name := range generated {
		fresh, err := MakeSecret(l.secret(name))
		if err != nil {
			return made, err
		}
		if fresh {
			made++
		}
	}
	// Alertmanager takes a ping URL from a file, so that its configuration holds
	// no key. The address may change between starts, the key does not.
	for file, of := range map[string]struct{ key, suffix string }{
		"watchdog_ping_url":    {"watchdog_ping_key", ""},
		"bridge_ping_fail_url": {"bridge_ping_key", "/fail"},
	} {
		key, err := l.Secret(of.key)
		if err != nil {
			return made, err
		}
		if err := os.WriteFile(l.secret(file), []byte(l.URL(Heartbeat)+"/ping/"+key+of.suffix), 0o600); err != nil {
			return made, fmt.Errorf("writing a ping URL: %w", err)
		}
	}
	return made, nil
}

// MakeSecret writes a fresh secret to the file, readable by its owner only, and
// reports whether it did: an existing file is left alone.
func MakeSecret(file string) (bool, error) {
	if _, err := os.Stat(file); err == nil {
		return false, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("looking for a secret: %w", err)
	}
	bytes := make([]byte, 32)
	if _, err := rand.Read(bytes); err != nil {
		return false, fmt.Errorf("making a secret: %w", err)
	}
	if err := os.WriteFile(file, []byte(hex.EncodeToString(bytes)), 0o600); err != nil {
		return false, fmt.Errorf("writing a secret: %w", err)
	}
	return true, nil
}

// CheckEncryptionKey refuses to go on where the key is missing beside a database
// that was encrypted with it: a fresh key would make its secrets unreadable.
func CheckEncryptionKey(key, database string) error {
	if _, err := os.Stat(database); err != nil {
		return nil //nolint:nilerr // no database, nothing to lose
	}
	if _, err := os.Stat(key); err != nil {
		return fmt.Errorf("the gateway's database %s is there, but its encryption key %s is not: restore the key, or move the database away to start anew", database, key)
	}
	return nil
}

// Secrets lists the secrets that the first start makes.
func Secrets() []string { return slices.Clone(generated) }
