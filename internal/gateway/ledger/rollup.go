package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// Sums adds up requests that have ended.
type Sums struct {
	Requests  int64
	Errors    int64     // failed or interrupted
	Usage     llm.Usage // its Source says nothing here
	Cost      llm.Nano
	Duration  time.Duration
	TTFB      time.Duration // of TTFBCount requests
	TTFBCount int64         // requests that had a first byte
}

// Add adds x.
func (s *Sums) Add(x Sums) {
	s.Requests += x.Requests
	s.Errors += x.Errors
	s.Usage.Input += x.Usage.Input
	s.Usage.Output += x.Usage.Output
	s.Usage.CacheRead += x.Usage.CacheRead
	s.Usage.CacheWrite += x.Usage.CacheWrite
	s.Usage.Reasoning += x.Usage.Reasoning
	s.Cost += x.Cost
	s.Duration += x.Duration
	s.TTFB += x.TTFB
	s.TTFBCount += x.TTFBCount
}

// hourKey and dayKey name a line of the rollups.
type hourKey struct {
	hour                   int64 // since 1970, UTC
	backend, model, client string
}

type dayKey struct {
	day                   int64 // since 1970, by the calendar of the zone
	pool, backend, client string
}

// share is what one row adds, and to which lines.
type share struct {
	hour hourKey
	day  dayKey
	sums Sums
}

// shareOf is the share of a row that has ended.
func shareOf(r *Row, zone *time.Location) share {
	model := r.Label
	if model == "" {
		model = r.Model
	}
	s := Sums{Requests: 1, Usage: r.Usage, Cost: r.Cost, Duration: r.Duration.Truncate(time.Microsecond), TTFB: r.TTFB.Truncate(time.Microsecond)}
	if r.Status == Failed || r.Status == Interrupted {
		s.Errors = 1
	}
	if s.TTFB > 0 {
		s.TTFBCount = 1
	}
	return share{hourKey{hourOf(r.StartedAt), r.Backend, model, r.Client}, dayKey{dayOf(r.StartedAt, zone), r.Pool, r.Backend, r.Client}, s}
}

const (
	secondsPerHour = 60 * 60
	secondsPerDay  = 24 * secondsPerHour
)

func hourOf(at time.Time) int64 { return floor(at.Unix(), secondsPerHour) }

// dayOf numbers the days of the zone's calendar.
func dayOf(at time.Time, zone *time.Location) int64 {
	_, offset := at.In(zone).Zone()
	return floor(at.Unix()+int64(offset), secondsPerDay)
}

// dateOf is midnight UTC of the day's date.
func dateOf(day int64) time.Time { return time.Unix(day*secondsPerDay, 0).UTC() }

func floor(n, by int64) int64 {
	if n < 0 {
		n -= by - 1
	}
	return n / by
}

const upsertHourly = `INSERT INTO hourly (hour, backend, model, client, requests, errors, input, output, cache_read, cache_write, reasoning, cost, duration_us, ttfb_us, ttfb_count)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
input = input + excluded.input, output = output + excluded.output, cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
reasoning = reasoning + excluded.reasoning, cost = cost + excluded.cost, duration_us = duration_us + excluded.duration_us, ttfb_us = ttfb_us + excluded.ttfb_us, ttfb_count = ttfb_count + excluded.ttfb_count`

const upsertDaily = `INSERT INTO daily (day, pool, backend, client, requests, errors, input, output, cache_read, cache_write, reasoning, cost)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, errors = errors + excluded.errors,
input = input + excluded.input, output = output + excluded.output, cache_read = cache_read + excluded.cache_read, cache_write = cache_write + excluded.cache_write,
reasoning = reasoning + excluded.reasoning, cost = cost + excluded.cost`

// rollups gathers shares, so that each line is written once for many.
type rollups struct {
	hourly map[hourKey]Sums
	daily  map[dayKey]Sums
}

func newRollups() *rollups { return &rollups{map[hourKey]Sums{}, map[dayKey]Sums{}} }

func (r *rollups) add(x *share) {
	hour, day := r.hourly[x.hour], r.daily[x.day]
	hour.Add(x.sums)
	day.Add(x.sums)
	r.hourly[x.hour], r.daily[x.day] = hour, day
}

func (r *rollups) empty() bool { return len(r.hourly) == 0 }

// forget lets go of what was gathered, once it is written.
func (r *rollups) forget() {
	clear(r.hourly)
	clear(r.daily)
}

// write adds what was gathered to the store.
func (r *rollups) write(ctx context.Context, hourly, daily *sql.Stmt) error {
	for k, s := range r.hourly {
		_, err := hourly.ExecContext(ctx, k.hour, k.backend, k.model, k.client, s.Requests, s.Errors, s.Usage.Input, s.Usage.Output, s.Usage.CacheRead, s.Usage.CacheWrite,
			s.Usage.Reasoning, int64(s.Cost), s.Duration.Microseconds(), s.TTFB.Microseconds(), s.TTFBCount)
		if err != nil {
			return fmt.Errorf("adding to the hour of backend %q: %w", k.backend, err)
		}
	}
	for k, s := range r.daily {
		_, err := daily.ExecContext(ctx, k.day, k.pool, k.backend, k.client, s.Requests, s.Errors, s.Usage.Input, s.Usage.Output, s.Usage.CacheRead, s.Usage.CacheWrite,
			s.Usage.Reasoning, int64(s.Cost))
		if err != nil {
			return fmt.Errorf("adding to the day of pool %q: %w", k.pool, err)
		}
	}
	return nil
}
