package docs

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// dependencyRow has four columns that say something; what was weighed may be empty.
var dependencyRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| ([^|]+) \\| ([^|]+) \\|([^|]*)\\|$")

var (
	requirement = regexp.MustCompile(`(?m)^\t?(?:require )?([a-z][^\s]*\.[^\s]*) v[^\s]+$`) // no comment: direct
	toolLine    = regexp.MustCompile(`(?m)^(?:tool |\t)([a-z][^\s]*\.[^\s]*/[^\s]*)$`)
)

// TestEveryDependencyHasItsReasons compares docs/dependencies.md with what go.mod
// requires directly and with the tools of every tool module.
func TestEveryDependencyHasItsReasons(t *testing.T) {
	root := testtool.Root(t)
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	used := map[string]string{}
	for _, m := range requirement.FindAllStringSubmatch(read(filepath.Join(root, "go.mod")), -1) {
		used[m[1]] = "go.mod"
	}
	modules, err := filepath.Glob(filepath.Join(root, "internal", "tools", "*", "go.mod"))
	if err != nil || len(modules) == 0 {
		t.Fatalf("no tool modules: %v", err)
	}
	for _, file := range modules {
		for _, m := range toolLine.FindAllStringSubmatch(read(file), -1) {
			used[m[1]] = "internal/tools/" + filepath.Base(filepath.Dir(file)) + "/go.mod"
		}
	}
	for _, problem := range checkDependencies(used, read(filepath.Join(root, "docs", "dependencies.md"))) {
		t.Error(problem)
	}
}

func checkDependencies(used map[string]string, page string) []string {
	var wrong []string
	documented := map[string]bool{}
	for _, m := range dependencyRow.FindAllStringSubmatch(page, -1) {
		documented[m[1]] = true
		if _, ok := used[m[1]]; !ok {
			wrong = append(wrong, m[1]+": docs/dependencies.md has it, but no go.mod requires it directly")
		}
	}
	for _, module := range slices.Sorted(maps.Keys(used)) {
		if !documented[module] {
			wrong = append(wrong, module+": "+used[module]+" has it, but docs/dependencies.md does not say for what, why this one and what else was weighed")
		}
	}
	return wrong
}

// TestCheckDependencies proves that each kind of drift is found.
func TestCheckDependencies(t *testing.T) {
	used := map[string]string{"a.org/x": "go.mod"}
	for _, c := range []struct{ name, page, want string }{
		{"whole", "| `a.org/x` | this | that | other |", ""},
		{"nothing else weighed", "| `a.org/x` | this | that | |", ""},
		{"missing", "", "a.org/x: go.mod has it"},
		{"without a reason", "| `a.org/x` | this | | other |", "a.org/x: go.mod has it"},
		{"gone", "| `a.org/x` | this | that | |\n| `b.org/y` | this | that | |", "b.org/y: docs/dependencies.md has it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(checkDependencies(used, c.page), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}
