package fleet

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fleetwatch/fleetwatch/internal/confload"
)

// File is fleet.yaml as written: the form that documentation and tests see.
type File struct {
	Timezone  string           `yaml:"timezone"`
	Classes   map[string]Class `yaml:"classes"`
	Defaults  Defaults         `yaml:"defaults"`
	Agents    []Entry          `yaml:"agents"`
	Discovery Discovery        `yaml:"discovery"`
}

// Class is a schedule that agents share.
type Class struct {
	Every time.Duration `yaml:"every"`
	Grace time.Duration `yaml:"grace"`
}

// Defaults stand for what an agent's entry leaves out.
type Defaults struct {
	Class        string        `yaml:"class"`
	Timeout      time.Duration `yaml:"timeout"`
	TaskTimeout  time.Duration `yaml:"task_timeout"`
	MaxRounds    int           `yaml:"max_rounds"`
	RoundWarning float64       `yaml:"round_warning"`
	Driver       Driver        `yaml:"driver"`
}

// Entry is one agent as written.
type Entry struct {
	ID            string         `yaml:"id"`
	Label         string         `yaml:"label"`
	Class         string         `yaml:"class"`
	Cron          string         `yaml:"cron"`
	Grace         *time.Duration `yaml:"grace"`
	Timeout       *time.Duration `yaml:"timeout"`
	TaskTimeout   *time.Duration `yaml:"task_timeout"`
	MaxRounds     *int           `yaml:"max_rounds"`
	RoundWarning  *float64       `yaml:"round_warning"`
	Owner         string         `yaml:"owner"`
	Host          string         `yaml:"host"`
	Model         string         `yaml:"model"`
	GatewayClient string         `yaml:"gateway_client"`
	Patrol        bool           `yaml:"patrol"`
	Driver        *Driver        `yaml:"driver"`
	Probe         Probe          `yaml:"probe"`
	Watch         Watch          `yaml:"watch"`
	Sources       Sources        `yaml:"sources"`
}

// cronGrace is the grace of an agent that has a cron schedule and names none.
const cronGrace = 5 * time.Minute

var (
	idPattern   = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	driverTypes = []string{"none", "exec", "openclaw", "http", "multica"}
	// reservedIDs are path words of the ping endpoint.
	reservedIDs = regexp.MustCompile(`^(start|fail|log|progress|[0-9]+)$`)
)

// DefaultFile returns the defaults.
func DefaultFile() File {
	return File{
		Timezone: "Asia/Shanghai",
		Classes: map[string]Class{
			"frequent": {Every: 10 * time.Minute, Grace: 5 * time.Minute},
			"regular":  {Every: 15 * time.Minute, Grace: 5 * time.Minute},
		},
		Defaults: Defaults{Class: "regular", Timeout: 10 * time.Minute, TaskTimeout: 20 * time.Minute,
			MaxRounds: 50, RoundWarning: 0.8, Driver: Driver{Type: "none"}},
	}
}

// Validate implements [confload.Validator].
func (f *File) Validate(r *confload.Report) {
	location, err := time.LoadLocation(f.Timezone)
	if err != nil || f.Timezone == "" {
		r.Errorf("timezone", "expected a zone name like Asia/Shanghai, got %q", f.Timezone)
		location = time.UTC
	}
	for name, c := range f.Classes {
		if c.Every < time.Second {
			r.Errorf("classes."+name+".every", "expected an interval of at least 1s, got %s", c.Every)
		}
	}
	if _, ok := f.Classes[f.Defaults.Class]; !ok {
		r.Errorf("defaults.class", "expected one of the classes %s, got %q", f.classNames(), f.Defaults.Class)
	}
	checkLimits(r, "defaults", f.Defaults.MaxRounds, f.Defaults.RoundWarning)
	checkDriver(r, "defaults.driver", f.Defaults.Driver)
	first := map[string]int{}
	for i, e := range f.Agents {
		path := fmt.Sprintf("agents[%d]", i)
		f.checkEntry(r, path, e, location)
		if j, twice := first[e.ID]; twice && e.ID != "" {
			r.Errorf(path+".id", "duplicate agent id %q, first used by agents[%d]; ids are unique", e.ID, j)
			continue
		}
		first[e.ID] = i
	}
}

func (f *File) checkEntry(r *confload.Report, path string, e Entry, location *time.Location) {
	switch {
	case !idPattern.MatchString(e.ID):
		r.Errorf(path+".id", "expected [a-z0-9][a-z0-9-]{0,62}, got %q", e.ID)
	case reservedIDs.MatchString(e.ID):
		r.Errorf(path+".id", "expected a name other than start, fail, log, progress or a number (they are words of the ping URL), got %q", e.ID)
	}
	if !utf8.ValidString(e.Label) || strings.ContainsAny(e.Label, "\r\n\x00") {
		r.Errorf(path+".label", "expected one line of UTF-8")
	}
	if e.Cron != "" && e.Class != "" {
		r.Errorf(path+".cron", "expected either class or cron, found both")
	}
	if e.Cron != "" {
		if _, err := parseCron(e.Cron, location); err != nil {
			r.Errorf(path+".cron", "expected five cron fields like */10 * * * *: %v", err)
		}
	}
	if _, ok := f.Classes[e.Class]; e.Class != "" && !ok {
		r.Errorf(path+".class", "expected one of the classes %s, got %q", f.classNames(), e.Class)
	}
	rounds, warning := f.Defaults.MaxRounds, f.Defaults.RoundWarning
	if e.MaxRounds != nil {
		rounds = *e.MaxRounds
	}
	if e.RoundWarning != nil {
		warning = *e.RoundWarning
	}
	checkLimits(r, path, rounds, warning)
	if e.Driver != nil {
		checkDriver(r, path+".driver", *e.Driver)
	}
	checkProcess(r, path+".probe.process", e.Probe.Process)
	checkProcess(r, path+".watch.process", e.Watch.Process)
	checkPort(r, path+".probe.port", e.Probe.Port)
	checkPort(r, path+".watch.port", e.Watch.Port)
	if d := e.Sources.Documents; d != nil && len(d.Globs) == 0 {
		r.Errorf(path+".sources.documents.globs", "expected at least one glob")
	}
}

func checkLimits(r *confload.Report, path string, rounds int, warning float64) {
	if rounds < 0 {
		r.Errorf(path+".max_rounds", "expected 0 (no limit) or more, got %d", rounds)
	}
	if warning <= 0 || warning > 1 {
		r.Errorf(path+".round_warning", "expected a share above 0 and up to 1, got %g", warning)
	}
}

func checkDriver(r *confload.Report, path string, d Driver) {
	if !slices.Contains(driverTypes, d.Type) {
		r.Errorf(path+".type", "expected one of %s, got %q", strings.Join(driverTypes, ", "), d.Type)
		return
	}
	if d.Type == "exec" && (len(d.Argv) == 0) == (d.Shell == "") {
		r.Errorf(path, "an exec driver needs either argv or shell")
	}
	if d.Type == "http" && d.URL == "" {
		r.Errorf(path+".url", "an http driver needs a url")
	}
	if d.Type != "exec" && (len(d.Argv) > 0 || d.Shell != "") {
		r.Errorf(path, "argv and shell belong to driver type exec, not %s", d.Type)
	}
}

func checkProcess(r *confload.Report, path string, p Process) {
	if p.PIDFile != "" && p.Match != "" {
		r.Errorf(path, "expected either pid_file or match, found both")
	}
	if _, err := regexp.Compile(p.Match); err != nil {
		r.Errorf(path+".match", "expected a regular expression: %v", err)
	}
}

func checkPort(r *confload.Report, path, port string) {
	if port == "" {
		return
	}
	_, number, err := net.SplitHostPort(port)
	if err != nil {
		number = port
	}
	if n, err := strconv.Atoi(number); err != nil || n < 1 || n > 65535 {
		r.Errorf(path, "expected a port or host:port, got %q", port)
	}
}

func (f *File) classNames() string {
	names := make([]string, 0, len(f.Classes))
	for name := range f.Classes {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

// roster resolves a valid file.
func (f *File) roster() (*Roster, error) {
	location, err := time.LoadLocation(f.Timezone)
	if err != nil {
		return nil, fmt.Errorf("loading timezone: %w", err)
	}
	r := &Roster{Location: location, Discovery: f.Discovery, byID: make(map[string]int, len(f.Agents))}
	for i, e := range f.Agents {
		r.byID[e.ID] = i
		r.Agents = append(r.Agents, f.resolve(e))
	}
	return r, nil
}

func (f *File) resolve(e Entry) Agent {
	a := Agent{
		ID: e.ID, Label: e.Label, Class: e.Class, Cron: e.Cron, Grace: cronGrace,
		Timeout: or(e.Timeout, f.Defaults.Timeout), TaskTimeout: or(e.TaskTimeout, f.Defaults.TaskTimeout),
		MaxRounds: or(e.MaxRounds, f.Defaults.MaxRounds), RoundWarning: or(e.RoundWarning, f.Defaults.RoundWarning),
		Owner: e.Owner, Host: e.Host, Model: e.Model, GatewayClient: e.GatewayClient, Patrol: e.Patrol,
		Driver: or(e.Driver, f.Defaults.Driver), Probe: e.Probe, Watch: e.Watch, Sources: e.Sources,
	}
	if a.Label == "" {
		a.Label = a.ID
	}
	if a.Cron == "" {
		if a.Class == "" {
			a.Class = f.Defaults.Class
		}
		class := f.Classes[a.Class]
		a.Every, a.Grace = class.Every, class.Grace
	}
	if e.Grace != nil {
		a.Grace = *e.Grace
	}
	if a.Driver.Agent == "" {
		a.Driver.Agent = a.ID
	}
	return a
}

func or[T any](value *T, fallback T) T {
	if value != nil {
		return *value
	}
	return fallback
}
