// Package webui is the shared look of the programs' pages: one layout, one
// stylesheet, one script, the switches for language (zh-CN, en) and theme, and
// the headers that keep a page to its own files.
//
// A page is a template file that defines "title" and "main" (and, where wanted,
// "banner", "nav" and "refresh"); what several pages share stands in files whose name
// begins with "_". Everything is escaped by html/template. Text is written next to
// where it is shown, in both languages: {{t "告警" "Alerts"}}; what comes from outside
// goes through {{show .}}. (A page that is not to load itself anew without script defines
// "refresh" as something: an empty definition replaces nothing.)
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
	"maps"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed assets
var shared embed.FS

// languages are the languages of the pages; the first is the default.
func languages() []string { return []string{"zh-CN", "en"} }

// Program is what the layout says about the program.
type Program struct {
	Name  string // shown beside the product's name
	Home  string // path of the first page; "" = /
	Funcs template.FuncMap
}

// UI renders the pages of one program. It is safe for concurrent use.
type UI struct {
	program Program
	pages   map[string]func() (*template.Template, error) // language + "/" + file
	files   map[string]asset                              // URL path -> file
	css, js []string                                      // URL paths in the order of use
}

type asset struct {
	body        []byte
	contentType string
}

// page is what templates see: {{.Data}} is the handler's.
type page struct {
	Lang, Theme   string
	Path          string // of the page
	Program, Home string
	CSS, JS       []string
	Data          any

	query url.Values
}

// Choose is where a switch leads: the same page, with one thing chosen.
func (p page) Choose(key, value string) string {
	query := maps.Clone(p.query)
	query.Set(key, value)
	return "?" + query.Encode()
}

// New reads a program's pages: every *.html of the folder is one page, but for _*.html,
// which are parts of all; *.css and *.js are served and used by all of them.
func New(program Program, folder fs.FS) (*UI, error) {
	ui := &UI{program: program, pages: map[string]func() (*template.Template, error){}, files: map[string]asset{}}
	base, err := fs.Sub(shared, "assets")
	if err != nil {
		return nil, fmt.Errorf("opening shared pages: %w", err)
	}
	for _, from := range []fs.FS{base, folder} {
		if err := ui.addAssets(from); err != nil {
			return nil, err
		}
	}
	if ui.program.Home == "" {
		ui.program.Home = "/"
	}
	if err := ui.addPages(base, folder); err != nil {
		return nil, err
	}
	return ui, nil
}

// addPages finds the pages, and refuses those that are broken. What each becomes in a
// language is made when it is first asked for: it takes memory, and most are not.
func (ui *UI) addPages(base, folder fs.FS) error {
	names, err := fs.Glob(folder, "*.html")
	if err != nil {
		return fmt.Errorf("listing pages: %w", err)
	}
	isPart := func(name string) bool { return strings.HasPrefix(name, "_") }
	parts := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !isPart(name) })
	for _, name := range slices.DeleteFunc(names, isPart) {
		for _, lang := range languages() {
			read := func() (*template.Template, error) {
				return ui.read(base, folder, lang, append(slices.Clone(parts), name))
			}
			if lang == languages()[0] { // they differ in what is called, not in what is parsed
				if _, err := read(); err != nil {
					return err
				}
			}
			ui.pages[lang+"/"+name] = sync.OnceValues(read)
		}
	}
	return nil
}

// read makes a page of the layout, the parts and itself.
func (ui *UI) read(base, folder fs.FS, lang string, names []string) (*template.Template, error) {
	t := template.New("page").Funcs(funcs(lang)).Funcs(ui.program.Funcs)
	if _, err := t.ParseFS(base, "layout.html"); err != nil {
		return nil, fmt.Errorf("reading the layout: %w", err)
	}
	for _, name := range names {
		if _, err := t.ParseFS(folder, name); err != nil {
			return nil, fmt.Errorf("reading page %s: %w", name, err)
		}
	}
	return t, nil
}

// funcs are what templates may call.
func funcs(lang string) template.FuncMap {
	return template.FuncMap{
		"t": func(zh, en string) string {
			if lang == "en" {
				return en
			}
			return zh
		},
		"rfc3339": func(at time.Time) string { return at.UTC().Format(time.RFC3339) },
		"clock":   func(at time.Time) string { return at.Local().Format("01-02 15:04:05 MST") },
		"ago":     func(at time.Time) string { return Ago(lang, time.Since(at)) },
		"span":    func(d time.Duration) string { return Span(lang, d) },
		"left":    func(at time.Time) string { return Left(time.Until(at)) },
		"show":    func(text any) string { return Short(fmt.Sprint(text), longest) },
		"group":   func(n any) string { return Group(reflect.ValueOf(n).Int()) },
		"initial": initial,
	}
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
	return ui.write(w, r, http.StatusOK, name, "layout", data)
}

// RenderStatus is Render for an answer that is not 200.
func (ui *UI) RenderStatus(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	return ui.write(w, r, status, name, "layout", data)
}

// Fragment writes one template of the page name, for bringing an open page up to date.
func (ui *UI) Fragment(w http.ResponseWriter, r *http.Request, name, part string, data any) error {
	return ui.write(w, r, http.StatusOK, name, part, data)
}

func (ui *UI) write(w http.ResponseWriter, r *http.Request, status int, name, part string, data any) error {
	p := page{Lang: Lang(r), Theme: theme(r), Path: r.URL.Path, Program: ui.program.Name, Home: ui.program.Home, CSS: ui.css, JS: ui.js, Data: data, query: r.URL.Query()}
	made, ok := ui.pages[p.Lang+"/"+name]
	if !ok {
		return fmt.Errorf("rendering: there is no page %q", name)
	}
	t, err := made()
	if err != nil {
		return err
	}
	var body bytes.Buffer
	if err := t.ExecuteTemplate(&body, part, p); err != nil {
		return fmt.Errorf("rendering %s: %w", name, err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
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
