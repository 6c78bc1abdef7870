package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// Window selects by time and by who took part; zero fields select all.
type Window struct {
	Backend string // that answered
	Model   string // as the sums know it; hours only
	Client  string
	Since   time.Time
	Until   time.Time // exclusive
	Limit   int       // 0 = all
}

func (w *Window) limit() string {
	if w.Limit <= 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(w.Limit)
}

// conditions is a WHERE clause in the making.
type conditions struct {
	texts []string
	args  []any
}

func (c *conditions) add(use bool, text string, args ...any) {
	if use {
		c.texts, c.args = append(c.texts, text), append(c.args, args...)
	}
}

func (c *conditions) where() string {
	if len(c.texts) == 0 {
		return "true"
	}
	return strings.Join(c.texts, " AND ")
}

// Hour is what began in an hour, of one backend, model and client.
type Hour struct {
	At      time.Time // its beginning, UTC
	Backend string    // "" where none answered
	Model   string    // "other" where it was not known
	Client  string
	Sums
}

// Day is what began on a day, in one pool.
type Day struct {
	Date     time.Time // midnight UTC of the zone's date
	Pool     string    // "" where no backend answered
	Backends int64     // different ones that answered
	Sums               // without times
}

// hours are the conditions for lines of the hourly table.
func (w *Window) hours() conditions {
	var c conditions
	c.add(w.Backend != "", "backend = ?", w.Backend)
	c.add(w.Model != "", "model = ?", w.Model)
	c.add(w.Client != "", "client = ?", w.Client)
	c.add(!w.Since.IsZero(), "hour >= ?", hourOf(w.Since.Add(time.Hour-1)))
	c.add(!w.Until.IsZero(), "hour < ?", hourOf(w.Until.Add(time.Hour-1)))
	return c
}

const hourlySums = `requests, errors, input, output, cache_read, cache_write, reasoning, cost, duration_us, ttfb_us, ttfb_count`

// Hourly returns the hours that begin in the window, newest first; those behind
// after, where that is given.
func (l *Ledger) Hourly(ctx context.Context, w Window, after *Hour) ([]Hour, error) {
	if err := l.fresh(ctx); err != nil {
		return nil, err
	}
	c := w.hours()
	if after != nil {
		hour := hourOf(after.At)
		c.add(true, "hour <= ? AND (hour < ? OR (backend, model, client) > (?, ?, ?))", hour, hour, after.Backend, after.Model, after.Client)
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT hour, backend, model, client, `+hourlySums+` FROM hourly WHERE `+c.where()+
		` ORDER BY hour DESC, backend, model, client`+w.limit(), c.args...)
	if err != nil {
		return nil, fmt.Errorf("reading hourly sums: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []Hour{}
	for rows.Next() {
		var h Hour
		var hour, duration, ttfb int64
		err := rows.Scan(&hour, &h.Backend, &h.Model, &h.Client, &h.Requests, &h.Errors, &h.Usage.Input, &h.Usage.Output, &h.Usage.CacheRead, &h.Usage.CacheWrite,
			&h.Usage.Reasoning, &h.Cost, &duration, &ttfb, &h.TTFBCount)
		if err != nil {
			return nil, fmt.Errorf("reading hourly sums: %w", err)
		}
		h.At = time.Unix(hour*secondsPerHour, 0).UTC()
		h.Duration, h.TTFB = time.Duration(duration)*time.Microsecond, time.Duration(ttfb)*time.Microsecond
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading hourly sums: %w", err)
	}
	return out, nil
}

const summed = `coalesce(sum(requests), 0), coalesce(sum(errors), 0), coalesce(sum(input), 0), coalesce(sum(output), 0), coalesce(sum(cache_read), 0), coalesce(sum(cache_write), 0), coalesce(sum(reasoning), 0), coalesce(sum(cost), 0)`

// into are where summed goes.
func (s *Sums) into() []any {
	return []any{&s.Requests, &s.Errors, &s.Usage.Input, &s.Usage.Output, &s.Usage.CacheRead, &s.Usage.CacheWrite, &s.Usage.Reasoning, &s.Cost}
}

// Sums adds up the hours that begin in the window.
func (l *Ledger) Sums(ctx context.Context, w Window) (s Sums, err error) {
	if err := l.fresh(ctx); err != nil {
		return s, err
	}
	c := w.hours()
	var duration, ttfb int64
	err = l.db.Read().QueryRowContext(ctx, `SELECT `+summed+`, coalesce(sum(duration_us), 0), coalesce(sum(ttfb_us), 0), coalesce(sum(ttfb_count), 0) FROM hourly WHERE `+c.where(), c.args...).
		Scan(append(s.into(), &duration, &ttfb, &s.TTFBCount)...)
	if err != nil {
		return s, fmt.Errorf("adding up hours: %w", err)
	}
	s.Duration, s.TTFB = time.Duration(duration)*time.Microsecond, time.Duration(ttfb)*time.Microsecond
	return s, nil
}

// Total adds up all days that are kept, times left out.
func (l *Ledger) Total(ctx context.Context) (s Sums, err error) {
	if err := l.fresh(ctx); err != nil {
		return s, err
	}
	if err := l.db.Read().QueryRowContext(ctx, `SELECT `+summed+` FROM daily`).Scan(s.into()...); err != nil {
		return s, fmt.Errorf("adding up all days: %w", err)
	}
	return s, nil
}

// Daily returns the days that begin in the window, newest first and pool by pool;
// those behind after, where that is given. Of the window, Model does not count.
func (l *Ledger) Daily(ctx context.Context, w Window, after *Day) ([]Day, error) {
	if err := l.fresh(ctx); err != nil {
		return nil, err
	}
	var c conditions
	c.add(w.Backend != "", "backend = ?", w.Backend)
	c.add(w.Client != "", "client = ?", w.Client)
	c.add(!w.Since.IsZero(), "day >= ?", l.dayFrom(w.Since))
	c.add(!w.Until.IsZero(), "day < ?", l.dayFrom(w.Until))
	if after != nil {
		day := dayOf(after.Date, time.UTC)
		c.add(true, "day <= ? AND (day < ? OR pool > ?)", day, day, after.Pool)
	}
	rows, err := l.db.Read().QueryContext(ctx, `SELECT day, pool, count(DISTINCT nullif(backend, '')), `+summed+` FROM daily WHERE `+c.where()+
		` GROUP BY day, pool ORDER BY day DESC, pool`+w.limit(), c.args...)
	if err != nil {
		return nil, fmt.Errorf("reading daily sums: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []Day{}
	for rows.Next() {
		var d Day
		var day int64
		if err := rows.Scan(append([]any{&day, &d.Pool, &d.Backends}, d.into()...)...); err != nil {
			return nil, fmt.Errorf("reading daily sums: %w", err)
		}
		d.Date = dateOf(day)
		out = append(out, d)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading daily sums: %w", err)
	}
	return out, nil
}

// dayFrom is the first day of the zone that begins at or after the moment.
func (l *Ledger) dayFrom(at time.Time) int64 {
	day := dayOf(at, l.zone)
	if y, m, d := at.In(l.zone).Date(); time.Date(y, m, d, 0, 0, 0, 0, l.zone).Before(at) {
		day++
	}
	return day
}

// Spend is what a client's requests of today and of this month cost so far.
type Spend struct {
	Day, Month llm.Nano
}

// Spent returns what every client has spent on the day and in the month of now, by
// the calendar of the zone. Clients that spent nothing this month are left out.
func (l *Ledger) Spent(ctx context.Context, now time.Time) (map[string]Spend, error) {
	if err := l.fresh(ctx); err != nil {
		return nil, err
	}
	today := dayOf(now, l.zone)
	first := today - int64(now.In(l.zone).Day()) + 1
	rows, err := l.db.Read().QueryContext(ctx, `SELECT client, sum(cost) FILTER (WHERE day = ?), sum(cost) FROM daily WHERE day BETWEEN ? AND ? GROUP BY client HAVING sum(cost) > 0`, today, first, today)
	if err != nil {
		return nil, fmt.Errorf("reading what clients spent: %w", err)
	}
	defer func() { _ = rows.Close() }()
	spent := map[string]Spend{}
	for rows.Next() {
		var client string
		var day sql.Null[llm.Nano]
		var s Spend
		if err := rows.Scan(&client, &day, &s.Month); err != nil {
			return nil, fmt.Errorf("reading what clients spent: %w", err)
		}
		s.Day = day.V
		spent[client] = s
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading what clients spent: %w", err)
	}
	return spent, nil
}
