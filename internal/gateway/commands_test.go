package gateway_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func run(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	var b bytes.Buffer
	code = program.Main(t.Context(), gateway.Program(), args, nil, &b, &b)
	return code, b.String()
}

func TestCheckConfig(t *testing.T) {
	config := writeConfig(t, settings{providers: "http://127.0.0.1:1", backend: "tpm_limit: 5", clients: "    - {name: b, key: another-client-key, daily_budget: 3}\n", extra: "capture: {level: all}\nshared: {url: redis://127.0.0.1:1}"})
	code, out := run(t, "check-config", "-config", config)
	if code != 0 {
		t.Fatal(out)
	}
	for _, want := range []string{"not available in this version", "daily_budget: 3", "tpm_limit: 5", "dir: " + filepath.Join(filepath.Dir(config), "backups"), "shared", "capture"} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{clientKey, keyOf, adminKey, readKey, strings.Repeat("ab", 32)} {
		if strings.Contains(out, secret) {
			t.Errorf("shows the secret %q", secret)
		}
	}
	g := start(t, config)
	for _, want := range []string{`"key":"shared"`, `"key":"capture"`} {
		if !strings.Contains(g.logs.String(), want) {
			t.Errorf("the start does not warn of %s", want)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gateway.yaml")
	text := `
server: {listen: "0.0.0.0:9190", max_body: 1, shutdown_grace: 20m, trusted_proxies: [nonsense]}
admin: {listen: "0.0.0.0:9191"}
store: {encryption_keys: [short]}
clients: {auth: open, declared: [{name: "a b", key: short}, {name: x, key: same-key-value}, {name: x, key: same-key-value, expires: soon}, {name: anonymous, key: "with space", daily_budget: 1e10, monthly_budget: 1e-10}]}
routing: {pools: [primary, primary], strategy: random, affinity: x, max_attempts: 0, idle_timeout: 0, emergency_rpm_fraction: 2, queue: {max_depth: 0, timeout: 1h}}
ledger: {on_error: maybe}
cooldown: {base: 1m, max: 30s, jitter: 3, failures_before_error: 0}
retention: {requests: 1h}
backup: {every: 1s, keep: 500ms}
currency: ""
timezone: Mars
health: {interval: 1ms, path: models}
ip_rate_limit: {window_ms: 9300000000000}
backends:
  - {name: c, base_url: "http://x:99999/v1", api_key: "two\nlines", headers: {Upgrade: x, "a b": "c"}, models: {m: {native_id: " x", input_modalities: [smell], price_per_mtok: {output: 1e11}}}}
  - {name: b, pool: third, api: [grpc], base_url: "ftp://x", headers: {Authorization: x}, weight: -1}
  - {name: b, base_url: "http://user@x/v1", api_key: k, models: {m: {price_per_mtok: {input: -1}}}}
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out := run(t, "check-config", "-config", path)
	if code != 2 {
		t.Fatalf("code %d", code)
	}
	for _, want := range []string{
		"server.max_body", "server.shutdown_grace", "server.trusted_proxies[0]", "needs a token: set admin.token", "store.encryption_keys[0]", "clients.auth: open is for this machine only",
		"clients.declared[0].name", "clients.declared[0].key", "another client is named", "another client has the same key", "clients.declared[2].expires", "routing.pools[1]", "routing.strategy",
		"routing.affinity", "routing.max_attempts", "routing.idle_timeout", "routing.emergency_rpm_fraction", "ledger.on_error", "cooldown.max", "cooldown.jitter", "cooldown.failures_before_error",
		"retention.requests", "backup.every", "backup.keep", "currency", "timezone", "backends[1].pool", "backends[1].api[0]", "backends[1].base_url", "backends[1].api_key", "backends[1].headers.Authorization", "backends[1].models",
		"another backend is named", "backends[2].base_url", "backends[2].models.m.price_per_mtok", "health.interval", "health.path", "ip_rate_limit", "backends[0].base_url: expected a port",
		"backends[0].api_key", "backends[0].headers.Upgrade", "backends[0].headers.a b", "backends[0].models.m.native_id", "backends[0].models.m.input_modalities[0]", "backends[0].models.m.price_per_mtok",
		"clients.declared[3].name", "clients.declared[3].key", "clients.declared[3].daily_budget", "clients.declared[3].monthly_budget", "routing.queue.max_depth", "routing.queue.timeout",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// TestTwoGatewaysDoNotShareAStore: each keeps in memory which rows the sums hold.
func TestTwoGatewaysDoNotShareAStore(t *testing.T) {
	config := writeConfig(t, settings{providers: "http://127.0.0.1:1"})
	g := start(t, config)
	o := gateway.Options{ConfigFile: config, Log: slog.New(slog.DiscardHandler)}
	if _, err := gateway.New(t.Context(), o); !errors.Is(err, sqlstore.ErrServed) {
		t.Errorf("a second gateway on the same store: %v", err)
	}
	g.stop()
	second, err := gateway.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
