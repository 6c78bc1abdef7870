package alertbridge

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/action"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/escalate"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/openclaw"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/reconcile"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/route"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/silence"
)

// assembly is a configuration made ready for use. A reload makes a whole new
// one before anything of the old is touched.
type assembly struct {
	config  *Config
	table   *route.Table
	deliver *deliver.Config
}

// assemble makes everything that can fail fail before it is used.
func assemble(c *Config, log *slog.Logger) (*assembly, error) {
	table, problems := c.table()
	if len(problems) > 0 {
		return nil, fmt.Errorf("%s: %s", problems[0].Path, problems[0].Message)
	}
	renderer, err := c.renderer()
	if err != nil {
		return nil, err
	}
	d := &deliver.Config{
		Receivers: map[string]deliver.Receiver{}, Renderer: renderer, Timeout: c.Feishu.Timeout, MaxAge: c.Limits.MaxAge,
		Storm: deliver.Storm{PerMinute: c.Storm.PerReceiverPerMinute, Every: c.Storm.DigestEvery},
	}
	if c.hasApp() {
		d.Client = feishu.NewClient(c.app(log))
	}
	for _, r := range c.Receivers {
		d.Receivers[r.Name] = c.receiver(r)
	}
	return &assembly{config: c, table: table, deliver: d}, nil
}

func (c *Config) renderer() (*render.Renderer, error) {
	templates, err := c.templates()
	if err != nil {
		return nil, err
	}
	return render.New(render.Options{
		Templates: templates, Language: c.Display.Language, Location: c.location(), TitlePrefix: c.Display.TitlePrefix,
		Grafana: c.Links.Grafana, Dashboard: c.Links.Dashboard, Runbooks: c.Links.Runbooks,
	})
}

func (c *Config) receiver(r ReceiverConfig) deliver.Receiver {
	out := deliver.Receiver{Name: r.Name, Mention: r.Mention, Failover: r.Deliver == deliverFailover, FailoverAfter: r.FailoverAfter}
	if c.hasApp() && r.App.ReceiveID != "" {
		out.App = &feishu.Address{Type: r.App.ReceiveIDType, ID: r.App.ReceiveID}
	}
	if r.Webhook.URL.IsSet() {
		out.Bot = feishu.NewBot(feishu.BotOptions{URL: r.Webhook.URL, Secret: r.Webhook.Secret, Timeout: c.Feishu.Timeout})
		out.Keyword = r.Webhook.Keyword
		sum := sha256.Sum256([]byte(r.Webhook.URL.Reveal()))
		out.BotKey = hex.EncodeToString(sum[:8])
	}
	if r.OpenClaw.Target != "" {
		out.OpenClaw = openclaw.New(openclaw.Options{CLI: r.OpenClaw.CLI, Target: r.OpenClaw.Target, Timeout: openClawTimeout})
		out.OpenClawKey = r.OpenClaw.Target
	}
	return out
}

// openClawTimeout bounds one call of OpenClaw's command line, which starts a
// program and may have to wait for its gateway.
const openClawTimeout = time.Minute

func (c *Config) app(log *slog.Logger) feishu.AppOptions {
	return feishu.AppOptions{ID: c.Feishu.AppID, Secret: c.Feishu.AppSecret, BaseURL: c.baseURL(), Timeout: c.Feishu.Timeout, Log: log}
}

// look names everything of the configuration that has open cards sent again when it
// changes: their buttons, and the user's templates.
func (built *assembly) look() string {
	p := built.config.policy()
	if v := built.deliver.Renderer.TemplatesVersion(); v != "" {
		return p.Look() + " templates " + v
	}
	return p.Look()
}

func (c *Config) policy() action.Policy {
	return action.Policy{
		Buttons: c.buttons(), Silencing: c.Alertmanager.URL != "", Operators: c.operators(), Silences: c.Alertmanager.SilenceChoices, Language: c.Display.Language,
	}
}

// escalation says how the receivers' cards are escalated, and whom it reaches:
// the person that a receiver is, or those whom it mentions.
func (built *assembly) escalation() escalate.Options {
	c := built.config
	o := escalate.Options{
		Steps: map[string][]escalate.Step{}, People: map[string]escalate.People{}, Channels: built.deliver.Channels, Client: built.deliver.Client, Location: c.location(),
		Quota: map[string]int{},
	}
	for way, most := range map[string]int{feishu.UrgentSMS: c.Limits.UrgentSMSPerDay, feishu.UrgentPhone: c.Limits.UrgentPhonePerDay} {
		if most > 0 {
			o.Quota[way] = most
		}
	}
	for _, r := range c.Receivers {
		for _, s := range r.Escalate {
			o.Steps[r.Name] = append(o.Steps[r.Name], escalate.Step(s))
		}
		slices.SortStableFunc(o.Steps[r.Name], func(a, b escalate.Step) int { return cmp.Compare(a.After, b.After) })
		o.People[r.Name] = r.people()
	}
	return o
}

func (x ReceiverConfig) people() escalate.People {
	switch {
	case x.App.ReceiveID == "":
		return escalate.People{}
	case x.App.ReceiveIDType == "open_id" || x.App.ReceiveIDType == "union_id" || x.App.ReceiveIDType == "user_id":
		return escalate.People{IDType: x.App.ReceiveIDType, IDs: []string{x.App.ReceiveID}}
	default:
		return escalate.People{IDType: "open_id", IDs: slices.DeleteFunc(slices.Clone(x.Mention), func(id string) bool { return id == "all" })}
	}
}

// silencing says where silences are made. Their comments lead to the chat, where
// it is known, and to the dashboard.
func (built *assembly) silencing() silence.Options {
	c, renderer := built.config, built.deliver.Renderer
	return silence.Options{URL: c.Alertmanager.URL, Timeout: c.Feishu.Timeout, Comment: func(x *card.Card) string {
		parts := []string{renderer.Title(x)}
		if link := c.chatLink(x.Hold.Chat); link != "" {
			parts = append(parts, link)
		}
		if link := renderer.Dashboard(x); link != "" {
			parts = append(parts, link)
		}
		return strings.Join(parts, " ")
	}}
}

// chatLink opens a chat in the client.
// https://open.feishu.cn/document/common-capabilities/applink-protocol/supported-protocol/open-a-chat-page
func (c *Config) chatLink(chat string) string {
	if chat == "" {
		return ""
	}
	host := "applink.feishu.cn"
	if c.Feishu.Domain == "lark" {
		host = "applink.larksuite.com"
	}
	return "https://" + host + "/client/chat/open?openChatId=" + url.QueryEscape(chat)
}

func (c *Config) reconcile() reconcile.Options {
	a := c.Alertmanager
	return reconcile.Options{URL: a.URL, Every: a.ReconcileEvery, Timeout: c.Feishu.Timeout, Watchdog: a.Watchdog, MaxAge: a.WatchdogMaxAge, MinUptime: a.MinUptime}
}
