package gateway

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/attempt"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/client"
	"github.com/fleetwatch/fleetwatch/internal/gateway/clientstore"
	"github.com/fleetwatch/fleetwatch/internal/gateway/front"
	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
)

const sourceFile = "file"

// assembly is a configuration made ready for use. A reload makes a whole new one
// before anything of the old is touched; requests keep the one they began with.
type assembly struct {
	config   *Config
	backends []*backend.Backend // in the configured order
	plan     *front.Plan
	policy   backend.Policy
	zone     *time.Location
	models   []string               // that any backend maps
	stored   []clientstore.Client   // of the operations API
	terms    map[string]limit.Terms // of every client, by name
}

// assemble makes everything that can fail fail before it is used. stored are the clients
// that the operations API made; states gives each backend the state that outlives
// configurations.
func assemble(c *Config, stored []clientstore.Client, states func(name string) *backend.State, limits func(name string) *limit.Client) (*assembly, error) {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return nil, fmt.Errorf("timezone: %w", err)
	}
	a := &assembly{config: c, zone: zone, stored: stored, terms: map[string]limit.Terms{}, policy: backend.Policy{
		Base: c.Cooldown.Base, Max: c.Cooldown.Max, Jitter: c.Cooldown.Jitter, FailuresBeforeError: c.Cooldown.FailuresBeforeError,
		EmergencyFraction: c.Routing.EmergencyRPMFraction, Zone: zone,
	}}
	for _, x := range c.Backends {
		b, err := x.backend()
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", x.Name, err)
		}
		a.backends = append(a.backends, &backend.Backend{Config: b, State: states(x.Name)})
		for model := range b.Models {
			if !slices.Contains(a.models, model) {
				a.models = append(a.models, model)
			}
		}
	}
	slices.Sort(a.models)
	registry, err := a.registry(limits)
	if err != nil {
		return nil, err
	}
	a.plan, err = c.plan(registry, pool.NewTable(a.backends, pool.Options{
		Pools: c.Routing.Pools, Strategy: pool.Strategy(c.Routing.Strategy), Affinity: c.Routing.Affinity == affinityClient,
	}))
	return a, err
}

// backend is the configuration of a declared backend.
func (x *BackendConfig) backend() (backend.Config, error) {
	base, err := endpoint(x.BaseURL)
	if err != nil {
		return backend.Config{}, err
	}
	b := backend.Config{
		Name: x.Name, Label: x.Label, Pool: x.Pool, Source: sourceFile, BaseURL: base, Key: x.APIKey, RPM: x.RPMLimit, TPM: x.TPMLimit, MaxInflight: x.MaxInflight,
		Weight: x.Weight, Timeout: x.Timeout, Headers: http.Header{}, Models: map[string]backend.Model{}, Disabled: x.Disabled,
	}
	for _, api := range x.API {
		if d := dialectOf(api); !slices.Contains(b.Dialects, d) {
			b.Dialects = append(b.Dialects, d)
		}
	}
	for name, value := range x.Headers {
		b.Headers.Set(name, value)
	}
	for model, m := range x.Models {
		native := m.NativeID
		if native == "" {
			native = model
		}
		p := m.PricePerMTok
		b.Models[model] = backend.Model{
			NativeID: native, Reasoning: m.Reasoning, InputModalities: m.InputModalities, ContextWindow: m.ContextWindow, MaxTokens: m.MaxTokens,
			Capabilities: m.Capabilities, Betas: m.AnthropicBeta,
			Price: llm.Price{
				Input: llm.PriceOf(p.Input), Output: llm.PriceOf(p.Output),
				CacheRead: llm.PriceOf(p.CacheRead), CacheWrite: llm.PriceOf(p.CacheWrite), CacheWrite1h: llm.PriceOf(p.CacheWrite1h),
			},
		}
	}
	return b, nil
}

// registry makes the registry of clients, and notes their terms. One that is declared
// hides one of the API's of the same name.
func (a *assembly) registry(limits func(name string) *limit.Client) (*client.Registry, error) {
	r := client.NewRegistry(a.config.Clients.Auth == authOpen)
	for _, x := range a.config.Clients.Declared {
		expires, err := client.Expiry(x.Expires)
		if err != nil {
			return nil, fmt.Errorf("client %s: expires: %w", x.Name, err)
		}
		if !r.Add(client.Client{Name: x.Name, Models: x.Models, Demands: x.Force, Expires: expires, Limits: limits(x.Name)}, x.Key) {
			return nil, fmt.Errorf("client %s: its key is empty, or another client's", x.Name)
		}
		a.terms[x.Name] = limit.Terms{RPM: x.RPM, TPM: x.TPM, Daily: amount(x.DailyBudget), Monthly: amount(x.MonthlyBudget), Zone: a.zone}
	}
	for _, x := range a.stored {
		if a.declares(x.Name) {
			continue
		}
		a.terms[x.Name] = limit.Terms{RPM: x.RPM, TPM: x.TPM, Daily: amount(x.DailyBudget), Monthly: amount(x.MonthlyBudget), Zone: a.zone}
		if x.Enabled && !r.AddSum(client.Client{Name: x.Name, Models: x.Models, Demands: x.Force, Expires: x.Expires, Limits: limits(x.Name)}, x.Sum) {
			return nil, fmt.Errorf("client %s: its key is another client's", x.Name)
		}
	}
	return r, nil
}

// declares reports whether the configuration file has a client of the name.
func (a *assembly) declares(name string) bool {
	return slices.ContainsFunc(a.config.Clients.Declared, func(x ClientConfig) bool { return x.Name == name })
}

func (c *Config) plan(clients *client.Registry, table *pool.Table) (*front.Plan, error) {
	p := &front.Plan{
		Clients: clients, Table: table, MaxBody: int64(c.Server.MaxBody), BodyTimeout: c.Server.BodyTimeout, MaxBuffered: int64(c.Server.MaxBuffered),
		LedgerWait: c.Ledger.MaxWait, LedgerClose: c.Ledger.OnError == onErrorClose, Since: time.Now(),
		Limits: attempt.Limits{
			MaxAttempts: c.Routing.MaxAttempts, FirstByte: c.Routing.FirstByteTimeout, FirstByteReasoning: c.Routing.FirstByteTimeoutThinker,
			Idle: c.Routing.IdleTimeout, Request: c.Routing.RequestTimeout, RetryContentPolicy: c.Routing.RetryContentPolicy,
			Queue: c.Routing.Queue.Timeout, Emergency: c.Routing.EmergencyRPMFraction > 0,
		},
	}
	for _, text := range c.Server.TrustedProxies {
		trusted, err := prefix(text)
		if err != nil {
			return nil, fmt.Errorf("server.trusted_proxies: %w", err)
		}
		p.Trusted = append(p.Trusted, netip.PrefixFrom(trusted.Addr().Unmap(), trusted.Bits()))
	}
	return p, nil
}

// keyHash tells keys apart without holding them.
func keyHash(b *backend.Backend) string {
	sum := sha256.Sum256([]byte(b.BaseURL.String() + "\x00" + b.Key.Reveal()))
	return hex.EncodeToString(sum[:8])
}
