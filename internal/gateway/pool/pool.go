// Package pool says which backends can serve a request, and puts them in the order in
// which they are asked: pools in their order, and inside a pool those that are well
// first, then those whose context is large enough, then by affinity and strategy.
//
// It only says what could be. Whether a backend may be called is its own to say at the moment
// of the call, since the order is made before the first attempt and the world
// changes during it.
package pool

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
)

// Strategy orders the backends of a pool that affinity does not.
type Strategy string

// The strategies.
const (
	LeastUtilized Strategy = "least_utilized"
	Priority      Strategy = "priority"
	Weighted      Strategy = "weighted"
	LowestLatency Strategy = "lowest_latency"
)

// Strategies lists every strategy.
func Strategies() []string {
	return []string{string(LeastUtilized), string(Priority), string(Weighted), string(LowestLatency)}
}

// Candidate is a backend that maps the model asked for.
type Candidate struct {
	*backend.Backend
	Model backend.Model

	seed uint64 // of its name, for affinity
}

// Options says how to order.
type Options struct {
	Pools    []string // in order; pools not named come after, as they are met
	Strategy Strategy
	Affinity bool // by client: the same client meets the same backend while it can
}

// Table knows who serves what. It is read only.
type Table struct {
	options Options
	pools   []string
	models  map[string][][]Candidate // by model; then one slice for each pool that has any
	picky   map[string]bool          // models that some backend does not read everything for
}

// NewTable makes a table of the enabled and disabled backends alike: a disabled one
// is a candidate that is skipped, and seen to be.
func NewTable(backends []*backend.Backend, o Options) *Table {
	t := &Table{options: o, pools: slices.Clone(o.Pools), models: map[string][][]Candidate{}, picky: map[string]bool{}}
	for _, b := range backends {
		if !slices.Contains(t.pools, b.Pool) {
			t.pools = append(t.pools, b.Pool)
		}
	}
	for _, name := range t.pools {
		members := map[string][]Candidate{}
		for _, b := range backends {
			for model, m := range b.Models {
				if b.Pool == name {
					t.picky[model] = t.picky[model] || len(m.InputModalities) > 0
					members[model] = append(members[model], Candidate{Backend: b, Model: m, seed: hash(b.Name)})
				}
			}
		}
		for model, candidates := range members {
			t.models[model] = append(t.models[model], candidates)
		}
	}
	return t
}

// Pools returns the pools in order.
func (t *Table) Pools() []string { return t.pools }

// Has reports whether any backend maps the model.
func (t *Table) Has(model string) bool { return t.models[model] != nil }

// Picky reports whether it matters for the model what a request holds beside text.
func (t *Table) Picky(model string) bool { return t.picky[model] }

// Models returns the models that an enabled backend maps, sorted.
func (t *Table) Models() []string {
	var names []string
	for model, pools := range t.models {
		if slices.ContainsFunc(pools, func(p []Candidate) bool {
			return slices.ContainsFunc(p, func(c Candidate) bool { return !c.Disabled })
		}) {
			names = append(names, model)
		}
	}
	slices.Sort(names)
	return names
}

// Candidates returns who maps the model, in the configured order.
func (t *Table) Candidates(model string) []Candidate { return slices.Concat(t.models[model]...) }

// Ask is what a request asks for.
type Ask struct {
	Model   string
	Dialect dialect.Name
	Client  string
	Needs   Needs
	Tokens  int64  // of input and output, as far as that can be guessed
	Backend string // the only one that will do; "" = any
}

// Order returns the candidates for a request, best first, and what the backends that
// map the model and were left out lack.
func (t *Table) Order(ask *Ask, now time.Time) (candidates []Candidate, lacks []string) {
	pools := t.models[ask.Model]
	n := 0
	for _, p := range pools {
		n += len(p)
	}
	out := make([]Candidate, 0, n)
	for _, p := range pools {
		from := len(out)
		for i := range p {
			lack := p[i].lacks(ask)
			if lack == "" {
				out = append(out, p[i])
			} else if !slices.Contains(lacks, lack) {
				lacks = append(lacks, lack)
			}
		}
		if len(out)-from > 1 {
			t.arrange(out[from:], ask, now)
		}
	}
	return out, lacks
}

// Names tells sets of candidates apart, whatever their order.
func Names(candidates []Candidate) string {
	names := make([]string, len(candidates))
	for i := range candidates {
		names[i] = candidates[i].Name
	}
	slices.Sort(names)
	return strings.Join(names, "\x00")
}

type ranked struct {
	Candidate
	rank  int
	score float64
}

// arrange orders one pool: the lowest rank first, then the lowest score, ties as
// configured.
func (t *Table) arrange(pool []Candidate, ask *Ask, now time.Time) {
	who := hash(ask.Client)
	list := make([]ranked, len(pool))
	for i, c := range pool {
		load := c.Load(now)
		list[i] = ranked{c, 2 * load.Health.Rank(), t.score(&pool[i], &load, who)}
		if c.Model.ContextWindow > 0 && ask.Tokens > c.Model.ContextWindow {
			list[i].rank++ // it is likely too small, but a guess never leaves a backend out
		}
	}
	slices.SortStableFunc(list, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.score, b.score))
	})
	for i := range list {
		pool[i] = list[i].Candidate
	}
}

func (t *Table) score(c *Candidate, load *backend.Load, who uint64) float64 {
	weight := float64(max(c.Weight, 1))
	if t.options.Affinity {
		return rendezvous(c.seed, who, weight)
	}
	switch t.options.Strategy {
	case Weighted:
		return -math.Log(1-rand.Float64()) / weight //nolint:gosec // spreads load, guards nothing
	case LowestLatency:
		return load.TTFB.Seconds() // one never called is tried first
	case LeastUtilized:
		return load.Used + float64(load.Inflight)/weight
	case Priority:
		return 0
	default:
		return 0
	}
}

// rendezvous gives every pair a fixed place, so that a backend that comes or goes
// moves no client but its own: weighted highest random weight hashing.
func rendezvous(backend, client uint64, weight float64) float64 {
	x := backend ^ client*0x9e3779b97f4a7c15
	// The finalizer of splitmix64: every bit of x moves every bit of the result.
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	unit := (float64(x>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -math.Log(unit) / weight
}

// hash is FNV-1a: the same in every process, so that clients keep their backend
// over a restart.
func hash(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return h
}
