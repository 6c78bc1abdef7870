package render

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// links are the card's ways out. A base that is not configured, and an address
// that is not http, make no link.
func (r *Renderer) links(c *card.Card) []button {
	var out []button
	if u := r.Dashboard(c); u != "" {
		out = append(out, link(r.words.dashboard, u, "primary"))
	}
	if u := r.runbook(c); u != "" {
		out = append(out, link(r.words.runbook, u, "default"))
	}
	return out
}

// Dashboard is where a person sees what the alerts are about: the panel that their
// rule names, else the configured dashboard; "" where no dashboards are configured.
func (r *Renderer) Dashboard(c *card.Card) string {
	base := web(r.options.Grafana)
	alerts := live(c)
	if base == "" || len(alerts) == 0 {
		return ""
	}
	path := strings.TrimLeft(r.options.Dashboard, "/")
	q := url.Values{}
	if uid := shared(alerts, "dashboard_uid"); dashboardUID.MatchString(uid) {
		path = "d/" + uid
		if panel := shared(alerts, "panel"); panelID.MatchString(panel) {
			q.Set("viewPanel", panel)
		}
	}
	for label, variable := range map[string]string{"agent_name": "var-agent", "backend": "var-backend", "client": "var-client"} {
		if value := alerts[0].Labels[label]; value != "" {
			q.Set(variable, value)
		}
	}
	start := alerts[0].StartsAt
	q.Set("from", strconv.FormatInt(start.Add(-30*time.Minute).UnixMilli(), 10))
	q.Set("to", strconv.FormatInt(start.Add(30*time.Minute).UnixMilli(), 10))
	return fit(strings.TrimRight(base, "/") + "/" + path + "?" + q.Encode())
}

// What Grafana takes for a uid and for a panel's number.
var (
	dashboardUID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,40}$`)
	panelID      = regexp.MustCompile(`^[0-9]{1,9}$`)
)

func (r *Renderer) runbook(c *card.Card) string {
	given := shared(live(c), "runbook_url")
	if u := web(given); u != "" {
		return fit(u)
	}
	base := web(r.options.Runbooks)
	name := alertName(c)
	if base == "" || name == "" || strings.Contains(name, ", ") {
		return ""
	}
	return fit(strings.TrimRight(base, "/") + "/" + url.PathEscape(name))
}

// fit drops an address that would take too much of the size budget.
func fit(u string) string {
	if len(u) > 1000 {
		return ""
	}
	return u
}

// web returns u if it is an absolute http or https URL.
func web(u string) string {
	parsed, err := url.Parse(u)
	if err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") {
		return ""
	}
	return u
}
