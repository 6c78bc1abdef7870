package board

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
)

type fleet struct{ agents []beat.Agent }

func (f fleet) Agents() []beat.Agent     { return append([]beat.Agent(nil), f.agents...) }
func (f fleet) Changes() <-chan struct{} { return nil }
func (f fleet) Checks() []watchdog.Snapshot {
	return []watchdog.Snapshot{{Name: "watchdog", State: watchdog.State{Status: watchdog.StatusDown, Since: time.Now()}}}
}

func get(t *testing.T, source Source, path, lang string) string {
	t.Helper()
	b, err := New(source, slog.New(slog.DiscardHandler), t.Context().Done())
	if err != nil {
		t.Fatal(err)
	}
	router := mux.NewRouter()
	b.Routes(router, func(next http.Handler) http.Handler { return next })
	server := httptest.NewServer(router)
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Language", lang)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%d, %v", resp.StatusCode, err)
	}
	return string(body)
}

// TestTasksAreCountedNotNamed: the page may be public.
func TestTasksAreCountedNotNamed(t *testing.T) {
	page := get(t, fleet{[]beat.Agent{{
		ID: "coo", Label: "coo", State: beat.StateUp, Rounds: 7, RoundLimit: 50,
		Sources: []beat.Source{{Name: "documents", State: beat.SourceOK}, {Name: "multica", State: beat.SourceUnknown, Detail: "s3cret"}},
		Tasks:   []beat.Task{{Title: "s3cret", ID: "s3cret", State: beat.TaskInProgress, Stalled: true}, {State: beat.TaskTodo, Paused: true}, {State: beat.TaskTodo}},
	}}}, "/board/fragment", "en")
	for _, want := range []string{"1 in progress · 2 to do", "1 stalled", "1 paused", "7 / 50", "multica"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not there: %s", want, page)
		}
	}
	if strings.Contains(page, "s3cret") {
		t.Error("a task is named")
	}
	if page := get(t, fleet{[]beat.Agent{{ID: "coo", State: beat.StateUp, RoundLimit: 50}}}, "/board/fragment", "en"); strings.Contains(page, "Tasks") || strings.Contains(page, "Rounds") {
		t.Error("tasks of an agent without sources")
	}
}

// TestEveryStateHasItsOwnShapeAndWords tells the states apart without colour.
func TestEveryStateHasItsOwnShapeAndWords(t *testing.T) {
	for _, lang := range []string{"zh-CN", "en"} {
		shapes, words := map[string]beat.State{}, map[string]beat.State{}
		for _, state := range beat.States() {
			page := get(t, fleet{[]beat.Agent{{ID: "coo", Label: "coo", State: state}}}, "/board/fragment", lang)
			tile := page[strings.Index(page, `<li class="tile`):]
			shape := between(tile, `aria-hidden="true">`, "</svg>")
			word := between(tile, `<span class="tile-state">`, "</span>")
			if other, twice := shapes[shape]; twice || shape == "" {
				t.Errorf("%s: %s has the shape of %s", lang, state, other)
			}
			if other, twice := words[word]; twice || word == "" {
				t.Errorf("%s: %s has the word of %s", lang, state, other)
			}
			shapes[shape], words[word] = state, state
		}
	}
}

func between(text, from, to string) string {
	_, rest, _ := strings.Cut(text, from)
	inside, _, _ := strings.Cut(rest, to)
	return inside
}

func TestEveryReasonIsWorded(t *testing.T) {
	for _, reason := range beat.Reasons() {
		for _, lang := range []string{"zh-CN", "en"} {
			page := get(t, fleet{[]beat.Agent{{ID: "coo", State: beat.StateDown, Reason: reason}}}, "/board/fragment", lang)
			why := between(page, `<p class="tile-why">`, "</p>")
			if why == "" || strings.Contains(why, "_") || (lang == "zh-CN" && why == string(reason)) {
				t.Errorf("%s in %s: %q", reason, lang, why)
			}
		}
	}
}

func TestTheUrgentComesFirstAndTextIsEscaped(t *testing.T) {
	page := get(t, fleet{[]beat.Agent{
		{ID: "fine", Label: "<b>fine</b>", State: beat.StateUp, LastBeat: time.Now()},
		{ID: "gone", Label: "律师", State: beat.StateDown},
		{ID: "odd", Label: "odd", State: beat.StateUnknown},
	}}, "/", "zh-CN")
	down, odd, up := strings.Index(page, "律师"), strings.Index(page, ">odd<"), strings.Index(page, "&lt;b&gt;fine")
	if down < 0 || odd < down || up < odd {
		t.Errorf("order: %d %d %d", down, odd, up)
	}
	if !strings.Contains(page, "watchdog") || !strings.Contains(page, "从未") {
		t.Error("the page lacks the checks or a beat that never was")
	}
}
