// Command testreport reads `go test -json` from its input and prints what a
// person wants to know: one line a package, the output of what failed, and at
// the end every skipped test by name. Its exit code is 1 where anything failed
// or, with REQUIRE_ALL=1, was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
	// ImportPath and FailedBuild name what did not compile.
	ImportPath  string
	FailedBuild string
}

type report struct {
	out             io.Writer
	output          map[string]*strings.Builder // of a test, or of a package
	skipped, failed []string
	passed          int
}

func main() {
	r := report{out: os.Stdout, output: map[string]*strings.Builder{}}
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testreport:", err)
		os.Exit(1)
	}
	if !r.summary(os.Getenv("REQUIRE_ALL") == "1") {
		os.Exit(1)
	}
}

func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if text := strings.TrimSpace(line); text != "" {
			var e event
			if json.Unmarshal([]byte(text), &e) != nil {
				_, _ = fmt.Fprintln(r.out, text) // the go command's own words
			} else {
				r.take(e)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *report) take(e event) {
	key := e.Package + " " + e.Test
	if e.ImportPath != "" {
		key = "build " + e.ImportPath
	}
	switch e.Action {
	case "output", "build-output":
		if r.output[key] == nil {
			r.output[key] = &strings.Builder{}
		}
		r.output[key].WriteString(e.Output)
	case "build-fail":
		r.show(key)
	case "pass", "skip", "fail":
		r.end(e, key)
	}
}

func (r *report) end(e event, key string) {
	name := strings.TrimPrefix(e.Package, "github.com/fleetwatch/fleetwatch/")
	switch {
	case e.Test == "" && e.Action == "pass":
		_, _ = fmt.Fprintf(r.out, "ok   %s %.1fs\n", name, e.Elapsed)
	case e.Test == "" && e.Action == "fail":
		r.show(key)
		_, _ = fmt.Fprintf(r.out, "FAIL %s %.1fs\n", name, e.Elapsed)
		r.failed = append(r.failed, name)
	case e.Test == "":
	case e.Action == "skip":
		r.skipped = append(r.skipped, name+" "+e.Test+": "+reason(r.output[key]))
	case e.Action == "fail":
		r.show(key)
		r.failed = append(r.failed, name+" "+e.Test)
	default:
		r.passed++
	}
	delete(r.output, key)
}

// reason is the last line of a skipped test before its verdict.
func reason(output *strings.Builder) string {
	if output == nil {
		return ""
	}
	last := ""
	for line := range strings.Lines(output.String()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "---") && !strings.HasPrefix(line, "===") {
			last = line
		}
	}
	return last
}

func (r *report) show(key string) {
	if text := r.output[key]; text != nil {
		_, _ = io.WriteString(r.out, text.String())
	}
}

// summary prints the closing lines and reports whether all is well.
func (r *report) summary(requireAll bool) bool {
	slices.Sort(r.skipped)
	for _, s := range r.skipped {
		_, _ = fmt.Fprintln(r.out, "SKIPPED", s)
	}
	for _, f := range r.failed {
		_, _ = fmt.Fprintln(r.out, "FAILED", f)
	}
	if requireAll && len(r.skipped) > 0 {
		_, _ = fmt.Fprintln(r.out, "REQUIRE_ALL=1: a skipped test counts as failed")
	}
	_, _ = fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, len(r.failed), len(r.skipped))
	return len(r.failed) == 0 && (!requireAll || len(r.skipped) == 0) && r.passed > 0
}
