// Package page is the exporter's own page: every agent with its verdict, its
// signals, their ages, and why it is not healthy.
//
// It shows nothing that /metrics, which is public, does not tell.
package page

import (
	"embed"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/exporter/collector"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed pages
var pages embed.FS

// Page serves the page.
type Page struct {
	view func() collector.View
	ui   *webui.UI
	log  *slog.Logger
}

// New reads the page; view is asked at each request.
func New(view func() collector.View, log *slog.Logger) (*Page, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	ui, err := webui.New(webui.Program{Name: "exporter"}, folder)
	if err != nil {
		return nil, err
	}
	return &Page{view: view, ui: ui, log: log}, nil
}

// Routes adds the page to a router.
func (p *Page) Routes(router *mux.Router) {
	router.Handle("/", webui.Guard(http.HandlerFunc(p.show))).Methods(http.MethodGet, http.MethodHead)
	router.PathPrefix("/assets/").Handler(p.ui).Methods(http.MethodGet, http.MethodHead)
}

func (p *Page) show(w http.ResponseWriter, r *http.Request) {
	if err := p.ui.Render(w, r, "agents.html", p.view()); err != nil {
		p.log.ErrorContext(r.Context(), "page not shown", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}
