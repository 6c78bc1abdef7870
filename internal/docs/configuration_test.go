package docs

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/exporter"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// row is one key of the page.
type row struct{ key, kind, fallback, meaning string }

var (
	heading = regexp.MustCompile("^##+ (.+)$")
	keyRow  = regexp.MustCompile("^\\| `([^`]+)` \\|([^|]*)\\|([^|]*)\\|([^|]*)\\|$")
)

// page returns the rows of docs/configuration.md by heading.
func page(t *testing.T) map[string][]row {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(testtool.Root(t), "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, section := map[string][]row{}, ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if h := heading.FindStringSubmatch(line); h != nil {
			section = h[1]
		}
		if c := keyRow.FindStringSubmatch(line); c != nil {
			rows[section] = append(rows[section], row{c[1], strings.TrimSpace(c[2]), strings.TrimSpace(c[3]), strings.TrimSpace(c[4])})
		}
	}
	return rows
}

// files are the configuration types with their defaults, by heading.
func files() map[string]any {
	return map[string]any{
		"exporter.yaml": exporter.DefaultConfig(), "heartbeat.yaml": heartbeat.DefaultConfig(),
		"alertbridge.yaml": *alertbridge.DefaultConfig(), "fleet.yaml": fleet.DefaultFile(),
		"gateway.yaml": *gateway.DefaultConfig(),
	}
}

func TestEveryKeyIsDocumented(t *testing.T) {
	pages := page(t)
	for file, config := range files() {
		t.Run(file, func(t *testing.T) {
			for _, problem := range checkKeys(confload.Keys(config), pages[file], pages["driver"]) {
				t.Error(problem)
			}
			for _, problem := range checkDefaults(flattened(t, config), pages[file]) {
				t.Error(problem)
			}
		})
	}
}

// checkKeys compares the keys of a type with the rows of its table. The keys of a
// driver are documented once, for all places where one can stand.
func checkKeys(keys []string, rows, driver []row) []string {
	var wrong []string
	documented := map[string]bool{}
	for _, r := range rows {
		if documented[r.key] {
			wrong = append(wrong, r.key+": documented twice")
		}
		documented[r.key] = true
		if r.kind == "" {
			wrong = append(wrong, r.key+": has no kind or unit")
		}
	}
	drivers := map[string]bool{}
	for _, r := range driver {
		drivers[r.key] = true
	}
	for _, key := range keys {
		if _, of, ok := strings.Cut(key, ".driver."); ok {
			if !drivers["driver."+of] {
				wrong = append(wrong, key+": not documented in docs/configuration.md, section driver")
			}
		} else if !documented[key] {
			wrong = append(wrong, key+": not documented in docs/configuration.md")
		}
		delete(documented, key)
	}
	for _, key := range slices.Sorted(maps.Keys(documented)) {
		wrong = append(wrong, key+": documented, but there is no such key")
	}
	return wrong
}

// flattened returns the defaults of a type by key, as confload prints them.
func flattened(t *testing.T, config any) map[string]string {
	t.Helper()
	text, err := confload.Masked(config)
	if err != nil {
		t.Fatal(err)
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	flatten(root.Content[0], "", defaults)
	return defaults
}

func flatten(n *yaml.Node, path string, into map[string]string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			flatten(n.Content[i+1], strings.TrimPrefix(path+"."+n.Content[i].Value, "."), into)
		}
	case yaml.SequenceNode:
		var values []string
		for _, item := range n.Content {
			values = append(values, item.Value)
		}
		into[path+"[]"] = strings.Join(values, ", ")
	default:
		into[path] = n.Value
	}
}

func checkDefaults(defaults map[string]string, rows []row) []string {
	var wrong []string
	for _, r := range rows {
		want, known := defaults[r.key]
		got := strings.Trim(r.fallback, "`")
		if got == "empty" {
			got = ""
		}
		if known && !same(got, want) {
			wrong = append(wrong, fmt.Sprintf("%s: its default is %q, documented is %q", r.key, want, got))
		}
	}
	return wrong
}

// same compares defaults; durations may be written in other units, and in lists.
func same(a, b string) bool {
	if a == b {
		return true
	}
	left, right := strings.Split(a, ", "), strings.Split(b, ", ")
	if len(left) != len(right) {
		return false
	}
	for i := range left {
		l, errLeft := confload.ParseDuration(left[i])
		r, errRight := confload.ParseDuration(right[i])
		if errLeft != nil || errRight != nil || l != r {
			return false
		}
	}
	return true
}

// TestCheckKeys proves that each kind of drift is found.
func TestCheckKeys(t *testing.T) {
	keys, driver := []string{"a", "b[].c", "x.driver.type"}, []row{{key: "driver.type", kind: "text"}}
	whole := []row{{"a", "duration", "`60s`", ""}, {"b[].c", "text", "empty", ""}}
	for _, c := range []struct {
		name         string
		rows, driver []row
		want         string
	}{
		{"whole", whole, driver, ""},
		{"missing", whole[:1], driver, "b[].c: not documented"},
		{"unknown", append(slices.Clone(whole), row{"z", "text", "", ""}), driver, "z: documented, but there is no such key"},
		{"twice", append(slices.Clone(whole), whole[0]), driver, "a: documented twice"},
		{"without unit", []row{{"a", "", "`60s`", ""}, whole[1]}, driver, "a: has no kind"},
		{"driver", whole, nil, "x.driver.type: not documented"},
		{"another default", []row{{"a", "duration", "`61s`", ""}, whole[1]}, driver, `a: its default is "1m0s", documented is "61s"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(append(checkKeys(keys, c.rows, c.driver), checkDefaults(map[string]string{"a": "1m0s"}, c.rows)...), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

var (
	environment = regexp.MustCompile(`"(EXPORTER_[A-Z_]+|WEBHOOK_[A-Z_]+|LOG_[A-Z_]+|FLEETWATCH_[A-Z_]+)"`)
	flagCall    = regexp.MustCompile(`(?:fs|flags|set)\.(?:String|Bool|Int|Duration)Var\([^"]*"([a-z.-]+)"`)
)

// TestFlagsAndVariablesAreDocumented looks for what the programs' sources read.
func TestFlagsAndVariablesAreDocumented(t *testing.T) {
	root := testtool.Root(t)
	text, err := os.ReadFile(filepath.Join(root, "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, pattern := range []string{"internal/program/*.go", "internal/exporter/*.go", "internal/alertbridge/*.go", "internal/heartbeat/*.go", "internal/gateway/*.go"} {
		sources, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(sources) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range sources {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range environment.FindAllStringSubmatch(string(source), -1) {
				found++
				if !strings.Contains(string(text), "`"+name[1]+"`") {
					t.Errorf("%s reads %s, which docs/configuration.md does not name", filepath.Base(file), name[1])
				}
			}
			for _, name := range flagCall.FindAllStringSubmatch(string(source), -1) {
				found++
				if !strings.Contains(string(text), "`-"+name[1]+"`") {
					t.Errorf("%s has the flag -%s, which docs/configuration.md does not name", filepath.Base(file), name[1])
				}
			}
		}
	}
	if found < 8 {
		t.Errorf("found %d flags and variables only; the patterns of this test no longer fit the sources", found)
	}
}
