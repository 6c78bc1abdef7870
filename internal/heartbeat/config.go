// Package heartbeat is the cron heartbeat runner: it beats every agent of the
// roster on schedule, takes pings, and says of each agent whether it lives.
//
// The package wires its parts: schedules (job, slot), runs (run, driver,
// preflight), pings (ping), the verdict (liveness), checks and notices
// (watchdog, notify), and the record (ledger). Every change is committed before
// it is answered or seen.
package heartbeat

import (
	"fmt"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/notify"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/boards"
)

// Config is heartbeat.yaml.
type Config struct {
	Server       Server                   `yaml:"server"`
	Store        Store                    `yaml:"store"`
	Roster       confload.Path            `yaml:"roster"`
	Gateway      Gateway                  `yaml:"gateway"`
	Alertmanager Alertmanager             `yaml:"alertmanager"`
	Sources      Sources                  `yaml:"sources"`
	Messages     Messages                 `yaml:"messages"`
	Schedule     Schedule                 `yaml:"schedule"`
	CatchUp      CatchUp                  `yaml:"catch_up"`
	Concurrency  Concurrency              `yaml:"concurrency"`
	Retries      Retries                  `yaml:"retries"`
	Retention    Retention                `yaml:"retention"`
	Maintenance  []Maintenance            `yaml:"maintenance"`
	Checks       []watchdog.Check         `yaml:"checks"`
	Notify       map[string]notify.Config `yaml:"notify"`
	UpstreamPing redact.Secret            `yaml:"upstream_ping"` // URL that is fetched every minute while heartbeat works
	Jobs         []JobConfig              `yaml:"jobs"`
}

// Server is where heartbeat listens and who may ask what.
type Server struct {
	Listen     string        `yaml:"listen"`
	Token      redact.Secret `yaml:"token"`      // everything
	ReadToken  redact.Secret `yaml:"read_token"` // reading only
	PingKey    redact.Secret `yaml:"ping_key"`   // in front of ids in ping URLs
	PublicRead bool          `yaml:"public_read"`
}

// Store is the record.
type Store struct {
	URL sqlstore.URL `yaml:"url"`
}

// Gateway is asked about the backends of an agent's model.
type Gateway struct {
	URL   string        `yaml:"url"`
	Token redact.Secret `yaml:"token"`
}

// Alertmanager gets the silences of maintenance windows.
type Alertmanager struct {
	URL string `yaml:"url"`
}

// Sources is where tasks are read.
type Sources struct {
	OpenClaw  boards.OpenClaw  `yaml:"openclaw"`
	WorkBoard boards.WorkBoard `yaml:"workboard"`
	Multica   boards.Multica   `yaml:"multica"`
	Documents Documents        `yaml:"documents"`
}

// boards is the part that other programs have as well.
func (s Sources) boards() boards.Config {
	return boards.Config{OpenClaw: s.OpenClaw, WorkBoard: s.WorkBoard, Multica: s.Multica}
}

// Documents is how Markdown files with tasks are read; the roster says which.
type Documents struct {
	Cache   time.Duration `yaml:"cache"` // how often they are read, and how long an answer is used again
	Timeout time.Duration `yaml:"timeout"`
}

// Messages are the first words of what a driver tells its agent; what there is to
// do follows.
type Messages struct {
	Beat     string `yaml:"beat"`
	Recovery string `yaml:"recovery"` // where tasks are stuck
}

// Schedule is how due times are placed and collide.
type Schedule struct {
	Spread    string      `yaml:"spread"` // hash | off
	Overlap   job.Overlap `yaml:"overlap"`
	AlwaysRun bool        `yaml:"always_run"`
}

// CatchUp is what is made up for after an absence.
type CatchUp struct {
	Policy slot.Policy   `yaml:"policy"`
	Window time.Duration `yaml:"window"` // 0 = no limit
	Cap    int           `yaml:"cap"`
}

// Concurrency bounds driver calls at the same time; 0 = no limit.
type Concurrency struct {
	Total     int            `yaml:"total"`
	PerDriver map[string]int `yaml:"per_driver"`
}

// Retries is about driver calls that had no effect.
type Retries struct {
	Max  int           `yaml:"max"`
	Base time.Duration `yaml:"base"`
}

// Retention is how long things are kept; 0 = for ever.
type Retention struct {
	Runs time.Duration `yaml:"runs"`
	Log  time.Duration `yaml:"log"`
}

// Maintenance is a window in which agents are not beaten.
type Maintenance struct {
	Name     string        `yaml:"name"`
	Agents   []string      `yaml:"agents"`
	Cron     string        `yaml:"cron"`
	Duration time.Duration `yaml:"duration"`
	Start    string        `yaml:"start"`
	End      string        `yaml:"end"`
}

// JobConfig is a cron job of one's own. Its due times are exact unless spread
// is hash.
type JobConfig struct {
	ID      string        `yaml:"id"`
	Label   string        `yaml:"label"`
	Owner   string        `yaml:"owner"`
	Every   time.Duration `yaml:"every"`
	Cron    string        `yaml:"cron"`
	Grace   time.Duration `yaml:"grace"`
	Timeout time.Duration `yaml:"timeout"`
	Overlap job.Overlap   `yaml:"overlap"`
	Spread  string        `yaml:"spread"`
	Driver  fleet.Driver  `yaml:"driver"`
}

// DefaultConfig returns the defaults.
func DefaultConfig() Config {
	of := boards.Default()
	return Config{
		Server:       Server{Listen: "127.0.0.1:9095", PublicRead: true},
		Store:        Store{URL: "sqlite:data/heartbeat.db"},
		Roster:       "fleet.yaml",
		Gateway:      Gateway{URL: "http://127.0.0.1:9191"},
		Alertmanager: Alertmanager{URL: "http://127.0.0.1:9093"},
		Sources: Sources{
			OpenClaw: of.OpenClaw, WorkBoard: of.WorkBoard, Multica: of.Multica,
			Documents: Documents{Cache: 10 * time.Second, Timeout: 5 * time.Second},
		},
		Messages:    Messages{Beat: run.DefaultMessage, Recovery: run.DefaultRecovery},
		Schedule:    Schedule{Spread: spreadHash, Overlap: job.OverlapSkip},
		CatchUp:     CatchUp{Policy: slot.Latest, Window: time.Hour, Cap: 3},
		Concurrency: Concurrency{Total: 8, PerDriver: map[string]int{"openclaw": 2}},
		Retries:     Retries{Max: 2, Base: 30 * time.Second},
		Retention:   Retention{Runs: 30 * 24 * time.Hour, Log: 7 * 24 * time.Hour},
	}
}

// maxWords bounds a message: it has to fit into one variable of a command's
// environment.
const maxWords = 8 << 10

const (
	spreadHash = "hash"
	spreadOff  = "off"
)

// Validate implements [confload.Validator].
func (c *Config) Validate(r *confload.Report) {
	if err := httpserve.CheckExposure(c.Server.Listen, "server.token", c.Server.Token); err != nil {
		r.Errorf("server.listen", "%v", err)
	}
	if _, err := c.Store.URL.Path(); err != nil {
		r.Errorf("store.url", "%v", err)
	}
	if c.Roster == "" {
		r.Errorf("roster", "expected the path of fleet.yaml")
	}
	oneOf(r, "schedule.spread", c.Schedule.Spread, spreadHash, spreadOff)
	oneOf(r, "schedule.overlap", c.Schedule.Overlap, job.Overlaps()...)
	oneOf(r, "catch_up.policy", c.CatchUp.Policy, slot.Policies()...)
	if c.CatchUp.Cap < 1 {
		r.Errorf("catch_up.cap", "expected 1 or more, got %d", c.CatchUp.Cap)
	}
	atLeastZero(r, "concurrency.total", c.Concurrency.Total)
	for name, n := range c.Concurrency.PerDriver {
		atLeastZero(r, "concurrency.per_driver."+name, n)
	}
	atLeastZero(r, "retries.max", c.Retries.Max)
	atLeastZero(r, "retries.base", c.Retries.Base)
	atLeastZero(r, "catch_up.window", c.CatchUp.Window)
	atLeastZero(r, "retention.runs", c.Retention.Runs)
	atLeastZero(r, "retention.log", c.Retention.Log)
	c.validateSources(r)
	c.validateMessages(r)
	c.validateChecks(r)
	for i, j := range c.Jobs {
		j.validate(r, fmt.Sprintf("jobs[%d]", i))
	}
}

func (c *Config) validateSources(r *confload.Report) {
	c.Sources.boards().Check(r)
	for path, d := range map[string]time.Duration{"sources.documents.cache": c.Sources.Documents.Cache, "sources.documents.timeout": c.Sources.Documents.Timeout} {
		if d < boards.MinTime {
			r.Errorf(path, "expected at least %s, got %s", boards.MinTime, d)
		}
	}
}

func (c *Config) validateMessages(r *confload.Report) {
	for path, text := range map[string]string{"messages.beat": c.Messages.Beat, "messages.recovery": c.Messages.Recovery} {
		if text == "" || len(text) > maxWords {
			r.Errorf(path, "expected a text of 1 to %d bytes", maxWords)
		}
	}
}

func (c *Config) validateChecks(r *confload.Report) {
	names := map[string]bool{}
	keys := map[redact.Secret]string{}
	if c.Server.PingKey.IsSet() {
		keys[c.Server.PingKey] = "server.ping_key"
	}
	for i, check := range c.Checks {
		path := fmt.Sprintf("checks[%d]", i)
		if check.Name == "" || names[check.Name] {
			r.Errorf(path+".name", "expected a name that no other check has, got %q", check.Name)
		}
		names[check.Name] = true
		if first, twice := keys[check.Key]; twice && check.Key.IsSet() {
			r.Errorf(path+".key", "the same key as %s; every check needs a key of its own (openssl rand -hex 16 makes one)", first)
		}
		keys[check.Key] = path + ".key"
		atLeastZero(r, path+".every", check.Every)
		atLeastZero(r, path+".grace", check.Grace)
		atLeastZero(r, path+".clear_after", check.ClearAfter)
		for j, target := range check.Notify {
			if _, ok := c.Notify[target]; !ok {
				r.Errorf(fmt.Sprintf("%s.notify[%d]", path, j), "expected a target of notify:, got %q", target)
			}
		}
	}
	for name, target := range c.Notify {
		target.Check(r, "notify."+name)
	}
}

func (j JobConfig) validate(r *confload.Report, path string) {
	if j.ID == "" {
		r.Errorf(path+".id", "expected an id")
	}
	if (j.Every > 0) == (j.Cron != "") {
		r.Errorf(path, "expected either every or cron")
	}
	if j.Cron != "" {
		if _, err := job.ParseCron(j.Cron, time.UTC, ""); err != nil {
			r.Errorf(path+".cron", "expected five cron fields like */10 * * * *: %v", err)
		}
	}
	if j.Every != 0 && j.Every < time.Second {
		r.Errorf(path+".every", "expected an interval of at least 1s, got %s", j.Every)
	}
	atLeastZero(r, path+".grace", j.Grace)
	atLeastZero(r, path+".timeout", j.Timeout)
	if j.Overlap != "" {
		oneOf(r, path+".overlap", j.Overlap, job.Overlaps()...)
	}
	if j.Spread != "" {
		oneOf(r, path+".spread", j.Spread, spreadHash, spreadOff)
	}
	if j.Driver.Type != "exec" || (len(j.Driver.Argv) == 0) == (j.Driver.Shell == "") {
		r.Errorf(path+".driver", "expected type exec with either argv or shell; other drivers are not available in this version")
	}
}

func oneOf[T ~string](r *confload.Report, path string, got T, allowed ...T) {
	if !slices.Contains(allowed, got) {
		r.Errorf(path, "expected one of %v, got %q", allowed, string(got))
	}
}

func atLeastZero[T int | time.Duration](r *confload.Report, path string, got T) {
	if got < 0 {
		r.Errorf(path, "expected 0 or more, got %v", got)
	}
}
