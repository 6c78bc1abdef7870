package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

const hour = time.Hour

// api is the operations API over a ledger that holds what is given.
type api struct {
	*httptest.Server
	ledger *ledger.Ledger
}

func serve(t *testing.T, rows []ledger.Row, events []ledger.CooldownEvent) api {
	t.Helper()
	book, _, err := ledger.New(t.Context(), ledger.Options{
		URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "l.db")), Observe: func(time.Duration, int, error) {}, States: func() map[string][]byte { return nil },
		Events: sync.OnceValue(func() []ledger.CooldownEvent { return events }),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- book.Run(ctx) }()
	for _, r := range rows {
		r.ID = book.NextID(r.StartedAt)
		if err := book.Commit(&r, time.Minute, false); err != nil {
			t.Fatal(err)
		}
	}
	if !testtool.Eventually(t, func() bool {
		kept, err := book.Cooldowns(t.Context(), ledger.Window{}, nil)
		return err == nil && len(kept) == len(events)
	}) {
		t.Fatal("the cooldowns are not kept")
	}
	view := admin.View{Currency: "EUR", Backends: []*backend.Backend{{Config: backend.Config{Name: "a", Key: "sk-hidden"}}}}
	router := mux.NewRouter()
	open := func(next http.Handler) http.Handler { return next }
	(&admin.Handler{View: func() admin.View { return view }, Now: time.Now, Ledger: book, Log: slog.New(slog.DiscardHandler)}).Routes(router, open, open)
	server := httptest.NewServer(router)
	t.Cleanup(func() {
		server.Close()
		cancel()
		if err := errors.Join(<-done, book.Close()); err != nil {
			t.Error(err)
		}
	})
	return api{server, book}
}

// get asks for a path below /api/admin/stats, or of a Link header.
func (a api) get(t *testing.T, path string) (status int, body, next string) {
	t.Helper()
	if !strings.HasPrefix(path, "/api/") {
		path = "/api/admin/stats/" + path
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := a.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var raw json.RawMessage
	if err := json.NewDecoder(response.Body).Decode(&raw); err != nil {
		t.Fatal(err)
	}
	link, rel, _ := strings.Cut(response.Header.Get("Link"), ">")
	if link != "" && rel != `; rel="next"` {
		t.Errorf("Link: %s>%s", link, rel)
	}
	return response.StatusCode, string(raw), strings.TrimPrefix(link, "<")
}

func moment(text string) time.Time {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return at
}

func sample(t *testing.T) api {
	failed := ledger.Attempt{Outcome: ledger.OutcomeFailed, Backend: "b", Provider: "pb", Class: llm.RateLimit, HTTPStatus: 429, Error: "slow down"}
	return serve(t, []ledger.Row{
		{StartedAt: moment("2026-11-21T10:10:00Z"), Status: ledger.Completed, Backend: "a", Pool: "primary", Model: "m", Client: "ann", Duration: 3 * time.Second, TTFB: time.Second,
			Usage: llm.Usage{Input: 10, Output: 5, CacheRead: 3, CacheWrite: 2, Reasoning: 4}, Cost: 2_500_000_000, Detail: ledger.Detail{Provider: "pa", TTFBAttempt: time.Second}},
		{StartedAt: moment("2026-11-22T10:10:00Z"), Status: ledger.Completed, Backend: "a", Pool: "primary", Model: "m", Client: "ann", Duration: time.Second,
			Timeline: []ledger.Attempt{failed, {Outcome: ledger.OutcomeSucceeded, Backend: "a", Provider: "pa", TTFB: 250 * time.Millisecond}}},
		{StartedAt: moment("2026-11-22T10:20:00Z"), Status: ledger.Failed, Model: "odd", Label: "other", Client: "bob"},
	}, []ledger.CooldownEvent{
		{Backend: "a", StartedAt: moment("2026-11-22T10:00:00Z"), EndedAt: moment("2026-11-22T10:00:30Z"), Consecutive: 1, Cooldown: 30 * time.Second, Summary: "429: key sk-hidden is limited"},
		{Backend: "b", StartedAt: moment("2026-11-22T10:10:00Z"), Consecutive: 2, Cooldown: 90 * time.Second, Summary: "429"},
	})
}

const (
	noTokens   = `{"input":0,"output":0,"cache_read":0,"cache_write":0,"reasoning":0,"total":0}`
	someTokens = `{"input":10,"output":5,"cache_read":3,"cache_write":2,"reasoning":4,"total":20}`
	other22    = `{"hour_bucket":"2026-11-22T10:00:00Z","backend_id":"","model":"other","client":"bob","request_count":1,"error_count":1,"tokens":` + noTokens + `,"cost":0,"currency":"EUR","avg_latency_ms":0,"ttft_ms":null}`
	ann22      = `{"hour_bucket":"2026-11-22T10:00:00Z","backend_id":"a","model":"m","client":"ann","request_count":1,"error_count":0,"tokens":` + noTokens + `,"cost":0,"currency":"EUR","avg_latency_ms":1000,"ttft_ms":null}`
	ann21      = `{"hour_bucket":"2026-11-21T10:00:00Z","backend_id":"a","model":"m","client":"ann","request_count":1,"error_count":0,"tokens":` + someTokens + `,"cost":2.5,"currency":"EUR","avg_latency_ms":3000,"ttft_ms":1000}`
	day22      = `{"date":"2026-11-22","pool":"primary","request_count":1,"error_count":0,"tokens":` + noTokens + `,"cost":0,"currency":"EUR","unique_backends":1}`
	none22     = `{"date":"2026-11-22","pool":"","request_count":1,"error_count":1,"tokens":` + noTokens + `,"cost":0,"currency":"EUR","unique_backends":0}`
	day21      = `{"date":"2026-11-21","pool":"primary","request_count":1,"error_count":0,"tokens":` + someTokens + `,"cost":2.5,"currency":"EUR","unique_backends":1}`
	coolB      = `{"started_at":"2026-11-22T10:10:00Z","ended_at":null,"backend_id":"b","consecutive_count":2,"cooldown_seconds":90,"response_summary":"429"}`
	coolA      = `{"started_at":"2026-11-22T10:00:00Z","ended_at":"2026-11-22T10:00:30Z","backend_id":"a","consecutive_count":1,"cooldown_seconds":30,"response_summary":"429: key \u003csecret\u003e is limited"}`
)

func TestStatistics(t *testing.T) {
	a := sample(t)
	const from = "since=2026-11-20T00:00:00Z"
	for path, want := range map[string][]string{
		"hourly?" + from:                                            {other22, ann22, ann21},
		"hourly?" + from + "&backend_id=a":                          {ann22, ann21},
		"hourly?" + from + "&model=other":                           {other22},
		"hourly?" + from + "&client=ann&until=2026-11-22":           nil,
		"hourly?" + from + "&client=ann&until=2026-11-22T10:00:00Z": {ann21},
		"hourly?hours=24&until=2026-11-22T00:00:00Z":                {ann21},
		"hourly?days=1&until=2026-11-22T00:00:00Z":                  {ann21},
		"hourly?hours=1&days=30&until=2026-11-22T00:00:00Z":         {},
		"daily?" + from:                                    {none22, day22, day21},
		"daily?" + from + "&backend_id=a":                  {day22, day21},
		"daily?" + from + "&client=bob":                    {none22},
		"daily?hours=1&days=1&until=2026-11-22T00:00:00Z":  {day21},
		"cooldown?" + from:                                 {coolB, coolA},
		"cooldown?" + from + "&backend_id=a":               {coolA},
		"cooldown?" + from + "&until=2026-11-22T10:10:00Z": {coolA},
	} {
		if want == nil {
			if status, body, _ := a.get(t, path); status != http.StatusBadRequest {
				t.Errorf("%s: %d %s", path, status, body)
			}
			continue
		}
		status, body, next := a.get(t, path)
		if diff := cmp.Diff("["+strings.Join(want, ",")+"]", body); status != http.StatusOK || diff != "" || next != "" {
			t.Errorf("%s: %d, next %q\n%s", path, status, next, diff)
		}
		next = path + "&limit=1"
		for i, line := range want { // page by page
			if status, body, next = a.get(t, next); status != http.StatusOK || body != "["+line+"]" || (next == "") != (i == len(want)-1) {
				t.Errorf("%s, page %d: %d %s, next %q", path, i, status, body, next)
			}
		}
	}
	_, body, _ := a.get(t, "total")
	const total = `{"total_requests":3,"total_errors":1,"total_tokens":20,"total_prompt_tokens":15,"total_completion_tokens":5,"total_cost":2.5,"currency":"EUR"}`
	if diff := cmp.Diff(total, body); diff != "" {
		t.Error(diff)
	}
}

func TestReliability(t *testing.T) {
	a := sample(t)
	rows, err := a.ledger.List(t.Context(), ledger.Filter{Backend: "a", Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	status, body, _ := a.get(t, "reliability?since=2026-11-20T00:00:00Z")
	const counted = `"since":"2026-11-20T00:00:00Z","truncated":false,"max_requests":10000}`
	lineA := `{"backend_id":"a","provider":"pa","attempts":2,"succeeded":2,"failed":0,"success_ratio":1,"failure_classes":{},"ttfb_p50_ms":250,"ttfb_p95_ms":1000,"last_failure":null,` + counted
	lineB := `{"backend_id":"b","provider":"pb","attempts":1,"succeeded":0,"failed":1,"success_ratio":0,"failure_classes":{"rate_limit":1},"ttfb_p50_ms":null,"ttfb_p95_ms":null,` +
		`"last_failure":{"at":"2026-11-22T10:10:00Z","request_id":"` + rows[0].ID.String() + `","class":"rate_limit","remedy":"` + llm.RateLimit.Remedy() + `","http_status":429,"error":"slow down"},` + counted
	if diff := cmp.Diff("["+lineA+","+lineB+"]", body); status != http.StatusOK || diff != "" {
		t.Errorf("%d\n%s", status, diff)
	}
	if _, body, _ := a.get(t, "reliability?since=2026-11-20T00:00:00Z&limit=1"); body != "["+lineA+"]" {
		t.Errorf("one of them: %s", body)
	}
	if _, body, _ := a.get(t, "reliability?since=2026-11-20T00:00:00Z&client=nobody"); body != "[]" {
		t.Errorf("of nobody: %s", body)
	}
}

// TestWindowsEndNow where nothing else is said.
func TestWindowsEndNow(t *testing.T) {
	now := time.Now().UTC()
	a := serve(t, []ledger.Row{
		{StartedAt: now.Add(-40 * 24 * hour), Status: ledger.Completed, Client: "days"},
		{StartedAt: now.Add(-200 * hour), Status: ledger.Completed, Client: "days"},
		{StartedAt: now.Add(-2 * hour), Status: ledger.Completed, Client: "hours"},
	}, nil)
	for path, want := range map[string]int{"hourly": 1, "hourly?days=30": 2, "hourly?hours=1": 0, "hourly?days=90": 3, "daily?client=days": 1, "daily?days=60&client=days": 2} {
		var lines []struct{}
		status, body, _ := a.get(t, path)
		if err := json.Unmarshal([]byte(body), &lines); err != nil || status != http.StatusOK || len(lines) != want {
			t.Errorf("%s: %d %s, want %d lines", path, status, body, want)
		}
	}
}

func TestBadQueries(t *testing.T) {
	a := serve(t, nil, nil)
	for path, want := range map[string]string{
		"total?days=1":                              "days: no such parameter here, there are none",
		"hourly?backend=a":                          "backend: no such parameter here, expected after, backend_id, client, days, hours, limit, model, since, until",
		"daily?model=m":                             "model: no such parameter here, expected after, backend_id, client, days, hours, limit, since, until",
		"cooldown?client=c":                         "client: no such parameter here, expected after, backend_id, days, hours, limit, since, until",
		"reliability?after=x":                       "after: no such parameter here, expected backend_id, client, days, hours, limit, model, since, until",
		"hourly?limit=0":                            `limit: expected 1 to 500, got "0"`,
		"hourly?limit=":                             `limit: expected 1 to 500, got ""`,
		"hourly?limit=501":                          `limit: expected 1 to 500, got "501"`,
		"hourly?limit=1&limit=2":                    "limit: given 2 times",
		"hourly?hours=x":                            `hours: expected 1 to 87840, got "x"`,
		"daily?days=-1":                             `days: expected 1 to 3660, got "-1"`,
		"daily?since=yesterday":                     `since: expected a time like 2026-11-22T10:00:00Z, got "yesterday"`,
		"daily?until=2026":                          `until: expected a time like 2026-11-22T10:00:00Z, got "2026"`,
		"hourly?since=2026-11-22T10:00:00Z&hours=1": "since: give either the beginning, or hours or days",
		"hourly?since=2026-11-22T10:00:00Z&until=2026-11-22T10:00:00Z": "until: expected a time after since",
		"hourly?after=%21":  "after: not the mark of a page; follow the Link header",
		"hourly?after=e30x": "after: not the mark of a page; follow the Link header",
	} {
		status, body, _ := a.get(t, path)
		var got struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusBadRequest || got.Error.Code != "bad_filter" || got.Error.Message != want {
			t.Errorf("%s: %d %s, want %s", path, status, body, want)
		}
	}
	for _, path := range []string{"hourly", "daily", "cooldown", "reliability"} {
		if status, body, next := a.get(t, path); status != http.StatusOK || body != "[]" || next != "" {
			t.Errorf("%s of an empty ledger: %d %s %s", path, status, body, next)
		}
	}
}

// TestPagesStayWhereTheyWere although time goes on between them.
func TestPagesStayWhereTheyWere(t *testing.T) {
	var rows []ledger.Row
	now := time.Now().UTC()
	for i := range 7 {
		rows = append(rows, ledger.Row{StartedAt: now.Add(-24 * hour), Status: ledger.Completed, Client: fmt.Sprint(i)})
	}
	a := serve(t, rows, nil)
	_, _, next := a.get(t, "hourly?hours=48&limit=3")
	if strings.Contains(next, "hours") || !strings.Contains(next, "since=") {
		t.Errorf("the next page begins anew: %s", next)
	}
	seen := 3
	for next != "" {
		var body string
		_, body, next = a.get(t, next)
		var lines []admin.Hour
		if err := json.Unmarshal([]byte(body), &lines); err != nil {
			t.Fatal(err)
		}
		seen += len(lines)
	}
	if seen != len(rows) {
		t.Errorf("%d lines on all pages, want %d", seen, len(rows))
	}
}
