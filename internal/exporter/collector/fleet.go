package collector

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/exporter/verdict"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
)

// View is all that a scrape shows, at one moment.
type View struct {
	Agents  []AgentView
	Sources []SourceView
	Host    string // "" = the central exporter, which shows every series
}

// AgentView is one agent with its signals and the verdict on them.
type AgentView struct {
	Agent   fleet.Agent
	Beat    *beat.Agent // nil while unknown
	Now     time.Time   // the moment of the verdict, by heartbeat's clock
	Watches []verdict.Signal
	Traffic *ClientTraffic // nil while unknown
	Work    *Work          // nil while unknown
	Verdict verdict.Verdict
}

// SourceView is the health of one source.
type SourceView struct {
	Name   string
	Polled bool
	Up     bool
	At     time.Time // last success; zero = never
	Took   time.Duration
	Err    error
}

// Fleet is the Prometheus collector of the agent_* series.
type Fleet struct{ view func() View }

// NewFleet makes the collector; view is called at each scrape and must not
// block.
func NewFleet(view func() View) *Fleet { return &Fleet{view} }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"agent_name", "agent_label"}, labels...), nil)
}

func sourceDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{"source"}, nil)
}

var (
	info           = desc("agent_info", "What the roster says of the agent; always 1.", "class", "owner", "host", "discovered")
	state          = desc("agent_heartbeat_state", "The verdict on the agent, one-hot: ok, late, down, paused or unknown. Always there for every agent of the roster.", "state")
	reason         = desc("agent_heartbeat_reason", "Why the agent is in its state; always 1.", "reason")
	status         = desc("agent_heartbeat_status", "1 healthy, 0 stale; absent while unknown or paused.")
	lastStart      = desc("agent_heartbeat_last_start_timestamp_seconds", "When a run of the agent last started, in Unix seconds.")
	lastSuccess    = desc("agent_heartbeat_last_success_timestamp_seconds", "When the agent's last beat came, in Unix seconds.")
	lastFailure    = desc("agent_heartbeat_last_failure_timestamp_seconds", "When the agent or its run last failed, in Unix seconds.")
	interval       = desc("agent_heartbeat_interval_seconds", "How often a beat of the agent is expected.")
	grace          = desc("agent_heartbeat_grace_seconds", "How long after its due time a beat is late, not missed.")
	activity       = desc("agent_last_activity_timestamp_seconds", "Last sign of life that the source has seen, in Unix seconds.", "source")
	tasks          = desc("agent_tasks", "Tasks of the agent by source and state; absent while the source is unknown.", "source", "state")
	progress       = desc("agent_task_last_progress_timestamp_seconds", "Last progress of the oldest active task of the source, in Unix seconds.", "source")
	stagnation     = desc("agent_task_stagnation_seconds", "Age of the oldest active task's last progress; 0 with no active task, absent while unknown.")
	rounds         = desc("agent_task_rounds", "Driver calls spent on the task with the most of them.")
	roundLimit     = desc("agent_task_round_limit", "Driver calls after which a task is paused; 0 = no limit.")
	taskSource     = desc("agent_task_source_up", "Whether the agent's task source could be read when it was last tried (1) or not (0); one for each source that the roster names.", "source")
	roundWarning   = desc("agent_task_round_warning", "Driver calls on one task from which to warn; absent without a limit.")
	pending        = prometheus.NewDesc("agent_workboard_pending", "Open cards of WorkBoard that are the roster's agents', by type; absent while the cards of any agent that names it are unknown.", []string{"type"}, nil)
	up             = desc("agent_up", "Whether the watched process, port, unit or container is up; absent while not known.", "signal")
	conflict       = desc("agent_signal_conflict", "Whether two sources disagree about the agent.")
	sourceUp       = sourceDesc("agent_source_up", "Whether the source answered when it was last read.")
	sourceSuccess  = sourceDesc("agent_source_last_success_timestamp_seconds", "When the source last answered, in Unix seconds.")
	sourceDuration = sourceDesc("agent_source_scrape_seconds", "How long the last read of the source took.")
)

// Describe implements [prometheus.Collector].
func (f *Fleet) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{info, state, reason, status, lastStart, lastSuccess, lastFailure, interval, grace,
		activity, tasks, progress, stagnation, rounds, roundLimit, roundWarning, taskSource, pending, up, conflict, requestsTotal, errorsTotal, limitedTotal, limitedRatio, limitedCount, responseTime, responses, sourceUp, sourceSuccess, sourceDuration} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (f *Fleet) Collect(ch chan<- prometheus.Metric) {
	view := f.view()
	for _, a := range view.Agents {
		s := series{ch: ch, labels: []string{a.Agent.ID, a.Agent.Label}}
		for _, w := range a.Watches {
			if w.Known {
				s.gauge(up, truth(w.Up), w.Name)
			}
		}
		if view.Host == "" {
			s.verdict(a)
			s.beat(a.Beat)
			s.tasks(a.Work)
			s.traffic(a.Traffic)
		}
	}
	if view.Host == "" {
		pendingCards(ch, view.Agents)
	}
	for _, source := range view.Sources {
		if !source.Polled {
			continue
		}
		ch <- prometheus.MustNewConstMetric(sourceUp, prometheus.GaugeValue, truth(source.Up), source.Name)
		ch <- prometheus.MustNewConstMetric(sourceDuration, prometheus.GaugeValue, source.Took.Seconds(), source.Name)
		if !source.At.IsZero() {
			ch <- prometheus.MustNewConstMetric(sourceSuccess, prometheus.GaugeValue, unix(source.At), source.Name)
		}
	}
}

// series sends metrics of one agent.
type series struct {
	ch     chan<- prometheus.Metric
	labels []string
}

func (s series) gauge(d *prometheus.Desc, value float64, labels ...string) {
	s.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append(s.labels[:2:2], labels...)...)
}

func (s series) time(d *prometheus.Desc, t time.Time, labels ...string) {
	if !t.IsZero() {
		s.gauge(d, unix(t), labels...)
	}
}

func (s series) verdict(a AgentView) {
	discovered := "false"
	if a.Beat != nil && a.Beat.Discovered {
		discovered = "true"
	}
	s.gauge(info, 1, a.Agent.Class, a.Agent.Owner, a.Agent.Host, discovered)
	for _, each := range verdict.States() {
		s.gauge(state, truth(each == a.Verdict.State), string(each))
	}
	s.gauge(reason, 1, a.Verdict.Reason)
	if healthy, known := a.Verdict.Healthy(); known {
		s.gauge(status, truth(healthy))
	}
	s.gauge(conflict, truth(a.Verdict.Conflict))
	s.gauge(grace, a.Agent.Grace.Seconds())
	if a.Agent.Every > 0 {
		s.gauge(interval, a.Agent.Every.Seconds())
	} else if a.Beat != nil && a.Beat.IntervalSeconds > 0 {
		s.gauge(interval, a.Beat.IntervalSeconds)
	}
}

func (s series) beat(b *beat.Agent) {
	if b == nil {
		return
	}
	s.time(lastStart, b.LastStart)
	s.time(lastSuccess, b.LastBeat)
	s.time(lastFailure, b.LastFailure)
	s.time(activity, b.LastSign, "heartbeat")
}

func unix(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
