package agents

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// TestDeskIsRealWork reads, with the reader that heartbeat uses, what a thousand
// steps leave behind: always readable, bounded, something to do, progress at every
// step, and every state on the way.
func TestDeskIsRealWork(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tasks", "coo")
	d := desk{dir}
	if err := d.setUp(); err != nil {
		t.Fatal(err)
	}
	titles := map[string]bool{}
	seen, before := map[tasksource.State]bool{}, map[string]string{}
	for step := range 1000 {
		tasks, err := documents.Read(t.Context(), dir, []string{"*.md"})
		if err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		workable, active, marks := 0, 0, map[string]string{}
		for _, task := range tasksource.Resolve(tasks) {
			seen[task.State] = true
			marks[task.ID] = task.Mark
			titles[task.Title] = true
			if task.Workable() {
				workable++
			}
			if task.State == tasksource.InProgress {
				active++
			}
		}
		if workable < minTodo || active > 2 || len(tasks) > minTodo+maxDone+3 {
			t.Fatalf("step %d: %d can be worked on, %d in progress, %d in all", step, workable, active, len(tasks))
		}
		progress := 0
		for id, mark := range marks {
			if before[id] != mark {
				progress++
			}
		}
		if progress == 0 {
			t.Fatalf("step %d made no progress", step)
		}
		before = marks
		if err := d.work(); err != nil {
			t.Fatal(err)
		}
	}
	if !seen[tasksource.Todo] || !seen[tasksource.InProgress] || !seen[tasksource.Done] {
		t.Errorf("seen %v", seen)
	}
	if !titles["发布 1"] || !titles["发布 100"] {
		t.Error("no release follows another")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

func TestDeskKeepsWhatAPersonAdds(t *testing.T) {
	d := desk{t.TempDir()}
	text := "# Mine\n- [ ] my own ^own\n- [-] 例行巡检第 7 项 ^t-7\n"
	if err := os.WriteFile(filepath.Join(d.dir, listName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := d.work(); err != nil {
			t.Fatal(err)
		}
	}
	tasks, err := documents.Read(t.Context(), d.dir, []string{listName})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.ID == "list#own" && task.State == tasksource.Todo {
			return
		}
	}
	t.Errorf("the person's task is gone: %+v", tasks)
}
