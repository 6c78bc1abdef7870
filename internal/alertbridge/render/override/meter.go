package override

import (
	"fmt"
	"io"
	"maps"
	"reflect"
	"regexp"
	"regexp/syntax"
	"strings"
	"text/template"
	"text/template/parse"
	"time"

	"github.com/prometheus/alertmanager/asset"
	alertmanager "github.com/prometheus/alertmanager/template"
)

// Limits of one execution. Steps and bytes make it end the same way on every
// machine; the time is for what they do not foresee.
const (
	maxSteps   = 100_000         // rounds of loops, calls of templates and functions
	maxDepth   = 200             // templates that are inside each other
	maxBytes   = 16 << 20        // given to and made by functions
	maxText    = 256 << 10       // one text given to a function
	maxWork    = 4 << 20         // what one call may multiply to, such as a replacement in every place
	maxPattern = 1 << 10         // length of a regular expression
	maxMatch   = 50_000_000      // its compiled size times the length of the text
	maxTime    = 2 * time.Second // looked at in every step
)

// The hidden functions that are called at the beginning of each round and at both
// ends of each template. No template can call them: they are made known after it
// was parsed.
const (
	stepFunction  = "override_step"
	enterFunction = "override_enter"
	leaveFunction = "override_leave"
)

// limitError says which limit an execution has met.
type limitError string

func (e limitError) Error() string { return string(e) }

// meter counts what one execution does.
type meter struct {
	steps, depth, bytes int
	began               time.Time
}

func newMeter() *meter { return &meter{began: time.Now()} }

func (m *meter) step() (string, error) {
	m.steps++
	if m.steps > maxSteps {
		return "", limitError(fmt.Sprintf("it has not ended after %d steps", maxSteps))
	}
	if time.Since(m.began) > maxTime {
		return "", limitError("it has not ended after " + maxTime.String())
	}
	return "", nil
}

func (m *meter) enter() (string, error) {
	m.depth++
	if m.depth > maxDepth {
		return "", limitError(fmt.Sprintf("more than %d templates are inside each other", maxDepth))
	}
	return m.step()
}

func (m *meter) leave() string {
	m.depth--
	return ""
}

// spend counts the bytes of values, and refuses a text that is too long for a
// function.
func (m *meter) spend(values []reflect.Value, most int) error {
	for _, v := range values {
		n := sizeOf(v)
		if n > most {
			return limitError(fmt.Sprintf("a text of %d bytes is too long for a function, at most %d", n, most))
		}
		m.bytes += n
	}
	if m.bytes > maxBytes {
		return limitError(fmt.Sprintf("it makes more than %d bytes", maxBytes))
	}
	return nil
}

// sizeOf is the length of a text, and of a list of texts.
func sizeOf(v reflect.Value) int {
	for v.Kind() == reflect.Interface && !v.IsNil() {
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.String:
		return v.Len()
	case reflect.Slice:
		n := 0
		for i := range v.Len() {
			n += sizeOf(v.Index(i))
		}
		return n
	default:
		return 0
	}
}

// functions are all functions that templates can call and that make text, counted.
func (m *meter) functions() template.FuncMap {
	out := template.FuncMap{stepFunction: m.step, enterFunction: m.enter, leaveFunction: m.leave}
	plain := map[string]any{
		"print": fmt.Sprint, "println": fmt.Sprintln, "printf": printf,
		"html": template.HTMLEscaper, "js": template.JSEscaper, "urlquery": template.URLQueryEscaper,
	}
	maps.Copy(plain, alertmanager.DefaultFuncs)
	plain["match"], plain["reReplaceAll"], plain["join"] = match, replaceAll, join
	for name, function := range plain {
		out[name] = m.counted(function)
	}
	return out
}

// counted wraps a function. Its panics are errors of the execution: the template
// package makes them so.
func (m *meter) counted(function any) any {
	f := reflect.ValueOf(function)
	return reflect.MakeFunc(f.Type(), func(args []reflect.Value) []reflect.Value {
		if _, err := m.step(); err != nil {
			panic(err)
		}
		if err := m.spend(args, maxText); err != nil {
			panic(err)
		}
		var results []reflect.Value
		if f.Type().IsVariadic() {
			results = f.CallSlice(args)
		} else {
			results = f.Call(args)
		}
		if err := m.spend(results, maxBytes); err != nil {
			panic(err)
		}
		return results
	}).Interface()
}

// wide finds verbs of printf that could make much of little: a width of four
// digits or more, one that is an argument, or an argument that is named by number
// and so can be used again.
var wide = regexp.MustCompile(`%[^a-zA-Z%]*(\*|\[|[0-9]{4})`)

func printf(format string, args ...any) (string, error) {
	if wide.MatchString(format) {
		return "", limitError("printf takes widths of up to three digits, and neither * nor argument numbers")
	}
	return fmt.Sprintf(format, args...), nil
}

// compile compiles an expression that ends in time on the text: matching takes the
// size of the one times the size of the other.
func compile(pattern, text string) (*regexp.Regexp, error) {
	if len(pattern) > maxPattern {
		return nil, limitError(fmt.Sprintf("a regular expression is longer than %d bytes", maxPattern))
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst)*len(text) > maxMatch {
		return nil, limitError("the regular expression is too large for the text")
	}
	return regexp.Compile(pattern)
}

func match(pattern, text string) (bool, error) {
	expression, err := compile(pattern, text)
	if err != nil {
		return false, err
	}
	return expression.MatchString(text), nil
}

func replaceAll(pattern, replacement, text string) (string, error) {
	if (len(text)+1)*(len(replacement)+1) > maxWork {
		return "", limitError("the replacement is too long for the text")
	}
	expression, err := compile(pattern, text)
	if err != nil {
		return "", err
	}
	return expression.ReplaceAllString(text, replacement), nil
}

func join(separator string, texts []string) (string, error) {
	if len(separator)*len(texts) > maxWork {
		return "", limitError("the separator is too long for the list")
	}
	return strings.Join(texts, separator), nil
}

// meterTrees puts the hidden calls into every template of the set.
func meterTrees(root *template.Template) []Problem {
	calls := map[string]parse.Node{}
	hidden := newMeter().functions()
	for _, name := range []string{stepFunction, enterFunction, leaveFunction} {
		t, err := template.New(name).Funcs(hidden).Parse("{{" + name + "}}")
		if err != nil {
			return []Problem{{Path: name, Message: err.Error()}}
		}
		calls[name] = t.Root.Nodes[0]
	}
	root.Funcs(hidden)
	for _, t := range root.Templates() {
		if t.Tree == nil {
			continue
		}
		walk(t.Root, func(n parse.Node) {
			if loop, ok := n.(*parse.RangeNode); ok {
				loop.List.Nodes = append([]parse.Node{calls[stepFunction]}, loop.List.Nodes...)
			}
		})
		t.Root.Nodes = append(append([]parse.Node{calls[enterFunction]}, t.Root.Nodes...), calls[leaveFunction])
	}
	return nil
}

// walk visits every node that stands in a list.
func walk(list *parse.ListNode, visit func(parse.Node)) {
	if list == nil {
		return
	}
	branch := func(b parse.BranchNode) {
		walk(b.List, visit)
		walk(b.ElseList, visit)
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.IfNode:
			branch(n.BranchNode)
		case *parse.WithNode:
			branch(n.BranchNode)
		case *parse.RangeNode:
			branch(n.BranchNode)
		}
		visit(n)
	}
}

// alertmanagerTemplates is the text of the templates that Alertmanager ships.
func alertmanagerTemplates() (text string, err error) {
	file, err := asset.Assets.Open("/templates/default.tmpl")
	if err != nil {
		return "", fmt.Errorf("opening alertmanager's templates: %w", err)
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(file)
	if err != nil {
		return "", fmt.Errorf("reading alertmanager's templates: %w", err)
	}
	return string(data), nil
}
