package alertbridge

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// scrapeTimeout bounds reading the store for one scrape.
const scrapeTimeout = 5 * time.Second

// collector derives the state metrics from the store at scrape time.
type collector struct {
	app                                        *App
	cards, pending, dead, configured, digested *prometheus.Desc
}

func newCollector(a *App) *collector {
	return &collector{
		app:        a,
		cards:      prometheus.NewDesc("alertbridge_cards", "Open cards by receiver and state (firing, silenced, settling, unknown).", []string{"receiver", "state"}, nil),
		digested:   prometheus.NewDesc("alertbridge_digested_cards", "Open cards that a digest tells of in their place, by receiver.", []string{"receiver"}, nil),
		pending:    prometheus.NewDesc("alertbridge_pending_oldest_timestamp_seconds", "Since when the oldest change waits for its delivery, in Unix seconds; 0 while none waits.", nil, nil),
		dead:       prometheus.NewDesc("alertbridge_dead_letters", "Cards that were given up and not replayed, by reason.", []string{"reason"}, nil),
		configured: prometheus.NewDesc("alertbridge_receiver_configured", "Whether the receiver has credentials (1) or its alerts become dead letters (0).", []string{"receiver"}, nil),
	}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.cards, c.pending, c.dead, c.configured, c.digested} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. A metric that cannot be read is an
// error of the scrape, not a zero.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	config := c.app.current.Load().config
	c.collectCards(ctx, ch, config)
	oldest, waiting, err := c.app.store.OldestPending(ctx)
	switch {
	case err != nil:
		ch <- prometheus.NewInvalidMetric(c.pending, err)
	case waiting:
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, float64(oldest.UnixMilli())/1000)
	default:
		ch <- prometheus.MustNewConstMetric(c.pending, prometheus.GaugeValue, 0)
	}
	dead, err := c.app.store.DeadCounts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.dead, err)
	} else {
		for _, reason := range store.Reasons() {
			ch <- prometheus.MustNewConstMetric(c.dead, prometheus.GaugeValue, float64(dead[reason]), string(reason))
		}
	}
	digested, err := c.app.store.Digested(ctx)
	for _, r := range config.Receivers {
		if err != nil {
			ch <- prometheus.NewInvalidMetric(c.digested, err)
		} else {
			ch <- prometheus.MustNewConstMetric(c.digested, prometheus.GaugeValue, float64(digested[r.Name]), r.Name)
		}
		value := 0.0
		if config.configured(r) {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(c.configured, prometheus.GaugeValue, value, r.Name)
	}
}

func (c *collector) collectCards(ctx context.Context, ch chan<- prometheus.Metric, config *Config) {
	counts, err := c.app.store.Counts(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.cards, err)
		return
	}
	for _, r := range config.Receivers {
		for _, state := range card.OpenStates() {
			ch <- prometheus.MustNewConstMetric(c.cards, prometheus.GaugeValue, float64(counts[[2]string{r.Name, string(state)}]), r.Name, string(state))
		}
	}
}
