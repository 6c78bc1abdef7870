package multica

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// issue is what is used of an issue. Times are RFC 3339; empty = none.
type issue struct {
	ID             string `json:"id"`
	Identifier     string `json:"identifier"` // MUL-1
	Title          string `json:"title"`
	Status         string `json:"status"`
	StatusCategory string `json:"status_category"` // what the status behaves as; empty: itself
	Priority       string `json:"priority"`
	AssigneeID     string `json:"assignee_id"`
	ParentIssueID  string `json:"parent_issue_id"`
	Stage          *int   `json:"stage"` // place in the order of its siblings
	UpdatedAt      string `json:"updated_at"`
	LastActivityAt string `json:"last_activity_at"`
	Metadata       struct {
		DependsOn json.RawMessage `json:"depends_on"`
	} `json:"metadata"`
}

// name is the id that people use and that stays the same.
func (i issue) name() string {
	if i.Identifier != "" {
		return i.Identifier
	}
	return i.ID
}

func boardOf(issues []issue, agents []agent, runs map[string]run) (tasksource.Board, error) {
	var board tasksource.Board
	for _, a := range agents {
		board.AddAssignee(a.ID, a.Name)
	}
	w := newWeb(issues)
	for _, one := range issues {
		if one.AssigneeID != "" {
			board.AddAssignee(one.AssigneeID)
		}
		p, err := placeOf(one)
		if err != nil {
			board.AddFault(one.AssigneeID, fmt.Errorf("issue %s: %w", one.name(), err))
			continue
		}
		task, err := one.task(p, runs[one.ID])
		if err != nil {
			return tasksource.Board{}, fmt.Errorf("issue %s: %w", one.name(), err)
		}
		if task.DependsOn, err = w.waits(one); err != nil {
			board.AddFault(one.AssigneeID, fmt.Errorf("issue %s: %w", one.name(), err))
			continue
		}
		board.Tasks = append(board.Tasks, task)
	}
	if board.Assignees == nil {
		board.Assignees = map[string][]string{} // nobody is there, and the source says so
	}
	board.Index()
	return board, nil
}

// place is where an issue stands.
type place struct {
	state  tasksource.State
	parked bool
}

// placeOf maps the status, or what a status of people's own behaves as. An issue
// that was given up is done: nothing is left to do, and nothing waits for it.
func placeOf(i issue) (place, error) {
	category := i.StatusCategory
	if category == "" {
		category = i.Status
	}
	switch category {
	case "backlog":
		return place{tasksource.Todo, true}, nil
	case "todo":
		return place{tasksource.Todo, false}, nil
	case "in_progress":
		return place{tasksource.InProgress, false}, nil
	case "in_review":
		return place{tasksource.Review, false}, nil
	case "blocked":
		return place{tasksource.Blocked, false}, nil
	case "done", "cancelled", "archive":
		return place{tasksource.Done, false}, nil
	}
	return place{}, fmt.Errorf("status %.40q, status_category %.40q: expected one of backlog, todo, in_progress, in_review, blocked, done, cancelled", i.Status, i.StatusCategory)
}

// task makes a task of the issue and of the run that works on it, if one does.
// Progress is the run's newest message, else the last activity, else the last
// change.
func (i issue) task(p place, r run) (tasksource.Task, error) {
	progress := i.UpdatedAt
	if i.LastActivityAt != "" {
		progress = i.LastActivityAt
	}
	if r.progress != "" {
		progress = r.progress
	}
	if p.state == tasksource.Todo && r.Status == running {
		p = place{tasksource.InProgress, false}
	}
	touched, err := moment("the time of its last progress", progress)
	if err != nil {
		return tasksource.Task{}, err
	}
	started, err := moment("started_at of its run", r.StartedAt)
	if err != nil {
		return tasksource.Task{}, err
	}
	return tasksource.Task{
		Source: Name, ID: i.name(), Title: tasksource.Title(i.Title, i.name()), State: p.state, Parked: p.parked, Assignee: i.AssigneeID,
		Priority: priorityOf(i.Priority), Mark: i.Status + " " + progress, Touched: touched, StartedAt: started,
	}, nil
}

func moment(what, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: expected a time like 2026-11-30T08:00:00Z, got %.40q", what, text)
	}
	return at.UTC(), nil
}

// priorityOf returns normal for a priority that is not known: it orders work and
// decides nothing else.
func priorityOf(text string) tasksource.Priority {
	priority, _ := tasksource.PriorityOf(text)
	return priority
}

// web is what issues are to each other.
type web struct {
	byID     map[string]issue
	names    map[string]string  // by id and by identifier
	children map[string][]issue // by the parent's id
}

func newWeb(issues []issue) web {
	w := web{byID: map[string]issue{}, names: map[string]string{}, children: map[string][]issue{}}
	for _, one := range issues {
		w.byID[one.ID] = one
		w.names[one.ID], w.names[one.name()] = one.name(), one.name()
		if one.ParentIssueID != "" {
			w.children[one.ParentIssueID] = append(w.children[one.ParentIssueID], one)
		}
	}
	return w
}

// waits returns the names of the issues that have to be done before this one: those
// that its metadata name, its siblings of earlier stages, and its parent while that
// is blocked. A parent that is open otherwise is waited for by nobody: it stays
// open until its children are done.
func (w web) waits(i issue) ([]string, error) {
	named, err := dependsOn(i.Metadata.DependsOn)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, name := range named {
		if known, ok := w.names[name]; ok {
			name = known
		}
		out = append(out, name)
	}
	if i.ParentIssueID == "" {
		return out, nil
	}
	if parent, ok := w.byID[i.ParentIssueID]; ok {
		if p, err := placeOf(parent); err != nil || p.state == tasksource.Blocked {
			out = append(out, parent.name())
		}
	}
	for _, sibling := range w.children[i.ParentIssueID] {
		if i.Stage != nil && sibling.Stage != nil && *sibling.Stage < *i.Stage {
			out = append(out, sibling.name())
		}
	}
	return out, nil
}

// dependsOn reads metadata.depends_on: a list of ids or identifiers, or a text with
// commas between them.
func dependsOn(text json.RawMessage) ([]string, error) {
	if len(text) == 0 || string(text) == "null" {
		return nil, nil
	}
	var list []string
	if json.Unmarshal(text, &list) != nil {
		var one string
		if json.Unmarshal(text, &one) != nil {
			return nil, errors.New(`metadata.depends_on: expected issues like ["MUL-1", "MUL-2"] or "MUL-1, MUL-2"`)
		}
		list = strings.Split(one, ",")
	}
	for n, name := range list {
		if list[n] = strings.TrimSpace(name); len(list[n]) > tasksource.MaxID {
			return nil, fmt.Errorf("metadata.depends_on: expected ids of at most %d bytes", tasksource.MaxID)
		}
	}
	return slices.DeleteFunc(list, func(name string) bool { return name == "" }), nil
}
