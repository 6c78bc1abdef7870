package gateway

import (
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// clients keeps what every client that was ever configured has used, by name: over
// reloads in memory; what it spent also over restarts, by the ledger's sums.
type clients struct {
	mu  sync.Mutex
	all map[string]*limit.Client
}

func newClients() *clients { return &clients{all: map[string]*limit.Client{}} }

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

// adopt puts the limits of an assembly into force.
func (c *clients) adopt(a *assembly) {
	for _, x := range a.config.Clients.Declared {
		c.get(x.Name).Configure(limit.Terms{RPM: x.RPM, TPM: x.TPM, Daily: amount(x.DailyBudget), Monthly: amount(x.MonthlyBudget), Zone: a.zone})
	}
}

// restore takes over what the ledger knows to be spent. It comes after adopt.
func (c *clients) restore(spent map[string]ledger.Spend, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, used := range c.all {
		used.Restore(spent[name].Day, spent[name].Month, now)
	}
}

// amount turns units of currency into Nano.
func amount(units float64) llm.Nano { return llm.PriceOf(units) }
