package multica_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/multica"
)

// server answers as Multica does, from the files in testdata.
type server struct {
	*httptest.Server
	mu       sync.Mutex
	asked    []string
	limit    int                         // of a page, whatever is asked for; 0 = as asked
	total    func(all, page int) int     // nil = all
	instead  map[string]http.HandlerFunc // by path
	messages map[string][]message        // by run
}

type message struct {
	Seq       int    `json:"seq"`
	Type      string `json:"type"`
	CreatedAt string `json:"created_at,omitempty"`
}

func file(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{instead: map[string]http.HandlerFunc{}, messages: map[string][]message{}}
	var issues []json.RawMessage
	if err := json.Unmarshal(file(t, "issues.json"), &issues); err != nil {
		t.Fatal(err)
	}
	agents, runs := file(t, "agents.json"), file(t, "snapshot.json")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/agents", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(agents) })
	mux.HandleFunc("GET /api/agent-task-snapshot", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(runs) })
	mux.HandleFunc("GET /api/tasks/{id}/messages", func(w http.ResponseWriter, r *http.Request) {
		since, _ := strconv.Atoi(r.URL.Query().Get("since"))
		fresh := []message{}
		for _, m := range s.messages[r.PathValue("id")] {
			if m.Seq > since {
				fresh = append(fresh, m)
			}
		}
		_ = json.NewEncoder(w).Encode(fresh)
	})
	mux.HandleFunc("GET /api/issues", func(w http.ResponseWriter, r *http.Request) {
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
		if s.limit > 0 {
			limit = s.limit
		}
		from := min(offset, len(issues))
		page := issues[from:min(from+limit, len(issues))]
		total := len(issues)
		if s.total != nil {
			total = s.total(total, len(page))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"issues": page, "total": total})
	})
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r.URL.RequestURI())
		s.mu.Unlock()
		switch instead := s.instead[r.URL.Path]; {
		case r.Header.Get("Authorization") != "Bearer mul_secret" || r.Header.Get("X-Workspace-ID") != "w-1":
			http.Error(w, `{"error":"unauthorized `+r.Header.Get("Authorization")+`"}`, http.StatusUnauthorized)
		case instead != nil:
			instead(w, r)
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) options() multica.Options {
	return multica.Options{URL: s.URL + "/", Token: "mul_secret", Workspace: "w-1", CLI: "no-such-multica"}
}

// actor is set where the test's own program plays the command line.
const actor = "MULTICA_SERVER_URL"

func TestMain(m *testing.M) {
	if how, ok := strings.CutPrefix(os.Getenv(actor), "play:"); ok {
		os.Exit(play(how))
	}
	os.Exit(m.Run())
}

// play is Multica's command line. It knows the workspace only where it is told.
func play(how string) int {
	args := strings.Join(os.Args[1:], " ")
	command, rest, _ := strings.Cut(args, " --output json")
	if os.Getenv("MULTICA_TOKEN") != "mul_secret" || !strings.HasSuffix(rest, " --workspace-id w-1") {
		fmt.Fprintln(os.Stderr, "Error: workspace_id is required; token "+os.Getenv("MULTICA_TOKEN"))
		return 1
	}
	name := map[string]string{"agent list": "agents.json", "issue list": "issues.json"}[command]
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error: unknown command "+args)
		return 1
	}
	if command == "agent list" {
		fmt.Printf(`{"agents":%s}`, text)
		return 0
	}
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return 1
	}
	var limit, offset int
	if n, err := fmt.Sscanf(rest, " --limit %d --offset %d", &limit, &offset); n != 2 || err != nil {
		fmt.Fprintln(os.Stderr, "Error: unknown flags "+rest)
		return 1
	}
	from := min(offset, len(all))
	to := min(from+min(limit, 5), len(all))
	switch {
	case how == "half" && offset > 0:
		fmt.Print(`{"issues":[{"id":"i-06","ti`)
	case how == "lost" && offset > 0:
		fmt.Printf(`{"issues":[],"total":%d,"has_more":false}`, len(all))
	default:
		_ = json.NewEncoder(os.Stdout).Encode(map[string]any{"issues": all[from:to], "total": len(all), "limit": limit, "offset": offset, "has_more": to < len(all)})
	}
	return 0
}

func commandLine(t *testing.T, how string) *multica.Source {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("MULTICA_TOKEN", "mul_secret")
	return multica.New(multica.Options{URL: "play:" + how, Workspace: "w-1", CLI: program}, command.New(nil))
}
