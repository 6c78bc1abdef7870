package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/fleetwatch/fleetwatch"

const (
	maxLines     = 500
	maxMainLines = 120
)

// longFiles are the files that may be longer, each with the reason.
var longFiles = map[string]string{}

// listed is what `go list` says of a package.
type listed struct {
	Dir, ImportPath, Name, Doc                         string
	Imports                                            []string
	GoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
}

func (l listed) files() []string {
	return slices.Concat(l.GoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles)
}

func below(importPath string) (string, bool) { return strings.CutPrefix(importPath, module+"/") }

// list asks the go command. It walks the folders as well, so that go test knows
// that its cached result ends with a new package.
func list(t *testing.T) []listed {
	t.Helper()
	for _, dir := range []string{"cmd", "internal"} {
		if err := filepath.WalkDir(filepath.Join("..", "..", dir), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
	command := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,Name,Doc,Imports,GoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles", "./...")
	command.Dir = filepath.Join("..", "..")
	var complaints bytes.Buffer
	command.Stderr = &complaints
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, complaints.String())
	}
	var packages []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, l)
	}
}

func TestFloors(t *testing.T) {
	var packages []Package
	for _, l := range list(t) {
		p := Package{Name: l.Name, Doc: l.Doc}
		p.Path, _ = below(l.ImportPath)
		for _, imported := range l.Imports {
			if own, ok := below(imported); ok {
				p.Imports = append(p.Imports, own)
			}
		}
		packages = append(packages, p)
	}
	if len(packages) < 20 {
		t.Fatalf("go list found %d packages only; the rules were not looked at", len(packages))
	}
	for _, problem := range Check(packages) {
		t.Error(problem)
	}
}

// TestCheck proves that each rule can fail.
func TestCheck(t *testing.T) {
	pkg := func(path string, imports ...string) Package {
		return Package{Path: path, Name: filepath.Base(path), Doc: "Package x does y.", Imports: imports}
	}
	for _, c := range []struct {
		name  string
		given []Package
		want  string // "" = nothing wrong
	}{
		{"a whole program", []Package{
			pkg("cmd/exporter", "internal/exporter", "internal/program"), pkg("internal/exporter", "internal/exporter/verdict", "internal/fleet", "internal/confload"),
			pkg("internal/exporter/verdict", "internal/beat"), pkg("internal/fleet", "internal/confload"), pkg("internal/confload", "internal/redact"),
		}, ""},
		{"upwards", []Package{pkg("internal/confload", "internal/fleet")}, "internal/confload (shared) imports internal/fleet (fleet); it may import its own floor and nothing else"},
		{"another program", []Package{pkg("internal/exporter", "internal/heartbeat/ledger")}, "internal/exporter (exporter root) imports internal/heartbeat/ledger (heartbeat leaf)"},
		{"a part imports its root", []Package{pkg("internal/exporter/verdict", "internal/exporter")}, "internal/exporter/verdict (exporter leaf) imports internal/exporter (exporter root); it may import its own floor and shared, fleet"},
		{"a command that skips the root", []Package{pkg("cmd/exporter", "internal/exporter/verdict")}, "cmd/exporter (exporter command) imports"},
		{"a stand-in inside a program", []Package{pkg("internal/exporter/verdict", "internal/sandbox/feishu")}, "imports internal/sandbox/feishu (sandbox)"},
		{"a stand-in linked from afar", []Package{pkg("cmd/gateway", "internal/gateway"), pkg("internal/gateway", "internal/new"), pkg("internal/new", "internal/sandbox/provider")},
			"cmd/gateway links internal/sandbox/provider, through internal/new"},
		{"what tests use", []Package{pkg("internal/exporter", "internal/testtool")}, "imports internal/testtool (test)"},
		{"browser tests below the shared look", []Package{pkg("internal/webui", "internal/webui/browsertest")}, "internal/webui (shared) imports internal/webui/browsertest (test)"},
		{"no floor", []Package{pkg("internal/brandnew")}, "internal/brandnew: stands on no floor; add it to the table in internal/archtest/archtest.go"},
		{"one more command", []Package{pkg("cmd/extra")}, "cmd/extra: cmd holds the programs gateway, exporter, alertbridge, heartbeat only"},
		{"an empty name", []Package{pkg("internal/gateway/util")}, `"util" says nothing`},
		{"an empty name behind another", []Package{{Path: "internal/gateway/llm", Name: "types", Doc: "x"}}, `"types" says nothing`},
		{"no comment", []Package{{Path: "internal/beat", Name: "beat"}}, "internal/beat: has no package comment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(Check(c.given), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	for _, l := range list(t) {
		pkg, _ := below(l.ImportPath)
		for _, file := range l.files() {
			name := pkg + "/" + file
			source, err := os.ReadFile(filepath.Join(l.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range checkFile(name, source) {
				t.Error(problem)
			}
		}
	}
	for name, reason := range longFiles {
		if source, err := os.ReadFile(filepath.Join("..", "..", name)); err != nil || reason == "" || bytes.Count(source, []byte("\n")) <= maxLines {
			t.Errorf("longFiles: %s: expected a file over %d lines and a reason; take it out of the list (%v)", name, maxLines, err)
		}
	}
}

func TestCheckFile(t *testing.T) {
	for _, c := range []struct{ name, file, source, want string }{
		{"fine", "internal/x/x.go", "package x\n\ntype T struct{}\n\nfunc (T) init() {}\n", ""},
		{"hidden start", "internal/x/x.go", "package x\n\nfunc init() {}\n", "internal/x/x.go:3: init()"},
		{"too long", "internal/x/x.go", "package x\n" + strings.Repeat("\n", maxLines), "internal/x/x.go: 501 lines"},
		{"long command", "cmd/x/main.go", "package main\n" + strings.Repeat("\n", maxMainLines), "cmd/x/main.go: 121 lines"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(checkFile(c.file, []byte(c.source)), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

func checkFile(name string, source []byte) []string {
	var wrong []string
	lines := bytes.Count(source, []byte("\n"))
	switch {
	case strings.HasPrefix(name, "cmd/") && !strings.HasSuffix(name, "_test.go") && lines > maxMainLines:
		wrong = append(wrong, fmt.Sprintf("%s: %d lines; a command only translates flags and signals, move the rest to its internal package", name, lines))
	case lines > maxLines && longFiles[name] == "":
		wrong = append(wrong, fmt.Sprintf("%s: %d lines, more than %d; split it by what it is about, or list it with the reason in longFiles", name, lines, maxLines))
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
	if err != nil {
		return append(wrong, err.Error())
	}
	for _, declaration := range parsed.Decls {
		if f, ok := declaration.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
			wrong = append(wrong, fmt.Sprintf("%s:%d: init() runs unasked; call it from where it is needed", name, files.Position(f.Pos()).Line))
		}
	}
	return wrong
}
