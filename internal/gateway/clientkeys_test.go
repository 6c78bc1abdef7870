package gateway_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// change sends a change to the operations API.
func (g *running) change(method, path, token, body string) answer {
	g.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, "http://"+g.AdminAddr()+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	return g.do(r)
}

// newClient makes a client and returns its key.
func (g *running) newClient(body string) string {
	g.t.Helper()
	a := g.change(http.MethodPost, "/api/admin/clients", adminKey, body)
	var made admin.NewClient
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != http.StatusCreated || len(made.Key) < 40 {
		g.t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return made.Key
}

// as sends a chat completion with a key.
func (g *running) as(key string) answer {
	g.t.Helper()
	return g.post(chat(false), "Authorization", "Bearer "+key)
}

func (g *running) clientNames() (names []string) {
	g.t.Helper()
	var all []admin.Client
	g.get("/api/admin/clients", &all)
	for _, c := range all {
		names = append(names, c.Name+" "+c.Source)
	}
	return names
}

// TestClientsOfTheAPI: a key works from the answer that shows it, over restarts and
// reloads, within its settings, until it is disabled or deleted.
func TestClientsOfTheAPI(t *testing.T) {
	p := newProviders(t, provider.Options{})
	dir := t.TempDir()
	config := writeConfig(t, settings{providers: p.url, dir: dir, model: "price_per_mtok: {input: 1000000, output: 1000000}"})
	g := start(t, config)
	key := g.newClient(`{"name":"opengineer","rpm":3,"expires":"2100-01-01"}`)
	if a := g.as(key); a.status != http.StatusOK {
		t.Fatalf("a new key: %d %s", a.status, a.body)
	}
	var rows []admin.Request
	if g.get("/api/admin/requests?client=opengineer", &rows); len(rows) != 1 {
		t.Errorf("%d rows of the client", len(rows))
	}
	if names := g.clientNames(); !slices.Equal(names, []string{"coo file", "opengineer api"}) {
		t.Errorf("clients %v", names)
	}
	for _, suffix := range []string{"", "-wal"} {
		if raw, err := os.ReadFile(filepath.Join(dir, "gateway.db"+suffix)); err != nil || strings.Contains(string(raw), key) || strings.Contains(string(raw), key[4:]) {
			t.Errorf("the store holds the key (%v)", err)
		}
	}
	if strings.Contains(g.logs.String(), key) || strings.Contains(g.get("/api/admin/clients", nil).body+g.get("/api/admin/audit", nil).body, key) {
		t.Error("the key is shown again")
	}
	g.as(key)
	g.as(key)
	if a := g.as(key); a.status != http.StatusTooManyRequests {
		t.Errorf("beyond its rpm: %d", a.status)
	}
	g.stop()
	g = start(t, config)
	if a := g.as(key); a.status != http.StatusOK {
		t.Errorf("after a restart: %d %s", a.status, a.body)
	}
	if a := g.change(http.MethodPost, "/-/reload", adminKey, ""); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	if a := g.as(key); a.status != http.StatusOK {
		t.Errorf("after a reload: %d", a.status)
	}
	if a := g.change(http.MethodPut, "/api/admin/clients/opengineer", adminKey, `{"rpm":0,"monthly_budget":0.001}`); a.status != http.StatusOK || !strings.Contains(a.body, `"expires":"2100-01-02T00:00:00Z"`) {
		t.Errorf("a change: %d %s", a.status, a.body)
	}
	if a := g.as(key); a.status != http.StatusTooManyRequests || !strings.Contains(a.body, "monthly") {
		t.Errorf("beyond a budget that was spent before: %d %s", a.status, a.body)
	}
	for name, step := range map[string]struct {
		body   string
		status int
	}{
		"disabled": {`{"enabled":false,"monthly_budget":0}`, http.StatusUnauthorized},
		"expired":  {`{"enabled":true,"expires":"2020-01-01"}`, http.StatusUnauthorized},
	} {
		if a := g.change(http.MethodPut, "/api/admin/clients/opengineer", adminKey, step.body); a.status != http.StatusOK {
			t.Fatalf("%s: %d %s", name, a.status, a.body)
		}
		if a := g.as(key); a.status != step.status {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	g.change(http.MethodPut, "/api/admin/clients/opengineer", adminKey, `{"enabled":true,"expires":"","models":["another"]}`)
	if a := g.as(key); a.status != http.StatusNotFound {
		t.Errorf("a model that it may not use: %d", a.status)
	}
	if a := g.change(http.MethodDelete, "/api/admin/clients/opengineer", adminKey, ""); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := g.as(key); a.status != http.StatusUnauthorized {
		t.Errorf("after its end: %d", a.status)
	}
	if g.get("/api/admin/requests?client=opengineer", &rows); len(rows) == 0 {
		t.Error("its rows went with it")
	}
	again := g.newClient(`{"name":"opengineer","monthly_budget":0.001}`)
	if a := g.as(again); a.status != http.StatusTooManyRequests {
		t.Errorf("made again, its budget begins anew: %d", a.status)
	}
	g.checkTrail()
}

// checkTrail checks what the audit trail says of the test above.
func (g *running) checkTrail() {
	g.t.Helper()
	var entries []audit.Entry
	g.get("/api/admin/audit", &entries)
	var actions []string
	for _, e := range slices.Backward(entries) {
		actions = append(actions, string(e.Action))
		if e.Actor != "admin" || e.Remote == "" || e.Target != "opengineer" || e.RequestID == "" {
			g.t.Errorf("%+v", e)
		}
	}
	want := []string{"create_client", "update_client", "update_client", "update_client", "update_client", "delete_client", "create_client"}
	if !slices.Equal(actions, want) {
		g.t.Errorf("actions %v, want %v", actions, want)
	}
	if detail := entries[len(entries)-1].Detail; detail != "rpm=3 expires=2100-01-01" {
		g.t.Errorf("the first entry says %q", detail)
	}
	page := g.get("/api/admin/audit?limit=3", nil)
	next, _, _ := strings.Cut(strings.TrimPrefix(page.header.Get("Link"), "<"), ">")
	var rest []audit.Entry
	if g.get(next, &rest); len(rest) != 3 || rest[0] != entries[3] {
		g.t.Errorf("the second page: %+v", rest)
	}
}

// TestChangesOfClientsThatAreRefused change nothing, and say what was expected.
func TestChangesOfClientsThatAreRefused(t *testing.T) {
	g := start(t, writeConfig(t, settings{providers: "http://127.0.0.1:1"}))
	g.newClient(`{"name":"there"}`)
	before := g.get("/api/admin/clients", nil).body
	const path = "/api/admin/clients"
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		says                      []string
	}{
		{http.MethodPost, path, readKey, `{"name":"x"}`, http.StatusUnauthorized, nil},
		{http.MethodPost, path, "", `{"name":"x"}`, http.StatusUnauthorized, nil},
		{http.MethodDelete, path + "/there", readKey, "", http.StatusUnauthorized, nil},
		{http.MethodPost, path, adminKey, ``, http.StatusBadRequest, []string{"name: expected"}},
		{http.MethodPost, path, adminKey, `{"name":"x","colour":"red"}`, http.StatusBadRequest, []string{"colour"}},
		{http.MethodPost, path, adminKey, `{"name":"x"`, http.StatusBadRequest, []string{"JSON"}},
		{http.MethodPost, path, adminKey, `{"name":"a b","rpm":-1,"tpm":99999999999,"daily_budget":1e10,"monthly_budget":1e-9,"models":[""],"force_capabilities":[" x"],"expires":"soon"}`, http.StatusBadRequest,
			[]string{"name: ", "rpm: ", "tpm: ", "daily_budget: ", "monthly_budget: ", "models: ", "force_capabilities: ", "expires: "}},
		{http.MethodPost, path, adminKey, `{"name":"anonymous"}`, http.StatusBadRequest, []string{"without a key"}},
		{http.MethodPost, path, adminKey, `{"name":"there"}`, http.StatusConflict, []string{"exists already"}},
		{http.MethodPost, path, adminKey, `{"name":"coo"}`, http.StatusConflict, []string{"declared in the configuration file"}},
		{http.MethodPut, path + "/coo", adminKey, `{"rpm":1}`, http.StatusConflict, []string{"declared in the configuration file"}},
		{http.MethodDelete, path + "/coo", adminKey, ``, http.StatusConflict, []string{"declared in the configuration file"}},
		{http.MethodPut, path + "/there", adminKey, `{"name":"other"}`, http.StatusBadRequest, []string{"name: cannot be changed"}},
		{http.MethodPut, path + "/none", adminKey, `{"rpm":1}`, http.StatusNotFound, nil},
		{http.MethodDelete, path + "/none", adminKey, ``, http.StatusNotFound, nil},
	} {
		a := g.change(c.method, c.path, c.token, c.body)
		if a.status != c.status {
			t.Errorf("%s %s %s: %d %s, want %d", c.method, c.path, c.body, a.status, a.body, c.status)
		}
		for _, want := range c.says {
			if !strings.Contains(a.body, want) {
				t.Errorf("%s %s %s: does not say %q: %s", c.method, c.path, c.body, want, a.body)
			}
		}
	}
	if now := g.get("/api/admin/clients", nil).body; now != before {
		t.Errorf("something was changed:\n%s\n%s", before, now)
	}
	var entries []audit.Entry
	if g.get("/api/admin/audit", &entries); len(entries) != 1 {
		t.Errorf("%d entries in the audit trail, want that of the one change", len(entries))
	}
}

// TestOneOfManyMakesAClient: of those who ask for the same name at once, one gets a key.
func TestOneOfManyMakesAClient(t *testing.T) {
	p := newProviders(t, provider.Options{})
	g := start(t, writeConfig(t, settings{providers: p.url}))
	var wait sync.WaitGroup
	var mu sync.Mutex
	keys := map[int]string{}
	for i := range 8 {
		wait.Go(func() {
			if a := g.change(http.MethodPost, "/api/admin/clients", adminKey, `{"name":"one"}`); a.status == http.StatusCreated {
				var made admin.NewClient
				_ = json.Unmarshal([]byte(a.body), &made) // an empty key is told of below
				mu.Lock()
				keys[i] = made.Key
				mu.Unlock()
			}
			g.newClient(fmt.Sprintf(`{"name":"other-%d"}`, i))
		})
	}
	wait.Wait()
	if len(keys) != 1 || len(g.clientNames()) != 10 {
		t.Fatalf("%d were told that they made it, there are %v", len(keys), g.clientNames())
	}
	for _, key := range keys {
		if a := g.as(key); a.status != http.StatusOK {
			t.Errorf("its key: %d", a.status)
		}
	}
}

// TestADeclaredClientHidesOneOfTheAPI of the same name, as long as it is declared.
func TestADeclaredClientHidesOneOfTheAPI(t *testing.T) {
	p := newProviders(t, provider.Options{})
	dir := t.TempDir()
	g := start(t, writeConfig(t, settings{providers: p.url, dir: dir}))
	key := g.newClient(`{"name":"both"}`)
	reload := func(clients string) {
		t.Helper()
		writeConfig(t, settings{providers: p.url, dir: dir, clients: clients})
		if a := g.change(http.MethodPost, "/-/reload", adminKey, ""); a.status != http.StatusOK {
			t.Fatal(a.body)
		}
	}
	reload("    - {name: both, key: declared-client-key}\n")
	if a, b := g.as(key), g.as("declared-client-key"); a.status != http.StatusUnauthorized || b.status != http.StatusOK {
		t.Errorf("the API's key %d, the declared one %d", a.status, b.status)
	}
	if names := g.clientNames(); !slices.Equal(names, []string{"both file", "coo file"}) || !strings.Contains(g.logs.String(), "what is declared is in force") {
		t.Errorf("clients %v", names)
	}
	reload("")
	if a, b := g.as(key), g.as("declared-client-key"); a.status != http.StatusOK || b.status != http.StatusUnauthorized {
		t.Errorf("afterwards: the API's key %d, the declared one %d", a.status, b.status)
	}
}

// TestClientCreate by the command line: without a gateway, and by the one that runs.
func TestClientCreate(t *testing.T) {
	p := newProviders(t, provider.Options{})
	config := writeConfig(t, settings{providers: p.url})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.Replace(string(text), `admin: {listen: "127.0.0.1:0"`, `admin: {listen: "`+address+`"`, 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	create := func(args ...string) (int, string) {
		t.Helper()
		code, out := run(t, append([]string{"client", "create", "-config", config}, args...)...)
		return code, strings.TrimSpace(out)
	}
	code, before := create("before", "--models", model+",other", "--rpm", "5")
	if code != 0 {
		t.Fatal(before)
	}
	for _, bad := range [][]string{{"before"}, {"coo"}, {"a b"}, {"x", "--daily-budget", "1e12"}} {
		if code, out := create(bad...); code == 0 || strings.Contains(out, "fwk-") {
			t.Errorf("%v: %d %s", bad, code, out)
		}
	}
	if code, out := create(); code != 2 {
		t.Errorf("without a name: %d %s", code, out)
	}
	g := start(t, config)
	code, during := create("during")
	if code != 0 {
		t.Fatal(during)
	}
	for _, bad := range [][]string{{"before"}, {"coo"}, {"a b"}, {"x", "--daily-budget", "1e12"}} {
		if code, out := create(bad...); code == 0 || strings.Contains(out, "fwk-") {
			t.Errorf("%v: %d %s", bad, code, out)
		}
	}
	for _, key := range []string{before, during} {
		if a := g.as(key); a.status != http.StatusOK {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if names := g.clientNames(); !slices.Equal(names, []string{"before api", "coo file", "during api"}) {
		t.Errorf("clients %v", names)
	}
}
