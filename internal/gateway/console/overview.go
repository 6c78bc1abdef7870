package console

import (
	"context"
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
)

// chartHours is how many hours the charts show, the present one included.
const chartHours = 24

// figures are what the pages show beside the frame.
type figures struct {
	Today     ledger.Sums // of the configured timezone's day
	Day       ledger.Sums // of the hours of the charts
	Hours     []ledger.Group
	Charts    []chart
	Reroutes  []reroute
	UptimeFor time.Duration
}

func (c *Console) figures(ctx context.Context, now time.Time) (f figures, err error) {
	f.UptimeFor = now.Sub(c.began)
	y, m, d := now.In(c.options.Zone).Date()
	days, err := c.api.Ledger.Daily(ctx, ledger.Window{Since: time.Date(y, m, d, 0, 0, 0, 0, c.options.Zone)}, nil)
	if err != nil {
		return f, err
	}
	for _, x := range days {
		f.Today.Add(x.Sums)
	}
	first := now.UTC().Truncate(time.Hour).Add(-(chartHours - 1) * time.Hour)
	if f.Hours, err = c.api.Ledger.Groups(ctx, ledger.Window{Since: first}, ledger.ByHour); err != nil {
		return f, err
	}
	for _, x := range f.Hours {
		f.Day.Add(x.Sums)
	}
	f.Charts = charts(f.Hours, first)
	f.Reroutes, err = c.reroutes(ctx, now)
	return f, err
}

// glance is the data of the overview and of the backends' page.
type glance struct {
	tab
	*snapshot

	Pools []poolOf
	Files bool // some backend is declared in the configuration file
}

// poolOf is a pool with its backends.
type poolOf struct {
	admin.Pool

	Backends []admin.Backend
}

func (c *Console) overview(w http.ResponseWriter, r *http.Request) {
	c.glance(w, r, "overview", "overview.html")
}

func (c *Console) backends(w http.ResponseWriter, r *http.Request) {
	c.glance(w, r, "backends", "backends.html")
}

func (c *Console) glance(w http.ResponseWriter, r *http.Request, name, page string) {
	s, err := c.feed.get(r.Context())
	if err != nil {
		c.fail(w, r, err)
		return
	}
	g := glance{tab: c.tab(r, name), snapshot: s}
	for _, p := range s.Pool {
		one := poolOf{Pool: p}
		for _, b := range s.Backends {
			if b.Pool == p.Name {
				one.Backends = append(one.Backends, b)
			}
			g.Files = g.Files || b.Source == "file"
		}
		g.Pools = append(g.Pools, one)
	}
	c.show(w, r, page, g)
}

// reroute is a model that its first pool does not serve.
type reroute struct {
	Model string
	Home  string    // the pool that is to serve it
	Pool  string    // that serves it instead; "" = none does
	Since time.Time // zero = it is not known
}

// reroutes tells which models are not served by the first pool that maps them, as far as
// the last answers of its backends tell.
func (c *Console) reroutes(ctx context.Context, now time.Time) ([]reroute, error) {
	var out []reroute
	var left map[string]time.Time
	table := c.api.View().Table
	for _, model := range table.Models() {
		r, troubled := reroute{Model: model}, []pool.Candidate(nil)
		for _, candidate := range table.Candidates(model) {
			if r.Home == "" {
				r.Home = candidate.Pool
			}
			if candidate.Proven(model, now) {
				r.Pool = candidate.Pool
				break
			}
			troubled = append(troubled, candidate)
		}
		if r.Pool == r.Home {
			continue
		}
		if left == nil { // read only where something is wrong
			var err error
			if left, err = c.leftAlone(ctx); err != nil {
				return nil, err
			}
		}
		for _, candidate := range troubled {
			if at := since(candidate, model, left, now); (r.Pool == "" || candidate.Pool == r.Home) && at.After(r.Since) {
				r.Since = at // the last one that went
			}
		}
		out = append(out, r)
	}
	return out, nil
}

// since is when the candidate ceased to serve the model; zero where nothing tells.
func since(c pool.Candidate, model string, left map[string]time.Time, now time.Time) time.Time {
	s := c.Snapshot(now)
	switch s.Status {
	case backend.Healthy:
		block := s.Blocks[model]
		return block.Until.Add(-block.Length)
	case backend.Disabled:
		return time.Time{}
	default:
		if at := left[c.Name]; !at.IsZero() && at.Before(s.Since) {
			return at
		}
		return s.Since
	}
}

// eventsRead is how many of the newest cooldowns are looked at.
const eventsRead = 500

// leftAlone returns since when each backend has been left alone without a success in
// between: the beginning of the first of the cooldowns that followed each other.
func (c *Console) leftAlone(ctx context.Context) (map[string]time.Time, error) {
	events, err := c.api.Ledger.Cooldowns(ctx, ledger.Window{Limit: eventsRead}, nil)
	if err != nil {
		return nil, err
	}
	began, over := map[string]time.Time{}, map[string]bool{}
	for _, e := range events { // newest first
		at, later := began[e.Backend]
		switch {
		case over[e.Backend]:
		case !later && e.EndedAt.IsZero(), later && e.EndedAt.Equal(at):
			began[e.Backend] = e.StartedAt
		default:
			over[e.Backend] = true
		}
	}
	return began, nil
}
