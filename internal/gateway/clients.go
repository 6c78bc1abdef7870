package gateway

import (
	"slices"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// clients keeps what every client that was ever configured has used, by name: over
// reloads in memory; what it spent also over restarts, by the ledger's sums.
type clients struct {
	mu    sync.Mutex
	all   map[string]*limit.Client
	known map[string]bool // what they spent before this process is taken over
}

func newClients() *clients {
	return &clients{all: map[string]*limit.Client{}, known: map[string]bool{}}
}

// get returns the use of a client, none where it was never seen.
func (c *clients) get(name string) *limit.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	used, ok := c.all[name]
	if !ok {
		used = &limit.Client{}
		c.all[name] = used
	}
	return used
}

// unknown returns the clients of an assembly that were in force in none before.
func (c *clients) unknown(a *assembly) (names []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range a.terms {
		if !c.known[name] {
			names = append(names, name)
		}
	}
	return names
}

// adopt puts the limits of an assembly into force. spent is what its unknown clients
// have spent before, by the ledger.
func (c *clients) adopt(a *assembly, spent map[string]ledger.Spend, now time.Time) {
	unknown := c.unknown(a)
	for name, terms := range a.terms {
		used := c.get(name)
		used.Configure(terms)
		if slices.Contains(unknown, name) {
			used.Restore(spent[name].Day, spent[name].Month, now)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range unknown {
		c.known[name] = true
	}
}

// amount turns units of currency into Nano.
func amount(units float64) llm.Nano { return llm.PriceOf(units) }
