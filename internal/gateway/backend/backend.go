// Package backend is one base URL with one credential, and what its attempts have
// taught about it: whether it may be called now, and if not, why and until when.
//
// The rules, which hold for every class of failure:
//
//   - a cooldown begins a generation; outcomes of attempts that began before it
//     change neither the count nor the state, but a provider's own later deadline
//     still counts: the later deadline always wins;
//   - the count that doubles cooldowns is cleared by a success, never by time;
//   - after a cooldown one trial at a time is let through.
package backend

import (
	"net/http"
	"net/url"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Model is how a backend offers a canonical model.
type Model struct {
	NativeID        string
	Reasoning       bool
	InputModalities []string
	ContextWindow   int64
	MaxTokens       int64
	Capabilities    []string // words of X-Require-Capability that it has beside those that follow from the above
	Betas           []string // of anthropic-beta that it takes; none = all
	Price           llm.Price
}

// Config is what is known of a backend without having called it.
type Config struct {
	Name        string
	Label       string
	Pool        string
	Source      string // file
	BaseURL     *url.URL
	Key         redact.Secret
	Dialects    []dialect.Name
	RPM         int // calls a minute; 0 = no limit
	TPM         int // tokens a minute; 0 = no limit
	MaxInflight int // 0 = no limit
	Weight      int
	Timeout     time.Duration // of a whole attempt that is not streamed
	Headers     http.Header
	Models      map[string]Model // by canonical name
	Disabled    bool
}

// Backend is a configuration together with the state that outlives it.
type Backend struct {
	Config
	*State
}

// Provider is the host that the backend calls, for people.
func (c *Config) Provider() string { return c.BaseURL.Host }

// Secrets are what no message may hold: the key, and the values of configured headers,
// which may be credentials too.
func (c *Config) Secrets() []redact.Secret {
	secrets := []redact.Secret{c.Key}
	for _, values := range c.Headers {
		for _, v := range values {
			if len(v) >= shortestSecret {
				secrets = append(secrets, redact.Secret(v))
			}
		}
	}
	return secrets
}

// shortestSecret keeps short words, such as versions, readable in messages.
const shortestSecret = 8

// MaskedKey shows enough of the key to recognise it, and no more.
func (c *Config) MaskedKey() string {
	key := c.Key.Reveal()
	const shown = 10
	if len(key) < 2*shown {
		return redact.Mask
	}
	return key[:6] + "…" + key[len(key)-4:]
}

// Status is the state of a backend.
type Status string

// The statuses.
const (
	Healthy  Status = "healthy"
	Cooling  Status = "cooling"
	HalfOpen Status = "half_open"
	Error    Status = "error"
	Disabled Status = "disabled"
)

// Statuses lists every status.
func Statuses() []Status { return []Status{Healthy, Cooling, HalfOpen, Error, Disabled} }

// ErrorReasons are the reasons of the status error.
func ErrorReasons() []llm.Class { return []llm.Class{llm.Auth, llm.Quota} }

// Skip says why a backend was not asked; "" = it may be.
type Skip string

// The reasons.
const (
	SkipCooling  Skip = "cooling"
	SkipTrial    Skip = "half_open" // its one trial is under way
	SkipError    Skip = "error"
	SkipDisabled Skip = "disabled"
	SkipModel    Skip = "model_unavailable" // this model only
	SkipRPM      Skip = "rpm_limit"
	SkipTPM      Skip = "tpm_limit"
	SkipFull     Skip = "max_inflight"
	SkipAttempts Skip = "max_attempts" // not a state: the request has tried enough
)

// Limits reports whether the backend was skipped for a limit that is set here.
func (s Skip) Limits() bool { return s == SkipRPM || s == SkipTPM || s == SkipFull }

// Policy is how long backends are left alone.
type Policy struct {
	Base                time.Duration
	Max                 time.Duration
	EmergencyFraction   float64 // of the rpm limit: calls a minute while cooling, at least one
	Jitter              float64 // of the wait, added: 0.1 = up to a tenth
	FailuresBeforeError int
	Zone                *time.Location // whose day a quota ends with
}
