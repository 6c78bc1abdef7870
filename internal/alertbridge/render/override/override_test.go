package override_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	alertmanager "github.com/prometheus/alertmanager/template"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render/override"
)

func data() alertmanager.Data {
	alert := func(status, agent string) alertmanager.Alert {
		return alertmanager.Alert{
			Status: status, Labels: alertmanager.KV{"alertname": "AgentDown", "agent_name": agent},
			Annotations: alertmanager.KV{"summary": agent + " is down"}, StartsAt: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
		}
	}
	return alertmanager.Data{
		Receiver: "oncall", Status: "firing", Alerts: alertmanager.Alerts{alert("firing", "coo"), alert("resolved", "lawyer")},
		GroupLabels: alertmanager.KV{"alertname": "AgentDown"}, CommonLabels: alertmanager.KV{"alertname": "AgentDown", "text": strings.Repeat("x", 100_000)}, ExternalURL: "http://am",
	}
}

func parse(t testing.TB, texts ...string) *override.Set {
	t.Helper()
	set, problems := override.Parse(files(texts...))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return set
}

func files(texts ...string) []override.File {
	var out []override.File
	for i, text := range texts {
		out = append(out, override.File{Path: "dir/" + strconv.Itoa(i) + ".tmpl", Text: text})
	}
	return out
}

func title(body string) string { return `{{define "feishu.title"}}` + body + `{{end}}` }

func TestExecute(t *testing.T) {
	for text, want := range map[string]string{
		`{{ .GroupLabels.alertname }} {{ len .Alerts.Firing }}/{{ len .Alerts }}`:                     "AgentDown 1/2",
		`{{ range .Alerts }}{{ .Labels.agent_name | toUpper }} {{ end }}`:                             "COO LAWYER ",
		`{{ range $i, $a := .Alerts }}{{ if $i }}{{ break }}{{ end }}{{ $i }}{{ else }}none{{ end }}`: "0",
		`{{ .CommonLabels.missing }}|{{ (index .Alerts 0).StartsAt.Format "15:04" }}`:                 "|12:00",
		`{{ template "__subject" . }}`: "[FIRING:1] AgentDown (" + strings.Repeat("x", 100_000)[:30],
		`{{ reReplaceAll "(.*)Down" "${1}Up" .GroupLabels.alertname }} {{ if match "^Ag" .GroupLabels.alertname }}y{{end}}`: "AgentUp y",
		`{{ join ", " (stringSlice "a" "b") }} {{ printf "%5.2f|%-4s|%q" 1.5 "a" "b" }} {{ title "x y" }}`:                  `a, b  1.50|a   |"b" X Y`,
		`{{ with .GroupLabels.none }}x{{ else }}none{{ end }} {{ urlquery "a b" }} {{ html "<" }}`:                          "none a+b &lt;",
		`{{ define "inside" }}{{ end }}`: "",
	} {
		set, problems := override.Parse(files(title(text)))
		if strings.Contains(text, "define") {
			// A definition inside another is refused.
			if len(problems) != 1 || problems[0].Line != 1 {
				t.Errorf("%s: %v", text, problems)
			}
			continue
		}
		if len(problems) > 0 {
			t.Fatalf("%s: %v", text, problems)
		}
		got, err := set.Execute(override.Title, data())
		if err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%s: %.80q, %v; want %q", text, got, err, want)
		}
	}
}

func TestLaterFilesWin(t *testing.T) {
	set := parse(t, title("one")+`{{define "name"}}{{.Receiver}}{{end}}`, title(`two {{template "name" .}}`))
	got, err := set.Execute(override.Title, data())
	if err != nil || got != "two oncall" || set.Defines(override.Body) || !set.Defines(override.Title) {
		t.Errorf("%q, %v", got, err)
	}
	var none *override.Set
	if none.Defines(override.Title) {
		t.Error("no set defines a title")
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		`{{define "feishu.title"}}` + "\n\n{{ .Status":  "dir/0.tmpl:3: unclosed action",
		title("\n{{ nofunc .Status }}"):                 `dir/0.tmpl:2: function "nofunc" not defined`,
		title("\n\n\n{{ template \"none\" . }}"):        `dir/0.tmpl:4: no template is named "none"`,
		title("{{ override_leave }}"):                   `dir/0.tmpl:1: function "override_leave" not defined`,
		`{{define "feishu.titel"}}x{{end}}`:             `dir/0.tmpl: expected a template that is used: {{define "feishu.title"}} or {{define "feishu.body"}}`,
		title("{{ if true }}{{ template `x` }}{{end}}"): `dir/0.tmpl:1: no template is named "x"`,
	} {
		set, problems := override.Parse(files(text))
		if set != nil || len(problems) != 1 || problems[0].String() != want {
			t.Errorf("%s: %v, want %s", text, problems, want)
		}
	}
	// Every file's problem is told at once.
	if _, problems := override.Parse(files("{{", title("ok"), "{{ nofunc }}")); len(problems) != 2 || problems[1].Path != "dir/2.tmpl" {
		t.Errorf("%v", problems)
	}
}

// doubling makes a text of n doublings.
func doubling(function string, n int) string {
	return `{{ $x := "xxxxxxxx" }}` + strings.Repeat(`{{ $x = `+function+` $x $x }}`, n) + `{{ $x }}`
}

func TestHostileTemplatesEnd(t *testing.T) {
	var calls strings.Builder
	for i := range 60 {
		calls.WriteString(`{{define "` + strconv.Itoa(i) + `"}}{{template "` + strconv.Itoa(i+1) + `"}}{{template "` + strconv.Itoa(i+1) + `"}}{{end}}`)
	}
	calls.WriteString(`{{define "60"}}{{end}}`)
	for name, c := range map[string]struct{ text, says string }{
		"bad regular expression": {title(`{{ reReplaceAll "(" "" .Status }}`), "missing closing"},
		"bad pattern":            {title(`{{ match "[" .Status }}`), "missing closing"},
		"no such field":          {title(`{{ .Nothing }}`), "can't evaluate field Nothing"},
		"index beyond the end":   {title(`{{ (index .Alerts 7).Status }}`), "out of range"},
		"nil":                    {title(`{{ $x := index .Alerts 0 }}{{ $x.Labels.a.b.c }}`), "can't evaluate field b"},
		"recursion":              {title(`{{ template "a" . }}`) + `{{define "a"}}{{template "a" .}}{{end}}`, "inside each other"},
		"exponential calls":      {title(`{{ template "0" }}`) + calls.String(), "steps"},
		"silent loop":            {title(`{{ range 1000000000000 }}{{ end }}`), "steps"},
		"nested loops":           {title(`{{ range 100000 }}{{ range 100000 }}{{ if false }}{{ end }}{{ end }}{{ end }}`), "steps"},
		"doubled by print":       {title(doubling("print", 60)), "too long for a function"},
		"doubled by printf":      {title(doubling(`printf "%s%s"`, 60)), "too long for a function"},
		"doubled by join":        {title(`{{ $x := "xxxxxxxx" }}` + strings.Repeat(`{{ $x = join $x (stringSlice $x $x) }}`, 60)), "too long"},
		"a long separator":       {title(`{{ $x := .CommonLabels.text }}{{ join $x (stringSlice ` + strings.Repeat(`"" `, 100) + `) }}`), "separator is too long"},
		"replaced everywhere":    {title(`{{ $x := .CommonLabels.text }}{{ reReplaceAll "" $x $x }}`), "replacement is too long"},
		"a slow expression":      {title(`{{ match "((x{1,30}){1,30})y" .CommonLabels.text }}`), "too large for the text"},
		"a long expression":      {title(`{{ match .CommonLabels.text "x" }}`), "longer than"},
		"wide":                   {title(`{{ printf "%1000000d%1000000d" 1 2 }}`), "widths"},
		"wide by argument":       {title(`{{ printf "%*d" 1000000 1 }}`), "widths"},
		"again and again":        {title(`{{ printf "%[1]s%[1]s" .CommonLabels.text }}`), "widths"},
		"the same text for ever": {title(`{{ $x := .CommonLabels.text }}{{ range 200 }}{{ $y := toUpper $x }}{{ end }}`), "makes more than"},
		"all data for ever":      {title(`{{ range 100000 }}{{ $y := toJson $ }}{{ end }}`), "makes more than"},
		"half ready":             {title(`half {{ .Nothing }}`), "can't evaluate field Nothing"},
		"no zone":                {title(`{{ tz "Nowhere/Never" (index .Alerts 0).StartsAt }}`), "unknown time zone"},
	} {
		t.Run(name, func(t *testing.T) {
			set := parse(t, c.text)
			text, err := set.Execute(override.Title, data())
			if err == nil || !strings.Contains(err.Error(), c.says) || text != "" {
				t.Errorf("%.60q, %v; want an error that says %q", text, err, c.says)
			}
		})
	}
}

// TestPanicsAreErrors is a panic that the template package does not catch.
func TestPanicsAreErrors(t *testing.T) {
	values := struct{ All func(func(int) bool) }{func(func(int) bool) { panic("lost its way") }}
	text, err := parse(t, title("x{{ range .All }}{{ end }}")).Execute(override.Title, values)
	if err == nil || !strings.Contains(err.Error(), "feishu.title panicked: lost its way") || text != "" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestOutputIsCutOff(t *testing.T) {
	for _, text := range []string{`{{ range 1000000000000 }}中{{ end }}`, `{{ .CommonLabels.text }}`} {
		got, err := parse(t, title(text)).Execute(override.Title, data())
		if err != nil || len(got) > override.MaxOutput || len(got) < override.MaxOutput-3 || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%s: %d bytes, %v", text, len(got), err)
		}
	}
}

// TestBigData is a template that looks at every one of 10,000 alerts.
func TestBigData(t *testing.T) {
	d := data()
	for range 10_000 {
		d.Alerts = append(d.Alerts, d.Alerts[0])
	}
	set := parse(t, title(`{{ $n := 0 }}{{ range .Alerts }}{{ if eq .Labels.agent_name "lawyer" }}{{ .Annotations.summary | toUpper }}{{ end }}{{ end }}{{ len .Alerts.Firing }}`))
	if got, err := set.Execute(override.Title, d); err != nil || got != "LAWYER IS DOWN10001" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestManyCalls is a template that calls another more often than may be inside each
// other.
func TestManyCalls(t *testing.T) {
	set := parse(t, title(`{{ range 1000 }}{{ template "x" }}{{ end }}`)+`{{ define "x" }}x{{ end }}`)
	if got, err := set.Execute(override.Title, data()); err != nil || got != strings.Repeat("x", 1000) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestDataIsNotShared is that executions at the same time do not see each other.
func TestDataIsNotShared(t *testing.T) {
	set := parse(t, title(`{{ range 100 }}{{ $.Receiver }}{{ end }}`))
	done := make(chan error, 8)
	for i := range 8 {
		go func() {
			d := data()
			d.Receiver = strconv.Itoa(i)
			for range 20 {
				if got, err := set.Execute(override.Title, d); err != nil || got != strings.Repeat(d.Receiver, 100) {
					t.Errorf("%q, %v", got, err)
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		<-done
	}
}

func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		`{{ .Status }}`, `{{ range .Alerts }}{{ .Labels.SortedPairs.Values | join " " }}{{ end }}`, `{{ reReplaceAll "(" "x" .Status }}`,
		`{{ range 100000000 }}{{ end }}`, `{{ template "__subject" . }}`, `{{ printf "%[1]*d" 5 }}`, `{{ block "b" . }}{{ template "b" . }}{{ end }}`,
		`{{ $x := "x" }}{{ range 99999 }}{{ $x = print $x $x }}{{ end }}`, `{{ (index .Alerts 0).StartsAt.UnmarshalText }}`, `{{ call .Alerts.Firing }}`,
	} {
		f.Add(text, "secretary")
	}
	f.Fuzz(func(t *testing.T, text, label string) {
		set, problems := override.Parse(files(title(text)))
		if len(problems) > 0 {
			return
		}
		d := data()
		d.CommonLabels, d.Alerts[0].Labels = maps.Clone(d.CommonLabels), alertmanager.KV{"alertname": label, label: text}
		got, err := set.Execute(override.Title, d)
		if len(got) > override.MaxOutput || (err != nil && got != "") {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}
