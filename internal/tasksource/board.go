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

	byID       map[string]int   // places in Tasks
	byAssignee map[string][]int // likewise
}

// Index makes the board ready for [Board.Of] and [Behind]; nothing is to be added
// afterwards.
func (b *Board) Index() {
	b.byID, b.byAssignee = make(map[string]int, len(b.Tasks)), map[string][]int{}
	for i, task := range b.Tasks {
		b.byID[task.ID] = i
		b.byAssignee[task.Assignee] = append(b.byAssignee[task.Assignee], i)
	}
}

// Of returns the tasks of an assignee. An assignee that the source does not know,
// and one with a task that could not be understood, is an error: his tasks are not
// known.
func (b Board) Of(assignee string) ([]Task, error) {
	if b.Assignees != nil {
		switch ids := b.Assignees[assignee]; {
		case len(ids) == 0:
			return nil, fmt.Errorf("there is nobody with the name or id %q", assignee)
		case len(ids) > 1:
			return nil, fmt.Errorf("%q is the name of %d; expected an id: one of %s", assignee, len(ids), strings.Join(ids, ", "))
		default:
			assignee = ids[0]
		}
	}
	if fault := b.Faults[assignee]; fault != nil {
		return nil, fault
	}
	his := make([]Task, 0, len(b.byAssignee[assignee]))
	for _, i := range b.byAssignee[assignee] {
		his = append(his, b.Tasks[i])
	}
	return his, nil
}

// Behind returns the tasks on the boards that the given ones wait for, directly or
// over others, as far as they are not among them: whose they are does not matter.
func Behind(tasks []Task, boards []Board) []Task {
	type key struct{ source, id string }
	var out []Task
	seen := map[key]bool{}
	for _, task := range tasks {
		seen[key{task.Source, task.ID}] = true
	}
	for queue := slices.Clone(tasks); len(queue) > 0; queue = queue[1:] {
		if queue[0].State == Done {
			continue
		}
		for _, id := range queue[0].DependsOn {
			for _, board := range boards {
				i, there := board.byID[id]
				if !there || seen[key{board.Tasks[i].Source, id}] {
					continue
				}
				seen[key{board.Tasks[i].Source, id}] = true
				out, queue = append(out, board.Tasks[i]), append(queue, board.Tasks[i])
			}
		}
	}
	return out
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
