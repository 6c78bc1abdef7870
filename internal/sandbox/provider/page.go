package provider

import (
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed pages
var pages embed.FS

// pageGap is the shortest time between two updates of an open page.
const pageGap = 200 * time.Millisecond

// page shows the backends, and has buttons to make them fail.
type page struct {
	server *Server
	ui     *webui.UI
}

// tile is one backend as the page shows it.
type tile struct {
	Name     string
	URL      string // of the backend, for a gateway's base_url
	Fault    Kind   // standing; "" = it answers
	Requests int
	Faults   int
	Inflight int
}

// modes are the buttons: what makes a backend fail in this way.
func modes() map[string]Fault {
	return map[string]Fault{
		"normal":       {},
		"rate_limit":   {Kind: RateLimit, Headers: map[string]string{"Retry-After": "15"}},
		"server_error": {Kind: ServerError},
		"hang":         {Kind: Hang},
	}
}

func newPage(s *Server, r *mux.Router) (*page, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	p := &page{server: s}
	if p.ui, err = webui.New(webui.Program{Name: "Provider sandbox"}, folder); err != nil {
		return nil, err
	}
	guarded := func(path string, h http.HandlerFunc, method string) { r.Handle(path, webui.Guard(h)).Methods(method) }
	guarded("/", p.show, http.MethodGet)
	guarded("/fragment", p.fragment, http.MethodGet)
	guarded("/events", p.events, http.MethodGet)
	guarded("/backends/{backend}/{mode:normal|rate_limit|server_error|hang}", p.button, http.MethodPost)
	r.PathPrefix("/assets/").Handler(webui.Guard(p.ui)).Methods(http.MethodGet)
	return p, nil
}

func (p *page) tiles(r *http.Request) []tile {
	s := p.server
	standing := map[string]Kind{}
	for _, f := range s.Faults() {
		for _, b := range s.options.Backends {
			if (f.Backend == "" || f.Backend == b) && standing[b] == "" {
				standing[b] = f.Kind
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []tile
	for _, b := range s.options.Backends {
		out = append(out, tile{Name: b, URL: "http://" + r.Host + "/" + b, Fault: standing[b], Requests: s.served[b].Requests, Faults: s.served[b].Faults, Inflight: s.inflight[b]})
	}
	return out
}

func (p *page) show(w http.ResponseWriter, r *http.Request) {
	p.shown(w, p.ui.Render(w, r, "provider.html", p.tiles(r)))
}

func (p *page) fragment(w http.ResponseWriter, r *http.Request) {
	p.shown(w, p.ui.Fragment(w, r, "provider.html", "board", p.tiles(r)))
}

func (p *page) shown(w http.ResponseWriter, err error) {
	if err != nil {
		p.server.options.Log.Error("showing the page failed", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func (p *page) events(w http.ResponseWriter, r *http.Request) {
	webui.Live(w, r, p.server.closing, pageGap, func() <-chan struct{} {
		p.server.mu.Lock()
		defer p.server.mu.Unlock()
		return p.server.changed
	})
}

// button replaces the faults of one backend by that of the mode.
func (p *page) button(w http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	backend, fault := vars["backend"], modes()[vars["mode"]]
	p.server.ClearFaults(backend)
	if fault.Kind != "" {
		fault.Backend = backend
		if err := p.server.AddFault(fault); err != nil {
			p.server.json(w, http.StatusNotFound, map[string]any{"error": map[string]string{"code": "not_found", "message": err.Error()}})
			return
		}
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
