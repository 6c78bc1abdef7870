package alertbridge_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// templatesIn writes template files into a folder's templates and returns the
// setting.
func templatesIn(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	folder := filepath.Join(dir, "templates")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return "templates: [templates/*.tmpl]\n"
}

const (
	goodTitle  = `{{ define "feishu.title" }}OWN {{ .CommonAnnotations.summary }} ({{ .State }}){{ end }}`
	panicTitle = `{{ define "feishu.title" }}{{ reReplaceAll "(" "" .Title }}{{ end }}`
)

func TestOwnTemplates(t *testing.T) {
	fs, dir := newFeishu(t, feishu.Options{}), t.TempDir()
	s := settings{feishu: fs.url, dir: dir, extra: templatesIn(t, dir, map[string]string{
		"title.tmpl": goodTitle, "body.tmpl": `{{ define "feishu.body" }}{{ range .Alerts }}* {{ .Labels.agent_name }} since {{ .StartsAt.Format "MST" }}{{ end }}{{ end }}`,
	})}
	b := startBridge(t, s)
	start := time.Now().Add(-time.Minute)
	b.post(payload(group("a"), down("a", "critical", start)))
	fs.waitCards(t, "red OWN a is down (firing)")
	if text := fs.views()[0].Text; !strings.HasPrefix(text, "* a since CST\n") || strings.Contains(text, "对象") || !strings.Contains(text, "监控面板") {
		t.Errorf("the card says %q", text)
	}
	if strings.Contains(b.logs.String(), "templates need a look") || b.metric(`alertbridge_template_failures_total{template="feishu.body"}`) != "0" {
		t.Errorf("nothing has failed: %s", b.logs)
	}

	// A file that is wrong changes nothing, and is told with its line.
	templatesIn(t, dir, map[string]string{"title.tmpl": "\n\n{{ define `feishu.title` }}{{ nofunc }}{{ end }}"})
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status == 200 || !strings.Contains(text, "title.tmpl:3: ") || !strings.Contains(text, `function \"nofunc\" not defined`) {
		t.Errorf("reload: %d %s", status, text)
	}
	if got := b.metric("alertbridge_config_last_reload_successful"); got != "0" {
		t.Errorf("alertbridge_config_last_reload_successful is %q", got)
	}
	b.post(payload(group("a"), down("a", "critical", start).up(time.Now())))
	fs.waitCards(t, "green OWN a is down (resolved)")
}

// TestOpenCardsFollowTheTemplates: a change of the templates is to be seen on cards
// that are open, once.
func TestOpenCardsFollowTheTemplates(t *testing.T) {
	fs, dir := newFeishu(t, feishu.Options{}), t.TempDir()
	s := settings{feishu: fs.url, dir: dir, extra: templatesIn(t, dir, map[string]string{"title.tmpl": goodTitle})}
	b := startBridge(t, s)
	b.post(payload(group("a"), down("a", "critical", time.Now())))
	fs.waitCards(t, "red OWN a is down (firing)")
	templatesIn(t, dir, map[string]string{"title.tmpl": strings.Replace(goodTitle, "OWN", "NEW", 1)})
	reload := func() {
		t.Helper()
		if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
			t.Fatal(status, text)
		}
	}
	reload()
	fs.waitCards(t, "red NEW a is down (firing)")
	reload() // and nothing has changed
	b.stop()
	b = startBridge(t, s)
	b.post(payload(group("b"), down("b", "critical", time.Now())))
	fs.waitCards(t, "red NEW a is down (firing)", "red NEW b is down (firing)")
	patches := 0
	for _, r := range fs.Requests() {
		if r.Op == feishu.OpPatch {
			patches++
		}
	}
	if patches != 1 {
		t.Errorf("the card was changed %d times, want once", patches)
	}
	if err := os.Remove(filepath.Join(dir, "templates", "title.tmpl")); err != nil {
		t.Fatal(err)
	}
	reload()
	fs.waitCards(t, "red 🚨 [CRITICAL] a is down", "red 🚨 [CRITICAL] b is down")
}

func TestFailingTemplates(t *testing.T) {
	fs, dir := newFeishu(t, feishu.Options{}), t.TempDir()
	s := settings{feishu: fs.url, dir: dir, extra: templatesIn(t, dir, map[string]string{"title.tmpl": panicTitle})}
	b := startBridge(t, s)
	if !strings.Contains(b.logs.String(), "feishu.title fails on a sample card") {
		t.Errorf("the log does not warn at the start: %s", b.logs)
	}
	b.post(payload(group("a"), down("a", "critical", time.Now())))
	fs.waitCards(t, "red 🚨 [CRITICAL] a is down")
	b.post(payload(group("b"), down("b", "critical", time.Now())))
	fs.waitCards(t, "red 🚨 [CRITICAL] a is down", "red 🚨 [CRITICAL] b is down")
	if got := b.metric(`alertbridge_template_failures_total{template="feishu.title"}`); got < "2" {
		t.Errorf("alertbridge_template_failures_total is %q", got)
	}
	if n := strings.Count(b.logs.String(), "template failed, the card has the built-in form"); n != 1 {
		t.Errorf("the same failure is logged %d times", n)
	}
	if status, text := b.do(http.MethodGet, "/ready", "", ""); status != 200 || !strings.Contains(text, "made these templates fail: feishu.title") {
		t.Errorf("/ready: %d %s", status, text)
	}

	// A good file is taken over by a reload, and nothing is left of the trouble.
	templatesIn(t, dir, map[string]string{"title.tmpl": goodTitle})
	if status, text := b.do(http.MethodPost, "/-/reload", "admin-token-value", ""); status != 200 {
		t.Fatal(status, text)
	}
	b.post(payload(group("c"), down("c", "critical", time.Now())))
	fs.waitCards(t, "red OWN a is down", "red OWN b is down", "red OWN c is down")
	if _, text := b.do(http.MethodGet, "/ready", "", ""); !strings.Contains(text, `"templates":"ok"`) {
		t.Errorf("/ready: %s", text)
	}
}

func TestTemplatesAreChecked(t *testing.T) {
	config := func(list string) string {
		return strings.Replace(wholeConfig, "templates: [templates/*.tmpl]", "templates: "+list, 1)
	}
	dir := filepath.Dir(writeFile(t, ""))
	for name, text := range map[string]string{
		"bad.tmpl": "line one\n{{ define `feishu.title` }}{{ if }}{{ end }}", "worse.tmpl": "{{ nofunc }}", "other.tmpl": "{{ define `title` }}x{{ end }}",
		"calls.tmpl": "{{ define `feishu.title` }}\n{{ template `none` . }}{{ end }}", "fine.tmpl": goodTitle, "typo.tmpl": "{{ define `feishu.body` }}{{ .Headline }}{{ end }}",
		"large.tmpl": strings.Repeat("x", 1<<20+1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for list, c := range map[string]struct {
		code int
		says []string
	}{
		"[bad.tmpl, worse.tmpl]":   {2, []string{":9: templates[0]: " + dir + "/bad.tmpl:2: missing value for if", ":9: templates[1]: " + dir + `/worse.tmpl:1: function "nofunc" not defined`}},
		"[other.tmpl]":             {2, []string{"templates[0]", `expected a template that is used: {{define "feishu.title"}} or {{define "feishu.body"}}`}},
		"[calls.tmpl]":             {2, []string{"calls.tmpl:2: no template is named \"none\""}},
		"[missing.tmpl]":           {2, []string{"templates[0]: expected a file, there is none at " + dir + "/missing.tmpl"}},
		"[large.tmpl]":             {2, []string{"at most 1048576 bytes"}},
		`["[.tmpl"]`:               {2, []string{"templates[0]: expected a path or a pattern"}},
		"['none/*.tmpl']":          {0, []string{"# templates: no file matches " + dir + "/none/*.tmpl"}},
		"[typo.tmpl]":              {0, []string{"# templates: feishu.body fails on a sample card", "can't evaluate field Headline"}},
		"[fine.tmpl, '*ine.tmpl']": {0, []string{"fine.tmpl"}},
	} {
		file := filepath.Join(dir, "alertbridge.yaml")
		if err := os.WriteFile(file, []byte(config(list)), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out := command(t, "", "check-config", "-config", file)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d: %s", list, code, c.code, out)
		}
		for _, want := range c.says {
			if !strings.Contains(out, want) {
				t.Errorf("%s: %q is missing in\n%s", list, want, out)
			}
		}
	}
}

// TestRenderTellsOfTemplates is that the command prints cards in any case, says on
// stderr what failed, and tells it by its exit code.
func TestRenderTellsOfTemplates(t *testing.T) {
	for text, want := range map[string]struct {
		code        int
		title, says string
	}{
		goodTitle:  {0, "OWN a is down (firing)", ""},
		panicTitle: {3, "🚨 [CRITICAL] a is down", "a template failed:\nfeishu.title: template: "},
	} {
		dir := t.TempDir()
		templatesIn(t, dir, map[string]string{"title.tmpl": text})
		file := filepath.Join(dir, "alertbridge.yaml")
		if err := os.WriteFile(file, []byte(wholeConfig), 0o600); err != nil {
			t.Fatal(err)
		}
		var stdout, stderr bytes.Buffer
		code := program.Main(t.Context(), alertbridge.Program(), []string{"render", "-f", "-", "-config", file}, strings.NewReader(payload(group("a"), down("a", "critical", time.Now()))), &stdout, &stderr)
		var cards []json.RawMessage
		if err := json.Unmarshal(stdout.Bytes(), &cards); err != nil || len(cards) != 1 || !strings.Contains(stdout.String(), want.title) {
			t.Errorf("stdout %s, %v", &stdout, err)
		}
		if code != want.code || !strings.Contains(stderr.String(), want.says) || (want.says == "" && stderr.Len() > 0) {
			t.Errorf("exit code %d, stderr %q", code, &stderr)
		}
	}
}
