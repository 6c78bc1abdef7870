package card

// kind says what a property's value must be.
type kind int

const (
	kindString kind = iota
	kindBool
	kindNumber
	kindScalar   // string or number, as Feishu takes for sizes and weights
	kindObject   // any JSON object
	kindAny      // any JSON value
	kindShape    // an object of the named shape
	kindShapes   // an array of objects of the named shape
	kindElements // an array of components
	kindEnum     // one of the listed strings
)

// rule is what one property accepts.
type rule struct {
	kind   kind
	shape  string
	values []string
}

// shape is one object of the card language: its properties, and those of them
// that must be there.
type shape struct {
	props    map[string]rule
	required []string
}

func text() rule                               { return rule{kind: kindString} }
func flag() rule                               { return rule{kind: kindBool} }
func number() rule                             { return rule{kind: kindNumber} }
func scalar() rule                             { return rule{kind: kindScalar} }
func object() rule                             { return rule{kind: kindObject} }
func anything() rule                           { return rule{kind: kindAny} }
func one(name string) rule                     { return rule{kind: kindShape, shape: name} }
func many(name string) rule                    { return rule{kind: kindShapes, shape: name} }
func elements() rule                           { return rule{kind: kindElements} }
func among(values ...string) rule              { return rule{kind: kindEnum, values: values} }
func define(p props, required ...string) shape { return shape{props: p, required: required} }

type props = map[string]rule

// component adds what every component accepts.
func component(p props, required ...string) shape {
	p["tag"] = text()
	p["element_id"] = text()
	p["margin"] = text()
	return shape{props: p, required: required}
}

// layout adds what every container accepts.
func layout(p props, required ...string) shape {
	for _, name := range []string{"direction", "padding", "horizontal_spacing", "horizontal_align", "vertical_spacing", "vertical_align"} {
		p[name] = text()
	}
	p["elements"] = elements()
	return component(p, required...)
}

// Templates lists the header colours of the card language.
func Templates() []string {
	return []string{"blue", "wathet", "turquoise", "green", "yellow", "orange", "red",
		"carmine", "violet", "purple", "indigo", "grey", "default"}
}

// tags are the components that may stand in an elements array.
func componentShapes() map[string]shape {
	return map[string]shape{
		"markdown": component(props{"content": text(), "text_size": text(), "text_align": among("left", "center", "right"),
			"icon": one("icon"), "href": object(), "i18n_content": object()}, "content"),
		"div": component(props{"text": one("text"), "icon": one("icon"), "width": text()}),
		"hr":  component(props{}),
		"img": component(props{"img_key": text(), "alt": one("text"), "title": one("text"), "corner_radius": text(),
			"scale_type": text(), "size": text(), "transparent": flag(), "preview": flag()}, "img_key"),
		"column_set": component(props{"flex_mode": among("none", "stretch", "flow", "bisect", "trisect"), "background_style": text(),
			"horizontal_spacing": text(), "horizontal_align": text(), "columns": many("column"), "action": object()}, "columns"),
		"button": component(props{"type": among("default", "primary", "danger", "text", "primary_text", "danger_text",
			"primary_filled", "danger_filled", "laser"), "size": among("tiny", "small", "medium", "large"), "width": text(),
			"text": one("text"), "icon": one("icon"), "hover_tips": one("text"), "disabled": flag(), "disabled_tips": one("text"),
			"confirm": one("confirm"), "behaviors": many("behavior"), "name": text(), "form_action_type": text(), "required": flag()}),
		"collapsible_panel": layout(props{"expanded": flag(), "background_color": text(), "header": one("panel_header"),
			"border": one("border")}, "header", "elements"),
		"interactive_container": layout(props{"width": text(), "height": text(), "background_style": text(), "has_border": flag(),
			"border_color": text(), "corner_radius": text(), "behaviors": many("behavior"), "hover_tips": one("text"),
			"disabled": flag(), "disabled_tips": one("text"), "confirm": one("confirm")}, "behaviors", "elements"),
		"table": component(props{"page_size": number(), "row_height": text(), "row_max_height": text(), "freeze_first_column": flag(),
			"header_style": one("table_header"), "columns": many("table_column"), "rows": anything()}, "columns", "rows"),
		"person": component(props{"size": text(), "user_id": text(), "show_avatar": flag(), "show_name": flag(), "style": text()}, "user_id"),
	}
}

// partShapes are the objects that are no components of their own.
func partShapes() map[string]shape {
	return map[string]shape{
		"card": define(props{"schema": text(), "config": one("config"), "card_link": one("link"), "header": one("header"),
			"body": one("body")}, "schema", "body"),
		"config": define(props{"streaming_mode": flag(), "streaming_config": object(), "summary": one("summary"),
			"locales": anything(), "enable_forward": flag(), "update_multi": flag(), "width_mode": text(),
			"use_custom_translation": flag(), "enable_forward_interaction": flag(), "style": object()}),
		"summary": define(props{"content": text(), "i18n_content": object()}),
		"link":    define(props{"url": text(), "android_url": text(), "ios_url": text(), "pc_url": text()}),
		"header": define(props{"title": one("text"), "subtitle": one("text"), "text_tag_list": many("text_tag"),
			"i18n_text_tag_list": object(), "template": among(Templates()...), "icon": one("icon"), "padding": text()}, "title"),
		"text_tag": define(props{"tag": among("text_tag"), "element_id": text(), "text": one("text"), "color": text()}, "text"),
		"body": define(props{"direction": text(), "padding": text(), "horizontal_spacing": text(), "horizontal_align": text(),
			"vertical_spacing": text(), "vertical_align": text(), "elements": elements()}, "elements"),
		"text": define(props{"tag": among("plain_text", "lark_md"), "element_id": text(), "content": text(), "text_size": text(),
			"text_color": text(), "text_align": among("left", "center", "right"), "lines": number(), "icon": one("icon"),
			"i18n_content": object()}, "tag"),
		"icon": define(props{"tag": among("standard_icon", "custom_icon"), "token": text(), "color": text(), "img_key": text(),
			"size": text()}, "tag"),
		"column":  layout(props{"width": text(), "weight": number(), "background_style": text(), "action": object()}),
		"confirm": define(props{"title": one("text"), "text": one("text")}),
		"behavior": define(props{"type": among("open_url", "callback", "form_action"), "default_url": text(), "android_url": text(),
			"ios_url": text(), "pc_url": text(), "value": object(), "behavior": text()}, "type"),
		"panel_header": define(props{"title": one("panel_title"), "background_color": text(), "vertical_align": text(),
			"padding": text(), "position": text(), "width": text(), "icon": one("icon"), "icon_position": text(),
			"icon_expanded_angle": number()}, "title"),
		"panel_title": define(props{"tag": among("plain_text", "lark_md", "markdown"), "element_id": text(), "content": text(),
			"text_size": text(), "text_color": text(), "text_align": text(), "i18n_content": object()}, "tag"),
		"border": define(props{"color": text(), "corner_radius": text()}),
		"table_header": define(props{"text_align": text(), "text_size": text(), "background_style": text(), "text_color": text(),
			"bold": flag(), "lines": number()}),
		"table_column": define(props{"name": text(), "display_name": text(), "data_type": text(), "vertical_align": text(),
			"horizontal_align": text(), "width": scalar(), "format": object(), "date_format": text()}, "name"),
	}
}
