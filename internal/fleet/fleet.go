// Package fleet reads the roster, fleet.yaml: which agents there are, when each
// is due, and how to look at it. Heartbeat and exporter share it.
//
// Load resolves classes and defaults, so that an [Agent] needs no second look:
// every duration is set and every schedule is parsed. A roster with any problem
// is refused whole, with every problem named.
package fleet

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/fleetwatch/fleetwatch/internal/confload"
)

// Roster is a checked fleet.yaml. It is immutable.
type Roster struct {
	Location  *time.Location // the timezone of cron schedules
	Agents    []Agent        // in the order of the file
	Discovery Discovery
	byID      map[string]int
}

// Discovery says where agents that the file does not name are looked for.
type Discovery struct {
	OpenClaw bool `yaml:"openclaw"`
}

// Agent is one member of the fleet, defaults applied.
type Agent struct {
	ID            string        // [a-z0-9][a-z0-9-]{0,62}
	Label         string        // shown to people; the id where the file has none
	Class         string        // "" where the agent has a cron schedule of its own
	Every         time.Duration // interval of the class; 0 with Cron
	Cron          string        // five-field cron expression; "" with Every
	Grace         time.Duration // how long after its due time a beat is late, not missed
	Timeout       time.Duration // of one run; 0 = no limit
	TaskTimeout   time.Duration // without progress, after which a task counts as stalled
	MaxRounds     int           // driver calls that name one task; 0 = no limit
	RoundWarning  float64       // share of MaxRounds at which to warn
	Owner         string        // receiver that is told when the agent needs a person
	Host          string        // "" = wherever the central programs run
	Model         string        // canonical model asked of the gateway
	GatewayClient string        // client key name in the gateway
	Patrol        bool          // the fleet's backlog goes into its beat message
	Driver        Driver
	Probe         Probe
	Watch         Watch
	Sources       Sources
}

// Driver says how a beat wakes the agent.
type Driver struct {
	Type    string            `yaml:"type"`    // none | exec | openclaw | http | multica
	Agent   string            `yaml:"agent"`   // openclaw, multica: its name there; default the id
	Argv    []string          `yaml:"argv"`    // exec: program and arguments
	Shell   string            `yaml:"shell"`   // exec: a command line for /bin/sh instead of argv
	Dir     string            `yaml:"dir"`     // exec: working folder
	Env     []string          `yaml:"env"`     // exec: names of variables passed on
	Method  string            `yaml:"method"`  // http
	URL     string            `yaml:"url"`     // http
	Headers map[string]string `yaml:"headers"` // http
	Body    string            `yaml:"body"`    // http: template
	Status  int               `yaml:"status"`  // http: expected
}

// Probe is a free sign that the agent lives, asked by heartbeat.
type Probe struct {
	Process   Process `yaml:"process"`
	Port      string  `yaml:"port"` // host:port, or a port of this host
	Unit      string  `yaml:"unit"`
	Container string  `yaml:"container"`
	OpenClaw  bool    `yaml:"openclaw"`
	Traffic   bool    `yaml:"traffic"`
}

// Watch is what the exporter looks at on the agent's host.
type Watch struct {
	Process   Process `yaml:"process"`
	Port      string  `yaml:"port"`
	Unit      string  `yaml:"unit"`
	Container string  `yaml:"container"`
	Log       Log     `yaml:"log"`
}

// Process finds a process: by the file that holds its id, or by a regular
// expression over its command line.
type Process struct {
	PIDFile confload.Path `yaml:"pid_file"`
	Match   string        `yaml:"match"`
}

// IsSet reports whether a process is named.
func (p Process) IsSet() bool { return p != Process{} }

// Log is a log file whose lines that contain one of Keywords count as errors.
type Log struct {
	File     confload.Path `yaml:"file"`
	Keywords []string      `yaml:"keywords"`
}

// Sources name the agent in each task source.
type Sources struct {
	OpenClaw  *AgentSource    `yaml:"openclaw"`
	WorkBoard *AgentSource    `yaml:"workboard"`
	Multica   *AssigneeSource `yaml:"multica"`
	Documents *DocumentSource `yaml:"documents"`
}

// AgentSource names an agent of OpenClaw.
type AgentSource struct {
	Agent string `yaml:"agent"`
}

// AssigneeSource names an assignee of Multica.
type AssigneeSource struct {
	Assignee string `yaml:"assignee"`
}

// DocumentSource names Markdown files that hold tasks.
type DocumentSource struct {
	Globs []string `yaml:"globs"`
}

// IsSet reports whether any source is named.
func (s Sources) IsSet() bool { return s != Sources{} }

// Names returns the names of the sources that are set, in fixed order.
func (s Sources) Names() []string {
	var names []string
	for _, source := range []struct {
		name string
		set  bool
	}{{"openclaw", s.OpenClaw != nil}, {"workboard", s.WorkBoard != nil}, {"multica", s.Multica != nil}, {"documents", s.Documents != nil}} {
		if source.set {
			names = append(names, source.name)
		}
	}
	return names
}

// Schedule returns when the agent is due: its cron expression in the roster's
// timezone, or nil where it has an interval.
func (r *Roster) Schedule(a Agent) (cron.Schedule, error) {
	if a.Cron == "" {
		return nil, nil //nolint:nilnil // an interval has no cron schedule
	}
	return parseCron(a.Cron, r.Location)
}

// Agent returns the agent with the id, and whether there is one.
func (r *Roster) Agent(id string) (Agent, bool) {
	i, ok := r.byID[id]
	if !ok {
		return Agent{}, false
	}
	return r.Agents[i], true
}

// Load reads and checks the roster at path. Its error is a [*confload.Errors].
func Load(path string, options ...confload.Option) (*Roster, error) {
	f := DefaultFile()
	if err := confload.Load(path, &f, options...); err != nil {
		return nil, err
	}
	return f.roster()
}

// LoadNamed is Load for the roster that a configuration names. Where that could not
// be read, the path is still relative and nobody knows to what: then there is
// neither a roster nor an error.
func LoadNamed(path confload.Path, options ...confload.Option) (*Roster, error) {
	if !filepath.IsAbs(string(path)) {
		return nil, nil //nolint:nilnil // the configuration's own error says why
	}
	return Load(string(path), options...)
}

func parseCron(expression string, location *time.Location) (cron.Schedule, error) {
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	schedule, err := parser.Parse(fmt.Sprintf("CRON_TZ=%s %s", location, expression))
	if err != nil {
		return nil, fmt.Errorf("parsing cron %q: %w", expression, err)
	}
	return schedule, nil
}
