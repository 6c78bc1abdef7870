package documents_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/tasksource"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// brief prints what a table compares.
func brief(tasks []tasksource.Task) string {
	var out []string
	for _, t := range tasks {
		text := fmt.Sprintf("%s=%s", t.Title, t.State)
		if t.Priority != tasksource.Normal {
			text += fmt.Sprintf("!%d", t.Priority)
		}
		if len(t.DependsOn) > 0 {
			text += ">" + strings.Join(t.DependsOn, ",")
		}
		out = append(out, text)
	}
	return strings.Join(out, " | ")
}

func TestParse(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":                      {"", ""},
		"prose alone":                {"# Title\n\nNothing to do.\n", ""},
		"every mark":                 {"- [ ] a\n* [x] b\n+ [X] c\n1. [-] d\n2) [~] e\n- [/] f\n- [!] g\n- [?] h\n", "a=todo | b=done | c=done | d=in_progress | e=in_progress | f=in_progress | g=blocked | h=review"},
		"no mark":                    {"- a\n- [link](x)\n- [x](y)\n- []\n> - [ ] quoted\n", ""},
		"nothing written yet":        {"- [ ]\n- [ ] \n- [ ] a\n", "a=todo"},
		"carriage returns and BOM":   {"\ufeff- [ ] a\r\n- [-] b\r\n", "a=todo | b=in_progress"},
		"steps belong to their task": {"- [-] a\n  - [x] one\n  - [ ] two\n    - [ ] three\n- [ ] b\n\t- [ ] step\n", "a=in_progress | b=todo"},
		"one space is no step":       {"- [ ] a\n - [ ] b\n", "a=todo | b=todo"},
		"indented list":              {"   - [ ] a\n     - [ ] step\n- [ ] b\n", "a=todo | b=todo"},
		"a heading ends a task":      {"- [ ] a\n# Later\n  - [ ] b\n", "a=todo | b=todo"},
		"code and comments":          {"```\n- [ ] no\n```\n~~~~ md\n- [ ] no\n~~~\n- [ ] no\n~~~~\n<!-- - [ ] no\n- [ ] no -->\n<!-- - [ ] no -->\n- [ ] a `- [ ] b`\n", "a `- [ ] b`=todo"},
		"front matter, one task":     {"---\nstatus: in-progress\ntitle: 升级网关\npriority: high\ndepends_on: [a, b]\n---\n- [x] one\n- [ ] two\n", "升级网关=in_progress!1>a,b"},
		"its title is the heading":   {"---\nstatus: todo\n---\n\n# Upgrade the gateway\n", "Upgrade the gateway=todo"},
		"or its name":                {"---\nstatus: Done\n...\n", "doc=done"},
		"front matter, no status":    {"---\npriority: low\ndepends_on: x\ntags: [ops, {a: b}]\n---\n- [ ] a\n- [x] b\n", "a=todo!-1>x | b=done!-1>x"},
		"numbers are texts":          {"---\nstatus: todo\nid: 007\ntitle: 12\ndepends_on: 3\n---\n", "12=todo>3"},
		"empty front matter":         {"---\n---\n- [ ] a\n", "a=todo"},
		"null is none":               {"---\nstatus: ~\ndepends_on:\n---\n- [ ] a\n", "a=todo"},
		"a long title":               {"- [ ] " + strings.Repeat("长", 500), strings.Repeat("长", 199) + "…=todo"},
	} {
		tasks, err := documents.Parse("doc", c.text)
		if err != nil || brief(tasks) != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, brief(tasks), err, c.want)
		}
	}
}

// TestParseRefuses: what is not understood is an error that says where, never
// fewer tasks.
func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"unknown mark":       {"- [ ] a\n- [>] b\n", "line 2: [>] is no mark"},
		"unknown mark, step": {"- [ ] a\n  - [>] b\n", "line 2"},
		"unknown status":     {"---\nstatus: someday\n---\n", `status: expected todo`},
		"unknown priority":   {"---\npriority: 11\n---\n", `priority: expected low`},
		"list as status":     {"---\ntitle: x\nstatus: [todo]\n---\n", "line 3: expected one value"},
		"broken YAML":        {"---\nstatus: {\n---\n", "front matter: "},
		"not a mapping":      {"---\nsome prose\n---\n", "front matter: "},
		"no end":             {"---\nstatus: todo\n", "line 1: front matter without an end"},
		"open fence":         {"- [ ] a\n```\n- [ ] b\n", "line 2: a block of code without an end"},
		"open comment":       {"<!-- \n- [ ] b\n", "line 1: a comment without an end"},
		"same id twice":      {"- [ ] a ^x\n- [ ] b ^x\n", `line 2: task id "x" is used in line 1`},
		"long line":          {"- [ ] " + strings.Repeat("x", 20<<10), "line 1: longer than 16 KiB"},
		"large front matter": {"---\n" + strings.Repeat("a: "+strings.Repeat("x", 1000)+"\n", 70) + "---\n", "larger than 64 KiB"},
		"too many tasks":     {strings.Repeat("- [ ] a\n", 2001), "more than 2000 tasks"},
		"an alias bomb":      {"---\na: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nstatus: *b\n---\n", "expected one value"},
	} {
		if tasks, err := documents.Parse("doc", c.text); err == nil || !strings.Contains(err.Error(), c.want) || tasks != nil {
			t.Errorf("%s: got %q, %v; want an error with %q", name, brief(tasks), err, c.want)
		}
	}
}

func ids(t *testing.T, text string) string {
	t.Helper()
	tasks, err := documents.Parse("doc", text)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, task := range tasks {
		out = append(out, strings.TrimPrefix(task.ID, "doc"))
	}
	return strings.Join(out, " ")
}

func TestIDsStayWhereLinesMove(t *testing.T) {
	if got := ids(t, "- [ ] a ^deploy-1\n"); got != "#deploy-1" {
		t.Errorf("an id of its own: %s", got)
	}
	before, after := ids(t, "- [ ] a\n- [ ] b\n"), ids(t, "- [x] new\n\n* [-] b\n- [x] a\n")
	a, b, _ := strings.Cut(before, " ")
	if !strings.HasSuffix(after, b+" "+a) {
		t.Errorf("before %q, after %q", before, after)
	}
	if got := ids(t, "- [ ] a\n- [ ] a\n"); got != a+" "+a+"-2" {
		t.Errorf("the same text twice: %s", got)
	}
	tasks, err := documents.Parse("x/doc", "---\nid: own\nstatus: todo\n---\n")
	if err != nil || tasks[0].ID != "own" {
		t.Errorf("got %+v, %v", tasks, err)
	}
}

func TestMarkChangesWithProgressOnly(t *testing.T) {
	first := func(text string) string {
		tasks, err := documents.Parse("doc", text)
		if err != nil {
			t.Fatal(err)
		}
		return tasks[0].Mark
	}
	item := first("- [-] a\n  - [ ] step\n- [ ] b\n")
	for text, same := range map[string]bool{
		"# New\n\n- [-] a\n\n  - [ ] step  \n\n- [x] b\n- [ ] c\n": true,
		"- [-] a\n  - [x] step\n- [ ] b\n":                         false,
		"- [-] a\n  - [ ] step\n  a note\n- [ ] b\n":               false,
		"- [ ] a\n  - [ ] step\n- [ ] b\n":                         false,
	} {
		if got := first(text); (got == item) != same {
			t.Errorf("%q: same %v, want %v", text, got == item, same)
		}
	}
	document := first("---\nstatus: in_progress\n---\n- [ ] one\n")
	if document == first("---\nstatus: in_progress\n---\n- [x] one\n") || document == first("---\nstatus: in_progress\n---\n- [ ] one\nnote\n") {
		t.Error("a step or a note of a document is no progress")
	}
	if document != first("---\r\nstatus: in_progress\r\n---\r\n\r\n- [ ] one  \r\n") {
		t.Error("blank space is progress")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"- [ ] a\n  - [x] b ^id\n", "---\nstatus: todo\ndepends_on: [a]\n---\n- [-] x\n", "```\n<!--", "---\na: &a [*a]\n---\n", "1) [!] \t^x\r\n\ufeff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tasks, err := documents.Parse("doc", text)
		if err != nil && tasks != nil {
			t.Fatalf("tasks beside an error: %v", err)
		}
		seen := map[string]bool{}
		for _, task := range tasks {
			if task.ID == "" || task.Title == "" || task.Mark == "" || seen[task.ID] || strings.ContainsAny(task.Title+task.ID, "\n\r\x00") {
				t.Fatalf("a bad task: %+v", task)
			}
			seen[task.ID] = true
		}
		again, errAgain := documents.Parse("doc", text)
		if (err == nil) != (errAgain == nil) || brief(tasks) != brief(again) {
			t.Fatal("the same text, another answer")
		}
	})
}
