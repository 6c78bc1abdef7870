package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

var (
	variable = regexp.MustCompile(`\$\{?([a-zA-Z_]+)`)
	rateOver = regexp.MustCompile(`\b(rate|increase|irate)\([^\[]*\[([^\]]+)\]`)
	builtIn  = []string{"__rate_interval", "__interval", "__range", "__all"}
)

// lint returns what is wrong with a dashboard as it stands in its file.
func lint(t *testing.T, text []byte) []string {
	t.Helper()
	var wrong []string
	say := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	var d Dashboard
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return []string{err.Error()}
	}
	say(d.ID == nil, "id is not null: it would overwrite another dashboard")
	say(regexp.MustCompile(`^[a-z][a-z-]{2,39}$`).MatchString(d.UID), "uid %q", d.UID)
	say(d.SchemaVersion == SchemaVersion, "schemaVersion %d, want %d", d.SchemaVersion, SchemaVersion)
	say(d.Title != "" && d.Description != "" && slices.Contains(d.Tags, "openclaw"), "title, description or the tag openclaw is missing")
	say(d.Refresh != "" && d.Time.From != "" && d.Time.To != "", "refresh or time is missing")
	say(!d.Editable, "it can be edited in Grafana, where the next start would lose it")
	declared := []string{}
	for _, v := range d.Templating.List {
		declared = append(declared, v.Name)
		say(v.Type == "datasource" || v.Datasource != nil && v.Datasource.UID == "${datasource}", "variable %s has no datasource, or a fixed one", v.Name)
		say(v.Type == "datasource" || strings.Count(string(text), "$"+v.Name)+strings.Count(string(text), "${"+v.Name) > 0, "variable %s is not used", v.Name)
	}
	say(slices.Contains(declared, "datasource"), "there is no variable datasource")
	queries := []string{}
	for _, a := range d.Annotations.List {
		say(a.Target != nil && a.Target.Expr != "" && a.Datasource == source(), "annotation %s has no query, or a fixed datasource", a.Name)
		if a.Target != nil {
			queries = append(queries, a.Target.Expr)
		}
	}
	ids, titles := map[int]bool{}, map[string]bool{}
	for i, p := range d.Panels {
		say(!ids[p.ID] && p.ID > 0, "panel %s: id %d is there twice, or no id", p.Title, p.ID)
		say(!titles[p.Title] && p.Title != "", "panel %q: its title is there twice, or empty", p.Title)
		ids[p.ID], titles[p.Title] = true, true
		g := p.GridPos
		say(g.W > 0 && g.H > 0 && g.X >= 0 && g.X+g.W <= columns, "panel %s: does not fit into the grid: %+v", p.Title, g)
		for _, o := range d.Panels[:i] {
			q := o.GridPos
			say(g.X >= q.X+q.W || q.X >= g.X+g.W || g.Y >= q.Y+q.H || q.Y >= g.Y+g.H, "panel %s lies on %s", p.Title, o.Title)
		}
		wrong = append(wrong, lintPanel(p)...)
		for _, target := range p.Targets {
			queries = append(queries, target.Expr)
		}
	}
	say(d.Panels[0].Type == "row", "the first panel is not a row")
	for _, q := range queries {
		for _, v := range variable.FindAllStringSubmatch(q, -1) {
			say(slices.Contains(declared, v[1]) || slices.Contains(builtIn, v[1]), "the query %s uses the unknown variable %s", q, v[1])
			say(slices.Contains(builtIn, v[1]) || strings.Contains(q, `=~"$`+v[1]+`"`), "the query %s compares %s with another operator than =~: more than one can be chosen", q, v[1])
		}
		for _, r := range rateOver.FindAllStringSubmatch(q, -1) {
			say(r[2] == "$__rate_interval" || strings.HasSuffix(r[2], "h"), "the query %s takes its rate over %s; take $__rate_interval", q, r[2])
		}
	}
	return wrong
}

// kinds are the panel types that are used, each with whether it has thresholds that
// colour it.
func kinds() map[string]bool {
	return map[string]bool{"gauge": true, "stat": true, "bargauge": true, "timeseries": false, "state-timeline": true, "table": false, "heatmap": false}
}

func lintPanel(p Panel) []string {
	var wrong []string
	say := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, "panel "+p.Title+": "+fmt.Sprintf(format, args...))
		}
	}
	if p.Type == "row" {
		say(p.Panels != nil && len(*p.Panels) == 0 && p.Collapsed != nil && !*p.Collapsed, "a row is open, and its panels follow it")
		return wrong
	}
	coloured, known := kinds()[p.Type]
	say(known, "the type %q is not known here", p.Type)
	say(p.Description != "", "has no description")
	if p.Datasource == nil || p.FieldConfig == nil || len(p.Targets) == 0 {
		return append(wrong, "panel "+p.Title+": has no datasource, fieldConfig or query")
	}
	say(*p.Datasource == source(), "its datasource is fixed: %v", *p.Datasource)
	say(p.FieldConfig.Overrides != nil, "overrides is missing")
	steps := p.FieldConfig.Defaults.Thresholds
	say(!coloured || steps != nil, "has no thresholds")
	if steps != nil {
		say(steps.Mode == "absolute" && len(steps.Steps) > 0 && steps.Steps[0].Value == nil, "its thresholds do not begin with null")
		for i := 1; i < len(steps.Steps); i++ {
			say(steps.Steps[i].Value != nil && (i == 1 || *steps.Steps[i-1].Value < *steps.Steps[i].Value), "its thresholds do not rise")
		}
	}
	custom, _ := p.FieldConfig.Defaults.Custom.(map[string]any)
	options, _ := p.Options.(map[string]any)
	say(custom["displayMode"] == nil, "custom.displayMode is of an old version; take cellOptions")
	say(options["displayMode"] == nil || p.Type == "bargauge", "options.displayMode belongs to bar gauges only")
	say(options["thresholds"] == nil && custom["thresholds"] == nil, "thresholds stand outside fieldConfig.defaults")
	say(p.Type != "table" || custom["cellOptions"] != nil, "a table without custom.cellOptions")
	for i, target := range p.Targets {
		say(target.RefID == string(rune('A'+i)) && target.Expr != "" && target.Datasource == source(), "query %d: refId, expression or datasource", i)
		say(target.Instant != target.Range, "query %s: either instant or a range", target.RefID)
		say((p.Type == "table") == (target.Format == "table") && (p.Type != "table" || target.Instant), "query %s: a table takes instant queries in the format table, others do not", target.RefID)
		say((p.Type == "heatmap") == (target.Format == "heatmap"), "query %s: the format heatmap belongs to heat maps", target.RefID)
	}
	return wrong
}

func TestDashboardsAreSound(t *testing.T) {
	for _, d := range All() {
		t.Run(d.UID, func(t *testing.T) {
			for _, problem := range lint(t, encode(t, d)) {
				t.Error(problem)
			}
		})
	}
}

// TestLint proves that each rule can fail.
func TestLint(t *testing.T) {
	for want, spoil := range map[string]func(*Dashboard){
		"id is not null":          func(d *Dashboard) { d.ID = new(7) },
		"uid":                     func(d *Dashboard) { d.UID = "" },
		"schemaVersion 39":        func(d *Dashboard) { d.SchemaVersion = 39 },
		"the tag openclaw":        func(d *Dashboard) { d.Tags = nil },
		"refresh or time":         func(d *Dashboard) { d.Refresh = "" },
		"can be edited":           func(d *Dashboard) { d.Editable = true },
		"has no datasource, or":   func(d *Dashboard) { d.Templating.List[1].Datasource = nil },
		"is not used":             func(d *Dashboard) { d.choice("nobody", "x", "agent_info", "agent_name") },
		"no variable datasource":  func(d *Dashboard) { d.Templating.List = d.Templating.List[1:] },
		"has no query":            func(d *Dashboard) { d.Annotations.List[0].Target = nil },
		"id 1 is there twice":     func(d *Dashboard) { d.Panels[1].ID = 1 },
		"its title is there":      func(d *Dashboard) { d.Panels[1].Title = d.Panels[2].Title },
		"not fit into the grid":   func(d *Dashboard) { d.Panels[1].GridPos.W = 25 },
		"lies on":                 func(d *Dashboard) { d.Panels[1].GridPos = d.Panels[2].GridPos },
		"not a row":               func(d *Dashboard) { d.Panels = d.Panels[1:] },
		"a row is open":           func(d *Dashboard) { d.Panels[0].Collapsed = new(true) },
		"unknown variable":        func(d *Dashboard) { d.Panels[1].Targets[0].Expr = `up{job=~"$jobs"}` },
		"another operator":        func(d *Dashboard) { d.Panels[1].Targets[0].Expr = `agent_info{agent_name="$agent"}` },
		"take $__rate_interval":   func(d *Dashboard) { d.Panels[1].Targets[0].Expr = `rate(x_total[5m])` },
		"is not known here":       func(d *Dashboard) { d.Panels[1].Type = "graph" },
		"has no description":      func(d *Dashboard) { d.Panels[1].Description = "" },
		"or query":                func(d *Dashboard) { d.Panels[1].Targets = nil },
		"datasource is fixed":     func(d *Dashboard) { d.Panels[1].Datasource.UID = "abc" },
		"overrides is missing":    func(d *Dashboard) { d.Panels[1].FieldConfig.Overrides = nil },
		"has no thresholds":       func(d *Dashboard) { d.Panels[1].FieldConfig.Defaults.Thresholds = nil },
		"begin with null":         func(d *Dashboard) { d.Panels[1].FieldConfig.Defaults.Thresholds.Steps[0].Value = new(1.0) },
		"do not rise":             func(d *Dashboard) { d.Panels[1].FieldConfig.Defaults.Thresholds.Steps[2].Value = new(1.0) },
		"custom.displayMode":      func(d *Dashboard) { d.Panels[1].FieldConfig.Defaults.Custom = object{"displayMode": "lcd"} },
		"belongs to bar gauges":   func(d *Dashboard) { d.Panels[1].Options = object{"displayMode": "lcd"} },
		"outside fieldConfig":     func(d *Dashboard) { d.Panels[1].Options = object{"thresholds": 1} },
		"without custom.cell":     func(d *Dashboard) { d.Panels[6].FieldConfig.Defaults.Custom = nil },
		"either instant":          func(d *Dashboard) { d.Panels[1].Targets[0].Range = true },
		"a table takes":           func(d *Dashboard) { d.Panels[6].Targets[0].Format = "time_series" },
		"belongs to heat maps":    func(d *Dashboard) { d.Panels[1].Targets[0].Format = "heatmap" },
		"refId, expression":       func(d *Dashboard) { d.Panels[1].Targets[0].RefID = "Z" },
		"json: unknown field":     nil,
		`its datasource is fixed`: func(d *Dashboard) { d.Panels[1].Datasource.Type = "loki" },
	} {
		t.Run(want, func(t *testing.T) {
			d := AgentHealth()
			text := []byte(`{"__inputs": []}`)
			if spoil != nil {
				spoil(&d)
				text = encode(t, d)
			}
			if got := strings.Join(lint(t, text), "\n"); !strings.Contains(got, want) {
				t.Errorf("got %q, want it to say %q", got, want)
			}
		})
	}
}

// TestSchema holds the dashboards to the strict JSON Schema that was generated from
// Grafana's own types. It is not part of this repository: the rules above hold
// everywhere, and this where the schema lies beside the checkout.
//
// The schema knows one kind of annotation only, Grafana's own; what it says of the
// query of another datasource is left out of the comparison.
func TestSchema(t *testing.T) {
	file := filepath.Join(testtool.Root(t), "..", "shared", "grafana", "schema.json")
	if _, err := os.Stat(file); err != nil {
		t.Logf("no schema beside the checkout; the rules of lint have been held: %v", err)
		return
	}
	raw, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	schema, err := jsonschema.UnmarshalJSON(raw)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", schema); err != nil {
		t.Fatal(err)
	}
	valid := func(definition, what string, value any) {
		t.Helper()
		s, err := compiler.Compile("schema.json#/definitions/" + definition)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(value); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	options := map[string]string{"stat": "StatOptions", "table": "TableOptions", "timeseries": "TimeseriesOptions", "state-timeline": "StateTimelineOptions",
		"heatmap": "HeatmapOptions", "bargauge": "BarGaugeOptions", "gauge": "GaugeOptions"}
	fields := map[string]string{"table": "TableFieldConfig", "timeseries": "TimeseriesFieldConfig", "state-timeline": "StateTimelineFieldConfig", "heatmap": "HeatmapFieldConfig"}
	for _, d := range All() {
		whole, err := jsonschema.UnmarshalJSON(strings.NewReader(string(encode(t, d))))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range at[[]any](whole, "annotations", "list") {
			for _, key := range []string{"target", "titleFormat", "tagKeys"} {
				delete(at[map[string]any](a), key)
			}
		}
		valid("ClassicDashboard", d.UID, whole)
		for _, p := range at[[]any](whole, "panels") {
			kind, title := at[string](p, "type"), at[string](p, "title")
			if kind == "row" {
				continue
			}
			valid("ClassicPanel", title, p)
			valid(options[kind], title+" options", at[any](p, "options"))
			if definition, ok := fields[kind]; ok {
				valid(definition, title+" custom", at[any](p, "fieldConfig", "defaults", "custom"))
			}
		}
	}
}

// at walks down a decoded document; the zero value where there is nothing.
func at[T any](v any, path ...string) T {
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	out, _ := v.(T)
	return out
}
