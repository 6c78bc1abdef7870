package stack

import (
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/agents"
)

// Service is one process of the suite.
type Service struct {
	Name     string
	Argv     []string
	Env      []string // added to a small environment, not to the caller's
	Also     []string // more names of Layout that it listens on
	ReadyURL string   // answers 200 once the service works
	URL      string   // for a person
	StandIn  string   // what it stands in for, and the setting that replaces it; "" = the real thing
	Next     string   // what a person may want to do there
	Restart  bool     // start it again when it ends by itself
}

// Plan is a suite: where it lives, how fast it is, what runs.
type Plan struct {
	Layout   Layout
	Pace     Pace
	Services []Service
}

// NewPlan says what runs with these settings. The stand-ins take the parts that
// are not configured.
func NewPlan(l Layout, s Settings, p Pace) Plan {
	b := builder{layout: l, settings: s, pace: p}
	var services []Service
	if !s.feishu() {
		services = append(services, b.feishu())
	}
	if !s.ownGateway() {
		services = append(services, b.provider())
	}
	services = append(services, b.nodeExporter(), b.gateway(), b.heartbeat(), b.alertbridge(), b.alertmanager())
	if !s.OwnAgents() {
		services = append(services, b.agents())
	}
	services = append(services, b.exporter(), b.prometheus())
	return Plan{Layout: l, Pace: p, Services: services}
}

// Service returns the service with the name.
func (p Plan) Service(name string) (Service, bool) {
	for _, s := range p.Services {
		if s.Name == name {
			return s, true
		}
	}
	return Service{}, false
}

type builder struct {
	layout   Layout
	settings Settings
	pace     Pace
}

// Receivers of the stand-in's chats.
const (
	sandboxOncall = "ou_sandbox_oncall"
	sandboxCOO    = "ou_sandbox_coo"
)

func (b builder) hook() string {
	token, err := b.layout.Secret("sandbox_ops_hook")
	if err != nil {
		return "" // Prepare has made it, and tells where it could not
	}
	return token
}

func (b builder) feishu() Service {
	l := b.layout
	return Service{
		Name: SandboxFeishu,
		Argv: []string{l.tool("sandboxd"), "feishu", "-listen", l.Listen(SandboxFeishu), "-snapshot", filepath.Join(l.data(SandboxFeishu), "chats.json"),
			"-name", sandboxOncall + "=critical-oncall 值班", "-name", sandboxCOO + "=coo 运营", "-bot", b.hook() + "=heartbeat 自己的通知 (ops-bot)"},
		ReadyURL: l.URL(SandboxFeishu) + "/health", URL: l.URL(SandboxFeishu) + "/",
		StandIn: "Feishu; replaced by FEISHU_APP_ID or FEISHU_WEBHOOK_*", Next: "read the cards, press their buttons", Restart: true,
	}
}

func (b builder) agents() Service {
	l := b.layout
	return Service{
		Name: SandboxAgents,
		Argv: []string{l.tool("sandboxd"), "agents", "-listen", l.Listen(SandboxAgents), "-roster", b.roster(), "-heartbeat", l.URL(Heartbeat),
			"-ping-key-file", l.secret("heartbeat_ping_key"), "-dir", l.data(SandboxAgents), "-gateway", b.askedGateway(), "-client-key-dir", l.secret("")},
		Env:      b.rosterEnv(),
		ReadyURL: l.URL(SandboxAgents) + "/health", URL: l.URL(SandboxAgents) + "/",
		StandIn: "15 agents and their Multica; replaced by FLEET_FILE (in containers FLEET_DIR)", Next: "kill, stall or revive an agent", Restart: true,
	}
}

func (b builder) roster() string {
	if b.settings.OwnAgents() {
		return b.settings.values["FLEET_FILE"]
	}
	return b.layout.shipped(filepath.Join("sandbox", "fleet.yaml"))
}

// rosterEnv is what the sandbox's roster expands.
func (b builder) rosterEnv() []string {
	return []string{"AGENTS_DIR=" + b.layout.data(SandboxAgents), "SANDBOXD=" + b.layout.tool("sandboxd")}
}

// boards is where heartbeat finds boards of tasks: those of the settings for agents of
// one's own, and for the simulated ones the stand-in, which tells what is on their
// desks.
func (b builder) boards() []string {
	if b.settings.OwnAgents() {
		return b.settings.env("MULTICA_", "OPENCLAW_")
	}
	return []string{"MULTICA_SERVER_URL=" + b.layout.URL(SandboxAgents) + agents.MulticaPath, "MULTICA_TOKEN=sandbox", "MULTICA_WORKSPACE_ID=sandbox"}
}

// askedGateway is the gateway that the simulated agents ask: only the sandbox's.
// They never spend a real provider's tokens.
func (b builder) askedGateway() string {
	if b.settings.ownGateway() {
		return ""
	}
	return b.layout.URL(gatewayData)
}

func (b builder) provider() Service {
	l := b.layout
	return Service{
		Name:     SandboxProvider,
		Argv:     []string{l.tool("sandboxd"), "provider", "-listen", l.Listen(SandboxProvider), "-backend", "primary-1", "-backend", "fallback-1"},
		ReadyURL: l.URL(SandboxProvider) + "/health", URL: l.URL(SandboxProvider) + "/",
		StandIn: "LLM providers; replaced by GATEWAY_FILE (in containers GATEWAY_DIR)", Next: "let a backend answer 429, 500 or nothing", Restart: true,
	}
}

func (b builder) gateway() Service {
	l := b.layout
	file := b.settings.values["GATEWAY_FILE"]
	env := []string{"SECRETS_DIR=" + l.secret(""), "DATA_DIR=" + l.data(Gateway), "GATEWAY_LISTEN=" + l.Listen(gatewayData), "GATEWAY_ADMIN_LISTEN=" + l.Listen(Gateway)}
	if file == "" {
		file = l.shipped(filepath.Join("sandbox", "gateway.yaml"))
		env = append(env, "SANDBOX_PROVIDER_URL="+l.URL(SandboxProvider), "GATEWAY_COOLDOWN_BASE="+b.pace.scaled(30*time.Second), "GATEWAY_COOLDOWN_MAX="+b.pace.scaled(10*time.Minute),
			"GATEWAY_QUEUE_TIMEOUT="+b.pace.scaled(30*time.Second), "GATEWAY_HEALTH_INTERVAL="+b.pace.scaled(time.Minute))
	}
	return Service{
		Name: Gateway, Argv: []string{l.tool("gateway"), "-config", file}, Env: env, Also: []string{gatewayData},
		ReadyURL: l.URL(Gateway) + "/ready", URL: l.URL(gatewayData) + "/v1", Next: "the address that agents use; console: " + l.URL(Gateway) + "/dashboard", Restart: true,
	}
}

func (b builder) nodeExporter() Service {
	l := b.layout
	return Service{
		Name:     NodeExporter,
		Argv:     []string{l.tool("node_exporter"), "--web.listen-address=" + l.Listen(NodeExporter), "--log.level=warn"},
		ReadyURL: l.URL(NodeExporter) + "/metrics", URL: l.URL(NodeExporter) + "/metrics", Next: "metrics of this machine", Restart: true,
	}
}

func (b builder) heartbeat() Service {
	l := b.layout
	env := append(b.rosterEnv(), "SECRETS_DIR="+l.secret(""), "DATA_DIR="+l.data(Heartbeat), "HEARTBEAT_LISTEN="+l.Listen(Heartbeat), "FLEET_FILE="+b.roster(),
		"WATCHDOG_EVERY="+b.pace.scaled(time.Minute), "WATCHDOG_GRACE="+b.pace.scaled(4*time.Minute), "BRIDGE_CLEAR_AFTER="+b.pace.scaled(5*time.Minute))
	env = append(env, b.boards()...)
	if b.settings.feishu() {
		env = append(env, b.settings.env("FEISHU_WEBHOOK_CRITICAL")...)
	} else {
		env = append(env, "FEISHU_WEBHOOK_CRITICAL="+l.URL(SandboxFeishu)+"/open-apis/bot/v2/hook/"+b.hook())
	}
	return Service{
		Name: Heartbeat, Argv: []string{l.tool("heartbeat"), "-config", l.shipped("heartbeat.yaml")}, Env: env,
		ReadyURL: l.URL(Heartbeat) + "/ready", URL: l.URL(Heartbeat) + "/", Next: "who beats, who does not", Restart: true,
	}
}

func (b builder) alertbridge() Service {
	l := b.layout
	env := []string{"SECRETS_DIR=" + l.secret(""), "DATA_DIR=" + l.data(AlertBridge), "ALERTBRIDGE_LISTEN=" + l.Listen(AlertBridge), "ALERTMANAGER_URL=" + l.URL(Alertmanager),
		"BRIDGE_RECONCILE_EVERY=" + max(b.pace.scale(15*time.Second), time.Second).String(), "BRIDGE_MIN_UPTIME=" + b.pace.scaled(3*time.Minute),
		"BRIDGE_WATCHDOG_MAX_AGE=" + b.pace.watchdogMaxAge().String()}
	env = append(env, b.settings.env("GRAFANA_URL", "RUNBOOK_URL")...)
	if b.settings.feishu() {
		env = append(env, b.settings.env("FEISHU_")...)
	} else {
		secret, _ := l.Secret("sandbox_feishu_secret") // Prepare has made it
		env = append(env, "FEISHU_APP_ID=cli_sandbox", "FEISHU_APP_SECRET="+secret, "FEISHU_BASE_URL="+l.URL(SandboxFeishu),
			"FEISHU_CRITICAL_ID="+sandboxOncall, "FEISHU_WARNING_ID="+sandboxCOO, "FEISHU_OPERATORS="+sandboxOncall+","+sandboxCOO)
	}
	return Service{
		Name: AlertBridge, Argv: []string{l.tool("alertbridge"), "-config", l.shipped("alertbridge.yaml")}, Env: env,
		ReadyURL: l.URL(AlertBridge) + "/ready", URL: l.URL(AlertBridge) + "/ready", Next: "alertbridge doctor, when cards do not come", Restart: true,
	}
}

func (b builder) exporter() Service {
	l := b.layout
	interval := b.pace.scale(15 * time.Second)
	if b.pace.AgentScrape > 0 {
		interval = b.pace.AgentScrape
	}
	env := append(b.rosterEnv(), "SECRETS_DIR="+l.secret(""), "EXPORTER_LISTEN="+l.Listen(Exporter), "FLEET_FILE="+b.roster(), "HEARTBEAT_URL="+l.URL(Heartbeat), "GATEWAY_URL="+l.URL(Gateway),
		"EXPORTER_WINDOW="+b.pace.scaled(5*time.Minute), "EXPORTER_MIN_INTERVAL="+interval.String(), "EXPORTER_TIMEOUT="+min(interval, 5*time.Second).String())
	return Service{
		Name: Exporter, Argv: []string{l.tool("exporter"), "-config", l.shipped("exporter.yaml")}, Env: env,
		ReadyURL: l.URL(Exporter) + "/ready", URL: l.URL(Exporter) + "/", Next: "every signal of every agent, and the verdict", Restart: true,
	}
}

func (b builder) alertmanager() Service {
	l := b.layout
	return Service{
		Name: Alertmanager,
		Argv: []string{l.tool("alertmanager"), "--config.file=" + l.config("alertmanager.yml"), "--storage.path=" + l.data(Alertmanager), "--web.listen-address=" + l.Listen(Alertmanager),
			"--web.external-url=" + l.URL(Alertmanager), "--cluster.listen-address=", "--enable-feature=utf8-strict-mode"},
		ReadyURL: l.URL(Alertmanager) + "/-/ready", URL: l.URL(Alertmanager) + "/", Next: "alerts and silences", Restart: true,
	}
}

func (b builder) prometheus() Service {
	l := b.layout
	argv := []string{l.tool("prometheus"), "--config.file=" + l.config("prometheus.yml"), "--storage.tsdb.path=" + l.data(Prometheus), "--storage.tsdb.retention.time=15d",
		"--web.listen-address=" + l.Listen(Prometheus), "--web.external-url=" + l.URL(Prometheus), "--web.enable-lifecycle", "--enable-feature=exemplar-storage"}
	if b.pace.Resend > 0 {
		argv = append(argv, "--rules.alert.resend-delay="+b.pace.Resend.String())
	}
	return Service{
		Name: Prometheus, Argv: argv, ReadyURL: l.URL(Prometheus) + "/-/ready", URL: l.URL(Prometheus) + "/api/v1/alerts",
		Next: "its API (this build has no pages)", Restart: true,
	}
}

// ready asks a service whether it works.
func (s Service) ready(client *http.Client) bool {
	response, err := client.Get(s.ReadyURL) //nolint:noctx // the client has a timeout
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// environment is what every service gets: no variable of the caller's that could
// hold a credential.
func environment() []string {
	env := []string{"LOG_FORMAT=text", "LOG_LEVEL=info"}
	for _, name := range []string{"PATH", "HOME", "USER", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}
