package gateway

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
)

// collector derives the state metrics at scrape time.
type collector struct {
	app                                             *App
	state, failed, until, rpm, pools, models        *prometheus.Desc
	size, depth, capacity, budget, backup, interval *prometheus.Desc
}

func newCollector(a *App) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, labels, nil)
	}
	return &collector{
		app:      a,
		state:    desc("gateway_backend_state", "The state of a backend, one-hot: healthy, cooling, half_open, error or disabled.", "backend", "pool", "state"),
		failed:   desc("gateway_backend_error", "Whether the backend is in error for the reason (auth, quota): a person has to look.", "backend", "reason"),
		until:    desc("gateway_backend_cooldown_until_timestamp_seconds", "Until when the backend is left alone, in Unix seconds; 0 while it is not, or has no end.", "backend"),
		rpm:      desc("gateway_backend_rpm_utilization_ratio", "Share of the backend's rpm_limit that is used, 0 to 1; absent without a limit.", "backend"),
		pools:    desc("gateway_pool_backends", "Backends of the pool by state.", "pool", "state"),
		models:   desc("gateway_model_available_backends", "Backends of the pool that serve the model, as far as their last answers tell; a half open one does not count until its trial succeeds.", "model", "pool"),
		depth:    desc("gateway_queue_depth", "Requests that wait for a backend."),
		capacity: desc("gateway_queue_capacity", "Requests that may wait for a backend at the same time."),
		budget:   desc("gateway_budget_remaining_ratio", "Share of a client's budget for the period (day, month) that is left, 0 to 1; absent without a budget.", "client", "period"),
		backup:   desc("gateway_last_backup_timestamp_seconds", "When the newest backup was made, in Unix seconds; 0 where there is none, absent where none is asked for."),
		interval: desc("gateway_backup_interval_seconds", "How often a backup is made (backup.every); absent where none is asked for."),
		size:     desc("gateway_database_size_bytes", "Size of the store's files (db, wal).", "file"),
	}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.state, c.failed, c.until, c.rpm, c.pools, c.models, c.size, c.depth, c.capacity, c.budget, c.backup, c.interval} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	a, now := c.app.current.Load(), c.app.now()
	counts := map[[2]string]int{}
	for _, b := range a.backends {
		s := b.Snapshot(now)
		counts[[2]string{b.Pool, string(s.Status)}]++
		for _, status := range backend.Statuses() {
			gauge(c.state, number(status == s.Status), b.Name, b.Pool, string(status))
		}
		for _, reason := range backend.ErrorReasons() {
			gauge(c.failed, number(s.Status == backend.Error && s.Reason == reason), b.Name, string(reason))
		}
		until := 0.0
		if (s.Status == backend.Cooling || s.Status == backend.Error) && !s.Until.IsZero() {
			until = float64(s.Until.UnixMilli()) / 1000
		}
		gauge(c.until, until, b.Name)
		if b.RPM > 0 {
			gauge(c.rpm, s.RPMUsed, b.Name)
		}
	}
	for _, pool := range a.plan.Table.Pools() {
		for _, status := range backend.Statuses() {
			gauge(c.pools, float64(counts[[2]string{pool, string(status)}]), pool, string(status))
		}
	}
	c.collectModels(a, now, gauge)
	gauge(c.depth, float64(c.app.queue.Depth()))
	gauge(c.capacity, float64(c.app.queue.Capacity()))
	for _, x := range a.plan.Clients.All() {
		for _, p := range []limit.Period{limit.Day, limit.Month} {
			if left, ok := x.Limits.Remaining(p, now); ok {
				gauge(c.budget, left, x.Name, string(p))
			}
		}
	}
	for file, bytes := range c.app.ledger.SizeBytes() {
		gauge(c.size, float64(bytes), file)
	}
	c.collectBackups(a, gauge)
}

// collectBackups tells of the schedule of backups, and of the newest.
func (c *collector) collectBackups(a *assembly, gauge func(*prometheus.Desc, float64, ...string)) {
	every := a.config.Backup.Every
	if every == 0 {
		return
	}
	gauge(c.interval, every.Seconds())
	all, err := c.app.backups.List()
	switch {
	case err != nil:
		c.app.log.Warn("listing backups failed", "error", err)
	case len(all) == 0:
		gauge(c.backup, 0)
	default:
		gauge(c.backup, float64(all[0].CreatedAt.Unix()))
	}
}

// collectModels tells, for each model and each pool that maps it, who can be asked.
func (c *collector) collectModels(a *assembly, now time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	for _, model := range a.models {
		available := map[string]int{}
		for _, candidate := range a.plan.Table.Candidates(model) {
			n := available[candidate.Pool]
			if candidate.Proven(model, now) {
				n++
			}
			available[candidate.Pool] = n
		}
		for pool, n := range available {
			gauge(c.models, float64(n), model, pool)
		}
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
