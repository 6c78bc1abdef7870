package multica_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/multica"
)

var update = flag.Bool("update", false, "write the golden files")

// show writes tasks as lines, with what Resolve makes of them.
func show(board tasksource.Board) string {
	var b strings.Builder
	for _, t := range tasksource.Resolve(board.Tasks) {
		fmt.Fprintf(&b, "%s %s %q of %q: %s parked=%t priority=%d mark=%q touched=%s started=%s workable=%t waits for %v\n", t.Source, t.ID, t.Title, t.Assignee,
			t.State, t.Parked, t.Priority, t.Mark, t.Touched.Format(time.RFC3339), t.StartedAt.Format(time.RFC3339), t.Workable(), t.BlockedBy)
	}
	for assignee, err := range board.Faults {
		fmt.Fprintf(&b, "fault of %s: %v\n", assignee, err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(file(t, name)), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

func TestOverHTTP(t *testing.T) {
	s := serve(t)
	s.messages["t-1"] = []message{{1, "text", "2026-11-25T09:40:00Z"}, {2, "tool_use", "2026-11-25T09:50:00Z"}}
	source := multica.New(s.options(), nil)
	board, err := source.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "http.golden", show(board))
	for assignee, want := range map[string]int{"opengineer": 5, "a-ops": 5, "lawyer": 0, "s-1": 1} {
		if his, err := board.Of(assignee); err != nil || len(his) != want {
			t.Errorf("%s: %d tasks, %v; want %d", assignee, len(his), err, want)
		}
	}
	for assignee, want := range map[string]string{"designer": `status "delegated"`, "nobody": "nobody with the name"} {
		if _, err := board.Of(assignee); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", assignee, err)
		}
	}
	if want := []string{
		"/api/issues?limit=50&offset=0", "/api/agents", "/api/agent-task-snapshot", "/api/tasks/t-1/messages?since=0", "/api/tasks/t-2/messages?since=0",
	}; !slices.Equal(s.asked, want) {
		t.Errorf("asked %q", s.asked)
	}
}

func TestByCommandLine(t *testing.T) {
	board, err := commandLine(t, "whole").Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "cli.golden", show(board))
}

func TestCommandLineFails(t *testing.T) {
	for how, want := range map[string]string{
		"half": "issue list --output json --limit 50 --offset 5 --workspace-id w-1: expected JSON: unexpected EOF",
		"lost": "expected 14 issues, got 5: the list changed while it was read",
	} {
		if board, err := commandLine(t, how).Read(t.Context()); err == nil || len(board.Tasks) > 0 || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", how, err)
		}
	}
	t.Setenv("MULTICA_SERVER_URL", "play:whole")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	source := multica.New(multica.Options{Token: "another_secret", Workspace: "w-1", CLI: program}, command.New(nil))
	if _, err := source.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "exit status 1; it says: Error: workspace_id is required; token <secret>") {
		t.Errorf("a refusal: %v", err)
	}
}

// TestPages: however a server cuts its pages and counts, every issue is read.
func TestPages(t *testing.T) {
	for name, c := range map[string]struct {
		limit int
		total func(all, page int) int
		calls int
	}{
		"one page":                        {0, nil, 1},
		"smaller pages than asked for":    {3, nil, 5},
		"pages that end at the end":       {7, nil, 2},
		"a total of the page, full pages": {0, func(_, page int) int { return page }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.limit, s.total = c.limit, c.total
			board, err := multica.New(s.options(), nil).Read(t.Context())
			if err != nil || len(board.Tasks) != 13 {
				t.Fatalf("%d tasks, %v", len(board.Tasks), err)
			}
			calls := 0
			for _, path := range s.asked {
				if strings.HasPrefix(path, "/api/issues") {
					calls++
				}
			}
			if calls != c.calls {
				t.Errorf("%d calls, want %d", calls, c.calls)
			}
		})
	}
}

// TestProgressOfARun is its newest message; one that was heard is not asked for
// again, nor forgotten, and a server that tells none has the issue's own times.
func TestProgressOfARun(t *testing.T) {
	s := serve(t)
	source := multica.New(s.options(), nil)
	touched := func() string {
		t.Helper()
		s.asked = nil
		board, err := source.Read(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(board.Tasks, func(task tasksource.Task) bool { return task.ID == "MUL-1" })
		return board.Tasks[i].Touched.Format("15:04")
	}
	const path = "/api/tasks/t-1/messages"
	if got := touched(); got != "09:30" {
		t.Errorf("without messages: %s", got)
	}
	s.messages["t-1"] = []message{{7, "text", "2026-11-25T09:50:00Z"}, {8, "error", ""}}
	if got := touched(); got != "09:50" {
		t.Errorf("with messages: %s", got)
	}
	if got := touched(); got != "09:50" || !slices.Contains(s.asked, path+"?since=7") {
		t.Errorf("heard: %s, asked %q", got, s.asked)
	}
	s.instead[path] = http.NotFound
	if got := touched(); got != "09:50" {
		t.Errorf("withheld: %s", got)
	}
	s.instead[path] = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
	if _, err := source.Read(t.Context()); err == nil {
		t.Error("a server that fails is believed")
	}
}

// TestAnythingElseIsUnknown: each question may fail, and no answer is made of the rest.
func TestAnythingElseIsUnknown(t *testing.T) {
	says := func(status int, text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = w.Write([]byte(text))
		}
	}
	answers := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"401":          {says(401, "bad mul_secret"), "answered 401; expected a token in sources.multica.token that may read the workspace; it says: bad <secret>"},
		"404":          {says(404, ""), "answered 404; expected a Multica server in sources.multica.url"},
		"429":          {says(429, "slow down"), "answered 429; it says: slow down"},
		"500":          {says(500, strings.Repeat("x", 9000)), "answered 500"},
		"a login page": {says(200, "<html><title>Sign in</title>"), "expected JSON"},
		"nothing":      {says(200, ""), "expected JSON: EOF; it says: nothing"},
		"half":         {says(200, `[{"id":"`), "unexpected EOF"},
		"two":          {says(200, `{"issues":[]} {}`), "found more behind it"},
		"an object":    {says(200, `{"error":"busy"}`), "expected"},
		"null":         {says(200, `null`), "expected"},
		"text":         {says(200, `"ok"`), "expected"},
		"10 MB more":   {says(200, strings.Repeat(" ", 26<<20)+"[]"), "larger than 16 MiB"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("[]"))
		}, "reading the answer: unexpected EOF"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "context deadline exceeded"},
	}
	for _, path := range []string{"/api/issues", "/api/agents", "/api/agent-task-snapshot"} {
		for name, c := range answers {
			t.Run(name+" at "+path, func(t *testing.T) {
				s := serve(t)
				s.instead[path] = c.answer
				ctx := t.Context()
				if name == "slow" {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
					defer cancel()
				}
				board, err := multica.New(s.options(), nil).Read(ctx)
				if err == nil || len(board.Tasks) > 0 || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) || len(err.Error()) > 1000 {
					t.Fatalf("%d tasks, %v; want %q", len(board.Tasks), err, c.want)
				}
				if strings.Contains(err.Error(), "mul_secret") {
					t.Errorf("a secret is told: %v", err)
				}
			})
		}
	}
}

func TestIssuesThatMakeNoSense(t *testing.T) {
	for name, c := range map[string]struct{ issue, want string }{
		"no id":          {`{"status":"todo"}`, "issues[0].id: expected the issue's id"},
		"a number":       {`{"id":1}`, "expected JSON"},
		"a bad time":     {`{"id":"1","status":"todo","updated_at":"yesterday"}`, `issue 1: the time of its last progress: expected a time like 2026-11-30T08:00:00Z, got "yesterday"`},
		"a bad depends":  {`{"id":"1","status":"todo","assignee_id":"u","metadata":{"depends_on":{"a":1}}}`, "metadata.depends_on: expected issues like"},
		"a long depends": {`{"id":"1","status":"todo","assignee_id":"u","metadata":{"depends_on":"` + strings.Repeat("x", 201) + `"}}`, "metadata.depends_on: expected ids of at most 200 bytes"},
		"a bad status":   {`{"id":"1","identifier":"MUL-1","status":"","assignee_id":"u"}`, "issue MUL-1: status"},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			s.instead["/api/issues"] = func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"issues":[%s],"total":1}`, c.issue)
			}
			board, err := multica.New(s.options(), nil).Read(t.Context())
			if err == nil {
				_, err = board.Of("u")
			}
			if err == nil || len(board.Tasks) > 0 || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d tasks, %v; want %q", len(board.Tasks), err, c.want)
			}
		})
	}
}

func TestNoIssuesIsNoWork(t *testing.T) {
	s := serve(t)
	s.instead["/api/issues"] = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issues":[],"total":0}`) }
	board, err := multica.New(s.options(), nil).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if his, err := board.Of("lawyer"); err != nil || len(his) != 0 {
		t.Errorf("%+v, %v", his, err)
	}
	if _, err := board.Of("nobody"); err == nil {
		t.Error("an assignee that Multica does not know has no work")
	}
}

func TestWorkspaceIsNeeded(t *testing.T) {
	if _, err := multica.New(multica.Options{CLI: "no-such-multica"}, command.New(nil)).Read(t.Context()); !errors.Is(err, multica.ErrNoWorkspace) {
		t.Errorf("got %v", err)
	}
}
