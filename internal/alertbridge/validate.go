package alertbridge

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/route"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

var receiverName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,62}$`)

// openID is what may stand in a mention, which is the only markup in a card.
var openID = regexp.MustCompile(`^(ou_[A-Za-z0-9_-]{1,64}|all)$`)

// Validate implements [confload.Validator]. It also fills what has no default in
// a list.
func (c *Config) Validate(r *confload.Report) {
	c.validateServer(r)
	c.validateFeishu(r)
	c.validateAlertmanager(r)
	for i, id := range c.operators() {
		if !openID.MatchString(id) || id == "all" {
			r.Errorf(fmt.Sprintf("operators[%d]", i), "expected an open id (ou_...), got %q", id)
		}
	}
	oneOf(r, "display.language", c.Display.Language, render.Languages()...)
	if _, err := time.LoadLocation(c.Display.Timezone); err != nil || c.Display.Timezone == "" {
		r.Errorf("display.timezone", "expected a zone such as Asia/Shanghai, got %q", c.Display.Timezone)
	}
	httpURL(r, "links.grafana", c.Links.Grafana)
	httpURL(r, "links.runbooks", c.Links.Runbooks)
	c.validateTemplates(r)
	c.validateReceivers(r)
	c.validateRouting(r)
	notNegative(r, "limits.max_age", c.Limits.MaxAge)
	if n := c.Storm.PerReceiverPerMinute; n < 0 {
		r.Errorf("storm.per_receiver_per_minute", "expected 0 (no limit) or more, got %d", n)
	}
	atLeast(r, "storm.digest_every", c.Storm.DigestEvery, time.Second)
	for key, n := range map[string]int{"limits.urgent_sms_per_day": c.Limits.UrgentSMSPerDay, "limits.urgent_phone_per_day": c.Limits.UrgentPhonePerDay} {
		if n < 0 {
			r.Errorf(key, "expected 0 (no limit) or more, got %d", n)
		}
	}
	atLeast(r, "retention.delivered", c.Retention.Delivered, day)
	atLeast(r, "retention.dead", c.Retention.Dead, day)
}

func (c *Config) validateServer(r *confload.Report) {
	if err := httpserve.CheckExposure(c.Server.Listen, "server.token", c.Server.Token); err != nil {
		r.Errorf("server.listen", "%v", err)
	}
	if err := httpserve.CheckExposure(c.Server.Listen, "server.admin_token", c.Server.AdminToken); err != nil {
		r.Errorf("server.listen", "%v", err)
	}
	if c.Server.MaxBody < 1<<10 {
		r.Errorf("server.max_body", "expected at least 1KiB, got %s", c.Server.MaxBody)
	}
	if _, err := c.Store.URL.Path(); err != nil {
		r.Errorf("store.url", "%v", err)
	}
	if c.Store.MaxOpenCards < 0 {
		r.Errorf("store.max_open_cards", "expected 0 (no limit) or more, got %d", c.Store.MaxOpenCards)
	}
}

func (c *Config) validateFeishu(r *confload.Report) {
	oneOf(r, "feishu.domain", c.Feishu.Domain, "feishu", "lark")
	oneOf(r, "feishu.callbacks", c.Feishu.Callbacks, callbacksLong, callbacksOff)
	c.Feishu.BaseURL = strings.TrimRight(c.Feishu.BaseURL, "/")
	httpURL(r, "feishu.base_url", c.Feishu.BaseURL)
	atLeast(r, "feishu.timeout", c.Feishu.Timeout, 100*time.Millisecond)
	if (c.Feishu.AppID == "") != !c.Feishu.AppSecret.IsSet() {
		r.Errorf("feishu", "expected both app_id and app_secret, or neither")
	}
}

func (c *Config) validateAlertmanager(r *confload.Report) {
	httpURL(r, "alertmanager.url", c.Alertmanager.URL)
	atLeast(r, "alertmanager.reconcile_every", c.Alertmanager.ReconcileEvery, 100*time.Millisecond)
	atLeast(r, "alertmanager.watchdog_max_age", c.Alertmanager.WatchdogMaxAge, time.Second)
	notNegative(r, "alertmanager.min_uptime", c.Alertmanager.MinUptime)
	if up, age := c.Alertmanager.MinUptime, c.Alertmanager.WatchdogMaxAge; c.Alertmanager.Watchdog != "" && up <= age {
		// Until it has heard of its alerts again, an Alertmanager that was started lists
		// none; a Watchdog from before must be too old by then to turn cards green.
		r.Errorf("alertmanager.min_uptime", "expected more than alertmanager.watchdog_max_age, which is %s, got %s", age, up)
	}
	for i, d := range c.Alertmanager.SilenceChoices {
		atLeast(r, fmt.Sprintf("alertmanager.silence_choices[%d]", i), d, time.Minute)
	}
}

func (c *Config) validateReceivers(r *confload.Report) {
	if len(c.Receivers) == 0 {
		r.Errorf("receivers", "expected at least one receiver; it may be without credentials at first")
	}
	seen := map[string]bool{}
	for i := range c.Receivers {
		x, path := &c.Receivers[i], fmt.Sprintf("receivers[%d]", i)
		if !receiverName.MatchString(x.Name) {
			r.Errorf(path+".name", "expected a name of a-z, 0-9, - and _, got %q", x.Name)
		}
		if seen[x.Name] {
			r.Errorf(path+".name", "another receiver is named %q already", x.Name)
		}
		seen[x.Name] = true
		x.validate(r, path)
	}
	for i, x := range c.Receivers {
		for j, step := range x.Escalate {
			if step.To != "" && !seen[step.To] {
				r.Errorf(fmt.Sprintf("receivers[%d].escalate[%d].to", i, j), "no receiver is named %q", step.To)
			}
		}
	}
}

func (x *ReceiverConfig) validate(r *confload.Report, path string) {
	if x.Deliver == "" {
		x.Deliver = deliverFailover
	}
	if x.FailoverAfter == 0 {
		x.FailoverAfter = defaultFailoverAfter
	}
	if x.OpenClaw.CLI == "" {
		x.OpenClaw.CLI = "openclaw"
	}
	if strings.HasPrefix(x.OpenClaw.Target, "-") {
		r.Errorf(path+".openclaw.target", "expected a chat or a person, got %q", x.OpenClaw.Target)
	}
	if x.App.ReceiveIDType == "" {
		x.App.ReceiveIDType = "chat_id"
	}
	oneOf(r, path+".deliver", x.Deliver, deliverFailover, deliverAll)
	notNegative(r, path+".failover_after", x.FailoverAfter)
	oneOf(r, path+".app.receive_id_type", x.App.ReceiveIDType, "open_id", "union_id", "user_id", "email", "chat_id")
	if u, err := url.Parse(x.Webhook.URL.Reveal()); x.Webhook.URL.IsSet() && (err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https")) {
		r.Errorf(path+".webhook.url", "expected the custom bot's address, https://open.feishu.cn/open-apis/bot/v2/hook/...")
	}
	for i, id := range x.Mention {
		if !openID.MatchString(id) {
			r.Errorf(fmt.Sprintf("%s.mention[%d]", path, i), "expected an open id (ou_...) or all, got %q", id)
		}
	}
	for i, step := range x.Escalate {
		at := fmt.Sprintf("%s.escalate[%d]", path, i)
		atLeast(r, at+".after", step.After, time.Second)
		if (step.To == "") == (step.Urgent == "") {
			r.Errorf(at, "expected either to or urgent")
		}
		if step.Urgent != "" && x.App.ReceiveID != "" && len(x.people().IDs) == 0 {
			r.Errorf(at+".urgent", "there is nobody to buzz: %s is no person's id, name people in the receiver's mention", x.App.ReceiveIDType)
		}
		if step.Urgent != "" {
			oneOf(r, at+".urgent", step.Urgent, "app", "sms", "phone")
		}
	}
}

func (c *Config) validateRouting(r *confload.Report) {
	if len(c.Severity) == 0 && len(c.Routes) == 0 && len(c.Receivers) > 0 {
		r.Errorf("severity", "expected who is told, such as {critical: [%s], default: [%s]}", c.Receivers[0].Name, c.Receivers[0].Name)
		return
	}
	if _, problems := c.table(); len(problems) > 0 {
		for _, p := range problems {
			r.Errorf(p.Path, "%s", p.Message)
		}
	}
}

// table makes the routing table. Severities that the short form does not name
// go to everybody whom it names, unless it says otherwise.
func (c *Config) table() (*route.Table, []route.Problem) {
	o := route.Options{Severity: maps.Clone(c.Severity), OwnerReceivers: c.OwnerReceivers, Location: c.location()}
	if _, ok := c.Severity[route.DefaultSeverity]; !ok && len(c.Severity) > 0 {
		var all []string
		for _, severity := range slices.SortedFunc(maps.Keys(c.Severity), func(a, b string) int { return card.Rank(a) - card.Rank(b) }) {
			all = append(all, c.Severity[severity]...)
		}
		o.Severity[route.DefaultSeverity] = all
	}
	for _, x := range c.Receivers {
		o.Known = append(o.Known, x.Name)
	}
	for _, x := range c.Routes {
		o.Rules = append(o.Rules, route.Rule{Matchers: x.Matchers, Receivers: x.Receivers, Continue: x.Continue, Hours: x.Hours})
	}
	return route.New(o)
}

// location is the zone of display, UTC where it is not valid.
func (c *Config) location() *time.Location {
	zone, err := time.LoadLocation(c.Display.Timezone)
	if err != nil {
		return time.UTC
	}
	return zone
}

func oneOf(r *confload.Report, path, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		r.Errorf(path, "expected one of %s, got %q", strings.Join(choices, ", "), value)
	}
}

func atLeast(r *confload.Report, path string, value, least time.Duration) {
	if value < least {
		r.Errorf(path, "expected at least %s, got %s", least, value)
	}
}

func notNegative(r *confload.Report, path string, value time.Duration) {
	if value < 0 {
		r.Errorf(path, "expected 0 or more, got %s", value)
	}
}

func httpURL(r *confload.Report, path, value string) {
	if value == "" {
		return
	}
	if u, err := url.Parse(value); err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		r.Errorf(path, "expected an address that begins with http:// or https://")
	}
}

// Unavailable is a setting that has no effect in this way of running, and why.
type Unavailable struct{ Key, Reason string }

// unavailable lists the settings of the configuration that have no effect.
func (c *Config) unavailable() []Unavailable {
	var out []Unavailable
	add := func(set bool, key, reason string) {
		if set {
			out = append(out, Unavailable{key, reason})
		}
	}
	for i, x := range c.Receivers {
		if x.OpenClaw.Target == "" {
			continue
		}
		_, err := c.receiver(x).OpenClaw.Find()
		add(err != nil, fmt.Sprintf("receivers[%d].openclaw", i), fmt.Sprint(err))
	}
	return out
}
