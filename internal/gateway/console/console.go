// Package console is the gateway's web console: what the operations API tells, as pages
// for people.
//
// It promises to show what the ledger and the backends' state say and nothing else: it
// changes nothing, and offers no action. Everything but the login needs the admin or the
// read token, by header or by a session that a login began. Pages work without script;
// with it, those with live parts follow a snapshot that is made once a second for all who
// look, and only while somebody does.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/iplimit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

//go:embed all:pages
var pages embed.FS

// home is the path of the first page; all others are below it.
const home = "/dashboard"

// Options says what the console shows, and to whom.
type Options struct {
	API      *admin.Handler // whose answers the pages show
	Zone     *time.Location // of the times on the pages
	Admin    redact.Secret  // tokens that open the console; where neither is set, requests
	Read     redact.Secret  // of this machine need none, as everywhere
	Draining <-chan struct{}
	Log      *slog.Logger
}

// Console serves the pages. Run must be running for pages to be live.
type Console struct {
	options  Options
	api      *admin.Handler
	ui       *webui.UI
	began    time.Time
	sessions sessions
	logins   iplimit.Limiter
	feed     feed
}

// New reads the pages; streams end when Draining is closed.
func New(o Options) (*Console, error) {
	folder, err := fs.Sub(pages, "pages")
	if err != nil {
		return nil, fmt.Errorf("opening pages: %w", err)
	}
	c := &Console{options: o, api: o.API, began: o.API.Now(), feed: newFeed(o.Log, o.API.Now)}
	c.feed.make = c.look
	c.logins.Configure(maxLogins, loginWindow)
	c.ui, err = webui.New(webui.Program{Name: "gateway", Home: home, Funcs: template.FuncMap{
		"clock":   func(at time.Time) string { return at.In(o.Zone).Format("01-02 15:04:05 MST") },
		"hour":    func(at time.Time) string { return at.In(o.Zone).Format("01-02 15:04") },
		"money":   money,
		"ms":      duration,
		"percent": percent,
		"ratio":   ratio,
		"mean":    meanTTFB,
		"units":   units,
		"point":   func(c chart, value float64) point { return point{c.Name, value, int64(value)} },
		"usage":   func(limit int, share float64) usage { return usage{limit, share} },
		"long":    func(text string) string { return webui.Short(text, longText) },
		"seconds": func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) },
	}}, folder)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Run keeps open pages up to date until ctx ends.
func (c *Console) Run(ctx context.Context) error { return c.feed.run(ctx) }

// Routes adds the console to a router.
func (c *Console) Routes(r *mux.Router) {
	page := func(path string, f http.HandlerFunc) {
		r.Handle(home+path, c.guard(f, true)).Methods(http.MethodGet, http.MethodHead)
	}
	part := func(path string, f http.HandlerFunc) {
		r.Handle(home+path, c.guard(f, false)).Methods(http.MethodGet, http.MethodHead)
	}
	page("", c.overview)
	page("/backends", c.backends)
	page("/requests", c.requests)
	page("/requests/{id}", c.timeline)
	page("/reliability", c.reliability)
	page("/usage", c.usage)
	page("/usage.csv", c.usageCSV)
	page("/cooldowns", c.cooldowns)
	part("/fragment/overview", c.overview)
	part("/fragment/backends", c.backends)
	part("/fragment/requests", c.requests)
	r.Handle(home+"/sse", c.guard(http.HandlerFunc(c.events), false)).Methods(http.MethodGet) // HEAD would never end
	r.Handle(home+"/", http.RedirectHandler(home, http.StatusSeeOther)).Methods(http.MethodGet, http.MethodHead)
	r.Handle(home+"/login", private(http.HandlerFunc(c.login))).Methods(http.MethodGet, http.MethodHead, http.MethodPost)
	r.Handle(home+"/logout", private(http.HandlerFunc(c.logout))).Methods(http.MethodPost)
	r.PathPrefix("/assets/").Handler(webui.Guard(c.ui)).Methods(http.MethodGet, http.MethodHead)
}

// tab is what every page says about itself.
type tab struct {
	Name   string // of the tab; "" = none
	Logout bool   // there is a session to end
}

func (c *Console) tab(r *http.Request, name string) tab {
	return tab{name, c.sessions.valid(presented(r), c.api.Now())}
}

// show answers with a page, or, at the path of a fragment, with its live part.
func (c *Console) show(w http.ResponseWriter, r *http.Request, name string, data any) {
	var err error
	if isFragment(r) {
		err = c.ui.Fragment(w, r, name, "live", data)
	} else {
		err = c.ui.Render(w, r, name, data)
	}
	c.told(w, r, err)
}

func (c *Console) told(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		c.options.Log.ErrorContext(r.Context(), "page not shown", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}

// trouble is what the page of an error says.
type trouble struct {
	tab
	Status int
	Reason string // what is wrong with the query
}

// fail answers an error of a query or of the ledger.
func (c *Console) fail(w http.ResponseWriter, r *http.Request, err error) {
	t := trouble{tab: c.tab(r, ""), Status: http.StatusInternalServerError}
	if wrong, ok := errors.AsType[admin.BadQuery](err); ok {
		t.Status, t.Reason = http.StatusBadRequest, wrong.Error()
	} else if errors.Is(err, ledger.ErrNotFound) {
		t.Status = http.StatusNotFound
	} else if r.Context().Err() == nil {
		c.options.Log.ErrorContext(r.Context(), "reading the ledger failed", "error", err)
	}
	c.told(w, r, c.ui.RenderStatus(w, r, t.Status, "error.html", t))
}

// isFragment reports whether the live part of a page is asked for, not the page.
func isFragment(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, home+"/fragment/") }
