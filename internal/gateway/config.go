package gateway

import (
	"time"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Config is gateway.yaml.
type Config struct {
	Server      ServerConfig      `yaml:"server"`
	Admin       AdminConfig       `yaml:"admin"`
	Store       StoreConfig       `yaml:"store"`
	Shared      SharedConfig      `yaml:"shared"`
	Clients     ClientsConfig     `yaml:"clients"`
	Routing     RoutingConfig     `yaml:"routing"`
	Ledger      LedgerConfig      `yaml:"ledger"`
	Cooldown    CooldownConfig    `yaml:"cooldown"`
	Health      HealthConfig      `yaml:"health"`
	IPRateLimit IPRateLimitConfig `yaml:"ip_rate_limit"`
	Capture     CaptureConfig     `yaml:"capture"`
	Retention   RetentionConfig   `yaml:"retention"`
	Backup      BackupConfig      `yaml:"backup"`
	Currency    string            `yaml:"currency"`
	Timezone    string            `yaml:"timezone"` // whose days quotas end with
	Backends    []BackendConfig   `yaml:"backends"`
}

// ServerConfig is the data plane.
type ServerConfig struct {
	Listen         string        `yaml:"listen"`
	MaxBody        confload.Size `yaml:"max_body"`
	MaxBuffered    confload.Size `yaml:"max_buffered"` // of all bodies held at the same time; 0 = no limit
	BodyTimeout    time.Duration `yaml:"body_timeout"` // from the beginning of a request to the end of its body
	ShutdownGrace  time.Duration `yaml:"shutdown_grace"`
	TrustedProxies []string      `yaml:"trusted_proxies"` // addresses or prefixes whose X-Forwarded-For is believed
}

// AdminConfig is the operations listener.
type AdminConfig struct {
	Listen    string        `yaml:"listen"`
	Token     redact.Secret `yaml:"token"`
	ReadToken redact.Secret `yaml:"read_token"`
}

// StoreConfig is where the ledger is kept.
type StoreConfig struct {
	URL            sqlstore.URL    `yaml:"url"`
	EncryptionKeys []redact.Secret `yaml:"encryption_keys"` // 64 hex characters each; the first encrypts, all decrypt
}

// SharedConfig is the state that several gateways share.
type SharedConfig struct {
	URL     string `yaml:"url"`
	OnError string `yaml:"on_error"`
}

// ClientsConfig is who may call.
type ClientsConfig struct {
	Auth     string         `yaml:"auth"`
	Declared []ClientConfig `yaml:"declared"`
}

// ClientConfig is a client key.
type ClientConfig struct {
	Name          string        `yaml:"name"`
	Key           redact.Secret `yaml:"key"`
	RPM           int           `yaml:"rpm"`
	TPM           int           `yaml:"tpm"`
	DailyBudget   float64       `yaml:"daily_budget"`
	MonthlyBudget float64       `yaml:"monthly_budget"`
	Models        []string      `yaml:"models"`             // none = all
	Expires       string        `yaml:"expires"`            // RFC 3339, or a date; empty = never
	Force         []string      `yaml:"force_capabilities"` // that every backend of its requests must have
}

// RoutingConfig is how a backend is chosen, and for how long it is waited for.
type RoutingConfig struct {
	Pools                   []string      `yaml:"pools"`
	Strategy                string        `yaml:"strategy"`
	Affinity                string        `yaml:"affinity"`
	MaxAttempts             int           `yaml:"max_attempts"`
	FirstByteTimeout        time.Duration `yaml:"first_byte_timeout"`
	FirstByteTimeoutThinker time.Duration `yaml:"first_byte_timeout_reasoning"`
	IdleTimeout             time.Duration `yaml:"idle_timeout"`
	RequestTimeout          time.Duration `yaml:"request_timeout"`
	Queue                   QueueConfig   `yaml:"queue"`
	EmergencyRPMFraction    float64       `yaml:"emergency_rpm_fraction"`
	RetryContentPolicy      bool          `yaml:"retry_content_policy"`
}

// QueueConfig is how requests wait for a backend.
type QueueConfig struct {
	MaxDepth int           `yaml:"max_depth"`
	Timeout  time.Duration `yaml:"timeout"`
}

// LedgerConfig is what becomes of answers that cannot be recorded.
type LedgerConfig struct {
	MaxWait time.Duration `yaml:"max_wait"`
	OnError string        `yaml:"on_error"`
}

// CooldownConfig is how long failing backends are left alone.
type CooldownConfig struct {
	Base                time.Duration `yaml:"base"`
	Max                 time.Duration `yaml:"max"`
	Jitter              float64       `yaml:"jitter"`
	FailuresBeforeError int           `yaml:"failures_before_error"`
}

// HealthConfig is the free probe.
type HealthConfig struct {
	Interval time.Duration `yaml:"interval"`
	Timeout  time.Duration `yaml:"timeout"`
	Path     string        `yaml:"path"`
}

// IPRateLimitConfig bounds calls by address and route.
type IPRateLimitConfig struct {
	MaxRequests int `yaml:"max_requests"` // 0 = no limit
	WindowMS    int `yaml:"window_ms"`
}

// CaptureConfig is which bodies are kept.
type CaptureConfig struct {
	Level     string        `yaml:"level"`
	MaxBody   confload.Size `yaml:"max_body"`
	Retention time.Duration `yaml:"retention"`
	Redact    []string      `yaml:"redact"`
}

// RetentionConfig is how long rows are kept; 0 = for ever.
type RetentionConfig struct {
	Requests time.Duration `yaml:"requests"`
	Hourly   time.Duration `yaml:"hourly"`
}

// BackupConfig is the backup by schedule.
type BackupConfig struct {
	Dir   confload.Path `yaml:"dir"` // empty = the folder backups beside the store
	Every time.Duration `yaml:"every"`
	Keep  time.Duration `yaml:"keep"`
}

// BackendConfig is a declared backend.
type BackendConfig struct {
	Name        string                 `yaml:"name"`
	Label       string                 `yaml:"label"`
	Pool        string                 `yaml:"pool"`
	API         []string               `yaml:"api"`
	BaseURL     string                 `yaml:"base_url"`
	APIKey      redact.Secret          `yaml:"api_key"`
	RPMLimit    int                    `yaml:"rpm_limit"` // 0 = no limit, here and below
	TPMLimit    int                    `yaml:"tpm_limit"`
	MaxInflight int                    `yaml:"max_inflight"`
	Weight      int                    `yaml:"weight"`
	Timeout     time.Duration          `yaml:"timeout"`
	Disabled    bool                   `yaml:"disabled"`
	Headers     map[string]string      `yaml:"headers"`
	Models      map[string]ModelConfig `yaml:"models"`
}

// ModelConfig is how a backend offers a model.
type ModelConfig struct {
	NativeID        string      `yaml:"native_id"`
	InputModalities []string    `yaml:"input_modalities"`
	Reasoning       bool        `yaml:"reasoning"`
	ContextWindow   int64       `yaml:"context_window"`
	MaxTokens       int64       `yaml:"max_tokens"`
	Capabilities    []string    `yaml:"capabilities"`   // words that X-Require-Capability may name, beside modalities and reasoning
	AnthropicBeta   []string    `yaml:"anthropic_beta"` // that the backend takes; none = all
	PricePerMTok    PriceConfig `yaml:"price_per_mtok"`
}

// PriceConfig is what a million tokens cost.
type PriceConfig struct {
	Input      float64 `yaml:"input"`
	Output     float64 `yaml:"output"`
	CacheRead  float64 `yaml:"cache_read"`
	CacheWrite float64 `yaml:"cache_write"`
	// CacheWrite1h is for what is kept for an hour; 0 = as cache_write.
	CacheWrite1h float64 `yaml:"cache_write_1h"`
}

const (
	day                   = 24 * time.Hour
	authRequired          = "required"
	authOpen              = "open"
	onErrorOpen           = "open"
	onErrorClose          = "close"
	affinityClient        = "client"
	affinityNone          = "none"
	defaultPool           = "primary"
	defaultBackendTimeout = 120 * time.Second
)

// DefaultConfig is what an empty file means, but for the keys that have no default.
func DefaultConfig() *Config {
	return &Config{
		Server:  ServerConfig{Listen: "127.0.0.1:9190", MaxBody: 32 << 20, MaxBuffered: 512 << 20, BodyTimeout: time.Minute, ShutdownGrace: 30 * time.Second},
		Admin:   AdminConfig{Listen: "127.0.0.1:9191"},
		Store:   StoreConfig{URL: "sqlite:data/gateway.db"},
		Shared:  SharedConfig{OnError: onErrorOpen},
		Clients: ClientsConfig{Auth: authRequired},
		Routing: RoutingConfig{
			Pools: []string{defaultPool, "fallback"}, Strategy: string(pool.LeastUtilized), Affinity: affinityClient, MaxAttempts: 5,
			FirstByteTimeout: 30 * time.Second, FirstByteTimeoutThinker: 2 * time.Minute, IdleTimeout: time.Minute, RequestTimeout: 10 * time.Minute,
			Queue: QueueConfig{MaxDepth: 500, Timeout: 30 * time.Second}, EmergencyRPMFraction: 0.10,
		},
		Ledger:      LedgerConfig{MaxWait: 2 * time.Second, OnError: onErrorOpen},
		Cooldown:    CooldownConfig{Base: 30 * time.Second, Max: 10 * time.Minute, Jitter: 0.1, FailuresBeforeError: 3},
		Health:      HealthConfig{Interval: time.Minute, Timeout: 10 * time.Second, Path: "/models"},
		IPRateLimit: IPRateLimitConfig{MaxRequests: 1200, WindowMS: 60_000},
		Capture:     CaptureConfig{Level: "errors", MaxBody: 64 << 10, Retention: 3 * day},
		Retention:   RetentionConfig{Requests: 30 * day, Hourly: 400 * day},
		Backup:      BackupConfig{Every: day, Keep: 30 * day},
		Currency:    "USD",
		Timezone:    "Asia/Shanghai",
	}
}
