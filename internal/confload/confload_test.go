package confload_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

type server struct {
	Listen  string          `yaml:"listen"`
	Token   redact.Secret   `yaml:"token"`
	Keys    []redact.Secret `yaml:"keys"`
	MaxBody confload.Size   `yaml:"max_body"`
	Timeout time.Duration   `yaml:"timeout"`
	Tries   int             `yaml:"tries"`
	Ratio   float64         `yaml:"ratio"`
	Public  bool            `yaml:"public"`
}

type receiver struct {
	Name string `yaml:"name"`
}

type config struct {
	Server    server              `yaml:"server"`
	Receivers []receiver          `yaml:"receivers"`
	Severity  map[string][]string `yaml:"severity"`
	Roster    confload.Path       `yaml:"roster"`
	Optional  *receiver           `yaml:"optional"`
}

func (c *config) Validate(r *confload.Report) {
	for i, rec := range c.Receivers {
		if rec.Name == "bad" || rec.Name == "" {
			r.Errorf("receivers["+string(rune('0'+i))+"].name", "expected a good name, got %q", rec.Name)
		}
	}
}

func load(t *testing.T, text string, env map[string]string) (config, error) {
	t.Helper()
	c := config{Server: server{Listen: "127.0.0.1:1", Timeout: 5 * time.Second, Tries: 3}, Roster: "fleet.yaml"}
	path := filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	err := confload.Load(path, &c, confload.WithEnv(func(k string) (string, bool) { v, ok := env[k]; return v, ok }))
	return c, err
}

func TestLoad(t *testing.T) {
	env := map[string]string{"TOKEN": "top: {secret}\n- x", "N": "7", "D": "90s", "EMPTY": ""}
	c, err := load(t, `
server:
  listen: "${LISTEN:-0.0.0.0:9}"
  token: "${TOKEN}"
  max_body: 32MiB
  timeout: "${D}"
  tries: "${N}"
  ratio: "${EMPTY:-}"
  public: true
receivers: [{name: a}, {name: "$${literal} $5"}]
severity: {critical: [a, b], info: []}
optional: {name: here}
`, env)
	if err != nil {
		t.Fatal(err)
	}
	s := c.Server
	if s.Listen != "0.0.0.0:9" || s.Token.Reveal() != env["TOKEN"] || s.MaxBody != 32<<20 || s.Timeout != 90*time.Second || s.Tries != 7 || !s.Public {
		t.Errorf("server = %+v", s)
	}
	if c.Receivers[1].Name != "${literal} $5" || len(c.Severity["critical"]) != 2 || c.Severity["info"] == nil || c.Optional.Name != "here" {
		t.Errorf("config = %+v", c)
	}
	if !filepath.IsAbs(string(c.Roster)) || filepath.Base(string(c.Roster)) != "fleet.yaml" {
		t.Errorf("the default roster path is not relative to the file: %s", c.Roster)
	}
}

func TestEmptyFileIsAllDefaults(t *testing.T) {
	for _, text := range []string{"", "# nothing\n", "---\n", "server:\n"} {
		if c, err := load(t, text, nil); err != nil || c.Server.Tries != 3 {
			t.Errorf("%q: %+v, %v", text, c.Server, err)
		}
	}
}

func TestEveryProblemAtOnce(t *testing.T) {
	_, err := load(t, `server:
  lisen: x
  timeout: fast
  tries: 1.5
  max_body: -1
  public: maybe
  token: "${NOT_SET}"
  tries: 2
receivers:
  - name: bad
severity: [x]
zzz: 1
`, nil)
	if _, ok := errors.AsType[*confload.Errors](err); !ok {
		t.Fatalf("err = %v", err)
	}
	want := []string{
		`:2: server.lisen: unknown key; did you mean "listen"?`,
		`:3: server.timeout: expected a duration`,
		`:4: server.tries: expected a whole number, got "1.5"`,
		`:5: server.max_body: expected a size`,
		`:6: server.public: expected true or false, got "maybe"`,
		`:7: server.token: environment variable NOT_SET is not set`,
		`:8: server.tries: key stands twice`,
		`:10: receivers[0].name: expected a good name`,
		`:11: severity: expected a mapping, got a list`,
		`:12: zzz: unknown key; expected one of optional, receivers`,
	}
	got := strings.Split(err.Error(), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d problems, want %d:\n%v", len(got), len(want), err)
	}
	for i, w := range want {
		if !strings.Contains(got[i], w) {
			t.Errorf("problem %d = %q, want it to contain %q", i, got[i], w)
		}
	}
}

func TestBadDocuments(t *testing.T) {
	for text, want := range map[string]string{
		"a: b: c":                "not YAML that can be read: mapping values",
		"server:\n\tlisten: x\n": ":2: not YAML that can be read: found character that cannot start any token (indent with spaces",
		"server: {}\n---\nx: 1":  "one YAML document",
		"- a":                    "expected a mapping",
		"server: &a {listen: *a": "did not find",
		"server: \"x ${BROKEN\"": "expected a mapping",
		"roster: \"x ${BROKEN\"": "expected }",
		"roster: \"${A B}\"":     "expected ${NAME}",
	} {
		if _, err := load(t, text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	var c config
	err := confload.Load(t.TempDir(), &c)
	if problems, ok := errors.AsType[*confload.Errors](err); !ok || !strings.Contains(problems.Problems[0].Message, "expected a readable file") {
		t.Errorf("a folder: %v", err)
	}
}

func TestARefusedValueIsOneProblem(t *testing.T) {
	// Without the first problem, Validate would find the default wanting too.
	_, err := load(t, "receivers:\n  - {name: [bad]}\n", nil)
	if err == nil || strings.Count(err.Error(), "\n") != 0 {
		t.Errorf("problems: %v", err)
	}
	_, err = load(t, "receivers:\n  - {name: bad}\n  - {name: [x]}\n", nil)
	if err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("problems: %v", err)
	}
}

func TestJoin(t *testing.T) {
	first, second := &confload.Errors{Problems: []confload.Problem{{File: "a", Message: "x"}}}, &confload.Errors{Problems: []confload.Problem{{File: "b", Message: "y"}}}
	joined, ok := errors.AsType[*confload.Errors](confload.Join(first, nil, second))
	if !ok || len(joined.Problems) != 2 {
		t.Errorf("joined: %v", joined)
	}
	if err := confload.Join(nil, nil); err != nil {
		t.Errorf("nothing wrong: %v", err)
	}
	if err := confload.Join(first, os.ErrPermission); !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "a: x") {
		t.Errorf("with another error: %v", err)
	}
}

func TestSecretFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one, two, empty := write("one", " s1 \n"), write("two", "k1\nk2\n"), write("empty", "\n")
	c, err := load(t, "server: {token_file: "+one+", keys_file: "+two+"}", nil)
	if err != nil || c.Server.Token != "s1" || !slices.Equal(c.Server.Keys, []redact.Secret{"k1", "k2"}) {
		t.Errorf("secrets from files: %v", err)
	}
	for text, want := range map[string]string{
		"server: {token_file: " + dir + "/none}":           "readable file",
		"server: {token_file: " + empty + "}":              "empty",
		"server: {token_file: " + two + "}":                "one line",
		"server: {token: x, token_file: " + one + "}":      "found both",
		"server: {listen_file: " + one + "}":               "unknown key",
		"server: {token_file: [a]}":                        "expected text",
		"server: {token: [hidden-value]}":                  "expected a secret",
		"server: {keys: {a: hidden-value}}":                "expected a list",
		"server: {toke_fil: " + one + ", token: 'hidden'}": "token_file",
	} {
		_, err := load(t, text, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: the error shows the secret: %v", text, err)
		}
	}
}

func TestMaskedShowsNoSecret(t *testing.T) {
	c := config{Server: server{Token: "hidden", Keys: []redact.Secret{"hidden"}, MaxBody: 64 << 10, Timeout: time.Minute, Listen: "http://user:hidden@host:1/path?a=b@c"}}
	out, err := confload.Masked(c)
	if err != nil {
		t.Fatal(err)
	}
	if s := string(out); strings.Contains(s, "hidden") || !strings.Contains(s, "max_body: 64KiB") || !strings.Contains(s, "timeout: 1m0s") || !strings.Contains(s, "http://<secret>@host:1/path?a=b@c") {
		t.Errorf("masked:\n%s", s)
	}
}

func TestKeys(t *testing.T) {
	keys := confload.Keys(config{})
	for _, want := range []string{"server.listen", "receivers[].name", "severity.*[]", "roster", "server.keys[]", "optional.name"} {
		if !slices.Contains(keys, want) {
			t.Errorf("Keys lacks %s: %v", want, keys)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	durations := map[string]time.Duration{"30s": 30 * time.Second, "90": 90 * time.Second, "0": 0, "1.5": 1500 * time.Millisecond,
		"30d": 720 * time.Hour, "2w": 336 * time.Hour, "1d12h": 36 * time.Hour, "1w1d1ms": 192*time.Hour + time.Millisecond}
	for text, want := range durations {
		if got, err := confload.ParseDuration(text); err != nil || got != want {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "-5s", "NaN", "Inf", "1e30", "99999999999999w", "1d-3h", "d"} {
		if got, err := confload.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", text, got)
		}
	}
	for text, want := range map[string]confload.Size{"0": 0, "10": 10, "64KiB": 65536, "1GiB": 1 << 30, "10MB": 1e7, "5B": 5, "1 MiB": 1 << 20} {
		if got, err := confload.ParseSize(text); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5MiB", "9999999999GiB", "MiB"} {
		if got, err := confload.ParseSize(text); err == nil {
			t.Errorf("ParseSize(%q) = %v, want an error", text, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("server: {listen: x}\nreceivers: [{name: a}]")
	f.Add("server: &a\n  listen: *a")
	f.Add("a: ${X:-${Y}}")
	f.Fuzz(func(t *testing.T, text string) {
		var c config
		if err := confload.Parse([]byte(text), "p.yaml", &c, confload.WithEnv(func(string) (string, bool) { return "", false })); err != nil && err.Error() == "" {
			t.Error("an error without text")
		}
	})
}
