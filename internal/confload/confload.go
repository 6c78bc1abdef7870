// Package confload reads the programs' configuration files strictly.
//
// A file is one YAML document. Every problem in it is reported at once, each
// with file, line, key and what was expected: an unknown or repeated key (with
// the nearest known one), a value of the wrong kind, an unset ${VAR}, a missing
// secret file, and whatever the type's own Validate reports. Only when there is
// no problem at all does Load return nil.
//
// ${VAR} and ${VAR:-default} are expanded inside parsed scalars, after the YAML
// structure is known, so a value cannot change the structure; $$ is a literal
// dollar sign. Numeric, boolean and duration keys accept the expanded text. An
// expansion that yields nothing leaves the default of a key that is not a
// string.
//
// Relative paths ([Path], or any type with a Rebase method) are relative to the
// file. Beside every [redact.Secret] key KEY the key KEY_file is accepted; it
// names a file that holds the secret.
package confload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing wrong in a configuration file.
type Problem struct {
	File    string
	Line    int    // 1-based; 0 where the problem has no place in the file
	Path    string // key path such as receivers[2].app.receive_id
	Message string // what is wrong and what was expected
}

func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Path != "" {
		b.WriteString(p.Path + ": ")
	}
	b.WriteString(p.Message)
	return b.String()
}

// Errors is every problem of one file, in the order of its lines.
type Errors struct{ Problems []Problem }

func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Validator is implemented by configuration types that check what the kinds of
// their fields cannot say.
type Validator interface{ Validate(*Report) }

// Rebaser is implemented by values that hold a path relative to the
// configuration file. dir is the file's absolute folder; Rebase must leave an
// absolute path as it is.
type Rebaser interface{ Rebase(dir string) }

// Report collects problems.
type Report struct {
	file     string
	lines    map[string]int
	problems []Problem
	refused  map[string]bool // paths whose value could not be taken at all
}

// Errorf reports a problem of the key at path. The line is the one where the
// key, or the nearest key above it, stands. A value that could not be taken at all
// has been reported already: what Validate saw there was the default.
func (r *Report) Errorf(path, format string, args ...any) {
	if r.refused[path] {
		return
	}
	r.add(r.line(path), path, fmt.Sprintf(format, args...))
}

// Failed reports whether any problem was reported.
func (r *Report) Failed() bool { return len(r.problems) > 0 }

func (r *Report) add(line int, path, message string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: line, Path: path, Message: message})
}

func (r *Report) line(path string) int {
	for path != "" {
		if line, ok := r.lines[path]; ok {
			return line
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0
}

func (r *Report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	sort.SliceStable(r.problems, func(i, j int) bool { return r.problems[i].Line < r.problems[j].Line })
	return &Errors{Problems: r.problems}
}

// Option changes how Load works.
type Option func(*decoder)

// WithEnv replaces the process environment as the source of ${VAR}.
func WithEnv(lookup func(string) (string, bool)) Option {
	return func(d *decoder) { d.lookup = lookup }
}

// Load reads the file at path into into, a pointer to a struct that holds the
// defaults. The error is an [*Errors]: the file cannot be read, or everything that
// is wrong inside it. After an error only those fields of into that have no problem
// can be relied on.
func Load(path string, into any, options ...Option) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return &Errors{Problems: []Problem{{File: path, Message: fmt.Sprintf("expected a readable file: %v", err)}}}
	}
	return Parse(data, path, into, options...)
}

// Parse is Load for bytes already read; path names the file in messages and
// gives the folder that relative paths start from.
func Parse(data []byte, path string, into any, options ...Option) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("finding the folder of %s: %w", path, err)
	}
	report := &Report{file: path, lines: map[string]int{}, refused: map[string]bool{}}
	d := &decoder{report: report, dir: filepath.Dir(absolute), lookup: os.LookupEnv}
	for _, o := range options {
		o(d)
	}
	root, problem := document(data)
	if problem != "" {
		report.add(syntax(problem))
		return report.err()
	}
	value := reflect.ValueOf(into).Elem()
	if root != nil {
		d.decode(root, value, "")
	}
	rebase(value, d.dir)
	if v, ok := into.(Validator); ok {
		v.Validate(report)
	}
	return report.err()
}

// document returns the one document's root node, nil for an empty file.
func document(data []byte) (*yaml.Node, string) {
	var first, second yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(data))
	switch err := dec.Decode(&first); {
	case errors.Is(err, io.EOF):
		return nil, ""
	case err != nil:
		return nil, strings.TrimPrefix(err.Error(), "yaml: ")
	}
	if err := dec.Decode(&second); !errors.Is(err, io.EOF) {
		return nil, "one YAML document, found more"
	}
	if len(first.Content) == 0 {
		return nil, ""
	}
	return first.Content[0], ""
}

// syntax makes a problem of the YAML parser's own words, which may begin with the
// line: "line 2: found character that cannot start any token".
func syntax(text string) (line int, path, message string) {
	if rest, found := strings.CutPrefix(text, "line "); found {
		number, what, _ := strings.Cut(rest, ": ")
		if n, err := strconv.Atoi(number); err == nil {
			line, text = n, what
		}
	}
	if strings.Contains(text, "cannot start any token") {
		text += " (indent with spaces, not tabs; quote what begins with @, ` or %)"
	}
	return line, "", "not YAML that can be read: " + text
}

// Join makes one error of what several files have wrong: an [*Errors] where each
// is one, nil where all are nil.
func Join(errs ...error) error {
	all := &Errors{}
	for _, err := range errs {
		if err == nil {
			continue
		}
		problems, ok := errors.AsType[*Errors](err)
		if !ok {
			return errors.Join(errs...)
		}
		all.Problems = append(all.Problems, problems.Problems...)
	}
	if len(all.Problems) == 0 {
		return nil
	}
	return all
}

// rebase walks value and calls Rebase on everything that has it, so that
// defaults are relative to the file as well.
func rebase(value reflect.Value, dir string) {
	if value.CanAddr() {
		if r, ok := reflect.TypeAssert[Rebaser](value.Addr()); ok {
			r.Rebase(dir)
			return
		}
	}
	switch value.Kind() {
	case reflect.Pointer:
		if !value.IsNil() {
			rebase(value.Elem(), dir)
		}
	case reflect.Struct:
		for i := range value.NumField() {
			if value.Type().Field(i).IsExported() {
				rebase(value.Field(i), dir)
			}
		}
	case reflect.Slice:
		for i := range value.Len() {
			rebase(value.Index(i), dir)
		}
	case reflect.Map:
		for _, key := range value.MapKeys() {
			element := reflect.New(value.Type().Elem()).Elem()
			element.Set(value.MapIndex(key))
			rebase(element, dir)
			value.SetMapIndex(key, element)
		}
	default:
	}
}
