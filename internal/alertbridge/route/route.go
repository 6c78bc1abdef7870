// Package route decides which receivers are told of an alert.
//
// A long-form route that matches wins over the short form by severity. To
// either, the receiver named by the alert's owner label is added where that is
// switched on and such a receiver exists. An alert that no receiver is told of
// is dropped by configuration: [Table.Receivers] says so by an empty result.
package route

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/common/model"
)

// DefaultSeverity is the key of the short form for severities it does not name.
const DefaultSeverity = "default"

// Rule is one entry of the long form.
type Rule struct {
	Matchers  []string // Alertmanager matcher syntax, all must match
	Receivers []string
	Continue  bool   // look at the following rules as well
	Hours     string // "Mon-Fri 09:00-19:00"; empty is always
}

// Options is the whole routing configuration.
type Options struct {
	Known          []string            // names of the configured receivers
	Severity       map[string][]string // short form; an empty list drops
	OwnerReceivers bool
	Rules          []Rule
	Location       *time.Location
}

// Problem is one mistake in the options; Path is relative to them, such as
// routes[1].matchers[0].
type Problem struct{ Path, Message string }

// Table is a routing configuration in force. It is immutable.
type Table struct {
	known    map[string]bool
	severity map[string][]string
	owners   bool
	rules    []rule
	location *time.Location
}

type rule struct {
	matchers  labels.Matchers
	receivers []string
	proceed   bool
	hours     *hours
}

// New checks the options and returns every problem in them.
func New(o Options) (*Table, []Problem) {
	t := &Table{known: map[string]bool{}, severity: o.Severity, owners: o.OwnerReceivers, location: o.Location}
	for _, name := range o.Known {
		t.known[name] = true
	}
	var problems []Problem
	for _, key := range slices.Sorted(maps.Keys(o.Severity)) {
		problems = append(problems, t.check("severity."+key, o.Severity[key])...)
	}
	for i, r := range o.Rules {
		path := fmt.Sprintf("routes[%d]", i)
		compiled, bad := compile(path, r)
		problems = append(problems, bad...)
		problems = append(problems, t.check(path+".receivers", r.Receivers)...)
		t.rules = append(t.rules, compiled)
	}
	return t, problems
}

func (t *Table) check(path string, receivers []string) []Problem {
	var problems []Problem
	for i, name := range receivers {
		if !t.known[name] {
			problems = append(problems, Problem{
				Path:    fmt.Sprintf("%s[%d]", path, i),
				Message: fmt.Sprintf("no receiver is named %q, expected one of: %s", name, strings.Join(slices.Sorted(maps.Keys(t.known)), ", ")),
			})
		}
	}
	return problems
}

func compile(path string, r Rule) (rule, []Problem) {
	out := rule{receivers: r.Receivers, proceed: r.Continue}
	var problems []Problem
	for i, text := range r.Matchers {
		m, err := parse.Matcher(text)
		if err != nil {
			problems = append(problems, Problem{fmt.Sprintf("%s.matchers[%d]", path, i), fmt.Sprintf("not a matcher such as 'team=\"infra\"': %v", err)})
			continue
		}
		out.matchers = append(out.matchers, m)
	}
	if r.Hours != "" {
		h, err := parseHours(r.Hours)
		if err != nil {
			problems = append(problems, Problem{path + ".hours", err.Error()})
		}
		out.hours = h
	}
	return out, problems
}

// Receivers returns the receivers to be told of an alert with the given labels
// at the given moment, without duplicates, in configured order. Empty means
// that the configuration drops it.
func (t *Table) Receivers(alert map[string]string, at time.Time) []string {
	names := t.byRule(alert, at)
	if names == nil {
		var ok bool
		if names, ok = t.severity[alert["severity"]]; !ok {
			names = t.severity[DefaultSeverity]
		}
	}
	out := make([]string, 0, len(names)+1)
	for _, name := range names {
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if owner := alert["owner"]; t.owners && t.known[owner] && !slices.Contains(out, owner) {
		out = append(out, owner)
	}
	return out
}

// byRule returns nil where no rule matches, and an empty slice where one
// matches that names no receivers.
func (t *Table) byRule(alert map[string]string, at time.Time) []string {
	var names []string
	set := make(model.LabelSet, len(alert))
	for k, v := range alert {
		set[model.LabelName(k)] = model.LabelValue(v)
	}
	for _, r := range t.rules {
		if !r.matchers.Matches(set) || (r.hours != nil && !r.hours.contains(at.In(t.location))) {
			continue
		}
		names = append(names, r.receivers...)
		if names == nil {
			names = []string{}
		}
		if !r.proceed {
			break
		}
	}
	return names
}

// Has reports whether a receiver of that name is configured.
func (t *Table) Has(receiver string) bool { return t.known[receiver] }
