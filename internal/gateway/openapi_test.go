package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// document is docs/api/gateway.yaml, and which of its answers were seen.
type document struct {
	*openapi3.T
	router routers.Router
	seen   map[string]bool // operation and status
}

func readDocument(t *testing.T) *document {
	t.Helper()
	d, err := openapi3.NewLoader().LoadFromFile("../../docs/api/gateway.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Validate(t.Context(), openapi3.DisableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
	d.Servers = nil // wherever the gateway is
	router, err := gorillamux.NewRouter(d)
	if err != nil {
		t.Fatal(err)
	}
	return &document{d, router, map[string]bool{}}
}

// call asks the gateway, and checks that the document has such an answer.
func (d *document) call(g *running, method, path, token string) http.Header {
	g.t.Helper()
	return d.send(g, method, path, token, "")
}

func (d *document) send(g *running, method, path, token, sent string) http.Header {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, "http://"+g.AdminAddr()+path, strings.NewReader(sent))
	if err != nil {
		g.t.Fatal(err)
	}
	if sent != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(sent))
	route, parameters, err := d.router.FindRoute(r)
	if err != nil {
		g.t.Fatalf("%s %s: %v", method, path, err)
	}
	options := &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc}
	request := &openapi3filter.RequestValidationInput{Request: r, PathParams: parameters, Route: route, Options: options}
	refused := response.StatusCode == http.StatusBadRequest && !strings.Contains(path, "?x=") // that parameter is in no document
	if err := openapi3filter.ValidateRequest(context.Background(), request); (err != nil) != refused && response.StatusCode != http.StatusUnauthorized {
		g.t.Errorf("%s %s: answered %d, by the document: %v", method, path, response.StatusCode, err)
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: request, Status: response.StatusCode, Header: response.Header, Options: options}
	answer.SetBodyBytes(body)
	if err := openapi3filter.ValidateResponse(context.Background(), answer); err != nil {
		g.t.Errorf("%s %s: %d is not as the document says: %v\n%s", method, path, response.StatusCode, err, body)
	}
	d.seen[route.Operation.OperationID+" "+http.StatusText(response.StatusCode)] = true
	return response.Header
}

// TestTheDocumentOfTheAPI: every answer is as docs/api/gateway.yaml says, every path is
// in it, and none in it does not exist.
func TestTheDocumentOfTheAPI(t *testing.T) {
	d := readDocument(t)
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url, backend: "rpm_limit: 100"}))
	p.fault(t, provider.Fault{Kind: provider.RateLimit, Backend: "primary-1"})
	p.fault(t, provider.Fault{Kind: provider.ServerError, Backend: "fallback-1", Times: 2})
	for range 4 {
		g.post(chat(false))
		g.post(chat(true))
	}
	var rows []admin.Request
	g.get("/api/admin/requests", &rows)
	for _, path := range []string{
		"/api/admin/backends", "/api/admin/backends?pool=primary", "/api/admin/backends/primary-1", "/api/admin/backends/none", "/api/admin/pools",
		"/api/admin/requests", "/api/admin/requests?limit=2&failed_over=true&since=2026-01-01T00:00:00Z", "/api/admin/requests?status=completed&class=rate_limit&model=m&backend=b&client=c",
		"/api/admin/requests?limit=0", "/api/admin/requests?status=lost", "/api/admin/requests?x=1", "/api/admin/requests?before=" + rows[0].ID, "/api/admin/requests/" + rows[len(rows)-1].ID, "/api/admin/requests/none",
		"/api/admin/stats/total", "/api/admin/stats/total?x=1", "/api/admin/stats/hourly?hours=2&limit=1", "/api/admin/stats/hourly?limit=501", "/api/admin/stats/daily?days=3", "/api/admin/stats/daily?days=0",
		"/api/admin/stats/cooldown", "/api/admin/stats/cooldown?hours=none", "/api/admin/stats/reliability", "/api/admin/stats/reliability?since=yesterday", "/api/admin/backups", "/api/admin/backups?x=1",
		"/api/admin/clients", "/api/admin/clients?x=1", "/api/admin/clients/coo", "/api/admin/clients/none",
	} {
		header := d.call(g, http.MethodGet, path, readKey)
		if next, ok := strings.CutPrefix(header.Get("Link"), "<"); ok {
			next, _, _ = strings.Cut(next, ">")
			d.call(g, http.MethodGet, next, readKey)
		}
		d.call(g, http.MethodGet, path, "")
	}
	if !testtool.Eventually(t, func() bool { return g.metric("gateway_last_backup_timestamp_seconds") > "1" }) {
		t.Error("no backup at the start, which must not be under way when another is asked for")
	}
	for _, path := range []string{"/api/admin/backends/primary-1/reset", "/api/admin/backends/none/reset", "/api/admin/backup", "/-/reload"} {
		d.call(g, http.MethodPost, path, adminKey)
		d.call(g, http.MethodPost, path, readKey)
	}
	d.changes(g)
	for _, path := range []string{"/health", "/ready", "/metrics"} {
		d.call(g, http.MethodGet, path, "")
	}
	d.check(t, g)
}

// changes makes changes of clients, good and bad ones.
func (d *document) changes(g *running) {
	g.t.Helper()
	const path = "/api/admin/clients"
	for _, token := range []string{adminKey, readKey} {
		for _, c := range []struct{ method, path, body string }{
			{http.MethodPost, path, `{"name":"made","daily_budget":2.5,"models":["m"],"expires":"2100-01-01"}`},
			{http.MethodPost, path, `{"name":"made"}`},
			{http.MethodPost, path, `{"name":"a b"}`},
			{http.MethodGet, path + "/made", ""},
			{http.MethodPut, path + "/made", `{"rpm":5,"enabled":false,"force_capabilities":["x"]}`},
			{http.MethodPut, path + "/made", `{"rpm":-5}`},
			{http.MethodPut, path + "/coo", `{"rpm":5}`},
			{http.MethodPut, path + "/none", `{"rpm":5}`},
			{http.MethodDelete, path + "/made", ""},
			{http.MethodDelete, path + "/none", ""},
			{http.MethodDelete, path + "/coo", ""},
		} {
			d.send(g, c.method, c.path, token, c.body)
		}
	}
	for _, path := range []string{"/api/admin/audit", "/api/admin/audit?limit=1", "/api/admin/audit?before=0"} {
		d.call(g, http.MethodGet, path, readKey)
		d.call(g, http.MethodGet, path, "")
	}
}

// check compares the document with the routes, and with what was seen of it.
func (d *document) check(t *testing.T, g *running) {
	t.Helper()
	served := map[string]bool{}
	err := g.Routes(func(method, path string) {
		if method == http.MethodHead || strings.HasPrefix(path, "/dashboard") || path == "/assets/" { // pages, for people
			return
		}
		served[method+" "+path] = true
		if item := d.Paths.Value(path); item == nil || item.GetOperation(method) == nil {
			t.Errorf("%s %s is not in the document", method, path)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	rare := map[string]bool{"Service Unavailable": true, "Internal Server Error": true, "Unprocessable Entity": true} // the faults' own tests see these
	for path, item := range d.Paths.Map() {
		for method, operation := range item.Operations() {
			if !served[method+" "+path] {
				t.Errorf("%s %s is in the document and not served", method, path)
			}
			for status := range operation.Responses.Map() {
				code, err := strconv.Atoi(status)
				if err != nil {
					t.Fatal(err)
				}
				text := http.StatusText(code)
				if !rare[text] && operation.OperationID+text != "makeBackupConflict" && !d.seen[operation.OperationID+" "+text] {
					t.Errorf("%s was never seen to answer %s", operation.OperationID, status)
				}
			}
		}
	}
}
