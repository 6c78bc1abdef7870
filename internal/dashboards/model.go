// Package dashboards builds Grafana's dashboards: classic JSON of schema version
// 42, which is what Grafana's file provisioning takes. The files in dashboards/ are
// written from here by the tests' -update flag; a test keeps both equal.
//
// It promises dashboards that need no migration and no input at import: fixed uids,
// the datasource as a variable, thresholds and mappings where the schema has them.
package dashboards

// SchemaVersion is the one that Grafana 12 and 13 write; older ones are migrated on
// loading, which changes what is meant without a word.
const SchemaVersion = 42

// Folder is where provisioning puts the dashboards.
const Folder = "OpenClaw"

// Dashboard is one file.
type Dashboard struct {
	ID            *int        `json:"id"` // always null: Grafana gives it
	UID           string      `json:"uid"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Tags          []string    `json:"tags"`
	SchemaVersion int         `json:"schemaVersion"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"` // 1: the crosshair is shared
	Timezone      string      `json:"timezone"`
	Refresh       string      `json:"refresh"`
	Time          timeRange   `json:"time"`
	Links         []link      `json:"links"`
	Templating    templating  `json:"templating"`
	Annotations   annotations `json:"annotations"`
	Panels        []Panel     `json:"panels"`
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// link leads to other dashboards by tag, or to an address.
type link struct {
	Title       string   `json:"title"`
	Type        string   `json:"type"`
	Icon        string   `json:"icon"`
	Tooltip     string   `json:"tooltip"`
	URL         string   `json:"url,omitempty"`
	Tags        []string `json:"tags"`
	AsDropdown  bool     `json:"asDropdown"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
	TargetBlank bool     `json:"targetBlank"`
}

type templating struct {
	List []Variable `json:"list"`
}

// Variable is a dashboard's variable.
type Variable struct {
	Name       string         `json:"name"`
	Label      string         `json:"label"`
	Type       string         `json:"type"`
	Query      any            `json:"query"` // text, or a variableQuery
	Datasource *Datasource    `json:"datasource,omitempty"`
	Current    *currentOption `json:"current,omitempty"`
	Refresh    int            `json:"refresh"`        // 1: on loading, 2: on change of time
	Sort       int            `json:"sort,omitempty"` // 1: by name
	IncludeAll bool           `json:"includeAll,omitempty"`
	AllValue   string         `json:"allValue,omitempty"`
	Multi      bool           `json:"multi,omitempty"`
}

type variableQuery struct {
	Query string `json:"query"`
	RefID string `json:"refId"`
}

type currentOption struct {
	Text  []string `json:"text"`
	Value []string `json:"value"`
}

type annotations struct {
	List []Annotation `json:"list"`
}

// Annotation marks moments on every graph.
type Annotation struct {
	Name        string            `json:"name"`
	Enable      bool              `json:"enable"`
	IconColor   string            `json:"iconColor"`
	Datasource  Datasource        `json:"datasource"`
	Target      *annotationTarget `json:"target,omitempty"`
	TitleFormat string            `json:"titleFormat,omitempty"`
	TagKeys     string            `json:"tagKeys,omitempty"`
}

type annotationTarget struct {
	Expr     string `json:"expr"`
	RefID    string `json:"refId"`
	Interval string `json:"interval,omitempty"`
}

// Datasource refers to one by type and uid.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a panel, or a row, whose panels follow it.
type Panel struct {
	ID              int              `json:"id"`
	Type            string           `json:"type"`
	Title           string           `json:"title"`
	Description     string           `json:"description,omitempty"`
	GridPos         gridPos          `json:"gridPos"`
	Collapsed       *bool            `json:"collapsed,omitempty"` // rows only
	Panels          *[]Panel         `json:"panels,omitempty"`    // rows only
	Datasource      *Datasource      `json:"datasource,omitempty"`
	Targets         []Target         `json:"targets,omitempty"`
	FieldConfig     *fieldConfig     `json:"fieldConfig,omitempty"`
	Options         any              `json:"options,omitempty"`
	Transformations []transformation `json:"transformations,omitempty"`
}

type gridPos struct {
	H int `json:"h"`
	W int `json:"w"`
	X int `json:"x"`
	Y int `json:"y"`
}

// Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Datasource   Datasource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat,omitempty"`
	Format       string     `json:"format"`
	Instant      bool       `json:"instant"`
	Range        bool       `json:"range"`
}

type fieldConfig struct {
	Defaults  field      `json:"defaults"`
	Overrides []override `json:"overrides"`
}

type field struct {
	Unit       string      `json:"unit,omitempty"`
	Decimals   *int        `json:"decimals,omitempty"`
	Min        *float64    `json:"min,omitempty"`
	Max        *float64    `json:"max,omitempty"`
	NoValue    string      `json:"noValue,omitempty"`
	Color      *color      `json:"color,omitempty"`
	Thresholds *thresholds `json:"thresholds,omitempty"`
	Mappings   []mapping   `json:"mappings,omitempty"`
	Links      []dataLink  `json:"links,omitempty"`
	Custom     any         `json:"custom,omitempty"`
}

type color struct {
	Mode string `json:"mode"`
}

type thresholds struct {
	Mode  string `json:"mode"`
	Steps []step `json:"steps"`
}

type step struct {
	Value *float64 `json:"value"` // null: from minus infinity
	Color string   `json:"color"`
}

type mapping struct {
	Type    string            `json:"type"`
	Options map[string]result `json:"options"`
}

type result struct {
	Text  string `json:"text"`
	Color string `json:"color,omitempty"`
	Index int    `json:"index"`
}

type dataLink struct {
	Title       string `json:"title"`
	URL         string `json:"url"`
	TargetBlank bool   `json:"targetBlank"`
}

type override struct {
	Matcher    matcher    `json:"matcher"`
	Properties []property `json:"properties"`
}

type matcher struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}

type property struct {
	ID    string `json:"id"`
	Value any    `json:"value"`
}

type transformation struct {
	ID      string `json:"id"`
	Options any    `json:"options"`
}

// object is what the options of a panel type are written as.
type object map[string]any
