package gateway

import (
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/gateway/client"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

const (
	minKeyLength   = 8
	maxGrace       = 10 * time.Minute
	minTimeout     = 10 * time.Millisecond
	minProbe       = 100 * time.Millisecond
	encryptionSize = 32
	maxPrice       = 1e6
	maxWindowMS    = 24 * 60 * 60 * 1000
)

var name = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Validate implements [confload.Validator]. It also fills what has no default in
// a list.
func (c *Config) Validate(r *confload.Report) {
	c.validateServer(r)
	c.validateStore(r)
	c.validateClients(r)
	c.validateRouting(r)
	c.validateTimes(r)
	if c.Currency == "" {
		r.Errorf("currency", "expected a currency such as USD")
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil || c.Timezone == "" {
		r.Errorf("timezone", "expected a zone such as Asia/Shanghai, got %q", c.Timezone)
	}
	c.validateBackends(r)
}

func (c *Config) validateServer(r *confload.Report) {
	if err := httpserve.CheckExposure(c.Admin.Listen, "admin.token", c.Admin.Token); err != nil {
		r.Errorf("admin.listen", "%v", err)
	}
	if c.Server.MaxBody < 1<<10 {
		r.Errorf("server.max_body", "expected at least 1KiB, got %s", c.Server.MaxBody)
	}
	if c.Server.MaxBuffered != 0 && c.Server.MaxBuffered < c.Server.MaxBody {
		r.Errorf("server.max_buffered", "expected 0 (no limit) or at least server.max_body, got %s", c.Server.MaxBuffered)
	}
	between(r, "server.body_timeout", c.Server.BodyTimeout, minTimeout, day)
	between(r, "server.shutdown_grace", c.Server.ShutdownGrace, 0, maxGrace)
	for i, text := range c.Server.TrustedProxies {
		if _, err := prefix(text); err != nil {
			r.Errorf(fmt.Sprintf("server.trusted_proxies[%d]", i), "expected an address or a prefix like 10.0.0.0/8, got %q", text)
		}
	}
}

// prefix reads an address, which means itself only, or a prefix.
func prefix(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Prefix(address.BitLen())
	}
	return netip.ParsePrefix(text)
}

func (c *Config) validateStore(r *confload.Report) {
	if _, err := c.Store.URL.Path(); err != nil {
		r.Errorf("store.url", "%v", err)
	}
	if len(c.Store.EncryptionKeys) == 0 {
		r.Errorf("store.encryption_keys", "expected at least one key: 64 hexadecimal characters (openssl rand -hex 32 makes one)")
	}
	for i, key := range c.Store.EncryptionKeys {
		if raw, err := hex.DecodeString(key.Reveal()); err != nil || len(raw) != encryptionSize {
			r.Errorf(fmt.Sprintf("store.encryption_keys[%d]", i), "expected 64 hexadecimal characters (openssl rand -hex 32 makes them)")
		}
	}
	oneOf(r, "shared.on_error", c.Shared.OnError, onErrorOpen, onErrorClose)
	oneOf(r, "ledger.on_error", c.Ledger.OnError, onErrorOpen, onErrorClose)
	oneOf(r, "capture.level", c.Capture.Level, "metadata", "errors", "all")
}

func (c *Config) validateClients(r *confload.Report) {
	oneOf(r, "clients.auth", c.Clients.Auth, authRequired, authOpen)
	if c.Clients.Auth == authOpen && !httpserve.IsLoopback(c.Server.Listen) {
		r.Errorf("clients.auth", "open is for this machine only: expected server.listen on 127.0.0.1, got %s", c.Server.Listen)
	}
	names, keys := map[string]bool{}, map[string]bool{}
	for i, x := range c.Clients.Declared {
		path := fmt.Sprintf("clients.declared[%d]", i)
		if err := client.CheckName(x.Name); err != nil {
			r.Errorf(path+".name", "%v", err)
		}
		if names[x.Name] {
			r.Errorf(path+".name", "another client is named %q already", x.Name)
		}
		if len(x.Key) < minKeyLength {
			r.Errorf(path+".key", "expected at least %d characters (openssl rand -hex 24 makes a good one)", minKeyLength)
		} else if keys[x.Key.Reveal()] {
			r.Errorf(path+".key", "another client has the same key")
		}
		names[x.Name], keys[x.Key.Reveal()] = true, true
		if _, err := client.Expiry(x.Expires); err != nil {
			r.Errorf(path+".expires", "%v", err)
		}
		if !printable(x.Key.Reveal()) {
			r.Errorf(path+".key", "expected printable ASCII without spaces: it is sent in a header")
		}
		if x.RPM < 0 || x.TPM < 0 {
			r.Errorf(path, "limits are 0 (no limit) or more")
		}
		for key, budget := range map[string]float64{"daily_budget": x.DailyBudget, "monthly_budget": x.MonthlyBudget} {
			if err := client.CheckBudget(budget); err != nil {
				r.Errorf(path+"."+key, "%v", err)
			}
		}
	}
}

func (c *Config) validateRouting(r *confload.Report) {
	if len(c.Routing.Pools) == 0 {
		r.Errorf("routing.pools", "expected at least one pool")
	}
	for i, p := range c.Routing.Pools {
		if !name.MatchString(p) || slices.Index(c.Routing.Pools, p) != i {
			r.Errorf(fmt.Sprintf("routing.pools[%d]", i), "expected a name of its own of letters, digits, dots, - and _, got %q", p)
		}
	}
	oneOf(r, "routing.strategy", c.Routing.Strategy, pool.Strategies()...)
	oneOf(r, "routing.affinity", c.Routing.Affinity, affinityClient, affinityNone)
	if c.Routing.MaxAttempts < 1 {
		r.Errorf("routing.max_attempts", "expected at least 1, got %d", c.Routing.MaxAttempts)
	}
	if f := c.Routing.EmergencyRPMFraction; !(f >= 0 && f <= 1) {
		r.Errorf("routing.emergency_rpm_fraction", "expected 0 to 1, got %g", f)
	}
	if c.Routing.Queue.MaxDepth < 1 {
		r.Errorf("routing.queue.max_depth", "expected 1 or more, got %d; routing.queue.timeout: 0 lets no request wait", c.Routing.Queue.MaxDepth)
	}
	between(r, "routing.queue.timeout", c.Routing.Queue.Timeout, 0, c.Routing.RequestTimeout)
}

func (c *Config) validateTimes(r *confload.Report) {
	for path, d := range map[string]time.Duration{
		"routing.first_byte_timeout": c.Routing.FirstByteTimeout, "routing.first_byte_timeout_reasoning": c.Routing.FirstByteTimeoutThinker,
		"routing.idle_timeout": c.Routing.IdleTimeout, "routing.request_timeout": c.Routing.RequestTimeout, "ledger.max_wait": c.Ledger.MaxWait,
		"cooldown.base": c.Cooldown.Base,
	} {
		between(r, path, d, minTimeout, day)
	}
	between(r, "cooldown.max", c.Cooldown.Max, c.Cooldown.Base, 7*day)
	if j := c.Cooldown.Jitter; !(j >= 0 && j <= 1) {
		r.Errorf("cooldown.jitter", "expected 0 to 1, got %g", j)
	}
	if c.Cooldown.FailuresBeforeError < 1 {
		r.Errorf("cooldown.failures_before_error", "expected at least 1, got %d", c.Cooldown.FailuresBeforeError)
	}
	if c.Health.Interval != 0 {
		between(r, "health.interval", c.Health.Interval, minProbe, day)
		between(r, "health.timeout", c.Health.Timeout, minTimeout, max(c.Health.Interval, minProbe))
	}
	if !strings.HasPrefix(c.Health.Path, "/") {
		r.Errorf("health.path", "expected a path below the base URL, such as /models, got %q", c.Health.Path)
	}
	if c.Retention.Hourly != 0 && c.Retention.Hourly < 32*day {
		r.Errorf("retention.hourly", "expected 0 (for ever) or at least 32d, for budgets are summed from it, got %s", c.Retention.Hourly)
	}
	if l := c.IPRateLimit; l.MaxRequests < 0 || l.WindowMS < 1 || l.WindowMS > maxWindowMS {
		r.Errorf("ip_rate_limit", "expected max_requests 0 (no limit) or more, and window_ms 1 to %d (a day)", maxWindowMS)
	}
	if c.Retention.Requests != 0 && c.Retention.Requests < day {
		r.Errorf("retention.requests", "expected 0 (for ever) or at least 1d, got %s", c.Retention.Requests)
	}
	if b := c.Backup; b.Every != 0 && b.Every < time.Minute {
		r.Errorf("backup.every", "expected 0 (none by schedule) or at least 1m, got %s", b.Every)
	}
	if b := c.Backup; b.Keep != 0 && b.Keep < b.Every {
		r.Errorf("backup.keep", "expected 0 (for ever) or at least backup.every (%s), got %s", b.Every, b.Keep)
	}
}

func (c *Config) validateBackends(r *confload.Report) {
	names := map[string]bool{}
	for i := range c.Backends {
		x, path := &c.Backends[i], fmt.Sprintf("backends[%d]", i)
		if !name.MatchString(x.Name) {
			r.Errorf(path+".name", "expected letters, digits, dots, - and _, got %q", x.Name)
		}
		if names[x.Name] {
			r.Errorf(path+".name", "another backend is named %q already", x.Name)
		}
		names[x.Name] = true
		x.defaults()
		if !slices.Contains(c.Routing.Pools, x.Pool) {
			r.Errorf(path+".pool", "expected one of routing.pools (%s), got %q", strings.Join(c.Routing.Pools, ", "), x.Pool)
		}
		x.validate(r, path)
	}
}

func (x *BackendConfig) defaults() {
	if x.Pool == "" {
		x.Pool = defaultPool
	}
	if len(x.API) == 0 {
		x.API = []string{string(dialect.OpenAI)}
	}
	if x.Timeout == 0 {
		x.Timeout = defaultBackendTimeout
	}
	if x.Weight == 0 {
		x.Weight = 1
	}
}

func (x *BackendConfig) validate(r *confload.Report, path string) {
	for i, a := range x.API {
		if dialectOf(a) == "" {
			r.Errorf(fmt.Sprintf("%s.api[%d]", path, i), "expected openai or anthropic, got %q", a)
		}
	}
	if _, err := endpoint(x.BaseURL); err != nil {
		r.Errorf(path+".base_url", "%v", err)
	}
	if !x.APIKey.IsSet() || !printable(x.APIKey.Reveal()) {
		r.Errorf(path+".api_key", "expected the provider's key: printable ASCII without spaces or line ends")
	}
	if x.RPMLimit < 0 || x.TPMLimit < 0 || x.MaxInflight < 0 || x.Weight < 0 {
		r.Errorf(path, "limits are 0 (no limit) or more, weight is 1 or more")
	}
	between(r, path+".timeout", x.Timeout, minTimeout, day)
	for _, h := range slices.Sorted(maps.Keys(x.Headers)) {
		if slices.Contains([]string{"", "Authorization", "Host", "Content-Length", "Transfer-Encoding", "Connection", "Content-Type", "Accept-Encoding", "X-Api-Key",
			"Te", "Trailer", "Upgrade", "Expect", "Keep-Alive", "Proxy-Authorization", "Proxy-Connection"}, http.CanonicalHeaderKey(h)) {
			r.Errorf(path+".headers."+h, "this header is the gateway's own to set, or belongs to one connection")
		}
		if !httpguts.ValidHeaderFieldName(h) || !httpguts.ValidHeaderFieldValue(x.Headers[h]) {
			r.Errorf(path+".headers."+h, "expected a name and a value that a header may have")
		}
	}
	if len(x.Models) == 0 {
		r.Errorf(path+".models", "expected at least one model")
	}
	for _, model := range slices.Sorted(maps.Keys(x.Models)) {
		m, at := x.Models[model], path+".models."+model
		p := m.PricePerMTok
		for _, price := range []float64{p.Input, p.Output, p.CacheRead, p.CacheWrite, p.CacheWrite1h} {
			if !(price >= 0 && price <= maxPrice) {
				r.Errorf(at+".price_per_mtok", "expected prices of 0 to %g for a million tokens, got %g", maxPrice, price)
			}
		}
		if m.NativeID != strings.TrimSpace(m.NativeID) {
			r.Errorf(at+".native_id", "expected a name without spaces around it, got %q", m.NativeID)
		}
		for i, word := range m.InputModalities {
			if word != "text" && !slices.Contains(request.Modalities(), request.Modality(word)) {
				r.Errorf(fmt.Sprintf("%s.input_modalities[%d]", at, i), "expected text, image, audio, video or file, got %q", word)
			}
		}
		if model == "" || m.ContextWindow < 0 || m.MaxTokens < 0 {
			r.Errorf(at, "expected a name, and sizes of 0 or more")
		}
	}
}

// dialectOf reads the name of a dialect, the older names included; "" = it is none.
func dialectOf(api string) dialect.Name {
	switch api {
	case string(dialect.OpenAI), "openai-completions", "openai-responses":
		return dialect.OpenAI
	case string(dialect.Anthropic), "anthropic-messages":
		return dialect.Anthropic
	default:
		return ""
	}
}

var version = regexp.MustCompile(`^v[0-9]+[a-z0-9]*$`)

// endpoint is what the paths of the dialect are put behind: the base URL, with /v1
// where its path names no version.
func endpoint(base string) (*url.URL, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("expected an address like https://api.example.com/v1, without user, query or fragment")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("expected a port of 1 to 65535, got %s", port)
		}
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if !slices.ContainsFunc(strings.Split(u.Path, "/"), version.MatchString) {
		u.Path += "/v1"
	}
	return u, nil
}

// printable reports whether text can stand in a header as it is.
func printable(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c > '~' })
}

func oneOf(r *confload.Report, path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		r.Errorf(path, "expected one of %s, got %q", strings.Join(choices, ", "), value)
	}
}

func between(r *confload.Report, path string, d, least, most time.Duration) {
	if d < least || d > most {
		r.Errorf(path, "expected %s to %s, got %s", least, most, d)
	}
}
