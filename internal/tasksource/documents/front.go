package documents

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
)

// front is what a document says of itself between its first line, ---, and the
// next such line. Other keys are left to other readers.
type front struct {
	ID        string
	Title     string
	Status    tasksource.State // "" = none: its items are tasks
	Priority  tasksource.Priority
	DependsOn []string
}

// maxFront bounds the front matter.
const maxFront = 64 << 10

// states are the words for where a task stands; "-" and " " count as "_".
func states() map[string]tasksource.State {
	return map[string]tasksource.State{
		"todo": tasksource.Todo, "open": tasksource.Todo, "pending": tasksource.Todo, "backlog": tasksource.Todo, "ready": tasksource.Todo,
		"in_progress": tasksource.InProgress, "doing": tasksource.InProgress, "started": tasksource.InProgress,
		"blocked": tasksource.Blocked, "waiting": tasksource.Blocked,
		"review": tasksource.Review, "in_review": tasksource.Review,
		"done": tasksource.Done, "completed": tasksource.Done, "closed": tasksource.Done, "cancelled": tasksource.Done, "canceled": tasksource.Done,
	}
}

// cut separates the front matter from the lines of a document. first is how many
// lines it takes; 0 where the document has none.
func cut(lines []string) (text string, first int, err error) {
	if len(lines) == 0 || lines[0] != "---" {
		return "", 0, nil
	}
	for i, line := range lines[1:] {
		if line == "---" || line == "..." {
			return strings.Join(lines[1:i+1], "\n"), i + 2, nil
		}
	}
	return "", 0, errors.New("line 1: front matter without an end; expected another line ---")
}

func parseFront(text string) (front, error) {
	var f front
	if len(text) > maxFront {
		return f, fmt.Errorf("front matter is larger than %d KiB", maxFront>>10)
	}
	var raw struct {
		ID        scalar `yaml:"id"`
		Title     scalar `yaml:"title"`
		Status    scalar `yaml:"status"`
		Priority  scalar `yaml:"priority"`
		DependsOn list   `yaml:"depends_on"`
	}
	// The line in front of it makes the lines of errors those of the document.
	if err := yaml.Unmarshal([]byte("\n"+text), &raw); err != nil {
		return f, fmt.Errorf("front matter: %w", err)
	}
	f.ID, f.Title, f.DependsOn = shorten(string(raw.ID)), shorten(string(raw.Title)), raw.DependsOn
	if raw.Status != "" {
		state, ok := states()[word(string(raw.Status))]
		if !ok {
			return f, fmt.Errorf("front matter: status: expected todo, in_progress, blocked, review or done, got %q", shorten(string(raw.Status)))
		}
		f.Status = state
	}
	if raw.Priority != "" {
		priority, ok := tasksource.PriorityOf(word(string(raw.Priority)))
		if !ok {
			return f, fmt.Errorf("front matter: priority: expected low, normal, high or urgent, got %q", shorten(string(raw.Priority)))
		}
		f.Priority = priority
	}
	return f, nil
}

func word(text string) string {
	return strings.NewReplacer("-", "_", " ", "_").Replace(strings.ToLower(strings.TrimSpace(text)))
}

// scalar is a scalar as it is written, also where YAML would read a number.
type scalar string

// UnmarshalYAML implements [yaml.Unmarshaler].
func (t *scalar) UnmarshalYAML(n *yaml.Node) error {
	switch {
	case n.Kind != yaml.ScalarNode:
		return fmt.Errorf("line %d: expected one value", n.Line)
	case n.Tag != "!!null":
		*t = scalar(strings.TrimSpace(n.Value))
	}
	return nil
}

// list is one scalar, or a sequence of them.
type list []string

// UnmarshalYAML implements [yaml.Unmarshaler].
func (l *list) UnmarshalYAML(n *yaml.Node) error {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, node := range nodes {
		var t scalar
		if err := t.UnmarshalYAML(node); err != nil {
			return err
		}
		if t != "" {
			*l = append(*l, shorten(string(t)))
		}
	}
	return nil
}
