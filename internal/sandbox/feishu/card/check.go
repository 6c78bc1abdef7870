// Package card knows the part of Feishu's card language, JSON 2.0, that alert
// cards use: it checks a card the way the real service does, and reads one for
// showing it.
//
// It is deliberately no laxer than Feishu: a card that passes here uses only
// documented properties of documented components. Components that alert cards
// have no use for (form, input, chart ...) are not modelled and are refused,
// saying so.
//
// Facts: https://open.feishu.cn/document/uAjLw4CM/ukzMukzMukzM/feishu-cards/card-json-v2-structure
package card

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Limits of one card.
const (
	// MaxElements is how many objects with a tag one card may hold, nested ones included.
	MaxElements = 200
	// MaxTables is how many table components one card may hold.
	MaxTables = 5
)

// Sub-codes that Feishu puts into the message of 230099.
const (
	// CodeLimit means too many elements or tables.
	CodeLimit = 11310
	// CodeParse means that the JSON or a property is not understood.
	CodeParse = 200621
	// CodeGone means a component of JSON 1.0 that 2.0 no longer has.
	CodeGone = 200861
)

// Error is a refusal of a card, as Feishu words it.
type Error struct {
	Code  int
	Path  string // only for the codes that report one
	Msg   string
	Value string
}

// Error returns the text that follows "ext=" in Feishu's answer.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "ErrCode: %d; ", e.Code)
	if e.Path != "" {
		fmt.Fprintf(&b, "ErrPath: %s; ", e.Path)
	}
	fmt.Fprintf(&b, "ErrMsg: %s; ErrorValue: %s; ", e.Msg, e.Value)
	return b.String()
}

// Checker checks cards against JSON 2.0. It is safe for concurrent use.
type Checker struct {
	components map[string]shape
	parts      map[string]shape
}

// NewChecker returns a ready checker.
func NewChecker() *Checker {
	return &Checker{components: componentShapes(), parts: partShapes()}
}

// Check returns nil, or an *Error with the first thing Feishu would refuse.
func (c *Checker) Check(raw []byte) error {
	var root any
	if err := json.Unmarshal(raw, &root); err != nil {
		return parseError(fmt.Sprintf("json: %v", err))
	}
	fields, ok := root.(map[string]any)
	if !ok {
		return parseError("the card is not an object")
	}
	if schema, _ := fields["schema"].(string); schema != "2.0" {
		return parseError(`schema must be "2.0": this stand-in does not model JSON 1.0 cards`)
	}
	if err := c.checkShape("ROOT", fields, c.parts["card"]); err != nil {
		return err
	}
	if config, ok := fields["config"].(map[string]any); ok {
		if multi, set := config["update_multi"].(bool); set && !multi {
			return parseError("update_multi only supports true in schema 2.0, path: ROOT -> config")
		}
	}
	return checkLimits(root)
}

func checkLimits(root any) error {
	tagged, tables := count(root)
	if tables > MaxTables {
		return &Error{Code: CodeLimit, Msg: "card table number over limit", Value: "table"}
	}
	if tagged > MaxElements {
		return &Error{Code: CodeLimit, Msg: "element exceeds the limit", Value: fmt.Sprint(tagged)}
	}
	return nil
}

// count returns how many objects below v carry a tag, and how many are tables.
// Data rows of a table are not components, so they are not entered.
func count(v any) (tagged, tables int) {
	switch v := v.(type) {
	case map[string]any:
		tag, has := v["tag"].(string)
		if has {
			tagged++
		}
		if tag == "table" {
			return tagged, 1
		}
		for _, child := range v {
			n, t := count(child)
			tagged, tables = tagged+n, tables+t
		}
	case []any:
		for _, child := range v {
			n, t := count(child)
			tagged, tables = tagged+n, tables+t
		}
	}
	return tagged, tables
}

func (c *Checker) checkShape(path string, fields map[string]any, s shape) error {
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		r, known := s.props[name]
		if !known {
			return parseError(fmt.Sprintf("unknown property, property: %s, path: %s", name, path))
		}
		if err := c.checkValue(path+" -> "+name, fields[name], r); err != nil {
			return err
		}
	}
	for _, name := range s.required {
		if _, ok := fields[name]; !ok {
			return parseError(fmt.Sprintf("missing required property, property: %s, path: %s", name, path))
		}
	}
	return c.checkMeaning(path, fields)
}

// checkMeaning holds the rules that span two properties.
func (c *Checker) checkMeaning(path string, fields map[string]any) error {
	switch fields["type"] {
	case "callback":
		if _, ok := fields["value"].(map[string]any); !ok {
			return parseError("callback value must be an object, path: " + path)
		}
	case "open_url":
		if url, _ := fields["default_url"].(string); url == "" {
			if _, pc := fields["pc_url"].(string); !pc {
				return parseError("open_url needs default_url, path: " + path)
			}
		}
	}
	return nil
}

func (c *Checker) checkValue(path string, v any, r rule) error {
	switch r.kind {
	case kindAny:
	case kindString:
		_, ok := v.(string)
		return typed(ok, path, "string")
	case kindBool:
		_, ok := v.(bool)
		return typed(ok, path, "bool")
	case kindNumber:
		_, ok := v.(float64)
		return typed(ok, path, "number")
	case kindScalar:
		_, isText := v.(string)
		_, isNumber := v.(float64)
		return typed(isText || isNumber, path, "string or number")
	case kindObject:
		_, ok := v.(map[string]any)
		return typed(ok, path, "object")
	case kindEnum:
		s, ok := v.(string)
		return typed(ok && slices.Contains(r.values, s), path, "one of "+strings.Join(r.values, ", "))
	case kindShape:
		fields, ok := v.(map[string]any)
		if !ok {
			return typed(false, path, "object")
		}
		return c.checkShape(path, fields, c.parts[r.shape])
	case kindShapes:
		return c.checkList(path, v, func(path string, fields map[string]any) error {
			return c.checkShape(path, fields, c.parts[r.shape])
		})
	case kindElements:
		return c.checkList(path, v, c.checkElement)
	}
	return nil
}

func (c *Checker) checkList(path string, v any, check func(string, map[string]any) error) error {
	list, ok := v.([]any)
	if !ok {
		return typed(false, path, "array")
	}
	for i, item := range list {
		fields, ok := item.(map[string]any)
		at := fmt.Sprintf("%s -> [%d]", path, i)
		if !ok {
			return typed(false, at, "object")
		}
		if tag, ok := fields["tag"].(string); ok {
			at += "(tag: " + tag + ")"
		}
		if err := check(at, fields); err != nil {
			return err
		}
	}
	return nil
}

func (c *Checker) checkElement(path string, fields map[string]any) error {
	tag, _ := fields["tag"].(string)
	switch tag {
	case "note", "action":
		return &Error{Code: CodeGone, Path: path, Msg: "cards of schema V2 no longer support this capability", Value: "unsupported tag " + tag}
	case "form", "input", "chart", "select_static", "select_person", "multi_select_static", "multi_select_person",
		"overflow", "date_picker", "picker_time", "picker_datetime", "select_img", "checker", "img_combination",
		"person_list", "audio", "recycling_container":
		return parseError(fmt.Sprintf("this stand-in does not model the component %q, path: %s", tag, path))
	}
	s, known := c.components[tag]
	if !known {
		return parseError(fmt.Sprintf("type of element is not supported tag: %s, path: %s", tag, path))
	}
	return c.checkShape(path, fields, s)
}

func typed(ok bool, path, want string) error {
	if ok {
		return nil
	}
	return parseError(fmt.Sprintf("invalid value, want %s, path: %s", want, path))
}

func parseError(value string) *Error {
	return &Error{Code: CodeParse, Msg: "parse card json err, please check whether the card json is correct", Value: value}
}
