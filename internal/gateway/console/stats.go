package console

import (
	"cmp"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
)

// spans are the windows, in days, that statistics can be looked at in.
func spans() []int { return []int{1, 7, 30, 90} }

const defaultSpan = 7

// window is what the pages of statistics have in common.
type window struct {
	tab

	Query url.Values // that was understood
	Days  int
	Spans []int
	Next  string // query of the older page; "" = there is none
	Older bool   // this is not the newest one
}

// window reads the query of a page of statistics. What it gives to the API is only what
// that takes.
func (c *Console) window(r *http.Request, name string, takes ...string) (window, error) {
	w := window{tab: c.tab(r, name), Query: url.Values{}, Spans: spans(), Days: defaultSpan}
	given := filled(r.URL.Query())
	for key := range given {
		if slices.Contains(takes, key) {
			w.Query[key] = given[key]
		}
	}
	if text := given.Get("days"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || !slices.Contains(spans(), n) {
			return w, admin.Wrong("days: expected one of %v, got %q", spans(), text)
		}
		w.Days = n
	}
	if w.Older = w.Query.Has("after"); w.Older {
		w.Query["since"], w.Query["until"] = given["since"], given["until"]
		maps.DeleteFunc(w.Query, func(_ string, values []string) bool { return len(values) == 0 })
	} else {
		w.Query.Set("days", strconv.Itoa(w.Days))
	}
	return w, nil
}

// older notes where the next page is. The span goes with it, for the switches.
func (w *window) older(next url.Values, others url.Values) {
	if next == nil {
		return
	}
	q := maps.Clone(next)
	q.Set("days", strconv.Itoa(w.Days))
	maps.Copy(q, others)
	w.Next = "?" + q.Encode()
}

// For is the same page for another span.
func (w window) For(days int) string { return w.with("days", strconv.Itoa(days)) }

func (w window) with(key, value string) string {
	q := maps.Clone(w.Query)
	for _, page := range []string{"after", "since", "until"} {
		q.Del(page)
	}
	q.Set("days", strconv.Itoa(w.Days))
	q.Set(key, value)
	return "?" + q.Encode()
}

// reliabilityView is the data of the reliability page.
type reliabilityView struct {
	window

	Backends  []admin.Reliability
	Providers []provider
}

// provider adds up the backends of one provider.
type provider struct {
	Name                string
	Backends            int
	Attempts, Succeeded int64
}

// mostLines is how many lines the API gives at once.
const mostLines = "500"

func (c *Console) reliability(w http.ResponseWriter, r *http.Request) {
	v := reliabilityView{}
	var err error
	if v.window, err = c.window(r, "reliability", "backend_id", "model", "client"); err == nil {
		q := maps.Clone(v.Query)
		q.Set("limit", mostLines)
		v.Backends, err = c.api.Reliability(r.Context(), q)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	sums := map[string]*provider{}
	for _, b := range v.Backends {
		p := sums[b.Provider]
		if p == nil {
			p = &provider{Name: b.Provider}
			sums[b.Provider] = p
		}
		p.Backends++
		p.Attempts += b.Attempts
		p.Succeeded += b.Succeeded
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		v.Providers = append(v.Providers, *sums[name])
	}
	c.show(w, r, "reliability.html", v)
}

// cooldownView is the data of the cooldowns' page.
type cooldownView struct {
	window

	Rows     []admin.Cooldown
	Backends []string
	Now      time.Time
}

// Lasted is how long a cooldown lasted, or has lasted so far.
func (v cooldownView) Lasted(x admin.Cooldown) time.Duration {
	if x.EndedAt == nil {
		return v.Now.Sub(x.StartedAt)
	}
	return x.EndedAt.Sub(x.StartedAt)
}

func (c *Console) cooldowns(w http.ResponseWriter, r *http.Request) {
	v := cooldownView{Now: c.api.Now()}
	var err error
	var next url.Values
	if v.window, err = c.window(r, "cooldowns", "backend_id", "after"); err == nil {
		v.Rows, next, err = c.api.Cooldowns(r.Context(), v.Query)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v.older(next, nil)
	for _, b := range c.api.View().Backends {
		v.Backends = append(v.Backends, b.Name)
	}
	if name := v.Query.Get("backend_id"); name != "" && !slices.Contains(v.Backends, name) {
		v.Backends = append(v.Backends, name)
	}
	c.show(w, r, "cooldowns.html", v)
}

// usageView is the data of the usage page.
type usageView struct {
	window

	By       string // hour, day, backend, model, client
	Ways     []string
	HourRows []admin.Hour
	DayRows  []admin.Day
	Groups   []ledger.Group
	Currency string
}

func ways() []string {
	return []string{"hour", "day", string(ledger.ByBackend), string(ledger.ByModel), string(ledger.ByClient)}
}

// usageWindow reads the query of the usage.
func (c *Console) usageWindow(r *http.Request) (v usageView, err error) {
	v = usageView{By: cmp.Or(r.URL.Query().Get("by"), "hour"), Ways: ways(), Currency: c.api.View().Currency}
	if !slices.Contains(ways(), v.By) {
		return v, admin.Wrong("by: expected one of %v, got %q", ways(), v.By)
	}
	takes := []string{"backend_id", "client", "after"}
	if v.By != "day" { // days are not counted by model
		takes = append(takes, "model")
	}
	v.window, err = c.window(r, "usage", takes...)
	return v, err
}

// read reads a page of the usage, of which groups have one only.
func (c *Console) read(r *http.Request, v *usageView, q url.Values) (next url.Values, err error) {
	switch v.By {
	case "hour":
		v.HourRows, next, err = c.api.Hourly(r.Context(), q)
	case "day":
		v.DayRows, next, err = c.api.Daily(r.Context(), q)
	default:
		v.Groups, err = c.api.Ledger.Groups(r.Context(), ledger.Window{
			Backend: q.Get("backend_id"), Model: q.Get("model"), Client: q.Get("client"),
			Since: c.api.Now().AddDate(0, 0, -v.Days),
		}, ledger.By(v.By))
	}
	return next, err
}

func (c *Console) usage(w http.ResponseWriter, r *http.Request) {
	v, err := c.usageWindow(r)
	var next url.Values
	if err == nil {
		next, err = c.read(r, &v, v.Query)
	}
	if err != nil {
		c.fail(w, r, err)
		return
	}
	v.older(next, url.Values{"by": {v.By}})
	c.show(w, r, "usage.html", v)
}

// Way is the same window, added up in another way.
func (v usageView) Way(by string) string { return v.with("by", by) }

// For is the same page for another span.
func (v usageView) For(days int) string {
	w := v.window
	w.Query = maps.Clone(w.Query)
	w.Query.Set("by", v.By)
	return w.For(days)
}

// CSV is where the whole window is had as a file.
func (v usageView) CSV() string { return home + "/usage.csv" + v.with("by", v.By) }
