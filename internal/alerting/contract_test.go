package alerting

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestAlertsSayWhatAPersonNeeds(t *testing.T) {
	known := map[string]bool{}
	for _, a := range alerts(t) {
		t.Run(a.Alert, func(t *testing.T) {
			known[a.Alert] = true
			if !slices.Contains([]string{"critical", "warning", "info", "none"}, a.Labels["severity"]) {
				t.Errorf("severity: expected critical, warning, info or none, got %q", a.Labels["severity"])
			}
			for _, annotation := range []string{"summary", "description", "value", "next_action"} {
				if strings.TrimSpace(a.Annotations[annotation]) == "" {
					t.Errorf("annotation %s is missing", annotation)
				}
			}
			if want := a.Alert + ".md"; a.Annotations["runbook_url"] != want {
				t.Errorf("runbook_url: expected %s (the bridge puts its links.runbooks in front), got %q", want, a.Annotations["runbook_url"])
			}
			if panel := panels(t)[a.Annotations["dashboard_uid"]+"/"+a.Annotations["panel"]]; panel == "" || panel == "row" {
				t.Errorf("dashboard_uid and panel: %q and %q are no panel of a dashboard in dashboards/", a.Annotations["dashboard_uid"], a.Annotations["panel"])
			}
			for _, problem := range checkRunbook(a.Alert, a.Annotations["next_action"], read(t, filepath.Join(folder(t), "runbooks", a.Alert+".md"))) {
				t.Error(problem)
			}
		})
	}
	for _, file := range glob(t, "runbooks/*.md") {
		if name := strings.TrimSuffix(filepath.Base(file), ".md"); !known[name] {
			t.Errorf("runbooks/%s.md: no alert has this name", name)
		}
	}
}

// The parts of a runbook after its first line, the next action, in order.
var parts = []string{"## 含义", "## 怎么看", "## 怎么做", "## 怎样算结束"}

func checkRunbook(alert, action, text string) []string {
	var wrong []string
	first, rest, _ := strings.Cut(text, "\n")
	if first != action {
		wrong = append(wrong, "runbook: its first line is not the alert's next_action:\n  runbook     "+first+"\n  next_action "+action)
	}
	for _, heading := range append([]string{"# " + alert}, parts...) {
		_, after, found := strings.Cut(rest, "\n"+heading+"\n")
		if !found {
			return append(wrong, "runbook: expected the heading "+heading+" (the order is "+strings.Join(parts, ", ")+")")
		}
		body, _, _ := strings.Cut(after, "\n#")
		if strings.TrimSpace(body) == "" && strings.HasPrefix(heading, "## ") {
			wrong = append(wrong, "runbook: nothing stands below "+heading)
		}
		rest = "\n" + after
	}
	return wrong
}

func TestCheckRunbook(t *testing.T) {
	whole := "do it\n\n# A\n\n## 含义\n\nx\n\n## 怎么看\n\nx\n\n## 怎么做\n\nx\n\n## 怎样算结束\n\nx\n"
	for _, c := range []struct{ name, text, want string }{
		{"whole", whole, ""},
		{"another action", "do that" + whole[len("do it"):], "first line"},
		{"a part is missing", strings.Replace(whole, "## 怎么做\n\nx\n", "", 1), "expected the heading ## 怎么做"},
		{"an empty part", strings.Replace(whole, "## 怎么看\n\nx\n", "## 怎么看\n", 1), "nothing stands below ## 怎么看"},
		{"another alert's", strings.Replace(whole, "# A\n", "# B\n", 1), "expected the heading # A"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := strings.Join(checkRunbook("A", "do it", c.text), "\n")
			if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("got %q, want it to say %q", got, c.want)
			}
		})
	}
}

func TestWaitsHaveReasons(t *testing.T) {
	for _, a := range alerts(t) {
		for key, value := range map[string]string{"for:": a.For, "keep_firing_for:": a.KeepFiringFor} {
			if value != "" && !commented(a, key) {
				t.Errorf("%s: %s: %s %s has no comment beside or above it that gives the reason", a.file, a.Alert, key, value)
			}
		}
	}
}

// commented looks for a comment on the line of the key or on the one above.
func commented(a rule, key string) bool {
	for i := a.line - 1; i < len(a.lines); i++ {
		line := strings.TrimSpace(a.lines[i])
		if strings.HasPrefix(line, key) {
			return strings.Contains(line, " # ") || strings.HasPrefix(strings.TrimSpace(a.lines[i-1]), "# ")
		}
	}
	return false
}

// TestAlertsAreTestedBothWays looks at which alerts the rule tests make fire, and
// which they show silent.
func TestAlertsAreTestedBothWays(t *testing.T) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range glob(t, "tests/*.test.yml") {
		var content struct {
			Tests []struct {
				Alerts []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			} `yaml:"tests"`
		}
		decode(t, file, &content)
		for _, test := range content.Tests {
			for _, a := range test.Alerts {
				if len(a.Expected) > 0 {
					fires[a.Name] = true
				} else {
					silent[a.Name] = true
				}
			}
		}
	}
	for _, a := range alerts(t) {
		if !fires[a.Alert] {
			t.Errorf("%s: no test in alerting/tests makes it fire", a.Alert)
		}
		if !silent[a.Alert] {
			t.Errorf("%s: no test in alerting/tests shows it silent", a.Alert)
		}
	}
}

// TestEveryRulesFileIsTested keeps promtool from being given files nobody reads.
func TestEveryRulesFileIsTested(t *testing.T) {
	for _, file := range glob(t, "rules/*") {
		name, isRules := strings.CutSuffix(filepath.Base(file), ".rules.yml")
		if !isRules {
			t.Errorf("rules/%s: Prometheus reads *.rules.yml only", filepath.Base(file))
		} else if _, err := os.Stat(filepath.Join(folder(t), "tests", name+".test.yml")); err != nil {
			t.Errorf("rules/%s.rules.yml has no tests: %v", name, err)
		}
	}
}
