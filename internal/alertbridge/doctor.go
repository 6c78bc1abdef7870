package alertbridge

import (
	"context"
	"flag"
	"fmt"
	"net/url"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/reconcile"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// finding is one line of the doctor: empty advice is ok.
type finding struct{ subject, detail, advice string }

func doctorCommand(*flag.FlagSet) program.Run {
	return func(ctx context.Context, env program.Env) error {
		c, err := load(env)
		if err != nil {
			return err
		}
		built, err := assemble(c, quiet())
		if err != nil {
			return err
		}
		bad := 0
		for _, f := range c.diagnose(ctx, built) {
			if f.advice == "" {
				_, _ = fmt.Fprintf(env.Stdout, "ok    %s: %s\n", f.subject, f.detail)
				continue
			}
			bad++
			_, _ = fmt.Fprintf(env.Stdout, "FIX   %s: %s\n      -> %s\n", f.subject, f.detail, f.advice)
		}
		if bad > 0 {
			return fmt.Errorf("%d thing(s) to do", bad)
		}
		return nil
	}
}

func (c *Config) diagnose(ctx context.Context, built *assembly) []finding {
	out := c.diagnoseFeishu(ctx, built)
	for _, r := range c.Receivers {
		f := finding{subject: "receiver " + r.Name, detail: "configured"}
		if !c.configured(r) {
			f.detail, f.advice = "no credentials, its alerts become dead letters", "set its app.receive_id (and feishu.app_id, app_secret), or its webhook.url"
		}
		out = append(out, f)
	}
	out = append(out, c.diagnoseButtons())
	out = append(out, c.diagnoseAlertmanager(ctx)...)
	for _, link := range []struct{ key, base string }{{"links.grafana", c.Links.Grafana}, {"links.runbooks", c.Links.Runbooks}} {
		f := finding{subject: link.key, detail: link.base}
		u, err := url.Parse(link.base)
		switch {
		case link.base == "":
			f.detail = "not set, cards have no such link"
		case err == nil && httpserve.IsLoopback(u.Hostname()+":0"):
			f.advice = "people cannot open an address of this machine from their own: set the one that they use"
		}
		out = append(out, f)
	}
	return out
}

// diagnoseButtons says whether cards have buttons, by the configuration alone: a
// connection of the doctor's would be told of presses in the bridge's place.
func (c *Config) diagnoseButtons() finding {
	switch {
	case c.Feishu.Callbacks != callbacksLong:
		return finding{"buttons", "feishu.callbacks is off, cards have no buttons", ""}
	case !c.hasApp():
		return finding{"buttons", "no app is set, and custom bots cannot have any", ""}
	case len(c.operators()) == 0:
		return finding{"buttons", "operators is empty, cards have no buttons; name there who may press them, and have the app subscribe to card.action.trigger by long connection", ""}
	default:
		return finding{"buttons", fmt.Sprintf("%d operator(s); /ready of the running bridge tells whether presses are heard of", len(c.operators())), ""}
	}
}

// clockTolerance is how far the clock may be off: a custom bot's sign is valid
// for an hour, and tokens for two.
const clockTolerance = 5 * time.Minute

func (c *Config) diagnoseFeishu(ctx context.Context, built *assembly) []finding {
	if built.deliver.Client == nil {
		return []finding{{"feishu app", "not set, only custom bots are used", ""}}
	}
	if err := built.deliver.Client.Probe(ctx); err != nil {
		return []finding{{"feishu app", err.Error(), "check feishu.app_id, feishu.app_secret and that " + redact.Host(c.baseURL()) + " can be reached from here"}}
	}
	out := []finding{{"feishu app", "token issued by " + redact.Host(c.baseURL()), ""}}
	skew, err := feishu.ClockSkew(ctx, c.baseURL(), c.Feishu.Timeout)
	switch {
	case err != nil:
		out = append(out, finding{"clock", err.Error(), "check the way to " + redact.Host(c.baseURL())})
	case skew.Abs() > clockTolerance:
		out = append(out, finding{"clock", fmt.Sprintf("off by %s against Feishu's", skew.Round(time.Second)), "switch on time synchronisation (timedatectl set-ntp true): signatures are refused otherwise"})
	default:
		out = append(out, finding{"clock", fmt.Sprintf("within %s of Feishu's", max(skew.Abs(), time.Second).Round(time.Second)), ""})
	}
	return out
}

func (c *Config) diagnoseAlertmanager(ctx context.Context) []finding {
	if c.Alertmanager.URL == "" {
		return []finding{{"alertmanager", "alertmanager.url is empty", "set it: without it cards know nothing of silences, and turn green on a notification's word alone"}}
	}
	seen, err := reconcile.Look(ctx, c.reconcile())
	if err != nil {
		return []finding{{"alertmanager", err.Error(), "check alertmanager.url"}}
	}
	out := []finding{{"alertmanager", fmt.Sprintf("answers, up since %s", seen.UpSince.In(c.location()).Format(time.DateTime)), ""}}
	name := c.Alertmanager.Watchdog
	f := finding{subject: "watchdog", detail: "heard lately"}
	switch {
	case name == "":
		f.detail, f.advice = "alertmanager.watchdog is empty", "make an alert that always fires and name it there: without it a card turns green while monitoring is down"
	case seen.Watchdog.IsZero():
		f.detail, f.advice = fmt.Sprintf("no alert %q is active", name), "load alerting/rules, which has it, or name your own in alertmanager.watchdog"
	case time.Since(seen.Watchdog) > c.Alertmanager.WatchdogMaxAge:
		f.detail = fmt.Sprintf("last heard %s ago", time.Since(seen.Watchdog).Round(time.Second))
		f.advice = "see that Prometheus runs and reaches Alertmanager"
	}
	return append(out, f)
}
