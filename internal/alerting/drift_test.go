package alerting

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// closed are the labels whose every value is there from the start, so that a
// value that was never seen does not exist.
var closed = []string{"state", "severity"}

// selectable returns what a rule can select: the programs' metrics, with the
// labels that a scrape adds.
func selectable(t *testing.T, metrics map[string]metric) map[string]labels {
	t.Helper()
	target := scraped(t)
	all := map[string]labels{"up": target}
	for name, m := range metrics {
		own := maps.Clone(target)
		for _, label := range m.labels {
			own[label] = nil
			if slices.Contains(closed, label) && len(m.values[label]) > 0 {
				own[label] = slices.Sorted(slices.Values(m.values[label]))
			}
		}
		if m.kind == "histogram" {
			all[name+"_sum"], all[name+"_count"], all[name+"_bucket"] = own, own, own.with(labels{"le": nil})
			continue
		}
		all[name] = own
	}
	return all
}

// scraped returns the labels that prometheus.yml gives to every sample.
func scraped(t *testing.T) labels {
	t.Helper()
	var config struct {
		Jobs []struct {
			Name   string `yaml:"job_name"`
			Static []struct {
				Targets []string          `yaml:"targets"`
				Labels  map[string]string `yaml:"labels"`
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	decode(t, filepath.Join(folder(t), "prometheus.yml"), &config)
	target := labels{}
	for _, job := range config.Jobs {
		target = target.with(labels{"job": {job.Name}})
		for _, static := range job.Static {
			target = target.with(labels{"instance": static.Targets})
			for name, value := range static.Labels {
				target = target.with(labels{name: {value}})
			}
		}
	}
	return target
}

var templateLabel = regexp.MustCompile(`(?:\$labels|\.Labels)\.([a-zA-Z_][a-zA-Z0-9_]*)`)

// check returns what the rules name that does not exist. Recorded series may
// refer to themselves and to later ones, so their labels are found in rounds.
func check(all map[string]labels, rules []rule, parse func(string) *expression) []string {
	trees := map[string]*expression{}
	for _, r := range rules {
		if trees[r.Expr] == nil {
			trees[r.Expr] = parse(r.Expr)
		}
		if r.Record != "" {
			all[r.Record] = labels{}
		}
	}
	for range len(rules) {
		for _, r := range rules {
			if r.Record != "" {
				all[r.Record] = all[r.Record].with((&judge{metrics: all}).labels(trees[r.Expr]))
			}
		}
	}
	var wrong []string
	for _, r := range rules {
		j := &judge{metrics: all}
		yields := j.labels(trees[r.Expr])
		for name := range r.Labels {
			yields = yields.with(labels{name: nil})
		}
		for key, text := range r.Annotations {
			for _, label := range templateLabel.FindAllStringSubmatch(text, -1) {
				j.need(yields, label[1:2], "annotation "+key)
			}
		}
		for _, problem := range j.problems {
			wrong = append(wrong, r.file+": "+r.name()+": "+problem)
		}
	}
	return wrong
}

// TestRulesNameWhatExists is the drift test: a metric or label that is renamed in
// a program, or misspelt in a rule, makes it fail.
func TestRulesNameWhatExists(t *testing.T) {
	parse := parserOf(t)
	for _, problem := range check(selectable(t, exposed(t, suite(t))), rules(t), parse) {
		t.Error(problem)
	}
}

// TestCheckRules proves that each kind of drift is found.
func TestCheckRules(t *testing.T) {
	parse := parserOf(t)
	for _, c := range []struct{ name, expr, annotation, want string }{
		{"all there", `sum by (a) (rate(x_total{state="ok"}[5m])) / on (a) group_left (b) y > 0.1`, "{{ $labels.a }} {{ $labels.b }}", ""},
		{"a histogram", `histogram_quantile(0.9, sum by (le, a) (rate(h_seconds_bucket[5m]))) > 1`, "", ""},
		{"an outside metric", `node_load1{mode="x"} > 4 and on (instance) up{job="p"} == 1`, "", ""},
		{"a latch of its own", `y or on (a) self:latched`, "{{ .Labels.b }}", ""},
		{"a scalar on the left", `1 - y`, "{{ $labels.b }}", ""},
		{"a renamed metric", `z > 0`, "", "z is exposed by no program"},
		{"inside a call", `vector(1) and on () absent(z)`, "", "z is exposed by no program"},
		{"a histogram without its parts", `h_seconds > 0`, "", "h_seconds is exposed by no program"},
		{"a renamed label, matched", `x_total{c="1"}`, "", "x_total names the label c"},
		{"a renamed label, grouped", `sum by (c) (y)`, "", "sum names the label c"},
		{"a renamed label, joined", `y * on (c) y`, "", "* on names the label c"},
		{"a label that aggregation took away", `sum by (a) (y) * on (b) y`, "", "* on names the label b"},
		{"a renamed label, brought over", `y * on (a) group_left (c) y`, "", "group_left or group_right names the label c"},
		{"a renamed value", `x_total{state="okay"}`, "", `x_total{state="okay"}: the label has only the values [ok late]`},
		{"a renamed value of a recorded series", `self:latched{state="okay"} or x_total`, "", `self:latched{state="okay"}`},
		{"a job that is not scraped", `up{job="q"} == 0`, "", `up{job="q"}`},
		{"an annotation", `sum by (a) (y)`, "{{ $labels.b }}", "annotation summary names the label b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := map[string]labels{
				"up": {"job": {"p"}, "instance": nil}, "y": {"a": nil, "b": nil, "instance": nil}, "x_total": {"a": nil, "state": {"ok", "late"}},
				"h_seconds_bucket": {"a": nil, "le": nil}, "h_seconds_sum": {"a": nil}, "h_seconds_count": {"a": nil},
			}
			r := rule{file: "x", Record: "self:latched", Expr: c.expr, Annotations: map[string]string{"summary": c.annotation}}
			got := strings.Join(check(all, []rule{r}, parse), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

// TestMetricsAreClean gives every registry to Prometheus' linter.
func TestMetricsAreClean(t *testing.T) {
	for program, registry := range suite(t) {
		problems, err := testutil.GatherAndLint(registry)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", program, p.Metric, p.Text)
		}
	}
}
