// Package webui is the shared look of the programs' pages: one layout, one
// stylesheet, one script, the switches for language (zh-CN, en) and theme, and
// the headers that keep a page to its own files.
//
// A page is a template file that defines "title" and "main" (and, where wanted,
// "banner" and "nav"); everything it prints is escaped by html/template. Text is
// written next to where it is shown, in both languages: {{t "告警" "Alerts"}}.
// Pages work without script; with it, an element with data-live is brought up to
// date in place whenever its event stream says that something changed.
package webui

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed assets
var shared embed.FS

// languages are the languages of the pages; the first is the default.
func languages() []string { return []string{"zh-CN", "en"} }

// Program is what the layout says about the program.
type Program struct {
	Name  string // shown beside the product's name
	Funcs template.FuncMap
}

// UI renders the pages of one program. It is safe for concurrent use.
type UI struct {
	program Program
	pages   map[string]*template.Template // language + "/" + file
	files   map[string]asset              // URL path -> file
	css, js []string                      // URL paths in the order of use
}

type asset struct {
	body        []byte
	contentType string
}

// page is what templates see: {{.Data}} is the handler's.
type page struct {
	Lang, Theme string
	Path        string // of the page, for the switches
	Program     string
	CSS, JS     []string
	Data        any
}

// New reads a program's pages: every *.html of the folder is one page, *.css and
// *.js are served and used by all of them.
func New(program Program, folder fs.FS) (*UI, error) {
	ui := &UI{program: program, pages: map[string]*template.Template{}, files: map[string]asset{}}
	base, err := fs.Sub(shared, "assets")
	if err != nil {
		return nil, fmt.Errorf("opening shared pages: %w", err)
	}
	for _, from := range []fs.FS{base, folder} {
		if err := ui.addAssets(from); err != nil {
			return nil, err
		}
	}
	layout, err := fs.ReadFile(base, "layout.html")
	if err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	names, err := fs.Glob(folder, "*.html")
	if err != nil {
		return nil, fmt.Errorf("listing pages: %w", err)
	}
	for _, name := range names {
		body, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("reading page %s: %w", name, err)
		}
		for _, lang := range languages() {
			if ui.pages[lang+"/"+name], err = parse(program, lang, string(layout), string(body)); err != nil {
				return nil, fmt.Errorf("reading page %s: %w", name, err)
			}
		}
	}
	return ui, nil
}

func parse(program Program, lang, layout, body string) (*template.Template, error) {
	t := template.New("page").Funcs(template.FuncMap{
		"t": func(zh, en string) string {
			if lang == "en" {
				return en
			}
			return zh
		},
		"rfc3339": func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"clock":   func(at time.Time) string { return at.Local().Format("01-02 15:04:05 MST") },
		"ago":     func(at time.Time) string { return Ago(lang, time.Since(at)) },
		"initial": initial,
	}).Funcs(program.Funcs)
	if _, err := t.Parse(layout); err != nil {
		return nil, err
	}
	return t.Parse(body)
}

func initial(name string) string {
	for _, r := range name {
		return strings.ToUpper(string(r))
	}
	return "·"
}

func (ui *UI) addAssets(from fs.FS) error {
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}
	entries, err := fs.ReadDir(from, ".")
	if err != nil {
		return fmt.Errorf("listing page files: %w", err)
	}
	for _, entry := range entries {
		contentType, wanted := types[path.Ext(entry.Name())]
		if !wanted {
			continue
		}
		body, err := fs.ReadFile(from, entry.Name())
		if err != nil {
			return fmt.Errorf("reading page file %s: %w", entry.Name(), err)
		}
		sum := sha256.Sum256(body)
		url := "/assets/" + hex.EncodeToString(sum[:6]) + "/" + entry.Name()
		ui.files[url] = asset{body: body, contentType: contentType}
		if path.Ext(url) == ".css" {
			ui.css = append(ui.css, url)
		} else {
			ui.js = append(ui.js, url)
		}
	}
	return nil
}

// Render writes the page name with the layout around it.
func (ui *UI) Render(w http.ResponseWriter, r *http.Request, name string, data any) error {
	return ui.write(w, r, name, "layout", data)
}

// Fragment writes one template of the page name, for bringing an open page up to date.
func (ui *UI) Fragment(w http.ResponseWriter, r *http.Request, name, part string, data any) error {
	return ui.write(w, r, name, part, data)
}

func (ui *UI) write(w http.ResponseWriter, r *http.Request, name, part string, data any) error {
	p := page{Lang: Lang(r), Theme: theme(r), Path: r.URL.Path, Program: ui.program.Name, CSS: ui.css, JS: ui.js, Data: data}
	t, ok := ui.pages[p.Lang+"/"+name]
	if !ok {
		return fmt.Errorf("rendering: there is no page %q", name)
	}
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, part, p); err != nil {
		return fmt.Errorf("rendering %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := body.WriteTo(w); err != nil {
		return fmt.Errorf("sending %s: %w", name, err)
	}
	return nil
}

// ServeHTTP serves the files below /assets/. Their URLs change with their content.
func (ui *UI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file, ok := ui.files[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.body))
}

// Ago words a time span in the past for people.
func Ago(lang string, d time.Duration) string {
	units := []struct {
		span   time.Duration
		zh, en string
	}{{24 * time.Hour, "天前", "d ago"}, {time.Hour, "小时前", "h ago"}, {time.Minute, "分钟前", "min ago"}, {time.Second, "秒前", "s ago"}}
	for _, unit := range units {
		if n := d / unit.span; n > 0 {
			if lang == "en" {
				return fmt.Sprintf("%d %s", n, unit.en)
			}
			return fmt.Sprintf("%d %s", n, unit.zh)
		}
	}
	if lang == "en" {
		return "just now"
	}
	return "刚刚"
}
