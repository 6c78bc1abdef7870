package alertbridge

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// receiver looks at each way to a receiver. usable says whether calls can be made as
// the app; where not, its own line has said why.
func (d *doctor) receiver(ctx context.Context, r ReceiverConfig, usable bool) {
	if !d.config.configured(r) {
		d.tell(fix("receiver "+r.Name, "no credentials, its alerts become dead letters", "set its app.receive_id (and feishu.app_id, app_secret), its webhook.url, or its openclaw.target"))
		return
	}
	if d.config.hasApp() && r.App.ReceiveID != "" {
		subject := store.Lane(r.Name, store.App)
		switch {
		case !usable:
			d.tell(note(subject, "not looked at, since the app cannot be used", "fix that first"))
		case r.App.ReceiveIDType == "chat_id":
			d.chat(ctx, subject, r.Name, r.App.ReceiveID)
		default:
			d.person(ctx, subject, r.Name, r.App)
		}
	}
	if r.Webhook.URL.IsSet() {
		d.bot(ctx, store.Lane(r.Name, store.Webhook), r)
	}
	if r.OpenClaw.Target != "" {
		d.openClaw(store.Lane(r.Name, store.OpenClaw), r)
	}
	if usable {
		d.people(ctx, "receiver "+r.Name+": mention", r.Mention)
	}
}

// openClaw looks whether its program is there; whom it reaches only a message tells.
func (d *doctor) openClaw(subject string, r ReceiverConfig) {
	path, err := d.config.receiver(r).OpenClaw.Find()
	if err != nil {
		d.tell(fix(subject, err.Error(), "without it this last way reaches nobody; leave openclaw.target empty where it is not wanted"))
		return
	}
	d.tell(note(subject, "the program is "+path, "alertbridge send-test "+r.Name+" tells whether it reaches anybody"))
}

// chat looks whether the bot is in the chat.
func (d *doctor) chat(ctx context.Context, subject, receiver, chat string) {
	in, err := d.client.InChat(ctx, chat)
	switch {
	case err == nil && in:
		d.tell(ok(subject, "the bot is in chat %s", chat))
	case err == nil:
		d.tell(fix(subject, "the bot is not in chat "+chat, "add the app's bot in the settings of the group, under bots"))
	case feishu.LacksScope(err):
		d.tell(note(subject, "whether the bot is in chat "+chat+" can be seen with the scope im:chat:readonly only", "alertbridge send-test "+receiver))
	case classIs(err, feishu.Target):
		d.tell(fix(subject, "no chat has the id "+chat+": "+err.Error(), "take the id from the settings of the group; it begins with oc_"))
	default:
		d.tell(fix(subject, err.Error(), "alertbridge send-test "+receiver+" tells whether it can be sent to"))
	}
}

// person looks whether somebody has the id.
func (d *doctor) person(ctx context.Context, subject, receiver string, a AppConfig) {
	try := "alertbridge send-test " + receiver
	if a.ReceiveIDType == "email" {
		d.tell(note(subject, a.ReceiveID+": whose an address is cannot be looked up", try))
		return
	}
	sight, err := d.client.Person(ctx, a.ReceiveIDType, a.ReceiveID)
	switch {
	case feishu.LacksScope(err):
		d.tell(note(subject, "whether somebody is "+a.ReceiveID+" can be seen with the scope contact:contact.base:readonly only, which the bridge does not need", try))
	case err != nil:
		d.tell(fix(subject, err.Error(), try+" tells whether it can be sent to"))
	case sight == feishu.Nobody:
		d.tell(fix(subject, "nobody is "+a.ReceiveID+" to this app", otherApp))
	case sight == feishu.Hidden:
		d.tell(note(subject, a.ReceiveID+" is outside the app's contact range, which says nothing of messages", try))
	default:
		d.tell(ok(subject, "%s is somebody", a.ReceiveID))
	}
}

const otherApp = "take the id as this app sees it: each app has other open ids of the same people"

// people tells of ids that are nobody's; what cannot be seen is no fault here.
func (d *doctor) people(ctx context.Context, subject string, ids []string) {
	for _, id := range ids {
		if id == "all" {
			continue
		}
		if sight, err := d.client.Person(ctx, "open_id", id); err == nil && sight == feishu.Nobody {
			d.tell(fix(subject, "nobody is "+id+" to this app", otherApp))
		}
	}
}

// operators tells of those who could never press a button.
func (d *doctor) operators(ctx context.Context) {
	if d.config.buttons() {
		d.people(ctx, "operators", d.config.operators())
	}
}

// Where custom bots take messages. Those of the first version take another form.
const (
	hookPath    = "/open-apis/bot/v2/hook/"
	oldHookPath = "/open-apis/bot/hook/"
)

// bot looks at what can be known of a custom bot without sending: the form of its
// address, whether the host answers, and what time it has there.
func (d *doctor) bot(ctx context.Context, subject string, r ReceiverConfig) {
	address := r.Webhook.URL.Reveal()
	host := redact.Host(address)
	u, err := url.Parse(address)
	const form = "copy the address from the settings of the group's bot: https://open.feishu.cn" + hookPath + "..."
	switch {
	case err != nil:
		d.tell(fix(subject, "webhook.url is no address", form))
		return
	case strings.HasPrefix(u.Path, oldHookPath):
		d.tell(fix(subject, "webhook.url is that of a bot of the first version, which takes no such cards", "add a new custom bot to the group; "+form))
		return
	case !strings.HasPrefix(u.Path, hookPath) || len(u.Path) == len(hookPath):
		d.tell(fix(subject, "webhook.url on "+host+" is not of the form "+hookPath+"TOKEN", form))
		return
	case u.Scheme == "http" && !httpserve.IsLoopback(u.Hostname()+":0"):
		d.tell(fix(subject, "webhook.url on "+host+" sends its token in the clear", "begin it with https://"))
		return
	}
	d.clock(ctx, subject+" clock", host)
	d.tell(note(subject, "of the right form; whether the bot takes messages cannot be known without sending one", "alertbridge send-test "+r.Name))
}

func classIs(err error, class feishu.Class) bool {
	var e *feishu.Error
	return errors.As(err, &e) && e.Class == class
}
