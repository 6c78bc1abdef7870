package agents

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// MulticaPath is where the stand-in for Multica is, below the page's address. It takes
// any token and any workspace: what it tells is what stands on the agents' desks.
const MulticaPath = "/multica"

// issue is a task of a desk as Multica tells it.
type issue struct {
	ID             string         `json:"id"`
	Identifier     string         `json:"identifier"`
	Title          string         `json:"title"`
	Status         string         `json:"status"`
	StatusCategory string         `json:"status_category"`
	Priority       string         `json:"priority"`
	AssigneeType   string         `json:"assignee_type"`
	AssigneeID     string         `json:"assignee_id"`
	UpdatedAt      time.Time      `json:"updated_at"`
	Metadata       map[string]any `json:"metadata"`
}

// issues tells the tasks of the members whose tasks are issues, a page at a time.
func (w *Web) issues(out http.ResponseWriter, r *http.Request) {
	all := []issue{}
	for _, m := range w.supervisor.opts.Members {
		if !m.Issues {
			continue
		}
		tasks, err := documents.Read(r.Context(), filepath.Join(w.supervisor.opts.Tasks, m.ID), []string{"*.md"})
		if err != nil {
			w.log.Error("reading a desk failed", "agent", m.ID, "error", err)
			w.json(out, http.StatusInternalServerError, map[string]string{"error": "the desk of " + m.ID + " cannot be read"})
			return
		}
		for _, task := range tasks {
			all = append(all, issueOf(m.ID, task))
		}
	}
	limit, offset := number(r, "limit", 50), number(r, "offset", 0)
	from := min(offset, len(all))
	w.json(out, http.StatusOK, map[string]any{"issues": all[from:min(from+limit, len(all))], "total": len(all)})
}

func number(r *http.Request, name string, otherwise int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

func issueOf(member string, task tasksource.Task) issue {
	status := map[tasksource.State]string{
		tasksource.Todo: "todo", tasksource.InProgress: "in_progress", tasksource.Blocked: "blocked", tasksource.Review: "in_review", tasksource.Done: "done",
	}[task.State]
	priority := map[tasksource.Priority]string{tasksource.Low: "low", tasksource.Normal: "medium", tasksource.High: "high", tasksource.Urgent: "urgent"}[task.Priority]
	return issue{
		ID: member + "/" + task.ID, Identifier: identifier(member, task.ID), Title: task.Title, Status: status, StatusCategory: status, Priority: priority,
		AssigneeType: "agent", AssigneeID: assigneeID(member), UpdatedAt: task.Touched, Metadata: map[string]any{"depends_on": identifiers(member, task.DependsOn)},
	}
}

func identifier(member, task string) string { return strings.ToUpper(member) + "-" + task }

func identifiers(member string, tasks []string) []string {
	out := make([]string, 0, len(tasks))
	for _, task := range tasks {
		out = append(out, identifier(member, task))
	}
	return out
}

func assigneeID(member string) string { return fmt.Sprintf("agent-%s", member) }

// assignees tells who can have issues.
func (w *Web) assignees(out http.ResponseWriter, _ *http.Request) {
	all := []map[string]string{}
	for _, m := range w.supervisor.opts.Members {
		all = append(all, map[string]string{"id": assigneeID(m.ID), "name": m.ID})
	}
	w.json(out, http.StatusOK, all)
}

// runs tells no run: the simulated agents work by themselves.
func (w *Web) runs(out http.ResponseWriter, _ *http.Request) { w.json(out, http.StatusOK, []string{}) }
