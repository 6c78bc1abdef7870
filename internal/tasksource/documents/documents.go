// Package documents reads tasks from Markdown files: check lists and front
// matter. The rules for those who write them are in docs/task-documents.md.
//
// It promises: an answer is whole or an error. What cannot be read or understood,
// in any of the files, is an error that names the file, and the line where there
// is one; it is never an answer with fewer tasks. A glob that matches nothing in a
// folder that is there is an answer without tasks. Files are only read, never
// outside the folder that a glob names, and within the bounds below.
package documents

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// Name is the source's name.
const Name = "documents"

// Bounds of one answer; more is an error.
const (
	maxFiles    = 500
	maxFileSize = 1 << 20
	maxTotal    = 8 << 20
	maxLine     = 16 << 10
	maxEntries  = 20_000 // looked at in folders
	maxDepth    = 12     // of folders below the one that a glob names
	maxTasks    = 2000
)

// Read returns the tasks in the files that the globs match. A relative glob is
// relative to folder.
func Read(ctx context.Context, folder string, globs []string) ([]tasksource.Task, error) {
	r := reader{ctx: ctx, seen: map[string]bool{}, ids: map[string]string{}}
	for _, glob := range globs {
		if !filepath.IsAbs(glob) {
			glob = filepath.Join(folder, glob)
		}
		if err := r.glob(filepath.Clean(glob)); err != nil {
			return nil, err
		}
	}
	return r.tasks, nil
}

// CheckGlob says what is wrong with a glob.
func CheckGlob(glob string) error {
	if glob == "" {
		return errors.New("expected a glob like todo/*.md")
	}
	for segment := range strings.SplitSeq(filepath.ToSlash(glob), "/") {
		if _, err := path.Match(segment, ""); err != nil {
			return fmt.Errorf("expected a glob like todo/*.md, found a bad pattern in %q", segment)
		}
	}
	return nil
}

type reader struct {
	ctx   context.Context //nolint:containedctx // of one call of Read
	seen  map[string]bool // files, by full name
	ids   map[string]string
	files int
	total int64
	tasks []tasksource.Task
}

// split divides a clean glob into the folder in front of its first wildcard and
// the pattern below it.
func split(glob string) (folder, pattern string) {
	segments := strings.Split(filepath.ToSlash(glob), "/")
	last := len(segments) - 1
	for i, segment := range segments {
		if i == last || strings.ContainsAny(segment, `*?[\`) {
			return filepath.FromSlash(strings.Join(segments[:i], "/") + "/"), strings.Join(segments[i:], "/")
		}
	}
	return "", glob
}

func (r *reader) glob(glob string) error {
	folder, pattern := split(glob)
	root, err := os.OpenRoot(folder)
	if err != nil {
		return fmt.Errorf("opening the folder of the documents: %w", err)
	}
	defer func() { _ = root.Close() }() // only read from
	names, err := match(r.ctx, root, pattern)
	if err != nil {
		return fmt.Errorf("looking for documents in %s: %w", folder, err)
	}
	for _, name := range names {
		full := filepath.Join(folder, name)
		if r.seen[full] {
			continue
		}
		r.seen[full] = true
		if err := r.file(root, name); err != nil {
			return fmt.Errorf("reading %s: %w", full, err)
		}
	}
	return nil
}

// file adds the tasks of one file.
func (r *reader) file(root *os.Root, name string) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if !utf8.ValidString(name) {
		return errors.New("expected a file name in UTF-8")
	}
	text, info, err := open(root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, there := root.Lstat(name); errors.Is(there, fs.ErrNotExist) {
			return nil // removed since it was listed
		}
		return err // a link to nothing
	case err != nil || text == nil:
		return err
	}
	r.files++
	r.total += int64(len(text))
	switch {
	case r.files > maxFiles:
		return fmt.Errorf("more than %d documents", maxFiles)
	case r.total > maxTotal:
		return fmt.Errorf("the documents are larger than %d MiB together", maxTotal>>20)
	}
	tasks, err := Parse(strings.TrimSuffix(filepath.ToSlash(name), path.Ext(name)), string(text))
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if first, twice := r.ids[t.ID]; twice {
			return fmt.Errorf("task id %q is used in %s already; give one of them an id of its own", t.ID, first)
		}
		r.ids[t.ID] = name
		t.Source, t.Touched = Name, info.ModTime().UTC()
		r.tasks = append(r.tasks, t)
	}
	if len(r.tasks) > maxTasks {
		return fmt.Errorf("more than %d tasks", maxTasks)
	}
	return nil
}

// open returns the text of a regular file, nil for a folder. It does not wait for
// a pipe that nobody writes to.
func open(root *os.Root, name string) ([]byte, fs.FileInfo, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // only read from
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case info.IsDir():
		return nil, info, nil
	case !info.Mode().IsRegular():
		return nil, nil, errors.New("expected a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(file, maxFileSize+1))
	switch {
	case err != nil:
		return nil, nil, err
	case len(text) > maxFileSize:
		return nil, nil, fmt.Errorf("larger than %d KiB", maxFileSize>>10)
	case !utf8.Valid(text):
		return nil, nil, errors.New("expected UTF-8")
	}
	return text, info, nil
}
