package ledger

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// By is what hours can be added up by.
type By string

// The ways.
const (
	ByHour    By = "hour"
	ByBackend By = "backend"
	ByModel   By = "model"
	ByClient  By = "client"
)

// Group adds up what has something in common.
type Group struct {
	At   time.Time // of ByHour: its beginning, UTC
	Name string    // of the others; "" = no backend answered, or no client was known
	Sums
}

// Groups adds up the hours that begin in the window: by hour with the newest first, else
// what cost most first, then what was asked most.
func (l *Ledger) Groups(ctx context.Context, w Window, by By) ([]Group, error) {
	if !slices.Contains([]By{ByHour, ByBackend, ByModel, ByClient}, by) {
		return nil, fmt.Errorf("adding up hours: by %q is not known", by)
	}
	if err := l.fresh(ctx); err != nil {
		return nil, err
	}
	column, order := string(by), `sum(cost) DESC, sum(requests) DESC, 1`
	if by == ByHour {
		order = `1 DESC`
	}
	c := w.hours()
	rows, err := l.db.Read().QueryContext(ctx, `SELECT `+column+`, `+summed+`, sum(duration_us), sum(ttfb_us), sum(ttfb_count) FROM hourly WHERE `+
		c.where()+` GROUP BY 1 ORDER BY `+order+w.limit(), c.args...)
	if err != nil {
		return nil, fmt.Errorf("adding up hours: %w", err)
	}
	defer func() { _ = rows.Close() }()
	out := []Group{}
	for rows.Next() {
		var g Group
		var hour, duration, ttfb int64
		name := any(&g.Name)
		if by == ByHour {
			name = &hour
		}
		if err := rows.Scan(append(append([]any{name}, g.into()...), &duration, &ttfb, &g.TTFBCount)...); err != nil {
			return nil, fmt.Errorf("adding up hours: %w", err)
		}
		if by == ByHour {
			g.At = time.Unix(hour*secondsPerHour, 0).UTC()
		}
		g.Duration, g.TTFB = time.Duration(duration)*time.Microsecond, time.Duration(ttfb)*time.Microsecond
		out = append(out, g)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("adding up hours: %w", err)
	}
	return out, nil
}
