package agents

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// What an agent keeps on its desk at most.
const (
	minTodo  = 3 // new tasks come in below it
	maxDone  = 3 // older ones are thrown away
	maxSteps = 4 // of a release
	maxDesk  = 64 << 10
)

var (
	// listTask is a task of the list, with the mark and the number of its id.
	listTask = regexp.MustCompile(`^- \[(.)\] .*\^t-([0-9]{1,9})$`)
	release  = regexp.MustCompile(`^title: 发布 ([0-9]{1,9})$`)
)

const (
	listName    = "list.md"
	releaseName = "release.md"
	openStep    = "  - [ ] "
	doneStep    = "  - [x] "
)

// desk is the folder with the documents that an agent works on: a check list, and
// a document that is one task. Only the agent writes there; a reader sees a
// document before a step or after it, never in between.
type desk struct{ dir string }

// setUp makes the folder and the documents that are missing.
func (d desk) setUp() error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // in containers heartbeat reads them as another user
		return fmt.Errorf("making the folder of the tasks: %w", err)
	}
	return errors.Join(d.edit(listName, func(lines []string) []string { return tidied(lines) }),
		d.edit(releaseName, func(lines []string) []string { return orFirst(lines) }))
}

// work does one step of each document.
func (d desk) work() error {
	return errors.Join(d.edit(listName, func(lines []string) []string { return tidied(worked(lines)) }),
		d.edit(releaseName, func(lines []string) []string { return released(orFirst(lines)) }))
}

// edit replaces a document by rename, where the change changes it.
func (d desk) edit(name string, change func([]string) []string) error {
	path := filepath.Join(d.dir, name)
	before, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading a task document: %w", err)
	}
	if len(before) > maxDesk {
		return fmt.Errorf("reading a task document: %s is larger than %d KiB", name, maxDesk>>10)
	}
	var lines []string
	if text := strings.TrimSuffix(string(before), "\n"); text != "" {
		lines = strings.Split(text, "\n")
	}
	after := strings.Join(change(lines), "\n") + "\n"
	if after == string(before) {
		return nil
	}
	fresh := filepath.Join(d.dir, "."+name+".new")
	if err := os.WriteFile(fresh, []byte(after), 0o644); err != nil { //nolint:gosec // as the folder
		return fmt.Errorf("writing a task document: %w", err)
	}
	if err := os.Rename(fresh, path); err != nil {
		return fmt.Errorf("writing a task document: %w", err)
	}
	return nil
}

// markOf returns the mark of a task of the list, "" for any other line.
func markOf(line string) string {
	if found := listTask.FindStringSubmatch(line); found != nil {
		return found[1]
	}
	return ""
}

// worked takes the next step of a list: the next step of the task in progress, its
// end, or the begin of the next task.
func worked(lines []string) []string {
	for i, line := range lines {
		if markOf(line) != "-" {
			continue
		}
		for next := i + 1; next < len(lines) && markOf(lines[next]) == ""; next++ {
			if rest, open := strings.CutPrefix(lines[next], openStep); open {
				lines[next] = doneStep + rest
				return lines
			}
		}
		lines[i] = strings.Replace(line, "[-]", "[x]", 1)
		return lines
	}
	for i, line := range lines {
		if markOf(line) == " " {
			lines[i] = strings.Replace(line, "[ ]", "[-]", 1)
			return lines
		}
	}
	return lines
}

// tidied throws old tasks away and adds new ones.
func tidied(lines []string) []string {
	todo, done, last := 0, 0, 0
	for _, line := range lines {
		found := listTask.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		if n, err := strconv.Atoi(found[2]); err == nil {
			last = max(last, n)
		}
		switch found[1] {
		case " ":
			todo++
		case "x":
			done++
		}
	}
	var out []string
	dropping := false
	for _, line := range lines {
		switch mark := markOf(line); {
		case mark == "x" && done > maxDone:
			dropping = true
			done--
		case mark != "" || strings.HasPrefix(line, "#"):
			dropping = false
		}
		if !dropping {
			out = append(out, line)
		}
	}
	if len(out) == 0 {
		out = []string{"# 待办"}
	}
	for ; todo < minTodo; todo++ {
		last++
		out = append(out, fmt.Sprintf("- [ ] 例行巡检第 %d 项 ^t-%d", last, last), openStep+"查看", openStep+"记录")
	}
	return out
}

// newRelease is a document that is one task.
func newRelease(n int) []string {
	lines := []string{"---", fmt.Sprintf("title: 发布 %d", n), "status: todo", "priority: high", "---"}
	for step := range maxSteps {
		lines = append(lines, fmt.Sprintf("- [ ] 第 %d 步", step+1))
	}
	return lines
}

func orFirst(lines []string) []string {
	if len(lines) == 0 {
		return newRelease(1)
	}
	return lines
}

// released takes the next step of a release; one that is done makes room for the
// next.
func released(lines []string) []string {
	number := 0
	for i, line := range lines {
		if found := release.FindStringSubmatch(line); found != nil {
			number, _ = strconv.Atoi(found[1]) // digits, few enough
		}
		switch line {
		case "status: todo":
			lines[i] = "status: in_progress"
			return lines
		case "status: done":
			return newRelease(number + 1)
		}
		if rest, open := strings.CutPrefix(line, "- [ ] "); open {
			lines[i] = "- [x] " + rest
			return lines
		}
	}
	for i, line := range lines {
		if line == "status: in_progress" {
			lines[i] = "status: done"
			return lines
		}
	}
	return newRelease(number + 1)
}
