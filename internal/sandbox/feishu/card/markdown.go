package card

import (
	"html"
	"strings"
)

// Line is one line of card text.
type Line struct {
	Bullet bool
	Code   bool // inside a fenced block
	Quote  bool
	Level  int // heading level, 0 for none
	Spans  []Span
}

// Text returns the line without its markup.
func (l Line) Text() string {
	var b strings.Builder
	for _, span := range l.Spans {
		b.WriteString(span.Text)
	}
	return b.String()
}

// Span is a run of text in one style.
type Span struct {
	Text   string
	Bold   bool
	Italic bool
	Strike bool
	Code   bool
	At     bool
	Color  string // <font color=...>
	URL    string // link target; empty unless http or https
}

// Plain splits text into lines and understands no markup at all.
func Plain(s string) []Line {
	var lines []Line
	for line := range strings.SplitSeq(s, "\n") {
		lines = append(lines, Line{Spans: []Span{{Text: line}}})
	}
	return lines
}

// Markdown reads the subset of Feishu's card markdown that changes how text
// looks: bold, italic, strike, code, links, <font>, <at>, <br>, headings, quotes,
// bullets and fenced code. Everything else stays text.
func Markdown(s string) []Line {
	s = strings.NewReplacer("<br>", "\n", "<br/>", "\n", "<br />", "\n").Replace(s)
	var lines []Line
	fenced := false
	for raw := range strings.SplitSeq(s, "\n") {
		if strings.HasPrefix(strings.TrimSpace(raw), "```") {
			fenced = !fenced
			continue
		}
		if fenced {
			lines = append(lines, Line{Code: true, Spans: []Span{{Text: raw}}})
			continue
		}
		lines = append(lines, markdownLine(raw))
	}
	return lines
}

func markdownLine(raw string) Line {
	var line Line
	if rest := strings.TrimLeft(raw, "#"); rest != raw && strings.HasPrefix(rest, " ") {
		line.Level = min(len(raw)-len(rest), 6)
		raw = rest[1:]
	}
	switch {
	case strings.HasPrefix(raw, "- "), strings.HasPrefix(raw, "* "):
		line.Bullet, raw = true, raw[2:]
	case strings.HasPrefix(raw, "> "):
		line.Quote, raw = true, raw[2:]
	}
	p := inline{rest: raw}
	p.run("", Span{})
	line.Spans = p.spans
	return line
}

// inline reads the spans of one line.
type inline struct {
	rest  string
	spans []Span
	plain strings.Builder
}

func (p *inline) flush(style Span) {
	if p.plain.Len() == 0 {
		return
	}
	style.Text = html.UnescapeString(p.plain.String())
	p.spans = append(p.spans, style)
	p.plain.Reset()
}

// run reads until the closing mark (or the end) in the given style.
func (p *inline) run(closing string, style Span) {
	for p.rest != "" {
		if closing != "" && strings.HasPrefix(p.rest, closing) {
			p.rest = p.rest[len(closing):]
			break
		}
		if p.escaped() || p.special(style) {
			continue
		}
		p.plain.WriteByte(p.rest[0])
		p.rest = p.rest[1:]
	}
	p.flush(style)
}

func (p *inline) escaped() bool {
	if len(p.rest) < 2 || p.rest[0] != '\\' || !strings.ContainsRune("\\`*_{}[]()#+-.!~<>|", rune(p.rest[1])) {
		return false
	}
	p.plain.WriteByte(p.rest[1])
	p.rest = p.rest[2:]
	return true
}

// special reads one styled run if the text starts one that is also closed.
func (p *inline) special(style Span) bool {
	for _, mark := range []string{"**", "~~", "*"} {
		inside, ok := strings.CutPrefix(p.rest, mark)
		if !ok || strings.HasPrefix(inside, " ") || strings.Index(inside, mark) < 1 {
			continue
		}
		p.flush(style)
		p.rest = inside
		inner := style
		switch mark {
		case "**":
			inner.Bold = true
		case "~~":
			inner.Strike = true
		default:
			inner.Italic = true
		}
		p.run(mark, inner)
		return true
	}
	switch {
	case strings.HasPrefix(p.rest, "`"):
		return p.code(style)
	case strings.HasPrefix(p.rest, "["):
		return p.link(style)
	case strings.HasPrefix(p.rest, "<font"):
		return p.font(style)
	case strings.HasPrefix(p.rest, "<at "):
		return p.at(style)
	}
	return false
}

func (p *inline) code(style Span) bool {
	text, rest, ok := strings.Cut(p.rest[1:], "`")
	if !ok {
		return false
	}
	p.flush(style)
	style.Code, style.Text = true, html.UnescapeString(text)
	p.spans = append(p.spans, style)
	p.rest = rest
	return true
}

func (p *inline) link(style Span) bool {
	label, rest, ok := strings.Cut(p.rest[1:], "](")
	if !ok || strings.ContainsAny(label, "[]") {
		return false
	}
	target, rest, ok := strings.Cut(rest, ")")
	if !ok {
		return false
	}
	p.flush(style)
	style.Text, style.URL = html.UnescapeString(label), webURL(html.UnescapeString(target))
	p.spans = append(p.spans, style)
	p.rest = rest
	return true
}

func (p *inline) font(style Span) bool {
	open, rest, ok := strings.Cut(p.rest, ">")
	if !ok || !strings.Contains(rest, "</font>") {
		return false
	}
	p.flush(style)
	inner := style
	inner.Color = attribute(open, "color")
	p.rest = rest
	p.run("</font>", inner)
	return true
}

func (p *inline) at(style Span) bool {
	open, rest, ok := strings.Cut(p.rest, ">")
	if !ok {
		return false
	}
	_, rest, ok = strings.Cut(rest, "</at>")
	if !ok {
		return false
	}
	p.flush(style)
	who := attribute(open, "id")
	if who == "" {
		who = attribute(open, "ids")
	}
	style.At, style.Text = true, "@"+who
	p.spans = append(p.spans, style)
	p.rest = rest
	return true
}

// attribute returns the value of name in an opening tag, with or without quotes.
func attribute(open, name string) string {
	_, value, ok := strings.Cut(open, name+"=")
	if !ok {
		return ""
	}
	if value != "" && (value[0] == '"' || value[0] == '\'') {
		value, _, _ = strings.Cut(value[1:], value[:1])
		return value
	}
	value, _, _ = strings.Cut(value, " ")
	return value
}
