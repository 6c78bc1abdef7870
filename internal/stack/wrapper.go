package stack

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// WriteWrappers writes DIR/bin/NAME for each of Fleetwatch's programs: a script
// that calls it with the configuration and environment of this suite, so that
// `.run/up/bin/heartbeat status` works in a terminal and in a crontab. The
// scripts may hold secrets; only this user can read them.
func (p Plan) WriteWrappers() error {
	dir := filepath.Join(p.Layout.Dir, "bin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("writing the wrappers: %w", err)
	}
	for _, name := range []string{Gateway, Heartbeat, Exporter, AlertBridge} {
		s, ok := p.Service(name)
		if !ok {
			return fmt.Errorf("writing the wrappers: no service %q", name)
		}
		var b strings.Builder
		b.WriteString("#!/bin/sh\n")
		for _, entry := range s.Env {
			key, value, _ := strings.Cut(entry, "=")
			fmt.Fprintf(&b, "export %s=%s\n", key, quote(value))
		}
		b.WriteString("exec")
		for _, arg := range s.Argv {
			b.WriteString(" " + quote(arg))
		}
		b.WriteString(" \"$@\"\n")
		if err := os.WriteFile(filepath.Join(dir, name), []byte(b.String()), 0o700); err != nil { //nolint:gosec // a script, for this user only
			return fmt.Errorf("writing the wrappers: %w", err)
		}
	}
	return nil
}

// quote makes text one word of a POSIX shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
