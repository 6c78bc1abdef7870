package render

import "github.com/fleetwatch/fleetwatch/internal/visible"

// The parts of Card JSON 2.0 that cards are built of. Unknown properties are
// errors in Feishu, so there is nothing here that it does not document.
// https://open.feishu.cn/document/feishu-cards/card-json-v2-structure

type document struct {
	Schema string  `json:"schema"`
	Config config  `json:"config"`
	Header *header `json:"header,omitempty"`
	Body   body    `json:"body"`
}

type config struct {
	UpdateMulti bool    `json:"update_multi"`
	Summary     summary `json:"summary"`
}

// summary is what chat lists and notifications show.
type summary struct {
	Content string `json:"content"`
}

type header struct {
	Title    text   `json:"title"`
	Template string `json:"template"`
}

type body struct {
	Elements []any `json:"elements"`
}

type text struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
	Size    string `json:"text_size,omitempty"`
	Color   string `json:"text_color,omitempty"`
}

type div struct {
	Tag  string `json:"tag"`
	Text text   `json:"text"`
}

type markdown struct {
	Tag     string `json:"tag"`
	Content string `json:"content"`
}

type rule struct {
	Tag string `json:"tag"`
}

type columnSet struct {
	Tag      string   `json:"tag"`
	FlexMode string   `json:"flex_mode"`
	Spacing  string   `json:"horizontal_spacing"`
	Columns  []column `json:"columns"`
}

type column struct {
	Tag      string `json:"tag"`
	Width    string `json:"width"`
	Weight   int    `json:"weight,omitempty"`
	Elements []any  `json:"elements"`
}

type button struct {
	Tag       string     `json:"tag"`
	Type      string     `json:"type"`
	Text      text       `json:"text"`
	Behaviors []behavior `json:"behaviors"`
}

type behavior struct {
	Type  string            `json:"type"`
	URL   string            `json:"default_url,omitempty"`
	Value map[string]string `json:"value,omitempty"`
}

// plain is the only way label text gets into a card: plain_text knows no markup.
func plain(content string) text { return text{Tag: "plain_text", Content: visible.Text(content)} }

func line(content string) div { return div{Tag: "div", Text: plain(content)} }

func note(content string) div {
	t := plain(content)
	t.Size, t.Color = "notation", "grey"
	return div{Tag: "div", Text: t}
}

// row is a name and its value side by side; with who, a person stands before the
// value, which then is text of our own.
func row(f fact) columnSet {
	label := plain(f.name)
	label.Color = "grey"
	var value any = line(f.value)
	if at := mentions(f.who()); at != "" {
		value = markdown{Tag: "markdown", Content: at + " " + f.value}
	}
	return columnSet{Tag: "column_set", FlexMode: "none", Spacing: "8px", Columns: []column{
		{Tag: "column", Width: "weighted", Weight: 2, Elements: []any{div{Tag: "div", Text: label}}},
		{Tag: "column", Width: "weighted", Weight: 5, Elements: []any{value}},
	}}
}

func buttonRow(buttons []button) columnSet {
	set := columnSet{Tag: "column_set", FlexMode: "flow", Spacing: "8px"}
	for _, b := range buttons {
		set.Columns = append(set.Columns, column{Tag: "column", Width: "auto", Elements: []any{b}})
	}
	return set
}

func link(name, url, kind string) button {
	return button{Tag: "button", Type: kind, Text: plain(name), Behaviors: []behavior{{Type: "open_url", URL: url}}}
}
