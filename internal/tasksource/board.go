package tasksource

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Board is what a source says that is read for everybody at once.
type Board struct {
	Tasks []Task // of everybody and of nobody
	// Faults are what could not be understood, by the assignee whose task it is.
	Faults map[string]error
	// Assignees are the ids of those that there are, by id and by name; more than
	// one under a name that several have. Nil: the source does not tell, and who has
	// no task there may be unknown to it.
	Assignees map[string][]string
}

// Split returns the tasks of an assignee, and those of all others, which can be
// what his wait for. An assignee that the source does not know, and one with a task
// that could not be understood, is an error: his tasks are not known.
func (b Board) Split(assignee string) (his, others []Task, err error) {
	if b.Assignees != nil {
		switch ids := b.Assignees[assignee]; {
		case len(ids) == 0:
			return nil, nil, fmt.Errorf("there is nobody with the name or id %q", assignee)
		case len(ids) > 1:
			return nil, nil, fmt.Errorf("%q is the name of %d; expected an id: one of %s", assignee, len(ids), strings.Join(ids, ", "))
		default:
			assignee = ids[0]
		}
	}
	if fault := b.Faults[assignee]; fault != nil {
		return nil, nil, fault
	}
	for _, task := range b.Tasks {
		if task.Assignee == assignee {
			his = append(his, task)
		} else {
			others = append(others, task)
		}
	}
	return his, others, nil
}

// AddFault notes what could not be understood of an assignee's task; the first is
// kept.
func (b *Board) AddFault(assignee string, err error) {
	if b.Faults == nil {
		b.Faults = map[string]error{}
	}
	if b.Faults[assignee] == nil {
		b.Faults[assignee] = err
	}
}

// AddAssignee makes somebody known under each of the names.
func (b *Board) AddAssignee(id string, names ...string) {
	if b.Assignees == nil {
		b.Assignees = map[string][]string{}
	}
	for _, name := range append(names, id) {
		if name != "" && !slices.Contains(b.Assignees[name], id) {
			b.Assignees[name] = append(b.Assignees[name], id)
		}
	}
}

// MaxID is how long the id of a task may be in a source that is read for everybody,
// in bytes.
const MaxID = 200

// maxTitle bounds titles, in characters.
const maxTitle = 200

// Title makes one line of printable text, of at most 200 characters, out of what a
// source calls a task; the id stands for an empty one.
func Title(text, id string) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))), " ")
	switch {
	case text == "":
		return id
	case utf8.RuneCountInString(text) > maxTitle:
		return string([]rune(text)[:maxTitle-1]) + "…"
	}
	return text
}
