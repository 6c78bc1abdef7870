package documents

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

var (
	itemPattern    = regexp.MustCompile(`^([ \t]*)(?:[-*+]|[0-9]{1,9}[.)])[ \t]+\[([^\]\[])\](?:[ \t]+(.*))?$`)
	headingPattern = regexp.MustCompile(`^#{1,6}(?:[ \t]|$)`)
	idPattern      = regexp.MustCompile(`[ \t]\^([A-Za-z0-9][A-Za-z0-9._-]{0,62})$`)
)

// itemState returns the state that a mark between the brackets stands for.
func itemState(mark string) (tasksource.State, bool) {
	switch mark {
	case " ":
		return tasksource.Todo, true
	case "x", "X":
		return tasksource.Done, true
	case "-", "~", "/":
		return tasksource.InProgress, true
	case "!":
		return tasksource.Blocked, true
	case "?":
		return tasksource.Review, true
	}
	return "", false
}

// Parse returns the tasks of one document, done ones included. name is its path
// below the folder of its glob, without the extension; ids begin with it.
func Parse(name, text string) ([]tasksource.Task, error) {
	text = strings.TrimPrefix(text, "\ufeff")
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		if len(line) > maxLine {
			return nil, fmt.Errorf("line %d: longer than %d KiB", i+1, maxLine>>10)
		}
		lines[i] = strings.TrimRightFunc(line, unicode.IsSpace)
	}
	matter, first, err := cut(lines)
	if err != nil {
		return nil, err
	}
	f, err := parseFront(matter)
	if err != nil {
		return nil, err
	}
	s := scan{document: or(f.ID, shorten(name)), front: f, line: first}
	for _, line := range lines[first:] {
		s.line++
		if err := s.next(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", s.line, err)
		}
	}
	if err := s.end(); err != nil {
		return nil, err
	}
	if f.Status == "" {
		return s.tasks, nil
	}
	return []tasksource.Task{{
		ID: s.document, Title: or(f.Title, s.heading, s.document), State: f.Status, Priority: f.Priority, DependsOn: f.DependsOn,
		Mark: mark(lines),
	}}, nil
}

// scan goes through the lines of a document after its front matter.
type scan struct {
	document string
	front    front
	line     int
	fence    string // that ends the block of code; "" outside
	comment  bool
	opened   int // line of the fence or comment
	heading  string

	tasks  []tasksource.Task
	indent int
	block  []string // lines of the task that is open
	titles map[string]int
	ids    map[string]int
}

func (s *scan) next(line string) error {
	trimmed := strings.TrimLeft(line, " \t")
	if s.hidden(trimmed) {
		s.keep(line)
		return nil
	}
	if headingPattern.MatchString(trimmed) {
		s.closeTask()
		if s.heading == "" {
			s.heading = shorten(strings.TrimSpace(strings.TrimLeft(trimmed, "#")))
		}
		return nil
	}
	item := itemPattern.FindStringSubmatch(line)
	if item == nil {
		s.keep(line)
		return nil
	}
	state, ok := itemState(item[2])
	if !ok {
		return fmt.Errorf("[%s] is no mark of a task; expected [ ], [x], [-], [!] or [?]", item[2])
	}
	indent := columns(item[1])
	if len(s.block) > 0 && indent >= s.indent+2 {
		s.keep(line) // a step of the task above it
		return nil
	}
	s.closeTask()
	text := strings.TrimSpace(item[3])
	if text == "" {
		return nil // nothing is written there yet
	}
	s.indent, s.block = indent, []string{line}
	return s.add(state, text)
}

// hidden follows blocks of code and comments, whose items are no tasks.
func (s *scan) hidden(trimmed string) bool {
	switch {
	case s.fence != "":
		if strings.HasPrefix(trimmed, s.fence) && strings.Trim(trimmed, s.fence[:1]) == "" {
			s.fence = ""
		}
		return true
	case s.comment:
		s.comment = !strings.Contains(trimmed, "-->")
		return true
	case strings.HasPrefix(trimmed, "```"), strings.HasPrefix(trimmed, "~~~"):
		mark := trimmed[:1]
		s.fence = trimmed[:len(trimmed)-len(strings.TrimLeft(trimmed, mark))]
		s.opened = s.line
		if mark == "`" && strings.Contains(trimmed[len(s.fence):], "`") {
			s.fence = "" // code inside a line
			return false
		}
		return true
	case strings.HasPrefix(trimmed, "<!--"):
		s.comment, s.opened = !strings.Contains(trimmed, "-->"), s.line
		return true
	}
	return false
}

// end closes what is open. What nobody closed may hide tasks.
func (s *scan) end() error {
	s.closeTask()
	switch {
	case s.fence != "":
		return fmt.Errorf("line %d: a block of code without an end hides what follows; expected %s", s.opened, s.fence)
	case s.comment:
		return fmt.Errorf("line %d: a comment without an end hides what follows; expected -->", s.opened)
	}
	return nil
}

func (s *scan) keep(line string) {
	if len(s.block) > 0 {
		s.block = append(s.block, line)
	}
}

// closeTask ends the block of the task that is open: the mark is of all its lines.
func (s *scan) closeTask() {
	if len(s.block) > 0 && len(s.tasks) > 0 {
		s.tasks[len(s.tasks)-1].Mark = mark(s.block)
	}
	s.block = nil
}

// add begins a task. Its id is the one that it ends with (^id), else made of its
// text, so that it stays the same where lines move.
func (s *scan) add(state tasksource.State, text string) error {
	id := ""
	if found := idPattern.FindStringSubmatchIndex(" " + text); found != nil {
		id = (" " + text)[found[2]:found[3]]
		text = strings.TrimSpace((" " + text)[:found[0]])
	}
	if s.titles == nil {
		s.titles, s.ids = map[string]int{}, map[string]int{}
	}
	if id == "" {
		sum := sha256.Sum256([]byte(text))
		id = hex.EncodeToString(sum[:4])
		if s.titles[text]++; s.titles[text] > 1 {
			id += fmt.Sprintf("-%d", s.titles[text])
		}
	}
	if first := s.ids[id]; first > 0 {
		return fmt.Errorf("task id %q is used in line %d already", id, first)
	}
	s.ids[id] = s.line
	s.tasks = append(s.tasks, tasksource.Task{
		ID: s.document + "#" + id, Title: or(shorten(text), id), State: state, Priority: s.front.Priority, DependsOn: s.front.DependsOn,
	})
	if len(s.tasks) > maxTasks {
		return fmt.Errorf("more than %d tasks", maxTasks)
	}
	return nil
}

// mark is a fingerprint of lines; blank ones do not count.
func mark(lines []string) string {
	hash := sha256.New()
	for _, line := range lines {
		if line != "" {
			hash.Write([]byte(line + "\n")) // never fails
		}
	}
	return hex.EncodeToString(hash.Sum(nil)[:16])
}

// columns is how far a line is indented; a tab goes to the next multiple of four.
func columns(space string) int {
	n := 0
	for _, c := range space {
		if c == '\t' {
			n += 4 - n%4
		} else {
			n++
		}
	}
	return n
}

// maxTitle bounds texts that are shown, in characters.
const maxTitle = 200

// shorten makes one line of printable text that is not too long.
func shorten(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.TrimSpace(text))
	if utf8.RuneCountInString(text) <= maxTitle {
		return text
	}
	return string([]rune(text)[:maxTitle-1]) + "…"
}

func or(texts ...string) string {
	for _, text := range texts {
		if text != "" {
			return text
		}
	}
	return ""
}
