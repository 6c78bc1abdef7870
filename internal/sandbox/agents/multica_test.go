package agents

import (
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/multica"
)

// TestMulticaStandIn reads the stand-in with the reader that heartbeat uses, over five
// hundred steps of an agent: always understood, in pages, with progress at every step.
func TestMulticaStandIn(t *testing.T) {
	dir := t.TempDir()
	supervisor, err := New(Options{
		Members: []Member{{ID: "secretary", Works: true, Issues: true}, {ID: "coo", Works: true}, {ID: "lawyer"}}, Dir: filepath.Join(dir, "run"), Tasks: dir, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	web, err := NewWeb(supervisor, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(web)
	t.Cleanup(server.Close)
	source := multica.New(multica.Options{URL: server.URL + MulticaPath, Token: "any", Workspace: "any"}, nil)
	seen := map[tasksource.State]bool{}
	for step := range 500 {
		board, err := source.Read(t.Context())
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		his, err := board.Of("secretary")
		if err != nil || len(his) < minTodo {
			t.Fatalf("step %d: %d tasks, %v", step, len(his), err)
		}
		for _, task := range his {
			seen[task.State] = true
			if task.Touched.IsZero() || task.Title == "" {
				t.Fatalf("step %d: %+v", step, task)
			}
		}
		for _, other := range []string{"coo", "lawyer"} {
			if theirs, err := board.Of(other); err != nil || len(theirs) > 0 {
				t.Fatalf("%s: %d tasks, %v", other, len(theirs), err)
			}
		}
		if err := (desk{filepath.Join(dir, "secretary")}).work(); err != nil {
			t.Fatal(err)
		}
	}
	if !seen[tasksource.Todo] || !seen[tasksource.InProgress] || !seen[tasksource.Done] {
		t.Errorf("seen %v", seen)
	}
}
