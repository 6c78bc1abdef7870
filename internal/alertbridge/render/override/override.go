// Package override runs the templates that users write for their cards.
//
// They are Go templates with Alertmanager's functions. The package promises that
// an execution ends, whatever the template says: what it loops over, calls and
// makes is counted while it runs, and beyond the limits it ends with an error. So
// nothing runs on in the background, and neither memory nor a worker is lost to a
// template. A panic is an error as well. What is written beyond [MaxOutput] is left
// out, which is no error.
package override

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	alertmanager "github.com/prometheus/alertmanager/template"
)

// The templates that are used where they are defined.
const (
	Title = "feishu.title"
	Body  = "feishu.body"
)

// Names lists the templates that are used.
func Names() []string { return []string{Title, Body} }

// MaxOutput is how much of one execution's output is kept, in bytes.
const MaxOutput = 32 << 10

// File is a template file that was read.
type File struct{ Path, Text string }

// Problem is what is wrong in a file.
type Problem struct {
	Path    string
	Line    int // 1-based; 0 where it is not known
	Message string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.Path + ": " + p.Message
	}
	return p.Path + ":" + strconv.Itoa(p.Line) + ": " + p.Message
}

// Set is a set of templates that may call each other. It is immutable and safe for
// concurrent use. A nil set defines nothing.
type Set struct {
	root    *template.Template
	defined []string
	version string
}

// Parse reads the files, in order: what is defined twice is what the last one
// says. It reports every problem: text that is no template, a function or a
// template that does not exist, and files of which none defines one of [Names].
// Alertmanager's own templates, such as __subject, can be called.
func Parse(files []File) (*Set, []Problem) {
	root, err := standard()
	if err != nil {
		return nil, []Problem{{Message: err.Error()}}
	}
	var problems []Problem
	for _, f := range files {
		if _, err := root.New(f.Path).Parse(f.Text); err != nil {
			problems = append(problems, problemOf(f.Path, err))
		}
	}
	if len(problems) == 0 {
		problems = undefined(root)
	}
	s := &Set{root: root, version: versionOf(files)}
	for _, name := range Names() {
		if root.Lookup(name) != nil {
			s.defined = append(s.defined, name)
		}
	}
	if len(problems) == 0 && len(files) > 0 && len(s.defined) == 0 {
		problems = append(problems, Problem{Path: files[0].Path, Message: "expected a template that is used: {{define \"" + strings.Join(Names(), "\"}} or {{define \"") + "\"}}"})
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return s, meterTrees(root)
}

// versionOf names what files say, whatever their paths are.
func versionOf(files []File) string {
	h := sha256.New()
	for _, f := range files {
		_, _ = fmt.Fprintf(h, "%d:%s", len(f.Text), f.Text) // a hash takes everything
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// Version tells sets apart by what their files say; it is "" where none is defined.
func (s *Set) Version() string {
	if s == nil || len(s.defined) == 0 {
		return ""
	}
	return s.version
}

// Defines reports whether the set holds the template.
func (s *Set) Defines(name string) bool { return s != nil && slices.Contains(s.defined, name) }

// Execute runs a template of the set and returns what it wrote.
func (s *Set) Execute(name string, data any) (text string, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			text, err = "", fmt.Errorf("template %s panicked: %v", name, cause)
		}
	}()
	fresh, err := s.root.Clone()
	if err != nil {
		return "", fmt.Errorf("copying template %s: %w", name, err)
	}
	fresh.Funcs(newMeter().functions())
	out := &kept{}
	if err := fresh.ExecuteTemplate(out, name, data); err != nil && !errors.Is(err, errFull) {
		return "", err
	}
	return strings.ToValidUTF8(out.text.String(), ""), nil
}

// standard returns Alertmanager's templates with its functions. As there, what a
// label set lacks is empty.
func standard() (*template.Template, error) {
	root := template.New("").Option("missingkey=zero").Funcs(template.FuncMap(alertmanager.DefaultFuncs))
	text, err := alertmanagerTemplates()
	if err != nil {
		return nil, err
	}
	if _, err := root.New("alertmanager").Parse(text); err != nil {
		return nil, fmt.Errorf("reading alertmanager's templates: %w", err)
	}
	return root, nil
}

// undefined finds calls of templates that do not exist.
func undefined(root *template.Template) []Problem {
	var problems []Problem
	for _, t := range root.Templates() {
		if t.Tree == nil {
			continue
		}
		walk(t.Root, func(n parse.Node) {
			call, ok := n.(*parse.TemplateNode)
			if !ok || root.Lookup(call.Name) != nil {
				return
			}
			where, _ := t.ErrorContext(call)
			problems = append(problems, problemOf(t.ParseName, fmt.Errorf("template: %s: no template is named %q", where, call.Name)))
		})
	}
	slices.SortFunc(problems, func(a, b Problem) int { return strings.Compare(a.String(), b.String()) })
	return problems
}

// place is how the template packages name a place: the file, its line, and
// sometimes the column.
var place = regexp.MustCompile(`^template: (.*?):(\d+)(?::\d+)?: (.*)$`)

func problemOf(path string, err error) Problem {
	found := place.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if found == nil {
		return Problem{Path: path, Message: err.Error()}
	}
	line, err := strconv.Atoi(found[2])
	if err != nil {
		line = 0
	}
	return Problem{Path: path, Line: line, Message: found[3]}
}

// errFull ends an execution whose further output would not be kept.
var errFull = errors.New("no more output is kept")

// kept keeps the first MaxOutput bytes.
type kept struct{ text strings.Builder }

func (k *kept) Write(p []byte) (int, error) {
	n := min(len(p), MaxOutput-k.text.Len())
	k.text.Write(p[:n])
	if n < len(p) {
		return n, errFull
	}
	return n, nil
}

var _ io.Writer = (*kept)(nil)
