// Package archtest keeps the architecture: which package may import which, and
// the few rules about names, size and state that hold everywhere. Its test fails
// with the place and the way out; it promises nothing to other packages.
//
// The floors, lowest first. A package imports its own floor and those below:
//
//	shared    what every program is made of (confload, httpserve, ...)
//	fleet     what programs say to each other and read alike (fleet, beat, ...)
//	leaf      the parts of one program: internal/PROGRAM/...
//	root      the program, which wires its parts: internal/PROGRAM
//	command   cmd/PROGRAM
//
// Beside them stand the stand-ins (internal/sandbox), which no program may link,
// the stack that starts everything, and the packages that only tests use.
package archtest

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Package is what the rules look at of a package.
type Package struct {
	Path    string   // below the module, such as internal/confload
	Name    string   // as declared
	Doc     string   // the package comment
	Imports []string // of this module, without those of tests; below the module as well
}

// The programs; a package of one never imports a package of another.
var programs = []string{"gateway", "exporter", "alertbridge", "heartbeat"}

// forbidden names say nothing about what is inside.
var forbidden = []string{"util", "utils", "common", "helper", "helpers", "types", "models", "service", "constants", "manager"}

// floor is a set of packages. An entry that ends in /... holds the packages below it.
type floor struct {
	name    string
	holds   []string
	imports []string // floors beside its own
}

// floors returns the table. A new package outside internal/PROGRAM belongs into
// one of its rows.
func floors() []floor {
	table := []floor{
		{name: "shared", holds: []string{"internal/buildinfo", "internal/confload", "internal/obslog", "internal/metrics", "internal/redact",
			"internal/lifecycle", "internal/httpserve", "internal/sqlstore", "internal/sse", "internal/webui", "internal/visible", "internal/program"}},
		{name: "fleet", holds: []string{"internal/fleet", "internal/beat", "internal/livesign", "internal/tasksource", "internal/tasksource/..."},
			imports: []string{"shared"}},
		{name: "sandbox", holds: []string{"internal/sandbox", "internal/sandbox/..."}, imports: []string{"shared", "fleet"}},
		{name: "stack", holds: []string{"internal/stack", "internal/stack/..."}, imports: []string{"shared", "fleet", "sandbox"}},
		{name: "compose", holds: []string{"internal/compose", "internal/compose/..."}, imports: []string{"stack"}},
		{name: "dashboards", holds: []string{"internal/dashboards"}},
		{name: "test", holds: []string{"internal/archtest", "internal/alerting", "internal/docs", "internal/testtool", "internal/webui/browsertest", "internal/mutate"}},
	}
	for _, p := range programs {
		table = append(table,
			floor{name: p + " leaf", holds: []string{"internal/" + p + "/..."}, imports: []string{"shared", "fleet"}},
			floor{name: p + " root", holds: []string{"internal/" + p}, imports: []string{"shared", "fleet", p + " leaf"}},
			floor{name: p + " command", holds: []string{"cmd/" + p}, imports: []string{"shared", p + " root"}})
	}
	return table
}

func (f floor) has(pkg string) bool {
	return slices.ContainsFunc(f.holds, func(entry string) bool {
		below, tree := strings.CutSuffix(entry, "...")
		return pkg == entry || tree && strings.HasPrefix(pkg, below)
	})
}

func floorOf(pkg string) (floor, bool) {
	table := floors()
	i := slices.IndexFunc(table, func(f floor) bool { return slices.Contains(f.holds, pkg) })
	if i < 0 {
		i = slices.IndexFunc(table, func(f floor) bool { return f.has(pkg) })
	}
	if i < 0 {
		return floor{}, false
	}
	return table[i], true
}

// Check returns what is wrong with the packages, each with the way out.
func Check(packages []Package) []string {
	var wrong []string
	for _, p := range packages {
		wrong = append(wrong, checkNames(p)...)
		wrong = append(wrong, checkImports(p)...)
	}
	return append(wrong, checkLinked(packages)...)
}

func checkNames(p Package) []string {
	var wrong []string
	for _, name := range []string{p.Name, path.Base(p.Path)} {
		if slices.Contains(forbidden, name) {
			wrong = append(wrong, fmt.Sprintf("%s: %q says nothing about what is inside; name the package by the one thing it does", p.Path, name))
			break
		}
	}
	if strings.TrimSpace(p.Doc) == "" {
		wrong = append(wrong, p.Path+": has no package comment; say what it promises")
	}
	return wrong
}

func checkImports(p Package) []string {
	from, known := floorOf(p.Path)
	if !known {
		if strings.HasPrefix(p.Path, "cmd/") {
			return []string{fmt.Sprintf("%s: cmd holds the programs %s only; other commands belong to internal/sandbox or internal/stack", p.Path, strings.Join(programs, ", "))}
		}
		return []string{p.Path + ": stands on no floor; add it to the table in internal/archtest/archtest.go, or move it below the program that it belongs to"}
	}
	var wrong []string
	for _, imported := range p.Imports {
		to, known := floorOf(imported)
		if !known || to.name == from.name || slices.Contains(from.imports, to.name) {
			continue // an unknown floor is reported at the package itself
		}
		wrong = append(wrong, fmt.Sprintf("%s (%s) imports %s (%s); it may import %s", p.Path, from.name, imported, to.name, allowed(from)))
	}
	return wrong
}

func allowed(f floor) string {
	if len(f.imports) == 0 {
		return "its own floor and nothing else"
	}
	return "its own floor and " + strings.Join(f.imports, ", ")
}

// checkLinked looks at what the programs link, through any number of imports:
// never a stand-in.
func checkLinked(packages []Package) []string {
	imports := map[string][]string{}
	for _, p := range packages {
		imports[p.Path] = p.Imports
	}
	var wrong []string
	for _, program := range programs {
		start := "cmd/" + program
		via := map[string]string{start: ""}
		for queue := []string{start}; len(queue) > 0; queue = queue[1:] {
			for _, next := range imports[queue[0]] {
				if _, seen := via[next]; seen {
					continue
				}
				via[next] = queue[0]
				queue = append(queue, next)
				if to, _ := floorOf(next); to.name == "sandbox" {
					wrong = append(wrong, fmt.Sprintf("%s links %s, through %s; a program never holds a stand-in", start, next, queue[0]))
				}
			}
		}
	}
	return wrong
}
