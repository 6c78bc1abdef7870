package alertbridge

import (
	"strings"
	"time"
	"unicode"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Config is alertbridge.yaml.
type Config struct {
	Server         ServerConfig        `yaml:"server"`
	Store          StoreConfig         `yaml:"store"`
	Feishu         FeishuConfig        `yaml:"feishu"`
	Alertmanager   AlertmanagerConfig  `yaml:"alertmanager"`
	Operators      []string            `yaml:"operators"` // open ids who may press buttons, also several in one entry; empty = nobody
	Links          LinksConfig         `yaml:"links"`
	Display        DisplayConfig       `yaml:"display"`
	Templates      []confload.Path     `yaml:"templates"` // files of one's own titles and bodies, or patterns of them
	Receivers      []ReceiverConfig    `yaml:"receivers"`
	Severity       map[string][]string `yaml:"severity"`        // who is told, by severity; [] drops
	OwnerReceivers bool                `yaml:"owner_receivers"` // also the receiver named by the owner label
	Routes         []RouteConfig       `yaml:"routes"`          // long form, wins where it matches
	Storm          StormConfig         `yaml:"storm"`
	Limits         LimitsConfig        `yaml:"limits"`
	Retention      RetentionConfig     `yaml:"retention"`
}

// ServerConfig is where the bridge listens.
type ServerConfig struct {
	Listen     string        `yaml:"listen"`
	Token      redact.Secret `yaml:"token"`       // of /webhook
	AdminToken redact.Secret `yaml:"admin_token"` // of /api and /-/reload
	MaxBody    confload.Size `yaml:"max_body"`
}

// StoreConfig is where cards are kept.
type StoreConfig struct {
	URL          sqlstore.URL `yaml:"url"`
	MaxOpenCards int          `yaml:"max_open_cards"` // 0 = no limit
}

// FeishuConfig is the app that messages are sent as.
type FeishuConfig struct {
	AppID     string        `yaml:"app_id"`
	AppSecret redact.Secret `yaml:"app_secret"`
	BaseURL   string        `yaml:"base_url"` // empty: by domain
	Domain    string        `yaml:"domain"`   // feishu, lark
	Timeout   time.Duration `yaml:"timeout"`  // of one call
	Callbacks string        `yaml:"callbacks"`
}

// AlertmanagerConfig is the Alertmanager that open cards are compared with.
type AlertmanagerConfig struct {
	URL            string          `yaml:"url"`
	ReconcileEvery time.Duration   `yaml:"reconcile_every"`
	Watchdog       string          `yaml:"watchdog"` // alert that always fires; empty: there is none
	WatchdogMaxAge time.Duration   `yaml:"watchdog_max_age"`
	MinUptime      time.Duration   `yaml:"min_uptime"` // before absence from its API means anything
	SilenceChoices []time.Duration `yaml:"silence_choices"`
}

// LinksConfig are the addresses that cards lead to.
type LinksConfig struct {
	Grafana   string `yaml:"grafana"`
	Dashboard string `yaml:"dashboard"`
	Runbooks  string `yaml:"runbooks"`
}

// DisplayConfig is how cards are written.
type DisplayConfig struct {
	Timezone    string `yaml:"timezone"`
	Language    string `yaml:"language"`
	TitlePrefix string `yaml:"title_prefix"`
}

// ReceiverConfig is a named destination.
type ReceiverConfig struct {
	Name          string         `yaml:"name"`
	App           AppConfig      `yaml:"app"`
	Webhook       WebhookConfig  `yaml:"webhook"`
	OpenClaw      OpenClawConfig `yaml:"openclaw"`
	Deliver       string         `yaml:"deliver"` // failover, all
	FailoverAfter time.Duration  `yaml:"failover_after"`
	Mention       []string       `yaml:"mention"`
	Escalate      []EscalateStep `yaml:"escalate"`
}

// AppConfig is who gets the app's messages.
type AppConfig struct {
	ReceiveIDType string `yaml:"receive_id_type"`
	ReceiveID     string `yaml:"receive_id"`
}

// WebhookConfig is a custom bot.
type WebhookConfig struct {
	URL     redact.Secret `yaml:"url"`
	Secret  redact.Secret `yaml:"secret"`
	Keyword string        `yaml:"keyword"`
}

// OpenClawConfig is the last resort: text through OpenClaw's command line.
type OpenClawConfig struct {
	CLI    string `yaml:"cli"`    // the program, by path or name; empty: openclaw
	Target string `yaml:"target"` // chat or person, as OpenClaw names them; empty: not used
}

// EscalateStep is what happens when nobody acknowledges.
type EscalateStep struct {
	After  time.Duration `yaml:"after"`
	To     string        `yaml:"to"`
	Urgent string        `yaml:"urgent"`
}

// RouteConfig is one rule of the long form.
type RouteConfig struct {
	Matchers  []string `yaml:"matchers"`
	Receivers []string `yaml:"receivers"`
	Continue  bool     `yaml:"continue"`
	Hours     string   `yaml:"hours"`
}

// StormConfig is when cards are put together.
type StormConfig struct {
	PerReceiverPerMinute int           `yaml:"per_receiver_per_minute"` // new cards on each channel; 0 = no limit
	DigestEvery          time.Duration `yaml:"digest_every"`            // 5s while a critical waits
}

// LimitsConfig bounds what is spent on delivering.
type LimitsConfig struct {
	UrgentSMSPerDay   int           `yaml:"urgent_sms_per_day"`   // people buzzed by SMS; 0 = no limit
	UrgentPhonePerDay int           `yaml:"urgent_phone_per_day"` // likewise by phone
	MaxAge            time.Duration `yaml:"max_age"`              // closed cards not delivered by then are given up; 0 = never
}

// RetentionConfig is how long things are kept.
type RetentionConfig struct {
	Delivered time.Duration `yaml:"delivered"`
	Dead      time.Duration `yaml:"dead"` // dead letters and the audit trail
}

const (
	day                  = 24 * time.Hour
	callbacksLong        = "long_connection"
	callbacksOff         = "off"
	deliverFailover      = "failover"
	deliverAll           = "all"
	defaultFailoverAfter = 2 * time.Minute
)

// DefaultConfig is what an empty file means.
func DefaultConfig() *Config {
	return &Config{
		Server:       ServerConfig{Listen: "127.0.0.1:9094", MaxBody: 8 << 20},
		Store:        StoreConfig{URL: "sqlite:data/alertbridge.db", MaxOpenCards: 20000},
		Feishu:       FeishuConfig{Domain: "feishu", Timeout: 10 * time.Second, Callbacks: callbacksLong},
		Alertmanager: AlertmanagerConfig{URL: "http://127.0.0.1:9093", ReconcileEvery: 15 * time.Second, Watchdog: "Watchdog", WatchdogMaxAge: 2 * time.Minute, MinUptime: 3 * time.Minute, SilenceChoices: defaultSilences()},
		Links:        LinksConfig{Dashboard: "/d/agent-health"},
		Display:      DisplayConfig{Timezone: "Asia/Shanghai", Language: "zh-CN"},

		OwnerReceivers: true,
		Storm:          StormConfig{PerReceiverPerMinute: 20, DigestEvery: 30 * time.Second},
		Limits:         LimitsConfig{UrgentSMSPerDay: 20, UrgentPhonePerDay: 10, MaxAge: day},
		Retention:      RetentionConfig{Delivered: 14 * day, Dead: 90 * day},
	}
}

func defaultSilences() []time.Duration {
	return []time.Duration{time.Hour, 4 * time.Hour, day}
}

// baseURL is where the open platform answers.
func (c *Config) baseURL() string {
	switch {
	case c.Feishu.BaseURL != "":
		return c.Feishu.BaseURL
	case c.Feishu.Domain == "lark":
		return "https://open.larksuite.com"
	default:
		return "https://open.feishu.cn"
	}
}

// operators are the open ids of those who may press buttons. An entry may hold
// several, since a variable holds one text only, or none.
func (c *Config) operators() []string {
	return strings.FieldsFunc(strings.Join(c.Operators, ","), func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
}

// buttons reports whether cards have buttons: somebody may press them, and the
// bridge hears of it.
func (c *Config) buttons() bool {
	return c.Feishu.Callbacks == callbacksLong && len(c.operators()) > 0 && c.hasApp()
}

// hasApp reports whether messages can be sent as an app at all.
func (c *Config) hasApp() bool { return c.Feishu.AppID != "" && c.Feishu.AppSecret.IsSet() }

// configured reports whether the receiver has any way.
func (c *Config) configured(r ReceiverConfig) bool {
	return (c.hasApp() && r.App.ReceiveID != "") || r.Webhook.URL.IsSet() || r.OpenClaw.Target != ""
}

// unconfigured names the receivers without any way.
func (c *Config) unconfigured() []string {
	var names []string
	for _, r := range c.Receivers {
		if !c.configured(r) {
			names = append(names, r.Name)
		}
	}
	return names
}
