package dashboards

import "slices"

// Colours of states, the same everywhere.
const (
	green  = "green"
	yellow = "yellow"
	orange = "orange"
	red    = "red"
	grey   = "#8e8e8e"
	blue   = "blue"
)

// columns is the width of Grafana's grid.
const columns = 24

// All returns the dashboards, each to be written to dashboards/UID.json.
func All() []Dashboard { return []Dashboard{AgentHealth(), Gateway(), AlertPipeline()} }

// source is the datasource that the variable chooses.
func source() Datasource { return Datasource{Type: "prometheus", UID: "${datasource}"} }

// base is what all dashboards share.
func base(uid, title, description string, tags ...string) Dashboard {
	return Dashboard{
		UID: uid, Title: title, Description: description, Tags: tags, SchemaVersion: SchemaVersion, GraphTooltip: 1, Timezone: "browser", Refresh: "30s",
		Time: timeRange{From: "now-6h", To: "now"},
		Links: []link{
			{Title: "OpenClaw 仪表盘", Type: "dashboards", Icon: "external link", Tooltip: "其他仪表盘，时间范围不变", Tags: []string{"openclaw"}, AsDropdown: true, KeepTime: true},
			{Title: "运行手册", Type: "link", Icon: "doc", Tooltip: "告警的处理步骤", URL: "https://github.com/fleetwatch/fleetwatch/tree/main/alerting/runbooks", Tags: []string{}, TargetBlank: true},
		},
		Templating: templating{List: []Variable{{Name: "datasource", Label: "数据源", Type: "datasource", Query: "prometheus", Refresh: 1}}},
		Annotations: annotations{List: []Annotation{
			annotation("告警", red, `ALERTS{alertstate="firing", alertname!="Watchdog"}`, "{{alertname}} {{agent_name}}{{model}}", "severity"),
			annotation("重启", blue, `changes(process_start_time_seconds[1m]) > 0`, "{{job}} 重启", "job"),
		}},
	}
}

func annotation(name, iconColor, expr, title, tags string) Annotation {
	return Annotation{Name: name, Enable: true, IconColor: iconColor, Datasource: source(), Target: &annotationTarget{Expr: expr, RefID: "Anno"}, TitleFormat: title, TagKeys: tags}
}

// choice adds a variable that chooses among the values of a label; all by default.
func (d *Dashboard) choice(name, label, metric, of string) {
	s := source()
	d.Templating.List = append(d.Templating.List, Variable{
		Name: name, Label: label, Type: "query", Query: variableQuery{Query: "label_values(" + metric + ", " + of + ")", RefID: name}, Datasource: &s,
		Current: &currentOption{Text: []string{"All"}, Value: []string{"$__all"}}, Refresh: 2, Sort: 1, IncludeAll: true, AllValue: ".*", Multi: true,
	})
}

// row starts a row; its panels follow, from left to right, as wide as they say.
func (d *Dashboard) row(title string, panels ...Panel) {
	closed, none := false, []Panel{}
	y := d.bottom()
	d.add(Panel{Type: "row", Title: title, GridPos: gridPos{H: 1, W: columns, Y: y}, Collapsed: &closed, Panels: &none})
	x, line := 0, y+1
	for _, p := range panels {
		if x+p.GridPos.W > columns {
			x, line = 0, d.bottom()
		}
		p.GridPos.X, p.GridPos.Y = x, line
		x += p.GridPos.W
		d.add(p)
	}
}

func (d *Dashboard) bottom() int {
	bottom := 0
	for _, p := range d.Panels {
		bottom = max(bottom, p.GridPos.Y+p.GridPos.H)
	}
	return bottom
}

func (d *Dashboard) add(p Panel) {
	p.ID = len(d.Panels) + 1
	d.Panels = append(d.Panels, p)
}

// graph is a query over time, legend its lines' name.
func graph(expr, legend string) Target {
	return Target{Datasource: source(), Expr: expr, LegendFormat: legend, Format: "time_series", Range: true}
}

// now is a query of the last moment, one value per line.
func now(expr, legend string) Target {
	return Target{Datasource: source(), Expr: expr, LegendFormat: legend, Format: "time_series", Instant: true}
}

// rows is a query of the last moment as a table.
func rows(expr string) Target {
	return Target{Datasource: source(), Expr: expr, Format: "table", Instant: true}
}

// buckets is a histogram over time, for heat maps.
func buckets(expr string) Target {
	return Target{Datasource: source(), Expr: expr, LegendFormat: "{{le}}", Format: "heatmap", Range: true}
}

// panel puts the queries together and names them A, B, ...
func panel(kind, title, description string, w, h int, f field, options any, targets ...Target) Panel {
	s := source()
	for i := range targets {
		targets[i].RefID = string(rune('A' + i))
	}
	return Panel{Type: kind, Title: title, Description: description, GridPos: gridPos{H: h, W: w}, Datasource: &s, Targets: targets,
		FieldConfig: &fieldConfig{Defaults: f, Overrides: []override{}}, Options: options}
}

// levels are thresholds: base below the first value, then a colour from each.
func levels(base string, at ...any) *thresholds {
	t := &thresholds{Mode: "absolute", Steps: []step{{Color: base}}}
	for pair := range slices.Chunk(at, 2) {
		value, colour := number(pair[0]), pair[1].(string) //nolint:errcheck // written in this package only
		t.Steps = append(t.Steps, step{Value: &value, Color: colour})
	}
	return t
}

func number(v any) float64 {
	switch n := v.(type) {
	case int:
		return float64(n)
	case float64:
		return n
	default:
		return 0
	}
}

// words maps values to words with colours.
func words(options map[string]result) []mapping {
	return []mapping{{Type: "value", Options: options}}
}

func last() object {
	return object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
}

func legend() object {
	return object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true}
}

// gauge shows a share in percent.
func gauge(title, description string, w int, t *thresholds, targets ...Target) Panel {
	f := field{Unit: "percent", Decimals: new(1), Min: new(0.0), Max: new(100.0), Color: &color{"thresholds"}, Thresholds: t}
	return panel("gauge", title, description, w, 6, f, object{"reduceOptions": last(), "orientation": "auto", "showThresholdLabels": false, "showThresholdMarkers": true}, targets...)
}

// stat shows one value, coloured by its thresholds.
func stat(title, description string, w, h int, f field, targets ...Target) Panel {
	f.Color = &color{"thresholds"}
	return panel("stat", title, description, w, h, f, object{
		"reduceOptions": last(), "orientation": "auto", "colorMode": "background", "graphMode": "area", "justifyMode": "auto", "textMode": "auto",
	}, targets...)
}

// bars shows one bar for each line.
func bars(title, description string, w, h int, f field, targets ...Target) Panel {
	f.Color = &color{"thresholds"}
	return panel("bargauge", title, description, w, h, f, object{
		"reduceOptions": last(), "orientation": "horizontal", "displayMode": "basic", "valueMode": "color", "showUnfilled": true, "namePlacement": "left",
		"minVizHeight": 12, "minVizWidth": 8, "sizing": "auto",
	}, targets...)
}

// lines shows values over time; thresholds, where there are any, are drawn.
func lines(title, description string, w, h int, f field, targets ...Target) Panel {
	style := "off"
	if f.Thresholds != nil {
		style = "dashed"
	}
	f.Color = &color{"palette-classic"}
	f.Custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": false, "thresholdsStyle": object{"mode": style}}
	return panel("timeseries", title, description, w, h, f, object{"legend": legend(), "tooltip": object{"mode": "multi", "sort": "desc"}}, targets...)
}

// states shows which state each line was in.
func states(title, description string, w, h int, mappings []mapping, targets ...Target) Panel {
	f := field{Color: &color{"thresholds"}, Thresholds: levels(grey), Mappings: mappings, Custom: object{"fillOpacity": 80, "lineWidth": 0}}
	return panel("state-timeline", title, description, w, h, f, object{
		"alignValue": "left", "mergeValues": true, "rowHeight": 0.85, "showValue": "never", "legend": legend(), "tooltip": object{"mode": "single", "sort": "none"},
	}, targets...)
}

// table shows labels and values of the last moment; hidden columns are left out,
// the others have the names given.
func table(title, description string, w, h int, f field, hidden []string, names map[string]string, targets ...Target) Panel {
	f.Custom = object{"align": "auto", "cellOptions": object{"type": "auto"}, "filterable": true}
	p := panel("table", title, description, w, h, f, object{"showHeader": true, "cellHeight": "sm"}, targets...)
	exclude := map[string]bool{}
	for _, name := range hidden {
		exclude[name] = true
	}
	p.Transformations = []transformation{
		{ID: "merge", Options: object{}},
		{ID: "organize", Options: object{"excludeByName": exclude, "indexByName": object{}, "renameByName": names}},
	}
	return p
}

// column changes how one column of a table looks.
func (p Panel) column(name string, properties ...property) Panel {
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{matcher{"byName", name}, properties})
	return p
}

// inColour fills the cells of a column.
func inColour() property {
	return property{"custom.cellOptions", object{"type": "color-background", "mode": "basic"}}
}

// heat shows how a histogram's values were spread over time.
func heat(title, description string, w, h int, unit string, targets ...Target) Panel {
	f := field{Custom: object{"hideFrom": object{"legend": false, "tooltip": false, "viz": false}}}
	return panel("heatmap", title, description, w, h, f, object{
		"calculate": false, "cellGap": 1, "color": object{"mode": "scheme", "scheme": "Oranges", "fill": "dark-orange", "exponent": 0.5, "reverse": false, "steps": 64},
		"yAxis": object{"unit": unit, "axisPlacement": "left"}, "rowsFrame": object{"layout": "auto"},
		"legend": object{"show": true}, "tooltip": object{"mode": "single", "yHistogram": true, "showColorScale": false},
	}, targets...)
}
