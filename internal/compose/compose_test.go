package compose

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/stack"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// service is what the gate looks at of a service.
type service struct {
	Image       string
	User        string
	Restart     string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	Privileged  bool
	Security    []string `yaml:"security_opt"`
	Grace       string   `yaml:"stop_grace_period"`
	Memory      string   `yaml:"mem_limit"`
	PIDs        int      `yaml:"pids_limit"`
	Volumes     []string
	Ports       []string
	Health      struct{ Test []string } `yaml:"healthcheck"`
	Logging     struct{ Options map[string]string }
	NetworkMode string `yaml:"network_mode"`
}

func folder(t *testing.T) string { t.Helper(); return filepath.Join(testtool.Root(t), "compose") }

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{testtool.Root(t)}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// services decodes compose.yaml; what compose itself makes of it is looked at by
// the end-to-end test.
func services(t *testing.T) map[string]service {
	t.Helper()
	var file struct {
		Services map[string]service
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose", "compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	return file.Services
}

var exactTag = regexp.MustCompile(`^(fleetwatch/[a-z]+:dev|\$\{REGISTRY:-docker\.io\}/[a-z/-]+:v?\d+\.\d+\.\d+)$`)

// lint returns what a service lacks. init ends by itself and runs as root, since it
// gives files to others and looks for the gateway's database.
func lint(name string, s service) []string {
	var wrong []string
	say := func(ok bool, format string, args ...any) {
		if !ok {
			wrong = append(wrong, name+": "+fmt.Sprintf(format, args...))
		}
	}
	once := name == "init"
	say(exactTag.MatchString(s.Image), "image %q has no exact tag, or no REGISTRY before it", s.Image)
	say(s.ReadOnly, "its root is writable; set read_only")
	say(slices.Equal(s.CapDrop, []string{"ALL"}), "cap_drop is not [ALL]")
	say(!s.Privileged && (len(s.CapAdd) == 0 || once && slices.Equal(s.CapAdd, []string{"CHOWN", "DAC_READ_SEARCH"})), "it has privileges: %v", s.CapAdd)
	say(slices.Contains(s.Security, "no-new-privileges:true"), "security_opt lacks no-new-privileges")
	say(s.Memory != "" && s.PIDs > 0, "mem_limit or pids_limit is missing")
	say(s.Grace == "40s", "stop_grace_period is %q, not 40s", s.Grace)
	say(s.Logging.Options["max-size"] != "" && s.Logging.Options["max-file"] != "", "its log is not rotated")
	say((s.Restart == "no") == once && s.Restart != "", "restart is %q", s.Restart)
	uid, _, _ := strings.Cut(s.User, ":")
	say((uid == "0") == once && uid != "", "user is %q", s.User)
	say(once || len(s.Health.Test) > 1 && s.Health.Test[0] == "CMD", "it has no healthcheck without a shell")
	say(!strings.Contains(strings.Join(s.Health.Test, " "), "localhost"), "its healthcheck asks localhost, which may be ::1; ask 127.0.0.1")
	say(s.NetworkMode == "" || once && s.NetworkMode == "none", "network_mode is %q", s.NetworkMode)
	for _, p := range s.Ports {
		say(strings.HasPrefix(p, "${BIND_ADDRESS:-127.0.0.1}:"), "port %s is not bound to BIND_ADDRESS", p)
	}
	for _, v := range s.Volumes {
		say(!strings.Contains(v, "docker.sock"), "it mounts the engine's socket")
		host := strings.HasPrefix(v, ".") || strings.HasPrefix(v, "/") || strings.HasPrefix(v, "$")
		say(!host || strings.HasSuffix(v, ":ro") || strings.HasSuffix(v, ":ro,rslave"), "volume %s lets it write to the host", v)
		say(once || !strings.HasPrefix(v, "secrets:"), "it sees all secrets")
		say(once || !strings.HasPrefix(v, "secrets-") || v == "secrets-"+name+":/run/secrets:ro", "volume %s is not its own, or not read-only at /run/secrets", v)
	}
	return wrong
}

func TestServicesAreConfined(t *testing.T) {
	all := services(t)
	if len(all) < 10 {
		t.Fatalf("compose.yaml has %d services only", len(all))
	}
	for name, s := range all {
		for _, problem := range lint(name, s) {
			t.Error(problem)
		}
	}
}

// TestLint proves that each rule can fail.
func TestLint(t *testing.T) {
	good := services(t)["heartbeat"]
	for want, spoil := range map[string]func(*service){
		"no exact tag":        func(s *service) { s.Image = "prom/prometheus:latest" },
		"no REGISTRY":         func(s *service) { s.Image = "prom/prometheus:v3.15.0" },
		"set read_only":       func(s *service) { s.ReadOnly = false },
		"cap_drop":            func(s *service) { s.CapDrop = nil },
		"it has privileges":   func(s *service) { s.CapAdd = []string{"CHOWN"} },
		"no-new-privileges":   func(s *service) { s.Security = nil },
		"mem_limit":           func(s *service) { s.PIDs = 0 },
		"stop_grace_period":   func(s *service) { s.Grace = "10s" },
		"not rotated":         func(s *service) { s.Logging.Options = nil },
		"restart is":          func(s *service) { s.Restart = "no" },
		"user is":             func(s *service) { s.User = "0:0" },
		"no healthcheck":      func(s *service) { s.Health.Test = nil },
		"asks localhost":      func(s *service) { s.Health.Test = []string{"CMD", "wget", "http://localhost/"} },
		"network_mode":        func(s *service) { s.NetworkMode = "host" },
		"BIND_ADDRESS":        func(s *service) { s.Ports = []string{"9095:9095"} },
		"the engine's socket": func(s *service) { s.Volumes = []string{"/var/run/docker.sock:/var/run/docker.sock:ro"} },
		"write to the host":   func(s *service) { s.Volumes = []string{"./config:/etc/fleetwatch"} },
		"all secrets":         func(s *service) { s.Volumes = []string{"secrets:/run/secrets:ro"} },
		"not its own":         func(s *service) { s.Volumes = []string{"secrets-grafana:/run/secrets:ro"} },
	} {
		s := good
		spoil(&s)
		if got := strings.Join(lint("heartbeat", s), "\n"); !strings.Contains(got, want) {
			t.Errorf("got %q, want it to say %q", got, want)
		}
	}
	if wrong := lint("heartbeat", good); len(wrong) > 0 {
		t.Error(wrong)
	}
}

// TestUsersAgree compares who owns the secrets with who runs.
func TestUsersAgree(t *testing.T) {
	all, dockerfile := services(t), read(t, "compose", "Dockerfile")
	for _, h := range Holders() {
		s, ok := all[h.Service]
		if uid, _, _ := strings.Cut(s.User, ":"); !ok || uid != fmt.Sprint(h.UID) {
			t.Errorf("%s runs as %q, its secrets belong to %d", h.Service, s.User, h.UID)
		}
		if !slices.Contains(s.Volumes, "secrets-"+h.Service+":/run/secrets:ro") || !slices.Contains(all["init"].Volumes, "secrets-"+h.Service+":/secrets/"+h.Service) {
			t.Errorf("%s: the volume of its secrets is not mounted there, or not in init", h.Service)
		}
	}
	for name, s := range all {
		if target, own := strings.CutPrefix(strings.TrimSuffix(s.Image, ":dev"), "fleetwatch/"); own && name != "init" {
			_, stage, found := strings.Cut(dockerfile, " AS "+target+"\n")
			stage, _, _ = strings.Cut(stage, "\nFROM ")
			if !found || !strings.Contains(stage, "\nUSER "+s.User+"\n") {
				t.Errorf("%s runs as %s, which is not the USER of the Dockerfile's stage %s", name, s.User, target)
			}
		}
	}
}

// TestSecretsAreThoseOfTheNativeSuite compares with what `make up` makes without
// containers; the stand-ins need no secrets here.
func TestSecretsAreThoseOfTheNativeSuite(t *testing.T) {
	want := append(slices.DeleteFunc(stack.Secrets(), func(name string) bool { return strings.HasPrefix(name, "sandbox_") }), GrafanaPassword)
	slices.Sort(want)
	if diff := cmp.Diff(want, Names()); diff != "" {
		t.Errorf("native and containers differ (-native +containers):\n%s", diff)
	}
}

// TestVersionsAreThePinnedOnes compares the images with the tools of the native
// suite.
func TestVersionsAreThePinnedOnes(t *testing.T) {
	all := services(t)
	for _, tool := range stack.Tools() {
		name := strings.ReplaceAll(tool.Name, "_", "-")
		if s, ok := all[name]; ok && !strings.HasSuffix(s.Image, ":v"+tool.Version) {
			t.Errorf("%s is %s, the native suite runs %s", name, s.Image, tool.Version)
		}
	}
}

var target = regexp.MustCompile(`targets: \[([a-z-]+):(\d+)\]`)

// TestPrometheusFindsTheServices compares prometheus.yml with the services.
func TestPrometheusFindsTheServices(t *testing.T) {
	all := services(t)
	found := target.FindAllStringSubmatch(read(t, "alerting", "prometheus.yml"), -1)
	if len(found) < 6 {
		t.Fatalf("found %d targets only", len(found))
	}
	for _, f := range found {
		if !slices.Contains(all[f[1]].Ports, "${BIND_ADDRESS:-127.0.0.1}:"+f[2]+":"+f[2]) {
			t.Errorf("no service %s with port %s", f[1], f[2])
		}
	}
}

// TestSandboxRostersAreTheSameFleet compares the rosters of the two ways of running.
func TestSandboxRostersAreTheSameFleet(t *testing.T) {
	fleetOf := func(path ...string) (ids []string) {
		roster, err := fleet.Load(filepath.Join(append([]string{folder(t), "config", "sandbox"}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range roster.Agents {
			ids = append(ids, fmt.Sprint(a.ID, a.Label, a.Class, a.Every, a.Patrol, a.GatewayClient, a.Model))
		}
		return ids
	}
	if diff := cmp.Diff(fleetOf("fleet.yaml"), fleetOf("containers", "fleet.yaml")); diff != "" {
		t.Errorf("the rosters differ (-native +containers):\n%s", diff)
	}
}

var variable = regexp.MustCompile(`\$\{([A-Z][A-Z0-9_]*)`)

// TestSettingsAreShown compares the variables of the compose files with
// .env.example. What the build is told by tools is no setting of a person.
func TestSettingsAreShown(t *testing.T) {
	shown := map[string]bool{"REVISION": true}
	for line := range strings.Lines(read(t, "compose", ".env.example")) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "#"), "="); ok {
			shown[name] = true
		}
	}
	used := map[string]string{}
	for _, pattern := range []string{"*.yaml", "settings/*.env"} {
		files, err := filepath.Glob(filepath.Join(folder(t), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range variable.FindAllStringSubmatch(string(text), -1) {
				used[v[1]] = filepath.Base(file)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if !shown[name] {
			t.Errorf("%s of %s is not in .env.example", name, used[name])
		}
	}
}

func TestSettingsThatWouldBeIgnored(t *testing.T) {
	for want, names := range map[string][]string{
		"":                      {"FLEET_FILE", "FLEET_DIR", "GATEWAY_DIR", "FEISHU_APP_ID", "FEISHU_APP_SECRET"},
		"set FLEET_DIR":         {"FLEET_FILE"},
		"set GATEWAY_DIR":       {"GATEWAY_FILE", "FLEET_DIR"},
		"expected both or none": {"FEISHU_APP_SECRET"},
	} {
		err := CheckSettings(func(name string) bool { return slices.Contains(names, name) })
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", names, err, want)
		}
	}
}
