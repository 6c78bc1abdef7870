package card_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

func withElements(elements string) string {
	return `{"schema":"2.0","config":{"update_multi":true},"header":{"title":{"tag":"plain_text","content":"t"},"template":"red"},"body":{"elements":[` + elements + `]}}`
}

func repeat(n int, element string) string {
	return withElements(strings.TrimSuffix(strings.Repeat(element+",", n), ","))
}

func TestCheck(t *testing.T) {
	table := `{"tag":"table","columns":[{"name":"a","data_type":"text"}],"rows":[{"a":"1"}]}`
	cases := []struct {
		name, card string
		code       int
		says       string
	}{
		{name: "markdown", card: withElements(`{"tag":"markdown","content":"**a**","text_size":"notation"}`)},
		{name: "div", card: withElements(`{"tag":"div","text":{"tag":"plain_text","content":"a","text_size":"notation","text_color":"grey"}}`)},
		{name: "columns", card: withElements(`{"tag":"column_set","flex_mode":"stretch","columns":[{"tag":"column","width":"weighted","weight":1,"elements":[{"tag":"hr"}]}]}`)},
		{name: "button link", card: withElements(`{"tag":"button","text":{"tag":"plain_text","content":"a"},"type":"primary","behaviors":[{"type":"open_url","default_url":"https://x"}]}`)},
		{name: "button callback", card: withElements(`{"tag":"button","text":{"tag":"plain_text","content":"a"},"behaviors":[{"type":"callback","value":{"a":"b"}}]}`)},
		{name: "panel", card: withElements(`{"tag":"collapsible_panel","header":{"title":{"tag":"plain_text","content":"a"}},"elements":[{"tag":"hr"}]}`)},
		{name: "200 tagged", card: repeat(199, `{"tag":"hr"}`)},
		{name: "5 tables", card: repeat(5, table)},
		{name: "no JSON", card: `{`, code: card.CodeParse, says: "parse card json err"},
		{name: "schema 1", card: `{"elements":[]}`, code: card.CodeParse, says: "JSON 1.0"},
		{name: "wide_screen_mode", card: `{"schema":"2.0","config":{"wide_screen_mode":true},"body":{"elements":[]}}`, code: card.CodeParse,
			says: "unknown property, property: wide_screen_mode, path: ROOT -> config"},
		{name: "elements at the root", card: `{"schema":"2.0","elements":[],"body":{"elements":[]}}`, code: card.CodeParse,
			says: "unknown property, property: elements, path: ROOT"},
		{name: "deep path", card: withElements(`{"tag":"hr"},{"tag":"column_set","corner_radius":"8px","columns":[]}`), code: card.CodeParse,
			says: "unknown property, property: corner_radius, path: ROOT -> body -> elements -> [1](tag: column_set)"},
		{name: "markdown has no text_color", card: withElements(`{"tag":"markdown","content":"a","text_color":"red"}`), code: card.CodeParse, says: "text_color"},
		{name: "note", card: withElements(`{"tag":"note","elements":[]}`), code: card.CodeGone, says: "ErrPath: ROOT -> body -> elements -> [0](tag: note); ErrMsg: cards of schema V2 no longer support this capability; ErrorValue: unsupported tag note"},
		{name: "action", card: withElements(`{"tag":"action","actions":[]}`), code: card.CodeGone, says: "unsupported tag action"},
		{name: "form is not modelled", card: withElements(`{"tag":"form"}`), code: card.CodeParse, says: "does not model"},
		{name: "no such tag", card: withElements(`{"tag":"lark_md","content":"a"}`), code: card.CodeParse, says: "type of element is not supported tag: lark_md"},
		{name: "callback with text", card: withElements(`{"tag":"button","behaviors":[{"type":"callback","value":"a"}]}`), code: card.CodeParse, says: "object"},
		{name: "template", card: `{"schema":"2.0","header":{"title":{"tag":"plain_text","content":"a"},"template":"pink"},"body":{"elements":[]}}`, code: card.CodeParse, says: "ROOT -> header -> template"},
		{name: "private card", card: `{"schema":"2.0","config":{"update_multi":false},"body":{"elements":[]}}`, code: card.CodeParse, says: "update_multi"},
		{name: "content is a number", card: withElements(`{"tag":"markdown","content":1}`), code: card.CodeParse, says: "want string"},
		{name: "201 tagged", card: repeat(200, `{"tag":"hr"}`), code: card.CodeLimit, says: "element exceeds the limit"},
		{name: "nested are counted", card: repeat(100, `{"tag":"div","text":{"tag":"plain_text","content":"a"}}`), code: card.CodeLimit, says: "element exceeds the limit"},
		{name: "6 tables", card: repeat(6, table), code: card.CodeLimit, says: "card table number over limit; ErrorValue: table;"},
	}
	checker := card.NewChecker()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			err := checker.Check([]byte(c.card))
			if c.code == 0 {
				if err != nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			var refusal *card.Error
			if !errors.As(err, &refusal) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if refusal.Code != c.code || !strings.Contains(refusal.Error(), c.says) {
				t.Errorf("got %v, want code %d and %q", refusal, c.code, c.says)
			}
		})
	}
}

func TestParse(t *testing.T) {
	view, err := card.Parse([]byte(withElements(`{"tag":"markdown","content":"**名称** &lt;at&gt; [看板](https://g/x) [坏](javascript:1)\n- 一"},
		{"tag":"column_set","columns":[{"tag":"column","elements":[{"tag":"button","text":{"tag":"plain_text","content":"确认"},"behaviors":[{"type":"callback","value":{}}]}]}]}`)))
	if err != nil {
		t.Fatal(err)
	}
	if view.Template != "red" || view.Title != "t" {
		t.Errorf("header: %+v", view)
	}
	if got, want := view.Text(), "名称 <at> 看板 坏\n一\n确认"; got != want {
		t.Errorf("text %q, want %q", got, want)
	}
	for _, span := range view.Elements[0].Lines[0].Spans {
		if strings.HasPrefix(span.URL, "javascript") {
			t.Errorf("script link survived: %+v", span)
		}
	}
}

func TestMarkdown(t *testing.T) {
	cases := []struct {
		in   string
		want []card.Span
	}{
		{"a **b** c", []card.Span{{Text: "a "}, {Text: "b", Bold: true}, {Text: " c"}}},
		{"2 * 3 * 4", []card.Span{{Text: "2 * 3 * 4"}}},
		{`\*a\*`, []card.Span{{Text: "*a*"}}},
		{"`x<y`", []card.Span{{Text: "x<y", Code: true}}},
		{"<font color='red'>**hot**</font>", []card.Span{{Text: "hot", Bold: true, Color: "red"}}},
		{"<at id=ou_1></at> hi", []card.Span{{Text: "@ou_1", At: true}, {Text: " hi"}}},
		{"**open", []card.Span{{Text: "**open"}}},
		{"[a](b", []card.Span{{Text: "[a](b"}}},
	}
	for _, c := range cases {
		lines := card.Markdown(c.in)
		if got, want := fmt.Sprintf("%+v", lines[0].Spans), fmt.Sprintf("%+v", c.want); got != want {
			t.Errorf("%q: got %s, want %s", c.in, got, want)
		}
	}
}

func FuzzMarkdown(f *testing.F) {
	f.Add("**a** `b` [c](https://d) <font color='red'>e</font> <at id=f></at> \\* ~~g~~")
	checker := card.NewChecker()
	f.Fuzz(func(t *testing.T, text string) {
		raw, err := json.Marshal(text)
		if err != nil {
			t.Skip("not encodable")
		}
		full := []byte(withElements(`{"tag":"markdown","content":` + string(raw) + `}`))
		if err := checker.Check(full); err != nil {
			t.Fatal(err)
		}
		if _, err := card.Parse(full); err != nil {
			t.Fatal(err)
		}
	})
}
