package alertbridge

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/url"

	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// grade is how much a finding matters.
type grade string

// The grades. Only a fault makes the doctor fail.
const (
	fine   grade = "ok"
	advice grade = "note" // works, or cannot be known from here
	fault  grade = "FIX"
)

// finding is one line of the doctor. All but a fine one say what to do.
type finding struct {
	grade                 grade
	subject, detail, cure string
}

func ok(subject, format string, args ...any) finding {
	return finding{grade: fine, subject: subject, detail: fmt.Sprintf(format, args...)}
}

func note(subject, detail, cure string) finding { return finding{advice, subject, detail, cure} }

func fix(subject, detail, cure string) finding { return finding{fault, subject, detail, cure} }

// print writes the finding as a line, and the cure as one below it.
func (f finding) print(w io.Writer) {
	_, _ = fmt.Fprintf(w, "%-4s  %s: %s\n", f.grade, f.subject, f.detail)
	if f.cure != "" {
		_, _ = fmt.Fprintf(w, "      -> %s\n", f.cure)
	}
}

// doctorCommand sends nothing to anybody: it looks, and send-test tries.
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
		faults := 0
		d := &doctor{config: c, client: built.deliver.Client, tell: func(f finding) {
			f.print(env.Stdout)
			if f.grade == fault {
				faults++
			}
		}}
		d.examine(ctx)
		if faults > 0 {
			return fmt.Errorf("%d thing(s) to fix", faults)
		}
		return nil
	}
}

// examine tells each finding as soon as it is known, since each may take a timeout.
func (d *doctor) examine(ctx context.Context) {
	usable := d.app(ctx)
	if usable {
		d.scopes(ctx)
	}
	for _, r := range d.config.Receivers {
		d.receiver(ctx, r, usable)
	}
	d.buttons()
	if usable {
		d.operators(ctx)
	}
	d.alertmanager(ctx)
	d.link("links.grafana", d.config.Links.Grafana)
	d.link("links.runbooks", d.config.Links.Runbooks)
}

// buttons says whether cards have buttons, by the configuration alone: a connection
// of the doctor's would be told of presses in the bridge's place.
func (d *doctor) buttons() {
	c := d.config
	switch {
	case !c.hasApp():
		d.tell(ok("buttons", "none: no app is set, and custom bots cannot have any"))
	case c.Feishu.Callbacks != callbacksLong:
		d.tell(note("buttons", "feishu.callbacks is off, cards have none", "to have them, set feishu.callbacks: long_connection and name operators"))
	case len(c.operators()) == 0:
		d.tell(fix("buttons", "operators is empty, so nobody may press them and cards have none",
			"name the open ids of those who may in operators, and have the app subscribe to card.action.trigger by long connection; or set feishu.callbacks: off"))
	default:
		d.tell(ok("buttons", "for %d operator(s); /ready of the running bridge tells whether presses are heard of", len(c.operators())))
	}
}

func (d *doctor) link(key, base string) {
	u, err := url.Parse(base)
	switch {
	case base == "":
		d.tell(ok(key, "not set, cards have no such link"))
	case err == nil && httpserve.IsLoopback(u.Hostname()+":0"):
		d.tell(fix(key, base+" leads to whatever machine it is opened on", "set the address that people open from theirs"))
	default:
		d.tell(ok(key, "%s", base))
	}
}
