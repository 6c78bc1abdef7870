package alertbridge

import (
	"context"
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/reconcile"
)

func (d *doctor) alertmanager(ctx context.Context) {
	a := d.config.Alertmanager
	if a.URL == "" {
		d.tell(fix("alertmanager", "alertmanager.url is empty", "set it: without it cards know nothing of silences, and turn green on a notification's word alone"))
		return
	}
	seen, err := reconcile.Look(ctx, d.config.reconcile())
	if err != nil {
		d.tell(fix("alertmanager", err.Error(), "see that it runs and that alertmanager.url is its address, with the path prefix if it has one"))
		return
	}
	up := time.Since(seen.UpSince)
	if up < a.MinUptime {
		d.tell(note("alertmanager", fmt.Sprintf("answers, up for %s only", up.Round(time.Second)),
			fmt.Sprintf("wait: it forgets alerts on a restart, so absence from it counts after %s", a.MinUptime)))
	} else {
		d.tell(ok("alertmanager", "answers, up since %s", seen.UpSince.In(d.config.location()).Format(time.DateTime)))
	}
	d.watchdog(seen)
}

func (d *doctor) watchdog(seen reconcile.Seen) {
	a := d.config.Alertmanager
	switch age := time.Since(seen.Watchdog); {
	case a.Watchdog == "":
		d.tell(fix("watchdog", "alertmanager.watchdog is empty", "make an alert that always fires and name it there: without it a card turns green while monitoring is down"))
	case seen.Watchdog.IsZero():
		d.tell(fix("watchdog", fmt.Sprintf("no alert %q is active", a.Watchdog), "load alerting/rules, which has it, and see that Prometheus runs; or name your own in alertmanager.watchdog"))
	case age > a.WatchdogMaxAge:
		d.tell(fix("watchdog", fmt.Sprintf("last heard %s ago, alertmanager.watchdog_max_age is %s", age.Round(time.Second), a.WatchdogMaxAge),
			"see that Prometheus runs and reaches Alertmanager; no card turns green meanwhile"))
	default:
		d.tell(ok("watchdog", "heard %s ago", age.Round(time.Second)))
	}
}
