package console

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

const (
	adminToken = "admin-token-of-tests"
	readToken  = "read-token-of-tests"
)

// content is what a console shows.
type content struct {
	rows     []ledger.Row
	events   []ledger.CooldownEvent
	backends []*backend.Backend
	open     bool // no tokens
	zone     *time.Location
}

// site is a console that is served.
type site struct {
	*httptest.Server
	console *Console
	drain   func()
	end     func() error // closes the ledger
	ids     []string     // of the rows
}

func serve(t *testing.T, c content) *site {
	t.Helper()
	if c.zone == nil {
		c.zone = time.UTC
	}
	book, _, err := ledger.New(t.Context(), ledger.Options{
		URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "l.db")), Zone: c.zone, Observe: func(time.Duration, int, error) {},
		States: func() map[string][]byte { return nil }, Events: sync.OnceValue(func() []ledger.CooldownEvent { return c.events }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- book.Run(ctx) }()
	s := &site{}
	for _, r := range c.rows {
		r.ID = book.NextID(r.StartedAt)
		s.ids = append(s.ids, r.ID.String())
		if err := book.Commit(&r, time.Minute, false); err != nil {
			t.Fatal(err)
		}
	}
	if !testtool.Eventually(t, func() bool {
		kept, err := book.Cooldowns(t.Context(), ledger.Window{}, nil)
		return err == nil && len(kept) == len(c.events)
	}) {
		t.Fatal("the cooldowns are not kept")
	}
	draining := make(chan struct{})
	s.drain = sync.OnceFunc(func() { close(draining) })
	view := admin.View{Backends: c.backends, Currency: "EUR", Table: pool.NewTable(c.backends, pool.Options{Pools: []string{"primary", "fallback"}})}
	o := Options{
		API:  &admin.Handler{View: func() admin.View { return view }, Ledger: book, Log: slog.New(slog.DiscardHandler), Now: time.Now},
		Zone: c.zone, Admin: adminToken, Read: readToken, Draining: draining,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if c.open {
		o.Admin, o.Read = "", ""
	}
	if s.console, err = New(o); err != nil {
		t.Fatal(err)
	}
	go func() { done <- s.console.Run(ctx) }()
	s.end = sync.OnceValue(func() error {
		cancel()
		return errors.Join(<-done, <-done, book.Close())
	})
	router := mux.NewRouter()
	s.console.Routes(router)
	s.Server = httptest.NewServer(router)
	t.Cleanup(func() {
		s.drain()
		s.Close()
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// made is a backend of a configuration, with the state that was kept.
func made(name, in string, kept backend.Kept, models ...string) *backend.Backend {
	base := &url.URL{Scheme: "https", Host: name + ".example"}
	c := backend.Config{Name: name, Pool: in, Source: "file", BaseURL: base, Key: redact.Secret("sk-hidden-key-of-" + name), RPM: 40, Dialects: []dialect.Name{dialect.OpenAI}, Models: map[string]backend.Model{}}
	for _, m := range models {
		c.Models[m] = backend.Model{NativeID: "native/" + m}
	}
	b := &backend.Backend{Config: c, State: backend.NewState(func() {}, func() {})}
	b.Configure(backend.Policy{Base: 30 * time.Second, Max: 10 * time.Minute, Zone: time.UTC}, &b.Config)
	b.Restore(kept, time.Now())
	return b
}

// cooling is the state of a backend that cools.
func cooling(since, until time.Time) backend.Kept {
	return backend.Kept{Cooled: true, Reason: llm.RateLimit, Detail: "slow down, said sk-hidden-key-of-a", Since: since, Until: until, Length: until.Sub(since), Level: 1}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request with headers in pairs; redirects are not followed.
func (s *site) ask(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(got)}
}

// get asks as a reader, in a language.
func (s *site) get(t *testing.T, path, lang string) answer {
	t.Helper()
	return s.ask(t, http.MethodGet, path, "", "Authorization", "Bearer "+readToken, "Accept-Language", lang)
}

// page is an answer that must be a page.
func (s *site) page(t *testing.T, path, lang string) string {
	t.Helper()
	a := s.get(t, path, lang)
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
		t.Fatalf("%s: %d %s", path, a.status, a.body)
	}
	return a.body
}

// has expects texts in a page.
func has(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("%q is not there", text)
		}
	}
}

// lacks expects that texts are not in a page.
func lacks(t *testing.T, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(page, text) {
			t.Errorf("%q is there", text)
		}
	}
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	inside, _, _ := strings.Cut(rest, to)
	return inside
}
