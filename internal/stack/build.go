package stack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Tool is a pinned program of others that is built from the module proxy, in a
// module of its own under internal/tools.
type Tool struct {
	Name    string // of the binary
	Module  string // folder under internal/tools
	Package string
	Tags    string
	Version string // told to the linker, for -version
}

// Tools lists them. Versions of the modules themselves are in their go.mod.
func Tools() []Tool {
	return []Tool{
		{"alertmanager", "alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager", "", "0.31.1"},
		// remove_all_sd leaves out service discoveries, and two minutes of building.
		{"prometheus", "prometheus", "github.com/prometheus/prometheus/cmd/prometheus", "remove_all_sd", "3.15.0"},
		{"promtool", "prometheus", "github.com/prometheus/prometheus/cmd/promtool", "remove_all_sd", "3.15.0"},
		{"amtool", "amtool", "github.com/prometheus/alertmanager/cmd/amtool", "", "0.34.2"},
		{"node_exporter", "node_exporter", "github.com/prometheus/node_exporter", "", "1.12.1"},
	}
}

// BuildTools builds the named tools that are missing or out of date, all of
// them where no name is given. What it does is told on progress.
func BuildTools(ctx context.Context, root string, progress io.Writer, names ...string) error {
	for _, t := range Tools() {
		wanted := len(names) == 0
		for _, name := range names {
			wanted = wanted || name == t.Name
		}
		if !wanted {
			continue
		}
		if err := t.build(ctx, root, progress); err != nil {
			return err
		}
	}
	return nil
}

func (t Tool) build(ctx context.Context, root string, progress io.Writer) error {
	bin := filepath.Join(root, ".bin")
	stamp := filepath.Join(bin, "."+t.Name+".stamp")
	want, err := t.fingerprint(root)
	if err != nil {
		return err
	}
	if have, err := os.ReadFile(filepath.Clean(stamp)); err == nil && string(have) == want {
		if _, err := os.Stat(filepath.Join(bin, t.Name)); err == nil {
			return nil
		}
	}
	args := []string{"build", "-ldflags", "-s -w -X github.com/prometheus/common/version.Version=" + t.Version, "-o", bin + string(filepath.Separator)}
	if t.Tags != "" {
		args = append(args, "-tags", t.Tags)
	}
	if err := build(ctx, filepath.Join(root, "internal", "tools", t.Module), "building "+t.Name+" "+t.Version+" (once)", append(args, t.Package), progress); err != nil {
		return err
	}
	return os.WriteFile(stamp, []byte(want), 0o600)
}

// fingerprint changes with whatever the binary depends on.
func (t Tool) fingerprint(root string) (string, error) {
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%+v\n", t)
	for _, name := range []string{"go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, "internal", "tools", t.Module, name))
		if err != nil {
			return "", fmt.Errorf("reading the module of %s: %w", t.Name, err)
		}
		_, _ = hash.Write(text)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// BuildPrograms builds Fleetwatch's own programs and the stand-ins.
func BuildPrograms(ctx context.Context, root string, progress io.Writer) error {
	revision := "unknown"
	if out, err := exec.CommandContext(ctx, "git", "-C", root, "rev-parse", "HEAD").Output(); err == nil {
		revision = strings.TrimSpace(string(out))
	}
	return build(ctx, root, "building the programs",
		[]string{"build", "-ldflags", "-X github.com/fleetwatch/fleetwatch/internal/buildinfo.revision=" + revision,
			"-o", filepath.Join(root, ".bin") + string(filepath.Separator), "./cmd/...", "./internal/sandbox/sandboxd"}, progress)
}

// build runs the go command, telling how long it has taken.
func build(ctx context.Context, dir, what string, args []string, progress io.Writer) error {
	started := time.Now()
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = dir
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		return fmt.Errorf("%s: %w; is Go on the PATH?", what, err)
	}
	done := make(chan error, 1)
	go func() { done <- command.Wait() }()
	ticker := time.NewTicker(5 * time.Second)
	defer ticker.Stop()
	for {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", what, err, output.String())
			}
			_, _ = fmt.Fprintf(progress, "  %s: done in %s\n", what, time.Since(started).Round(100*time.Millisecond))
			return nil
		case <-ticker.C:
			_, _ = fmt.Fprintf(progress, "  %s: %s so far\n", what, time.Since(started).Round(time.Second))
		}
	}
}
