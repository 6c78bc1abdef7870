// Command mutate breaks the guarantees of the programs one by one, in a copy of the
// source, and reports which breakage no test notices. `make mutate` runs it.
//
// Two kinds of breakages: those of the table in breakages.go, each of which stands for
// a promise and must turn a test red; and those that a mutation tool makes in the core
// packages, which are counted, and listed where they survive.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Breakage is a promise that is broken.
type Breakage struct {
	Promise string // that is broken by it
	File    string
	Old     string // stands once in File
	New     string
	Test    string // packages and flags of go test that must fail
}

// within bounds one run of tests: a breakage may make them hang.
const within = 4 * time.Minute

func main() {
	only := flag.String("only", "", "only breakages whose promise or file contains this `text`")
	tool := flag.Bool("tool", true, "run the mutation tool over the core packages too")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: mutate [flags]\n\nBreaks guarantees in a copy of the source and reports what no test notices.\n\nexample: go run ./internal/mutate -only ledger -tool=false\n\nflags:\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *only, *tool)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, tool bool) error {
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := copySource(ctx, dir); err != nil {
		return err
	}
	survived := 0
	for _, b := range breakages() {
		if !strings.Contains(b.Promise+b.File, only) {
			continue
		}
		verdict, err := play(ctx, dir, b)
		if err != nil {
			return err
		}
		if verdict == "SURVIVED" {
			survived++
		}
		fmt.Printf("%-9s %s (%s)\n", verdict, b.Promise, b.File)
	}
	if tool && only == "" {
		if err := unleash(ctx, dir); err != nil {
			return err
		}
	}
	if survived > 0 {
		return fmt.Errorf("%d broken promises were not noticed by their tests", survived)
	}
	return nil
}

// copySource copies what git knows, as it is in the working tree.
func copySource(ctx context.Context, dir string) error {
	out, err := exec.CommandContext(ctx, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		return fmt.Errorf("listing the source: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		raw, err := os.ReadFile(filepath.Clean(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted and not committed
		}
		if err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		info, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("copying: %w", err)
		}
		if err := os.WriteFile(to, raw, info.Mode().Perm()); err != nil { //nolint:gosec // names that git gives
			return fmt.Errorf("copying: %w", err)
		}
	}
	bin, err := filepath.Abs(".bin")
	if err != nil {
		return fmt.Errorf("finding the built tools: %w", err)
	}
	if err := os.Symlink(bin, filepath.Join(dir, ".bin")); err != nil {
		return fmt.Errorf("lending the built tools: %w", err)
	}
	return nil
}

// play breaks one promise, runs its tests, and mends it again.
func play(ctx context.Context, dir string, b Breakage) (verdict string, err error) {
	file := filepath.Join(dir, b.File)
	raw, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return "", fmt.Errorf("breaking %q: %w", b.Promise, err)
	}
	if n := strings.Count(string(raw), b.Old); n != 1 {
		return "", fmt.Errorf("breaking %q: the text stands %d times in %s, expected once; the table in internal/mutate/breakages.go has to follow the code:\n%s", b.Promise, n, b.File, b.Old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(raw), b.Old, b.New, 1)), 0o600); err != nil { //nolint:gosec // a file of our own table
		return "", fmt.Errorf("breaking %q: %w", b.Promise, err)
	}
	defer func() { err = errors.Join(err, os.WriteFile(file, raw, 0o600)) }() //nolint:gosec // as above
	if out, err := command(ctx, dir, append([]string{"vet"}, packages(b.Test)...)...); err != nil {
		return "", fmt.Errorf("breaking %q: it does not build, so no test could notice it:\n%s", b.Promise, out)
	}
	_, failed := command(ctx, dir, append([]string{"test", "-count=1", "-short"}, strings.Fields(b.Test)...)...)
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case failed == nil:
		return "SURVIVED", nil
	default:
		return "noticed", nil
	}
}

func packages(test string) []string {
	var out []string
	for word := range strings.FieldsSeq(test) {
		if strings.HasPrefix(word, "./") {
			out = append(out, word)
		}
	}
	return out
}

func command(ctx context.Context, dir string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	c := exec.CommandContext(ctx, "go", args...)
	c.Dir, c.WaitDelay = dir, 10*time.Second
	// The tests are children of the command, and would go on without it.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	out, err := c.CombinedOutput()
	return string(out), err
}

// core are the packages that the mutation tool goes over: those whose own tests hold
// all that they promise.
func core() []string {
	return []string{
		"internal/gateway/backend", "internal/gateway/limit", "internal/gateway/queue", "internal/gateway/request", "internal/gateway/jsonscan",
		"internal/gateway/sse", "internal/gateway/llm", "internal/gateway/pool", "internal/heartbeat/slot", "internal/exporter/verdict", "internal/alertbridge/card",
	}
}

// unleash runs the mutation tool and prints what survived. Survivors of this kind are
// for people to look at: many of them change nothing that can be observed.
func unleash(ctx context.Context, dir string) error {
	for _, pkg := range core() {
		fmt.Printf("\n%s\n", pkg)
		c := exec.CommandContext(ctx, filepath.Join(dir, ".bin", "gremlins"), "unleash", "./"+pkg, "--workers", "2", "-S", "lt")
		c.Dir, c.Stdout, c.Stderr = dir, os.Stdout, os.Stderr
		if err := c.Run(); err != nil {
			return fmt.Errorf("the mutation tool, over %s: %w", pkg, err)
		}
	}
	return nil
}
