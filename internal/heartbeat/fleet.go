package heartbeat

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/tasksource/documents"
)

// plan is a configuration with its roster, whole and checked.
type plan struct {
	config Config
	roster *fleet.Roster
	jobs   []job.Job // agents in the roster's order, then jobs
	byID   map[string]job.Job
	keys   map[string]string // schedule keys by id
	stamp  fileStamp
}

// Load reads and checks heartbeat.yaml and the roster it names. Its error holds
// every problem of both files.
func Load(path string) (Config, *fleet.Roster, error) {
	p, err := load(path)
	if err != nil {
		return Config{}, nil, err
	}
	return p.config, p.roster, nil
}

func load(path string) (*plan, error) {
	p := &plan{config: DefaultConfig(), byID: map[string]job.Job{}, keys: map[string]string{}}
	err := confload.Load(path, &p.config)
	p.stamp = stampOf(string(p.config.Roster))
	roster, rosterErr := fleet.LoadNamed(p.config.Roster)
	if err := confload.Join(err, rosterErr); err != nil {
		return nil, err
	}
	p.roster = roster
	if err := p.build(path); err != nil {
		return nil, err
	}
	return p, nil
}

func problemOf(file, path, message string) *confload.Errors {
	return &confload.Errors{Problems: []confload.Problem{{File: file, Path: path, Message: message}}}
}

func (p *plan) build(path string) error {
	all := &confload.Errors{}
	for i, agent := range p.roster.Agents {
		if t := agent.Driver.Type; t != "none" && t != "exec" {
			problem := problemOf(string(p.config.Roster), fmt.Sprintf("agents[%d].driver.type", i),
				fmt.Sprintf("the %s driver of %s is not available in this version; use exec, or none for an agent that pings in", t, agent.ID))
			all.Problems = append(all.Problems, problem.Problems...)
			continue
		}
		if wrong := p.badGlobs(i, agent); len(wrong) > 0 {
			all.Problems = append(all.Problems, wrong...)
			continue
		}
		j, key, err := p.agentJob(agent)
		if err != nil {
			return err
		}
		p.add(j, key)
	}
	for i, c := range p.config.Jobs {
		field := fmt.Sprintf("jobs[%d].id", i)
		switch {
		case !idPattern.MatchString(c.ID) || reservedID.MatchString(c.ID):
			all.Problems = append(all.Problems, problemOf(path, field, fmt.Sprintf("expected [a-z0-9][a-z0-9-]{0,62} other than start, fail, log, progress or a number, got %q", c.ID)).Problems...)
			continue
		case p.known(c.ID):
			all.Problems = append(all.Problems, problemOf(path, field, fmt.Sprintf("id %q is used by an agent or another job", c.ID)).Problems...)
			continue
		}
		j, key, err := p.ownJob(c)
		if err != nil {
			return err
		}
		p.add(j, key)
	}
	if len(all.Problems) > 0 {
		return all
	}
	return nil
}

// badGlobs names the globs of an agent that can match nothing.
func (p *plan) badGlobs(i int, a fleet.Agent) []confload.Problem {
	var out []confload.Problem
	if a.Sources.Documents == nil {
		return nil
	}
	for n, glob := range a.Sources.Documents.Globs {
		if err := documents.CheckGlob(glob); err != nil {
			out = append(out, problemOf(string(p.config.Roster), fmt.Sprintf("agents[%d].sources.documents.globs[%d]", i, n), err.Error()).Problems...)
		}
	}
	return out
}

var (
	idPattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	reservedID = regexp.MustCompile(`^(start|fail|log|progress|[0-9]+)$`)
)

func (p *plan) known(id string) bool {
	_, ok := p.byID[id]
	return ok
}

func (p *plan) add(j job.Job, key string) {
	p.jobs = append(p.jobs, j)
	p.byID[j.ID] = j
	p.keys[j.ID] = key
}

func (p *plan) agentJob(a fleet.Agent) (job.Job, string, error) {
	spread := ""
	if p.config.Schedule.Spread == spreadHash {
		spread = a.ID
	}
	schedule, key, err := p.schedule(a.Every, a.Cron, spread)
	if err != nil {
		return job.Job{}, "", fmt.Errorf("schedule of %s: %w", a.ID, err)
	}
	return job.Job{
		ID: a.ID, Kind: job.KindAgent, Agent: a, Schedule: schedule, Interval: interval(a.Every, schedule), Grace: a.Grace,
		Overlap: p.config.Schedule.Overlap, AlwaysRun: p.config.Schedule.AlwaysRun,
		Message: p.config.Messages.Beat, Recovery: p.config.Messages.Recovery,
	}, key, nil
}

func (p *plan) ownJob(c JobConfig) (job.Job, string, error) {
	spread := ""
	if c.Spread == spreadHash {
		spread = c.ID
	}
	schedule, key, err := p.schedule(c.Every, c.Cron, spread)
	if err != nil {
		return job.Job{}, "", fmt.Errorf("schedule of %s: %w", c.ID, err)
	}
	j := job.Job{
		ID: c.ID, Kind: job.KindJob, Schedule: schedule, Interval: interval(c.Every, schedule), Grace: c.Grace, Overlap: c.Overlap,
		Agent: fleet.Agent{ID: c.ID, Label: c.Label, Owner: c.Owner, Driver: c.Driver, Timeout: c.Timeout}, Message: p.config.Messages.Beat,
	}
	if j.Overlap == "" {
		j.Overlap = p.config.Schedule.Overlap
	}
	if j.Agent.Label == "" {
		j.Agent.Label = c.ID
	}
	if j.Grace == 0 {
		j.Grace = 5 * time.Minute
	}
	return j, key, nil
}

func (p *plan) schedule(every time.Duration, expression, spread string) (job.Schedule, string, error) {
	if expression == "" {
		e := job.Every{Interval: every, Offset: job.Spread(spread, every)}
		return e, fmt.Sprintf("every %s + %s", e.Interval, e.Offset), nil
	}
	s, err := job.ParseCron(expression, p.roster.Location, spread)
	if err != nil {
		return nil, "", err
	}
	return s, fmt.Sprintf("cron %s in %s, spread %q", expression, p.roster.Location, spread), nil
}

func interval(every time.Duration, schedule job.Schedule) time.Duration {
	if every > 0 {
		return every
	}
	return job.Gap(schedule, time.Now())
}

// Unavailable lists what the configuration asks for and this version does not
// do, one line each.
func Unavailable(c Config, roster *fleet.Roster) []string {
	var out []string
	var claws, patrol, models []string
	for _, a := range roster.Agents {
		if a.Sources.OpenClaw != nil {
			claws = append(claws, a.ID)
		}
		if kinds := preflight.Unavailable(a.Probe); len(kinds) > 0 {
			out = append(out, fmt.Sprintf("probe %s of %s: not asked; counts as no sign", strings.Join(kinds, ", "), a.ID))
		}
		if a.Patrol {
			patrol = append(patrol, a.ID)
		}
		if a.Model != "" && a.Driver.Type != "none" {
			models = append(models, a.ID)
		}
	}
	if len(claws) > 0 {
		out = append(out, fmt.Sprintf("source openclaw of %s: not read; its tasks are unknown", strings.Join(claws, ", ")))
	}
	if len(patrol) > 0 {
		out = append(out, "patrol of "+strings.Join(patrol, ", ")+": the fleet's backlog is not added to the message")
	}
	if len(models) > 0 {
		out = append(out, "model of "+strings.Join(models, ", ")+": the gateway is not asked for its backends before a beat")
	}
	if len(c.Maintenance) > 0 {
		out = append(out, "maintenance: windows neither pause beats nor make silences")
	}
	if roster.Discovery.OpenClaw {
		out = append(out, "discovery.openclaw: agents that the roster does not name are not found")
	}
	return out
}

// fileStamp tells whether a file changed.
type fileStamp struct {
	size    int64
	changed time.Time
}

func stampOf(path string) fileStamp {
	info, err := os.Stat(path)
	if err != nil {
		return fileStamp{}
	}
	return fileStamp{info.Size(), info.ModTime()}
}
