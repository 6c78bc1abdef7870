package documents

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
)

// match returns the names below root that the pattern matches, sorted. A segment
// ** stands for any number of folders, none included; it does not follow symbolic
// links to folders, so that a loop of them cannot be walked. Names that begin with
// a dot match only where the pattern's segment does too.
func match(ctx context.Context, root *os.Root, pattern string) ([]string, error) {
	m := matcher{ctx: ctx, root: root.FS(), found: map[string]bool{}}
	if err := m.below(".", strings.Split(pattern, "/"), 0); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(m.found))
	for name := range m.found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

type matcher struct {
	ctx     context.Context //nolint:containedctx // of one call of match
	root    fs.FS
	entries int
	found   map[string]bool
}

// below matches the segments against what is in a folder.
func (m *matcher) below(folder string, segments []string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("folders deeper than %d: %s", maxDepth, folder)
	}
	segment, rest := segments[0], segments[1:]
	if segment == "**" && len(rest) > 0 {
		if err := m.below(folder, rest, depth); err != nil {
			return err
		}
	}
	listed, err := fs.ReadDir(m.root, folder)
	if err != nil {
		return err
	}
	m.entries += len(listed)
	if m.entries > maxEntries {
		return fmt.Errorf("more than %d entries in folders", maxEntries)
	}
	for _, entry := range listed {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if err := m.entry(folder, entry, segment, segments, depth); err != nil {
			return err
		}
	}
	return nil
}

func (m *matcher) entry(folder string, entry fs.DirEntry, segment string, segments []string, depth int) error {
	name, rest := path.Join(folder, entry.Name()), segments[1:]
	if hidden(entry.Name()) && !hidden(segment) {
		return nil
	}
	if segment == "**" {
		switch {
		case entry.IsDir():
			return m.below(name, segments, depth+1)
		case len(rest) == 0:
			m.found[name] = true
		}
		return nil
	}
	if ok, err := path.Match(segment, entry.Name()); err != nil || !ok {
		return err
	}
	if len(rest) == 0 {
		m.found[name] = true
		return nil
	}
	info, err := fs.Stat(m.root, name)
	switch {
	case errors.Is(err, fs.ErrNotExist) && entry.Type()&fs.ModeSymlink == 0:
		return nil // removed since it was listed
	case err != nil:
		return err
	case info.IsDir():
		return m.below(name, rest, depth+1)
	}
	return nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }
