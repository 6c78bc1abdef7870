package documents_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// tree writes files below a new folder; a name that ends in / is a folder, a text
// that begins with -> a symbolic link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		var err error
		switch target, link := strings.CutPrefix(text, "->"); {
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o700)
		case link:
			err = os.Symlink(target, path)
		default:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGlobs(t *testing.T) {
	dir := tree(t, map[string]string{
		"todo/a.md": "- [ ] a", "todo/b.md": "- [ ] b", "todo/c.txt": "- [ ] c", "todo/.hidden.md": "- [ ] hidden",
		"todo/deep/d.md": "- [ ] d", "todo/deep/deeper/e.md": "- [ ] e", "todo/folder.md/": "", "todo/link.md": "->a.md",
		"todo/loop": "->.", "todo/.git/f.md": "- [ ] f", "todo/linked": "->deep", "TODO.md": "- [ ] top", "empty/": "",
	})
	for glob, want := range map[string]string{
		"todo/*.md":             "a a b",
		"todo/[ab].md":          "a b",
		"todo/*":                "a a b c",
		"todo/*/*.md":           "a a b d d",   // the links to folders too
		"todo/**/*.md":          "a a b d e",   // not those
		"todo/**":               "a a b c d e", // links to folders hold no text
		"todo/.hidden.md":       "hidden",
		"todo/.*/f.md":          "f",
		"TODO.md":               "top",
		"absent.md":             "",
		"todo/*.markdown":       "",
		"empty/*.md":            "",
		"todo/deep/../a.md":     "a",
		filepath.Join(dir, "*"): "top",
	} {
		tasks, err := documents.Read(t.Context(), dir, []string{glob})
		var titles []string
		for _, task := range tasks {
			titles = append(titles, task.Title)
			if task.Source != "documents" || task.Touched.IsZero() {
				t.Errorf("%s: %+v", glob, task)
			}
		}
		slices.Sort(titles)
		if got := strings.Join(titles, " "); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", glob, got, err, want)
		}
	}
	tasks, err := documents.Read(t.Context(), dir, []string{"todo/a.md", "todo/[a].md", "todo/*.txt"})
	if err != nil || len(tasks) != 2 {
		t.Errorf("a file that two globs match counts twice: %d, %v", len(tasks), err)
	}
	if !strings.HasPrefix(tasks[0].ID, "a#") {
		t.Errorf("id %q", tasks[0].ID)
	}
}

// TestUnreadableIsNeverNoWork: every way in which a file, a folder or a link can
// be wrong is an error that names it, and there are no tasks beside it.
func TestUnreadableIsNeverNoWork(t *testing.T) {
	outside := tree(t, map[string]string{"secret.md": "- [ ] outside"})
	for name, c := range map[string]struct {
		files map[string]string
		glob  string
		want  string
	}{
		"no folder":                 {nil, "todo/*.md", "no such file"},
		"folder is a file":          {map[string]string{"todo": ""}, "todo/*.md", "todo"},
		"absolute link out":         {map[string]string{"todo/l.md": "->" + outside + "/secret.md"}, "todo/*.md", "escapes"},
		"relative link out":         {map[string]string{"todo/l.md": "->../x.md", "x.md": "- [ ] x"}, "todo/*.md", "escapes"},
		"link to a folder out":      {map[string]string{"todo/l": "->" + outside}, "todo/*/*.md", "escapes"},
		"link to nothing":           {map[string]string{"todo/l.md": "->gone.md"}, "todo/*.md", "l.md"},
		"link to itself":            {map[string]string{"todo/l.md": "->l.md"}, "todo/*.md", "l.md"},
		"not UTF-8":                 {map[string]string{"todo/a.md": "- [ ] \xff"}, "todo/*.md", "expected UTF-8"},
		"UTF-16":                    {map[string]string{"todo/a.md": "\xff\xfe-\x00"}, "todo/*.md", "expected UTF-8"},
		"name not UTF-8":            {map[string]string{"todo/a\xff.md": ""}, "todo/*.md", "file name in UTF-8"},
		"too large":                 {map[string]string{"todo/a.md": strings.Repeat("x\n", 600<<10)}, "todo/*.md", "larger than 1024 KiB"},
		"line too long":             {map[string]string{"todo/a.md": strings.Repeat("x", 20<<10)}, "todo/*.md", "a.md: line 1: longer"},
		"bad mark":                  {map[string]string{"todo/a.md": "- [ ] fine\n- [>] b"}, "todo/*.md", "a.md: line 2"},
		"good beside bad":           {map[string]string{"todo/a.md": "- [ ] fine", "todo/b.md": "---\nstatus: x\n---"}, "todo/*.md", "b.md: front matter: status"},
		"one id in two documents":   {map[string]string{"todo/a.md": "---\nid: x\nstatus: todo\n---", "todo/b.md": "---\nid: x\nstatus: todo\n---"}, "todo/*.md", `task id "x" is used in a.md`},
		"folders that are too deep": {map[string]string{"todo/" + strings.Repeat("d/", 14): ""}, "todo/**/*.md", "deeper than 12"},
	} {
		tasks, err := documents.Read(t.Context(), tree(t, c.files), []string{c.glob})
		if err == nil || tasks != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %d tasks, %v; want an error with %q", name, len(tasks), err, c.want)
		}
	}
}

func TestSpecialFilesAreRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.md"), 0o600); err != nil {
		t.Fatal(err)
	}
	if tasks, err := documents.Read(t.Context(), dir, []string{"*.md"}); err == nil || tasks != nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a pipe: %v, %v", tasks, err)
	}
}

func TestForbiddenFile(t *testing.T) {
	dir := tree(t, map[string]string{"a.md": "- [ ] a"})
	if err := os.Chmod(filepath.Join(dir, "a.md"), 0); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 { // who may read every file: this thread, which ends with the test, becomes somebody else
		if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		defer func() { <-done }()
		go func() {
			defer close(done)
			runtime.LockOSThread() // and never unlocked
			if err := syscall.Setfsuid(nobody); err != nil {
				t.Error(err)
				return
			}
			forbidden(t, dir)
		}()
		return
	}
	forbidden(t, dir)
}

const nobody = 65534

func forbidden(t *testing.T, dir string) {
	t.Helper()
	if tasks, err := documents.Read(t.Context(), dir, []string{"*.md"}); !errors.Is(err, os.ErrPermission) || tasks != nil {
		t.Errorf("got %v, %v", tasks, err)
	}
}

func TestTooManyFiles(t *testing.T) {
	files := map[string]string{}
	for i := range 501 {
		files[fmt.Sprintf("%d.md", i)] = "x"
	}
	if tasks, err := documents.Read(t.Context(), tree(t, files), []string{"*.md"}); err == nil || tasks != nil || !strings.Contains(err.Error(), "more than 500 documents") {
		t.Errorf("got %v, %v", tasks, err)
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := tree(t, map[string]string{"a.md": "- [ ] a"})
	if tasks, err := documents.Read(ctx, dir, []string{"*.md"}); !errors.Is(err, context.Canceled) || tasks != nil {
		t.Errorf("got %v, %v", tasks, err)
	}
}

func TestCheckGlob(t *testing.T) {
	for glob, good := range map[string]bool{"todo/*.md": true, "/a/**/b?.md": true, "": false, "todo/[a.md": false} {
		if err := documents.CheckGlob(glob); (err == nil) != good {
			t.Errorf("%q: %v", glob, err)
		}
	}
}
