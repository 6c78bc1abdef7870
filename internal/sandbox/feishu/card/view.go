package card

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Card is a checked card made ready for showing.
type Card struct {
	Template string // header colour; "default" when the card has no header or names none
	Title    string
	Subtitle string
	Tags     []Tag
	Elements []Element
}

// Tag is a small coloured label in the header.
type Tag struct{ Text, Color string }

// Element is one component. Which fields are set follows from Tag.
type Element struct {
	Tag        string
	Lines      []Line // markdown, div
	Notation   bool   // small print
	Size       string // text size as the card names it
	Align      string
	Color      string
	FlexMode   string
	Background string
	Weight     int // column: share of the width, 0 when it is as wide as its content
	Columns    []Element
	Children   []Element
	Title      string         // button, collapsible_panel, img, person
	Style      string         // button type
	URL        string         // where a button leads; empty unless http or https
	Callback   bool           // a button that calls the app back
	Value      map[string]any // what such a button sends
	Disabled   bool
	Expanded   bool
	Heads      []string
	Rows       [][]string
}

// Parse reads a card that Check accepts. Unknown parts are left out.
func Parse(raw []byte) (Card, error) {
	var root map[string]any
	if err := json.Unmarshal(raw, &root); err != nil {
		return Card{}, fmt.Errorf("decoding card: %w", err)
	}
	card := Card{Template: "default"}
	if header := child(root, "header"); header != nil {
		if t := str(header, "template"); t != "" {
			card.Template = t
		}
		card.Title = content(header, "title")
		card.Subtitle = content(header, "subtitle")
		for _, tag := range list(header, "text_tag_list") {
			card.Tags = append(card.Tags, Tag{Text: content(tag, "text"), Color: str(tag, "color")})
		}
	}
	card.Elements = parseElements(list(child(root, "body"), "elements"))
	return card, nil
}

func parseElements(items []map[string]any) []Element {
	out := make([]Element, 0, len(items))
	for _, item := range items {
		out = append(out, parseElement(item))
	}
	return out
}

func parseElement(item map[string]any) Element {
	e := Element{Tag: str(item, "tag"), Size: str(item, "text_size"), Align: str(item, "text_align")}
	switch e.Tag {
	case "markdown":
		e.Lines = Markdown(str(item, "content"))
	case "div":
		parseDiv(&e, child(item, "text"))
	case "column_set":
		e.FlexMode, e.Background = str(item, "flex_mode"), str(item, "background_style")
		for _, column := range list(item, "columns") {
			e.Columns = append(e.Columns, parseColumn(column))
		}
	case "button":
		parseButton(&e, item)
	case "collapsible_panel":
		header := child(item, "header")
		e.Title = content(header, "title")
		e.Expanded, _ = item["expanded"].(bool)
		e.Children = parseElements(list(item, "elements"))
	case "interactive_container":
		e.Background = str(item, "background_style")
		e.Children = parseElements(list(item, "elements"))
	case "img":
		e.Title = content(item, "alt")
	case "person":
		e.Title = str(item, "user_id")
	case "table":
		parseTable(&e, item)
	}
	e.Notation = e.Size == "notation"
	return e
}

func parseDiv(e *Element, text map[string]any) {
	e.Size, e.Align, e.Color = str(text, "text_size"), str(text, "text_align"), str(text, "text_color")
	if str(text, "tag") == "lark_md" {
		e.Lines = Markdown(str(text, "content"))
		return
	}
	e.Lines = Plain(str(text, "content"))
}

func parseColumn(item map[string]any) Element {
	column := Element{Tag: "column", Background: str(item, "background_style"), Children: parseElements(list(item, "elements"))}
	if str(item, "width") == "weighted" {
		weight, _ := item["weight"].(float64)
		column.Weight = min(max(int(weight), 1), 5)
	}
	return column
}

func parseButton(e *Element, item map[string]any) {
	e.Title, e.Style = content(item, "text"), str(item, "type")
	e.Disabled, _ = item["disabled"].(bool)
	for _, behavior := range list(item, "behaviors") {
		switch str(behavior, "type") {
		case "open_url":
			e.URL = webURL(str(behavior, "default_url"))
			if e.URL == "" {
				e.URL = webURL(str(behavior, "pc_url"))
			}
		case "callback":
			e.Callback, e.Value = true, child(behavior, "value")
		}
	}
}

func parseTable(e *Element, item map[string]any) {
	columns := list(item, "columns")
	for _, column := range columns {
		e.Heads = append(e.Heads, str(column, "display_name"))
	}
	for _, row := range list(item, "rows") {
		cells := make([]string, 0, len(columns))
		for _, column := range columns {
			value, has := row[str(column, "name")]
			if !has {
				value = ""
			}
			cells = append(cells, fmt.Sprint(value))
		}
		e.Rows = append(e.Rows, cells)
	}
}

// Text returns everything a person can read below the header, a line for each
// line of text, buttons as their labels.
func (c Card) Text() string {
	var b strings.Builder
	writeText(&b, c.Elements)
	return strings.TrimSpace(b.String())
}

// Button returns the button of that label that calls the app back and is not
// disabled.
func (c Card) Button(label string) (Element, bool) { return findButton(c.Elements, label) }

func findButton(elements []Element, label string) (Element, bool) {
	for _, e := range elements {
		if e.Tag == "button" && e.Callback && !e.Disabled && e.Title == label {
			return e, true
		}
		for _, inner := range [][]Element{e.Columns, e.Children} {
			if found, ok := findButton(inner, label); ok {
				return found, true
			}
		}
	}
	return Element{}, false
}

func writeText(b *strings.Builder, elements []Element) {
	for _, e := range elements {
		for _, line := range e.Lines {
			b.WriteString(line.Text())
			b.WriteByte('\n')
		}
		if e.Title != "" {
			b.WriteString(e.Title)
			b.WriteByte('\n')
		}
		for _, row := range e.Rows {
			b.WriteString(strings.Join(row, "\t"))
			b.WriteByte('\n')
		}
		writeText(b, e.Columns)
		writeText(b, e.Children)
	}
}

func webURL(s string) string {
	if strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") {
		return s
	}
	return ""
}

func child(m map[string]any, name string) map[string]any {
	c, _ := m[name].(map[string]any)
	return c
}

func str(m map[string]any, name string) string {
	s, _ := m[name].(string)
	return s
}

func content(m map[string]any, name string) string { return str(child(m, name), "content") }

func list(m map[string]any, name string) []map[string]any {
	items, _ := m[name].([]any)
	out := make([]map[string]any, 0, len(items))
	for _, item := range items {
		if fields, ok := item.(map[string]any); ok {
			out = append(out, fields)
		}
	}
	return out
}
