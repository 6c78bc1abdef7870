package alertbridge

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// doctor looks at a configuration and at what it leads to.
type doctor struct {
	config *Config
	client *feishu.Client // nil: no app
	tell   func(finding)
}

// clockTolerance is how far the clock may be off: a custom bot's sign is valid for
// an hour, and tokens for two.
const clockTolerance = 5 * time.Minute

// console is a page of the developer console about the app.
// https://open.feishu.cn/document/home/introduction-to-custom-app-development/self-built-application-development-process
func (d *doctor) console(page string) string {
	host := "open.feishu.cn"
	if d.config.Feishu.Domain == "lark" {
		host = "open.larksuite.com"
	}
	return "https://" + host + "/app/" + url.PathEscape(d.config.Feishu.AppID) + "/" + page
}

// app reports whether calls can be made as the app.
func (d *doctor) app(ctx context.Context) (usable bool) {
	if d.client == nil {
		d.tell(ok("feishu app", "not set, only custom bots are used"))
		return false
	}
	host := redact.Host(d.config.baseURL())
	err := d.client.Probe(ctx)
	switch {
	case err == nil:
		d.tell(ok("feishu app", "%s gives a token", host))
	case classIs(err, feishu.Auth):
		d.tell(fix("feishu app", err.Error(), "compare feishu.app_id and feishu.app_secret with "+d.console("baseinfo")))
	default:
		d.tell(fix("feishu app", err.Error(), "see that "+host+" can be reached from here (DNS, HTTPS_PROXY, firewall), and that feishu.base_url is empty unless you mean another server"))
		return false
	}
	d.clock(ctx, "clock", host)
	return err == nil
}

// clock compares this machine's clock with the server's.
func (d *doctor) clock(ctx context.Context, subject, host string) {
	skew, err := feishu.ClockSkew(ctx, host, d.config.Feishu.Timeout)
	switch {
	case err != nil:
		d.tell(fix(subject, err.Error(), "see that "+host+" can be reached from here (DNS, HTTPS_PROXY, firewall)"))
	case skew.Abs() > clockTolerance:
		d.tell(fix(subject, fmt.Sprintf("%s %s that of %s", skew.Abs().Round(time.Second), behindOrAhead(skew), host), "switch on time synchronisation (timedatectl set-ntp true): signatures are refused otherwise"))
	default:
		d.tell(ok(subject, "within %s of that of %s", max(skew.Abs(), time.Second).Round(time.Second), host))
	}
}

func behindOrAhead(skew time.Duration) string {
	if skew < 0 {
		return "behind"
	}
	return "ahead of"
}

// need is something that the bridge does and the scopes of which one is enough for
// it; the first one is the least.
type need struct {
	to       string
	scopes   []string
	optional string // what happens without; empty: it cannot be done without
}

// needs are those of the configuration.
func (c *Config) needs() []need {
	urgent := map[string]need{}
	send, history := false, false
	for _, r := range c.Receivers {
		if r.App.ReceiveID == "" {
			continue
		}
		send, history = true, history || r.App.ReceiveIDType == "chat_id"
		for _, step := range r.Escalate {
			if step.Urgent != "" {
				urgent[step.Urgent] = need{to: "buzz people by " + step.Urgent, scopes: urgentScopes(step.Urgent)}
			}
		}
	}
	var out []need
	if send {
		out = append(out, need{to: "send, change and answer cards", scopes: []string{"im:message:send_as_bot", "im:message"}})
	}
	for _, way := range slices.Sorted(maps.Keys(urgent)) {
		out = append(out, urgent[way])
	}
	if history {
		without := "a card whose sending was cut short is sent again, marked as a possible duplicate"
		out = append(out,
			need{to: "read the messages of chats", scopes: []string{"im:message:readonly", "im:message", "im:message.history:readonly"}, optional: without},
			need{to: "read the messages of groups", scopes: []string{"im:message.group_msg"}, optional: without})
	}
	return out
}

func urgentScopes(way string) []string {
	switch way {
	case feishu.UrgentSMS:
		return []string{"im:message.urgent:sms", "im:message.urgent:sms_send"}
	case feishu.UrgentPhone:
		return []string{"im:message.urgent:phone"}
	default:
		return []string{"im:message.urgent"}
	}
}

// scopes compares what the tenant granted with what the bridge needs.
func (d *doctor) scopes(ctx context.Context) {
	granted, err := d.client.Scopes(ctx)
	switch {
	case feishu.NotInstalled(err):
		d.tell(fix("scopes", err.Error(), "publish a version of the app and have it approved: "+d.console("version")))
		return
	case err != nil:
		d.tell(note("scopes", "cannot be listed: "+err.Error(), "see what is granted at "+d.console("auth")))
		return
	}
	var have []string
	missing := false
	for _, n := range d.config.needs() {
		i := slices.IndexFunc(n.scopes, func(scope string) bool { return granted[scope] })
		if i >= 0 {
			have = append(have, n.scopes[i])
			continue
		}
		missing = true
		subject, detail := "scope "+n.scopes[0], "not granted, needed to "+n.to
		cure := "grant it at " + d.console("auth") + ", then publish a version"
		if others := n.scopes[1:]; len(others) > 0 {
			cure = "grant it (or " + strings.Join(others, ", ") + ") at " + d.console("auth") + ", then publish a version"
		}
		if n.optional != "" {
			d.tell(note(subject, detail+"; without it "+n.optional, cure))
			continue
		}
		d.tell(fix(subject, detail, cure))
	}
	switch {
	case missing:
	case len(have) == 0:
		d.tell(ok("scopes", "none needed, no receiver is reached by the app"))
	default:
		slices.Sort(have)
		d.tell(ok("scopes", "%s granted", strings.Join(slices.Compact(have), ", ")))
	}
}
