package heartbeat

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/watchdog"
)

// collector derives the gauges of jobs and checks from what is known, at each
// scrape. A time that never happened has no sample.
type collector struct{ app *App }

func gauge(name, help, label string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, []string{label}, nil)
}

func (*collector) nextRun() *prometheus.Desc {
	return gauge("heartbeat_next_run_timestamp_seconds", "When the agent's next slot is due, in Unix seconds.", "agent")
}

func (*collector) lastSuccess() *prometheus.Desc {
	return gauge("heartbeat_last_success_timestamp_seconds", "When the agent last succeeded, in Unix seconds.", "agent")
}

func (*collector) interval() *prometheus.Desc {
	return gauge("heartbeat_interval_seconds", "Time between two beats of the agent.", "agent")
}

func (*collector) inProgress() *prometheus.Desc {
	return gauge("heartbeat_in_progress", "Runs of the agent that are open.", "agent")
}

func (*collector) deadline() *prometheus.Desc {
	return gauge("heartbeat_run_deadline_timestamp_seconds", "When the agent's open run must have ended, in Unix seconds.", "agent")
}

func (*collector) checkUp() *prometheus.Desc {
	return gauge("heartbeat_check_up", "Whether the check is up (1) or down (0); absent until its first ping.", "check")
}

func (*collector) sourceUp() *prometheus.Desc {
	return gauge("heartbeat_source_up", "Whether the task source could be read for every agent that names it (1) or not (0); absent until it was read.", "source")
}

func (*collector) sourceSeconds() *prometheus.Desc {
	return gauge("heartbeat_source_seconds", "How long the last read of the task source took, of the agent where it took longest.", "source")
}

func (*collector) targetConfigured() *prometheus.Desc {
	return gauge("heartbeat_notify_target_configured", "Whether the notice target has a setting (1) or reaches nobody (0).", "target")
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{
		c.nextRun(), c.lastSuccess(), c.interval(), c.inProgress(), c.deadline(), c.checkUp(), c.sourceUp(), c.sourceSeconds(), c.targetConfigured(),
	} {
		ch <- desc
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	send := func(desc *prometheus.Desc, value float64, label string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, label)
	}
	sendTime := func(desc *prometheus.Desc, at time.Time, label string) {
		if !at.IsZero() {
			send(desc, float64(at.UnixMilli())/1000, label)
		}
	}
	p := c.app.current()
	for _, j := range p.jobs {
		facts, _ := c.app.book.Facts(j.ID)
		open, deadline := c.app.executor.InProgress(j.ID)
		sendTime(c.nextRun(), c.app.loop.Next(j.ID), j.ID)
		sendTime(c.lastSuccess(), facts.Success, j.ID)
		send(c.interval(), j.Interval.Seconds(), j.ID)
		send(c.inProgress(), float64(open), j.ID)
		sendTime(c.deadline(), deadline, j.ID)
	}
	for name, stat := range c.app.survey.Stats() {
		send(c.sourceUp(), boolean(stat.Up), name)
		send(c.sourceSeconds(), stat.Took.Seconds(), name)
	}
	for _, check := range c.app.watch.Snapshots() {
		if check.Status != watchdog.StatusNew {
			send(c.checkUp(), boolean(check.Status == watchdog.StatusUp), check.Name)
		}
	}
	for name, target := range p.config.Notify {
		send(c.targetConfigured(), boolean(target.Configured()), name)
	}
}

func boolean(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
