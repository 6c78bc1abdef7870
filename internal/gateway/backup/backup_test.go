package backup

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// rig is a keeper over a small store, with a clock that the test sets.
type rig struct {
	*Keeper
	settings Settings
	now      time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	schema := fstest.MapFS{"00001_x.sql": {Data: []byte("-- +goose Up\nCREATE TABLE x (id INTEGER PRIMARY KEY);\n")}}
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: sqlstore.URL("sqlite:" + path), Migrations: schema, WALLimit: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	r := &rig{settings: Settings{Dir: filepath.Join(t.TempDir(), "backups"), Every: 24 * time.Hour, Keep: 72 * time.Hour}, now: time.Date(2026, 11, 30, 2, 0, 0, 0, time.UTC)}
	r.Keeper = &Keeper{
		Settings: func() Settings { return r.settings }, Store: path, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return r.now },
		Check: func(ctx context.Context, file string) error {
			_, err := sqlstore.Verify(ctx, file, schema, "x")
			return err
		},
	}
	return r
}

func (r *rig) names(t *testing.T) (names []string) {
	t.Helper()
	all, err := r.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range all {
		names = append(names, b.Name)
	}
	return names
}

func TestBackupsAreMadeListedAndRemoved(t *testing.T) {
	r := newRig(t)
	if names := r.names(t); len(names) != 0 {
		t.Errorf("before there is any: %v", names)
	}
	for range 6 {
		made, err := r.Make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := NameOf(r.now); made.Name != want || made.SizeBytes == 0 || !made.CreatedAt.Equal(r.now) {
			t.Errorf("made %+v, want %s", made, want)
		}
		r.now = r.now.Add(24 * time.Hour)
	}
	want := []string{"gateway-20261205T020000.000Z.db", "gateway-20261204T020000.000Z.db", "gateway-20261203T020000.000Z.db", "gateway-20261202T020000.000Z.db"}
	if names := r.names(t); !slices.Equal(names, want) {
		t.Errorf("kept %v, want %v", names, want)
	}
	for _, other := range []string{"notes.txt", "gateway-yesterday.db", "gateway-20200101T000000.000Z.db.old"} {
		if err := os.WriteFile(filepath.Join(r.settings.Dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(r.settings.Dir, "gateway-20200101T000000.000Z.db"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.now = r.now.Add(10 * 365 * 24 * time.Hour)
	if _, err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := r.names(t); len(names) != 1 {
		t.Errorf("ten years later: %v", names)
	}
	if entries, err := os.ReadDir(r.settings.Dir); err != nil || len(entries) != 5 {
		t.Errorf("files of others were removed: %v, %v", entries, err)
	}
	if err := prune(r.settings, r.now.Add(10*365*24*time.Hour)); err != nil || len(r.names(t)) != 1 {
		t.Errorf("the newest is not kept: %v, %v", r.names(t), err)
	}
	r.settings.Keep = 0
	r.now = r.now.Add(10 * 365 * 24 * time.Hour)
	if _, err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := r.names(t); len(names) != 2 {
		t.Errorf("kept for ever: %v", names)
	}
}

// TestABackupThatFailsLeavesNothing that could be taken for one.
func TestABackupThatFailsLeavesNothing(t *testing.T) {
	r := newRig(t)
	check := r.Check
	r.Check = func(context.Context, string) error { return errors.New("unsound") }
	if _, err := r.Make(t.Context()); err == nil || !strings.Contains(err.Error(), "unsound") {
		t.Errorf("got %v", err)
	}
	r.Check = check
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Make(ended); err == nil {
		t.Error("no error from one that was ended")
	}
	if entries, err := os.ReadDir(r.settings.Dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	left := filepath.Join(r.settings.Dir, NameOf(r.now)+unfinished) // of a process that was killed
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.now = time.Now().Add(time.Hour)
	if _, err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); err != nil {
		t.Error("what another process may be writing was removed")
	}
	r.now = time.Now().Add(2 * abandoned)
	if _, err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what nobody writes any more is left: %v", err)
	}
	r.settings.Dir = filepath.Join(r.Store, "folder")
	if _, err := r.Make(t.Context()); err == nil || !strings.Contains(err.Error(), "backup.dir") {
		t.Errorf("a folder that cannot be: %v", err)
	}
	r.making.Lock()
	if _, err := r.Make(t.Context()); !errors.Is(err, ErrBusy) {
		t.Errorf("two at once: %v", err)
	}
	r.making.Unlock()
}

func TestABackupOfACallersName(t *testing.T) {
	r := newRig(t)
	file := filepath.Join(t.TempDir(), "mine.db")
	if made, err := r.MakeAt(t.Context(), file); err != nil || made.Name != "mine.db" {
		t.Errorf("%+v, %v", made, err)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.MakeAt(t.Context(), file); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("over another: %v", err)
	}
	if now, err := os.ReadFile(file); err != nil || string(now) != string(before) {
		t.Error("a file of the caller's was changed")
	}
	if names := r.names(t); len(names) != 0 {
		t.Errorf("listed: %v", names)
	}
}

// TestDue by what this process made, else by the names of what is there, also where the
// clock was set.
func TestDue(t *testing.T) {
	r := newRig(t)
	due := func(name string, want bool) {
		t.Helper()
		if got := r.due(r.now); got != want {
			t.Errorf("%s: due %t", name, got)
		}
	}
	due("nothing there", true)
	if _, err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	due("right after one", false)
	r.now = r.now.Add(24 * time.Hour)
	due("a day later", true)
	r.settings.Every = 0
	due("none asked for", false)
	r.settings.Every = 24 * time.Hour
	r.last, r.now = time.Time{}, r.now.Add(-12*time.Hour) // another process
	due("made half a day ago by another process", false)
	r.now = r.now.Add(-48 * time.Hour)
	due("the newest is of a time to come", true)
}

// TestRunMakesWhatIsDue, and goes on after a failure.
func TestRunMakesWhatIsDue(t *testing.T) {
	r := newRig(t)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	if !testtool.Eventually(t, func() bool { all, err := r.List(); return err == nil && len(all) == 1 }) {
		t.Error("none was made at the start")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
