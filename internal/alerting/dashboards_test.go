package alerting

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// board is what these tests look at of a dashboard's file; what makes it sound is
// tested in internal/dashboards.
type board struct {
	UID        string
	Templating struct {
		List []struct {
			Name  string
			Query any
		}
	}
	Annotations struct {
		List []struct {
			Name        string
			Target      struct{ Expr string }
			TitleFormat string
			TagKeys     string
		}
	}
	Panels []struct {
		ID      int
		Type    string
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

func boards(t *testing.T) []board {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(testtool.Root(t), "dashboards", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d dashboards, %v", len(files), err)
	}
	all := make([]board, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &all[i])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// panels returns the type of every panel, by UID/ID.
func panels(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, b := range boards(t) {
		for _, p := range b.Panels {
			all[b.UID+"/"+strconv.Itoa(p.ID)] = p.Type
		}
	}
	return all
}

var (
	lookup      = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
	grafanaVar  = regexp.MustCompile(`"\$[a-z]+"`)
)

// plainQuery replaces Grafana's variables by values.
func plainQuery(expr string) string {
	expr = strings.NewReplacer("$__rate_interval", "1m", "$__interval", "1m").Replace(expr)
	return grafanaVar.ReplaceAllString(expr, `".*"`)
}

// checkBoard returns what a dashboard names that does not exist.
func checkBoard(b board, all map[string]labels, parse func(string) *expression) []string {
	var wrong []string
	judged := func(where, expr, format string) {
		j := &judge{metrics: all}
		yields := j.labels(parse(plainQuery(expr)))
		for _, label := range legendLabel.FindAllStringSubmatch(format, -1) {
			j.need(yields, label[1:2], "its legend or title")
		}
		for _, problem := range j.problems {
			wrong = append(wrong, b.UID+": "+where+": "+problem)
		}
	}
	for _, v := range b.Templating.List {
		q, ok := v.Query.(map[string]any)
		if !ok {
			continue // a datasource
		}
		text, _ := q["query"].(string)
		found := lookup.FindStringSubmatch(text)
		if found == nil {
			wrong = append(wrong, b.UID+": variable "+v.Name+": expected label_values(metric, label), got "+text)
			continue
		}
		judged("variable "+v.Name, "count by ("+found[2]+") ("+found[1]+")", "")
	}
	for _, a := range b.Annotations.List {
		judged("annotation "+a.Name, a.Target.Expr, a.TitleFormat+"{{"+a.TagKeys+"}}")
	}
	for _, p := range b.Panels {
		for _, target := range p.Targets {
			judged("panel "+p.Title, target.Expr, target.LegendFormat)
		}
	}
	return wrong
}

// TestDashboardsNameWhatExists is the drift test of the dashboards.
func TestDashboardsNameWhatExists(t *testing.T) {
	parse := parserOf(t)
	all := selectable(t, exposed(t, suite(t)))
	all["process_start_time_seconds"] = scraped(t)
	check(all, rules(t), parse) // adds what rules record
	all["ALERTS"] = alertLabels(t, all, parse)
	for _, b := range boards(t) {
		for _, problem := range checkBoard(b, all, parse) {
			t.Error(problem)
		}
	}
}

// alertLabels are what ALERTS can carry: the labels of every alert's expression, and
// those that Prometheus adds.
func alertLabels(t *testing.T, all map[string]labels, parse func(string) *expression) labels {
	t.Helper()
	out := labels{"alertname": nil, "alertstate": {"firing", "pending"}}
	for _, a := range alerts(t) {
		out = out.with((&judge{metrics: all}).labels(parse(a.Expr)))
		for name := range a.Labels {
			out = out.with(labels{name: nil})
		}
	}
	delete(out, anything)
	return out
}

// TestCheckBoard proves that each kind of drift is found.
func TestCheckBoard(t *testing.T) {
	parse := parserOf(t)
	all := map[string]labels{"x_total": {"a": nil, "state": {"ok"}}}
	for _, c := range []struct{ name, text, want string }{
		{"all there", `{"panels": [{"targets": [{"expr": "sum by (a) (rate(x_total{a=~\"$a\"}[$__rate_interval]))", "legendFormat": "{{a}}"}]}]}`, ""},
		{"a panel's metric", `{"panels": [{"title": "P", "targets": [{"expr": "y"}]}]}`, "panel P: y is exposed by no program"},
		{"a panel's label", `{"panels": [{"targets": [{"expr": "x_total{b=\"1\"}"}]}]}`, "names the label b"},
		{"a panel's value", `{"panels": [{"targets": [{"expr": "x_total{state=\"late\"}"}]}]}`, "only the values [ok]"},
		{"a legend", `{"panels": [{"targets": [{"expr": "sum(x_total)", "legendFormat": "{{a}}"}]}]}`, "its legend or title names the label a"},
		{"a variable", `{"templating": {"list": [{"name": "v", "query": {"query": "label_values(x_total, b)"}}]}}`, "variable v"},
		{"another kind of variable", `{"templating": {"list": [{"name": "v", "query": {"query": "query_result(x_total)"}}]}}`, "expected label_values"},
		{"an annotation", `{"annotations": {"list": [{"name": "A", "target": {"expr": "x_total"}, "titleFormat": "{{b}}", "tagKeys": "a"}]}}`, "annotation A"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b board
			if err := json.Unmarshal([]byte(c.text), &b); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(checkBoard(b, all, parse), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}
