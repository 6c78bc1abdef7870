package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// TestBreakagesFollowTheCode: what is to be broken is there, once, and the tests that
// are to notice it are named.
func TestBreakagesFollowTheCode(t *testing.T) {
	root, promises := testtool.Root(t), map[string]bool{}
	for _, b := range breakages() {
		raw, err := os.ReadFile(filepath.Join(root, b.File))
		if err != nil {
			t.Error(err)
			continue
		}
		if n := strings.Count(string(raw), b.Old); n != 1 || b.Old == b.New {
			t.Errorf("%s: the text stands %d times in %s, expected once, and another in its place:\n%s", b.Promise, n, b.File, b.Old)
		}
		if promises[b.Promise] || b.Promise == "" || len(packages(b.Test)) == 0 {
			t.Errorf("%q: expected a promise of its own, and packages to test", b.Promise)
		}
		promises[b.Promise] = true
	}
}

func TestPackages(t *testing.T) {
	if got := strings.Join(packages("./a/... ./b -run=X|./c"), " "); got != "./a/... ./b" {
		t.Errorf("packages are %q", got)
	}
}
