package workboard_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/command"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/workboard"
)

var update = flag.Bool("update", false, "write the golden file")

// actor names the file that the test's own program prints when it plays OpenClaw.
const actor = "OPENCLAW_CONFIG_PATH"

func TestMain(m *testing.M) {
	if file := os.Getenv(actor); file != "" {
		os.Exit(play(file))
	}
	os.Exit(m.Run())
}

// play prints the file, as OpenClaw does where it is asked as it expects.
func play(file string) int {
	if got := strings.Join(os.Args[1:], " "); got != "workboard list --json" {
		fmt.Fprintln(os.Stderr, "unknown command: "+got)
		return 1
	}
	if os.Getenv("OPENCLAW_GATEWAY_TOKEN") != "tok-secret" || os.Getenv("OPENCLAW_STATE_DIR") != "/claw" {
		fmt.Fprintln(os.Stderr, "unauthorized: "+os.Getenv("OPENCLAW_GATEWAY_TOKEN"))
		return 1
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return 1
	}
	_, _ = os.Stdout.Write(text)
	return 0
}

func read(t *testing.T, file string) (tasksource.Board, error) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(actor, file)
	return workboard.Read(t.Context(), command.New(nil), workboard.Options{CLI: program, Home: "/claw", Token: "tok-secret"})
}

// show writes tasks as lines, with what Resolve makes of them.
func show(board tasksource.Board) string {
	var b strings.Builder
	for _, t := range tasksource.Resolve(board.Tasks) {
		fmt.Fprintf(&b, "%s %s %q of %q: %s parked=%t priority=%d mark=%q touched=%s started=%s workable=%t waits=%d\n", t.Source, t.ID[len(t.ID)-1:], t.Title,
			t.Assignee, t.State, t.Parked, t.Priority, t.Mark, t.Touched.Format(time.RFC3339), t.StartedAt.Format(time.RFC3339), t.Workable(), len(t.BlockedBy))
	}
	for assignee, err := range board.Faults {
		fmt.Fprintf(&b, "fault of %s: %v\n", assignee, err)
	}
	return b.String()
}

func TestRead(t *testing.T) {
	board, err := read(t, filepath.Join("testdata", "list.json"))
	if err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "list.golden")
	got := show(board)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
	if his, err := board.Of("opengineer"); err != nil || len(his) != 4 {
		t.Errorf("%d tasks, %v", len(his), err)
	}
	if _, err := board.Of("designer"); err == nil || !strings.Contains(err.Error(), `got "delegated"`) {
		t.Errorf("a status that is not known: %v", err)
	}
}

// TestMarkIsProgress: each of the three times is progress, and nothing else is.
func TestMarkIsProgress(t *testing.T) {
	mark := func(text string) string {
		t.Helper()
		board, err := workboard.Parse([]byte(`{"cards":[` + text + `]}`))
		if err != nil || len(board.Tasks) != 1 {
			t.Fatalf("%+v, %v", board, err)
		}
		return board.Tasks[0].Mark
	}
	base := `{"id":"1","status":"running","updatedAt":10,"title":"%s","execution":{"updatedAt":%d},"metadata":{"claim":{"lastHeartbeatAt":%d}}}`
	before := mark(fmt.Sprintf(base, "a", 0, 0))
	for name, text := range map[string]string{
		"a heartbeat of the claim": fmt.Sprintf(base, "a", 0, 11), "the execution": fmt.Sprintf(base, "a", 12, 0),
		"the card": strings.Replace(fmt.Sprintf(base, "a", 0, 0), "10", "13", 1), "the status": strings.Replace(fmt.Sprintf(base, "a", 0, 0), "running", "review", 1),
	} {
		if mark(text) == before {
			t.Errorf("%s is no progress", name)
		}
	}
	if mark(fmt.Sprintf(base, "b", 9, 9)) != before {
		t.Error("another title is progress")
	}
}

// TestGarbageIsUnknown: whatever is not the whole list is an error that says so.
func TestGarbageIsUnknown(t *testing.T) {
	whole, err := os.ReadFile(filepath.Join("testdata", "list.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"nothing":       {"", "expected JSON: EOF; it printed nothing"},
		"half":          {string(whole[:len(whole)/2]), "unexpected EOF"},
		"words":         {"Gateway not reachable\ntok-secret", "it printed Gateway not reachable <secret>"},
		"words before":  {"[plugins] loaded\n" + string(whole), "expected JSON"},
		"words behind":  {string(whole) + "bye", "found more behind it"},
		"two documents": {string(whole) + string(whole), "found more behind it"},
		"an array":      {"[]", "expected JSON"},
		"null":          {"null", `expected {"cards": [...]}`},
		"an error":      {`{"error":"plugin workboard is disabled"}`, `expected {"cards": [...]}; it printed {"error":"plugin workboard is disabled"}`},
		"cards null":    {`{"cards":null}`, `expected {"cards": [...]}`},
		"a text as id":  {`{"cards":[{"id":1,"status":"todo"}]}`, "cannot unmarshal number"},
		"no id":         {`{"cards":[{"id":"1","status":"todo"},{"status":"todo"}]}`, "cards[1].id: expected the card's id"},
		"a long link":   {`{"cards":[{"id":"1","status":"todo","metadata":{"links":[{"type":"parent","targetCardId":"` + strings.Repeat("x", 201) + `"}]}}]}`, "cards[0].metadata.links[0].targetCardId: expected an id of at most 200 bytes"},
		"a long id":     {`{"cards":[{"id":"` + strings.Repeat("x", 201) + `","status":"todo"}]}`, "of at most 200 bytes"},
		"twice":         {`{"cards":[{"id":"1","status":"todo"},{"id":"1","status":"done"}]}`, "is the id of an earlier card"},
		"too many":      {`{"cards":[` + strings.Repeat(`{"id":"1"},`, 10_000) + `{"id":"1"}]}`, "more than 10000 cards"},
		"10 MB":         {`{"cards":["` + strings.Repeat("x", 10<<20) + `"]}`, "too much output"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "out")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			board, err := read(t, file)
			if err == nil || len(board.Tasks) > 0 || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Fatalf("%d tasks, %v; want %q", len(board.Tasks), err, c.want)
			}
			if strings.Contains(err.Error(), "tok-secret") {
				t.Errorf("a secret is told: %v", err)
			}
		})
	}
}

func TestNoCardsIsNoWork(t *testing.T) {
	board, err := workboard.Parse([]byte(`{"cards":[]}`))
	if err != nil || len(board.Tasks) != 0 || board.Faults != nil {
		t.Errorf("%+v, %v", board, err)
	}
}

func TestProgramRefuses(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(actor, "unused")
	_, err = workboard.Read(t.Context(), command.New(nil), workboard.Options{CLI: program, Token: redact.Secret("another-token")})
	if err == nil || !strings.Contains(err.Error(), "workboard list --json: exit status 1; it says: unauthorized: <secret>") {
		t.Errorf("got %v", err)
	}
}
