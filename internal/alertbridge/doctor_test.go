package alertbridge_test

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// wellConfig is a configuration of which the doctor finds nothing.
const wellConfig = `
server: {listen: 127.0.0.1:0, token: hook-token-value, admin_token: admin-token-value}
feishu: {app_id: cli_app, app_secret: app-secret-value, base_url: FEISHU, timeout: 2s}
alertmanager: {url: ALERTMANAGER, watchdog: Watchdog, watchdog_max_age: 3s, min_uptime: 4s}
operators: [ou_ana]
links: {grafana: "https://grafana.example", runbooks: "https://runbooks.example/r"}
receivers:
  - name: oncall
    app: {receive_id_type: chat_id, receive_id: oc_oncall}
    mention: [ou_ben]
    escalate: [{after: 10m, urgent: app}, {after: 20m, urgent: sms}, {after: 30m, urgent: phone}]
  - name: coo
    app: {receive_id_type: open_id, receive_id: ou_coo}
severity: {default: [oncall, coo]}
`

// leastScopes are what that configuration needs, and what the doctor looks with.
func leastScopes() map[string]bool {
	all := map[string]bool{}
	for _, scope := range []string{
		"im:message:send_as_bot", "im:message.urgent", "im:message.urgent:sms", "im:message.urgent:phone", "im:message:readonly", "im:message.group_msg",
		"im:chat:readonly", "contact:contact.base:readonly",
	} {
		all[scope] = true
	}
	return all
}

// without are the scopes of an app to which some were not granted.
func without(scopes ...string) feishu.Tenant {
	all := leastScopes()
	for _, scope := range scopes {
		all[scope] = false
	}
	return feishu.Tenant{Scopes: all}
}

// planted is a fault and what the doctor says of it: the lines that are not ok, in
// order, each as parts that line and cure hold.
type planted struct {
	name   string
	change []string // of the configuration, old and new by turns
	tenant feishu.Tenant
	fault  feishu.Fault
	skew   time.Duration // of the server's clock
	want   [][]string
	code   int
}

// toBot is the change that gives coo a custom bot instead.
func toBot(url string) []string {
	return []string{"app: {receive_id_type: open_id, receive_id: ou_coo}", "webhook: {url: \"" + url + "\", secret: sign-secret-value}"}
}

func appFaults() []planted {
	down := []string{"FEISHU", "http://127.0.0.1:9"}
	skipped := func(lane string) []string { return []string{"note", lane + ": not looked at", "fix that first"} }
	return []planted{
		{name: "wrong secret", change: []string{"app-secret-value", "another-secret-value"}, code: 1,
			want: [][]string{{"FIX", "feishu app: ", "10014", "feishu.app_secret", "https://open.feishu.cn/app/cli_app/baseinfo"}, skipped("oncall/app"), skipped("coo/app")}},
		{name: "wrong app id", change: []string{"cli_app", "cli_none"}, code: 1,
			want: [][]string{{"FIX", "feishu app: ", "10003", "feishu.app_id"}, skipped("oncall/app"), skipped("coo/app")}},
		{name: "Lark's console", change: []string{"timeout: 2s", "domain: lark", "app-secret-value", "another-secret-value"}, code: 1,
			want: [][]string{{"FIX", "feishu app: ", "https://open.larksuite.com/app/cli_app/baseinfo"}, skipped("oncall/app"), skipped("coo/app")}},
		{name: "unreachable", change: down, code: 1,
			want: [][]string{{"FIX", "feishu app: ", "no connection", "http://127.0.0.1:9 can be reached", "HTTPS_PROXY"}, skipped("oncall/app"), skipped("coo/app")}},
		{name: "a proxy's page", fault: feishu.Fault{Kind: feishu.FaultHTML502}, code: 1,
			want: [][]string{{"FIX", "feishu app: ", "HTTP 502", "can be reached"}, skipped("oncall/app"), skipped("coo/app")}},
		{name: "clock behind", skew: 20*time.Minute + 30*time.Second, code: 1, want: [][]string{{"FIX", "clock: 20m", "behind that of", "timedatectl"}}},
		{name: "clock ahead", skew: -20*time.Minute - 30*time.Second, code: 1, want: [][]string{{"FIX", "clock: 20m", "ahead of that of", "timedatectl"}}},
		{name: "not installed", tenant: feishu.Tenant{NotInstalled: true}, code: 1, want: [][]string{{"FIX", "scopes: ", "212100", "publish a version", "/app/cli_app/version"}}},
		{name: "scopes cannot be listed", fault: feishu.Fault{Kind: feishu.FaultHTML502, Ops: []feishu.Op{feishu.OpScopes}},
			want: [][]string{{"note", "scopes: cannot be listed", "https://open.feishu.cn/app/cli_app/auth"}}},
		{name: "may not send", tenant: without("im:message:send_as_bot"), code: 1,
			want: [][]string{{"FIX", "scope im:message:send_as_bot: not granted", "send, change and answer", "or im:message", "https://open.feishu.cn/app/cli_app/auth", "publish"}}},
		{name: "may not buzz", tenant: without("im:message.urgent", "im:message.urgent:sms", "im:message.urgent:phone"), code: 1,
			want: [][]string{{"FIX", "scope im:message.urgent: ", "by app"}, {"FIX", "scope im:message.urgent:phone: ", "by phone"}, {"FIX", "scope im:message.urgent:sms: ", "by sms"}}},
		{name: "may not read history", tenant: without("im:message:readonly", "im:message.group_msg"),
			want: [][]string{{"note", "scope im:message:readonly: ", "possible duplicate", "grant it"}, {"note", "scope im:message.group_msg: ", "possible duplicate"}}},
		{name: "more than the least is enough", tenant: feishu.Tenant{}},
	}
}

func receiverFaults() []planted {
	return []planted{
		{name: "bot not in the chat", tenant: feishu.Tenant{Left: []string{"oc_oncall"}}, code: 1, want: [][]string{{"FIX", "oncall/app: the bot is not in chat oc_oncall", "add the app's bot"}}},
		{name: "no such chat", tenant: feishu.Tenant{Unknown: []string{"oc_oncall"}}, code: 1, want: [][]string{{"FIX", "oncall/app: no chat has the id oc_oncall", "232006", "begins with oc_"}}},
		{name: "membership cannot be seen", tenant: without("im:chat:readonly"), want: [][]string{{"note", "oncall/app: ", "im:chat:readonly", "send-test oncall"}}},
		{name: "the chat's lookup fails", fault: feishu.Fault{Kind: feishu.FaultHTML502, Ops: []feishu.Op{feishu.OpMember}}, code: 1, want: [][]string{{"FIX", "oncall/app: ", "502", "send-test oncall"}}},
		{name: "nobody's open id", tenant: feishu.Tenant{Unknown: []string{"ou_coo"}}, code: 1, want: [][]string{{"FIX", "coo/app: nobody is ou_coo to this app", "other open ids"}}},
		{name: "another app's open id", tenant: feishu.Tenant{Foreign: []string{"ou_coo"}}, code: 1, want: [][]string{{"FIX", "coo/app: nobody is ou_coo to this app", "other open ids"}}},
		{name: "outside the contact range", tenant: feishu.Tenant{Hidden: []string{"ou_coo"}}, want: [][]string{{"note", "coo/app: ", "contact range", "send-test coo"}}},
		{name: "people cannot be seen", tenant: without("contact:contact.base:readonly"), want: [][]string{{"note", "coo/app: ", "contact:contact.base:readonly", "send-test coo"}}},
		{name: "the person's lookup fails", fault: feishu.Fault{Kind: feishu.FaultHTML502, Ops: []feishu.Op{feishu.OpPerson}}, code: 1, want: [][]string{{"FIX", "coo/app: ", "502", "send-test coo"}}},
		{name: "a mail address", change: []string{"receive_id_type: open_id, receive_id: ou_coo", "receive_id_type: email, receive_id: coo@example.com"},
			want: [][]string{{"note", "coo/app: coo@example.com", "send-test coo"}}},
		{name: "an operator and a mention of another app", tenant: feishu.Tenant{Foreign: []string{"ou_ana", "ou_ben"}}, code: 1,
			want: [][]string{{"FIX", "receiver oncall: mention: nobody is ou_ben", "other open ids"}, {"FIX", "operators: nobody is ou_ana", "other open ids"}}},
		{name: "no credentials", change: []string{"app: {receive_id_type: open_id, receive_id: ou_coo}", "deliver: all"}, code: 1,
			want: [][]string{{"FIX", "receiver coo: no credentials", "app.receive_id", "webhook.url"}}},
		{name: "no app", change: []string{"app_id: cli_app, app_secret: app-secret-value, ", ""}, code: 1,
			want: [][]string{{"FIX", "receiver oncall: no credentials"}, {"FIX", "receiver coo: no credentials", "feishu.app_id"}}},
		{name: "a custom bot", change: toBot("FEISHU/open-apis/bot/v2/hook/hook-secret-value"), want: [][]string{{"note", "coo/webhook: of the right form", "send-test coo"}}},
		{name: "a custom bot, and the clock is off", change: toBot("FEISHU/open-apis/bot/v2/hook/hook-secret-value"), skew: time.Hour, code: 1,
			want: [][]string{{"FIX", "clock: "}, {"FIX", "coo/webhook clock: ", "behind", "timedatectl"}, {"note", "coo/webhook: of the right form"}}},
		{name: "a custom bot out of reach", change: toBot("http://127.0.0.1:9/open-apis/bot/v2/hook/hook-secret-value"), code: 1,
			want: [][]string{{"FIX", "coo/webhook clock: ", "http://127.0.0.1:9 can be reached"}, {"note", "coo/webhook: of the right form"}}},
		{name: "a custom bot of the first version", change: toBot("FEISHU/open-apis/bot/hook/hook-secret-value"), code: 1, want: [][]string{{"FIX", "coo/webhook: ", "first version", "/open-apis/bot/v2/hook/"}}},
		{name: "a custom bot without its token", change: toBot("FEISHU/open-apis/bot/v2/hook/"), code: 1, want: [][]string{{"FIX", "coo/webhook: ", "not of the form /open-apis/bot/v2/hook/TOKEN", "copy the address"}}},
		{name: "a custom bot of another kind", change: toBot("FEISHU/hooks/hook-secret-value"), code: 1, want: [][]string{{"FIX", "coo/webhook: ", "not of the form", "copy the address"}}},
		{name: "OpenClaw is not there", change: []string{"app: {receive_id_type: open_id, receive_id: ou_coo}", "openclaw: {cli: no-such-openclaw, target: oc_1}"}, code: 1,
			want: [][]string{{"FIX", "coo/openclaw: the program \"no-such-openclaw\" is not found", "openclaw.target"}}},
		{name: "OpenClaw is there", change: []string{"app: {receive_id_type: open_id, receive_id: ou_coo}", "openclaw: {cli: /bin/sh, target: oc_1}"},
			want: [][]string{{"note", "coo/openclaw: the program is /bin/sh", "send-test coo"}}},
		{name: "a custom bot in the clear", change: toBot("http://open.feishu.invalid/open-apis/bot/v2/hook/hook-secret-value"), code: 1, want: [][]string{{"FIX", "coo/webhook: ", "in the clear", "https://"}}},
	}
}

func otherFaults() []planted {
	return []planted{
		{name: "all well", tenant: feishu.Tenant{Scopes: leastScopes()}},
		{name: "no operators", change: []string{"[ou_ana]", "[]"}, code: 1, want: [][]string{{"FIX", "buttons: operators is empty", "card.action.trigger", "feishu.callbacks: off"}}},
		{name: "callbacks off", change: []string{"timeout: 2s", "callbacks: off"}, want: [][]string{{"note", "buttons: feishu.callbacks is off", "feishu.callbacks: long_connection"}}},
		{name: "loopback links", change: []string{"https://grafana.example", "http://127.0.0.1:3001", "https://runbooks.example/r", "http://localhost/r"}, code: 1,
			want: [][]string{{"FIX", "links.grafana: http://127.0.0.1:3001", "people open"}, {"FIX", "links.runbooks: http://localhost/r", "people open"}}},
		{name: "no links", change: []string{"https://grafana.example", "", "https://runbooks.example/r", ""}},
		{name: "no Alertmanager", change: []string{"ALERTMANAGER", `""`}, code: 1, want: [][]string{{"FIX", "alertmanager: alertmanager.url is empty", "set it"}}},
		{name: "Alertmanager unreachable", change: []string{"ALERTMANAGER", "http://127.0.0.1:9"}, code: 1, want: [][]string{{"FIX", "alertmanager: ", "connection refused", "see that it runs", "alertmanager.url"}}},
		{name: "Alertmanager under another path", change: []string{"ALERTMANAGER", "ALERTMANAGER/prefix"}, code: 1, want: [][]string{{"FIX", "alertmanager: ", "path prefix"}}},
		{name: "Alertmanager just started", change: []string{"min_uptime: 4s", "min_uptime: 24h"}, want: [][]string{{"note", "alertmanager: answers, up for", "wait", "24h"}}},
		{name: "no watchdog set", change: []string{"watchdog: Watchdog", `watchdog: ""`}, code: 1, want: [][]string{{"FIX", "watchdog: alertmanager.watchdog is empty", "name it there"}}},
		{name: "watchdog missing", change: []string{"watchdog: Watchdog", "watchdog: DeadMansSwitch"}, code: 1, want: [][]string{{"FIX", `watchdog: no alert "DeadMansSwitch"`, "load alerting/rules"}}},
	}
}

// grownAlertmanager is one that has been up for longer than min_uptime.
func grownAlertmanager(t *testing.T) *realAlertmanager {
	t.Helper()
	am := startAlertmanager(t, freeAddress(t), "http://127.0.0.1:9/webhook", "--cluster.listen-address=")
	began := time.Now()
	eventually(t, func() bool { return time.Since(began) > 4*time.Second }, func() string { return "the time does not pass" })
	return am
}

// TestDoctor plants one fault after another; the doctor names each, says what to do,
// and nothing else; and nobody is sent anything.
func TestDoctor(t *testing.T) {
	am := grownAlertmanager(t)
	for _, p := range slices.Concat(otherFaults(), appFaults(), receiverFaults()) {
		t.Run(p.name, func(t *testing.T) {
			am.tell(time.Hour, watchdog())
			fs := p.standIn(t)
			code, out := command(t, "", "doctor", "-config", p.config(t, fs, am))
			p.check(t, code, out)
			for _, r := range fs.Requests() {
				if !slices.Contains([]feishu.Op{feishu.OpToken, feishu.OpScopes, feishu.OpMember, feishu.OpPerson}, r.Op) {
					t.Errorf("the doctor asked for more than it has to: %s %s", r.Method, r.Route)
				}
			}
		})
	}
}

// TestDoctorOfAnOldWatchdog waits until one is old.
func TestDoctorOfAnOldWatchdog(t *testing.T) {
	am := grownAlertmanager(t)
	am.tell(time.Hour, watchdog())
	p := planted{change: []string{"watchdog_max_age: 3s", "watchdog_max_age: 1s"}, code: 1, want: [][]string{{"FIX", "watchdog: last heard", "watchdog_max_age is 1s", "Prometheus runs"}}}
	fs := p.standIn(t)
	file, code, out := p.config(t, fs, am), 0, ""
	eventually(t, func() bool { code, out = command(t, "", "doctor", "-config", file); return code != 0 }, func() string { return out })
	p.check(t, code, out)
}

// standIn is the Feishu of the case.
func (p planted) standIn(t *testing.T) *standIn {
	t.Helper()
	fs := newFeishu(t, feishu.Options{})
	fs.SetTenant(p.tenant)
	if p.fault.Kind != "" {
		if err := fs.AddFault(p.fault); err != nil {
			t.Fatal(err)
		}
	}
	if p.skew != 0 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(p.skew).UTC().Format(http.TimeFormat))
			fs.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		fs.url = server.URL
	}
	return fs
}

func (p planted) config(t *testing.T, fs *standIn, am *realAlertmanager) string {
	t.Helper()
	text := wellConfig
	for change := range slices.Chunk(p.change, 2) {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("nothing to change: %q", change[0])
		}
		text = strings.ReplaceAll(text, change[0], change[1])
	}
	return writeFile(t, strings.NewReplacer("FEISHU", fs.url, "ALERTMANAGER", am.url).Replace(text))
}

func (p planted) check(t *testing.T, code int, out string) {
	t.Helper()
	if code != p.code {
		t.Errorf("exit code %d, want %d", code, p.code)
	}
	found := findings(out)
	if len(found) != len(p.want) {
		t.Errorf("%d findings, want %d", len(found), len(p.want))
	}
	for i, want := range p.want {
		for _, part := range want {
			if i < len(found) && !strings.Contains(found[i], part) {
				t.Errorf("finding %d does not say %q: %s", i+1, part, found[i])
			}
		}
	}
	for _, secret := range []string{"secret-value", "token-value"} {
		if strings.Contains(out, secret) {
			t.Errorf("the doctor shows %s", secret)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
}

// findings are the lines that are not ok, each with its cure; a line without one is a
// fault of the doctor's.
func findings(out string) []string {
	var all []string
	for line := range strings.Lines(out) {
		switch {
		case strings.HasPrefix(line, "ok "), strings.HasPrefix(line, "alertbridge: "):
		case strings.HasPrefix(line, "      -> ") && len(all) > 0:
			all[len(all)-1] += line
		default:
			all = append(all, line)
		}
	}
	for i, finding := range all {
		if !strings.Contains(finding, "-> ") {
			all[i] = "no cure: " + finding
		}
	}
	return all
}

// TestDoctorNeedsNoMoreThanTheLeast takes each of the least scopes away in turn, so
// that the list above is neither too long nor too short.
func TestDoctorNeedsNoMoreThanTheLeast(t *testing.T) {
	am := grownAlertmanager(t)
	for _, scope := range slices.Sorted(maps.Keys(leastScopes())) {
		p := planted{tenant: without(scope)}
		am.tell(time.Hour, watchdog())
		fs := p.standIn(t)
		if _, out := command(t, "", "doctor", "-config", p.config(t, fs, am)); len(findings(out)) != 1 || !strings.Contains(findings(out)[0], scope) {
			t.Errorf("without %s:\n%s", scope, out)
		}
	}
}
