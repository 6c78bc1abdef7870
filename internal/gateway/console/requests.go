package console

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// requestList is the data of the list.
type requestList struct {
	tab

	Rows     []listed
	Next     string // query of the older page; "" = there is none
	First    bool   // the newest page, which is live
	Filter   url.Values
	Statuses []ledger.Status
	Classes  []llm.Class
	Backends []string

	zone *time.Location
}

// listed is a request with what the list says beside.
type listed struct {
	admin.Request

	Open    bool
	Elapsed float64 // milliseconds so far, of an open one
}

func (c *Console) requests(w http.ResponseWriter, r *http.Request) {
	given := filled(r.URL.Query())
	if id := given.Get("id"); id != "" {
		http.Redirect(w, r, home+"/requests/"+url.PathEscape(id), http.StatusSeeOther)
		return
	}
	now := c.api.Now()
	rows, next, err := c.api.Requests(r.Context(), c.moments(given))
	if err != nil {
		c.fail(w, r, err)
		return
	}
	list := requestList{
		tab: c.tab(r, "requests"), First: !given.Has("before"), Filter: given, Statuses: ledger.Statuses(), Classes: llm.Classes(),
		zone: c.options.Zone,
	}
	for _, x := range rows {
		list.Rows = append(list.Rows, c.listed(x, now))
	}
	if next != nil {
		list.Next = "?" + next.Encode()
	}
	for _, b := range c.api.View().Backends {
		list.Backends = append(list.Backends, b.Name)
	}
	if name := given.Get("backend"); name != "" && !slices.Contains(list.Backends, name) {
		list.Backends = append(list.Backends, name) // of the past
	}
	c.show(w, r, "requests.html", list)
}

func (c *Console) listed(x admin.Request, now time.Time) listed {
	out := listed{Request: x, Open: x.Status == ledger.Pending || x.Status == ledger.Streaming}
	if out.Open {
		out.Elapsed = float64(max(0, now.Sub(x.StartedAt)).Milliseconds())
	}
	return out
}

// filled are the parameters that say something: a form sends those that are empty too.
func filled(q url.Values) url.Values {
	out := maps.Clone(q)
	maps.DeleteFunc(out, func(_ string, values []string) bool { return len(values) == 1 && values[0] == "" })
	return out
}

// local is how browsers send a time, which is meant by the clock of the pages.
const local = "2006-01-02T15:04"

// moments turns a time of a form into one that the API understands.
func (c *Console) moments(q url.Values) url.Values {
	at, err := time.ParseInLocation(local, q.Get("since"), c.options.Zone)
	if err != nil {
		return q // the API says what it expects
	}
	out := maps.Clone(q)
	out.Set("since", at.UTC().Format(time.RFC3339))
	return out
}

// Since is the filter's time as the form shows it.
func (l requestList) Since() string {
	at, err := time.Parse(time.RFC3339, l.Filter.Get("since"))
	if err != nil {
		return l.Filter.Get("since")
	}
	return at.In(l.zone).Format(local)
}

// Newest is the first page of the same list.
func (l requestList) Newest() string {
	q := maps.Clone(l.Filter)
	q.Del("before")
	return "?" + q.Encode()
}

// story is the data of a timeline.
type story struct {
	tab
	admin.Timeline

	Open    bool
	Elapsed float64
	Steps   []step
	Whole   float64
}

// step is an attempt, placed on the time of the request.
type step struct {
	admin.Attempt
	span

	After float64 // milliseconds after the request
	Open  bool    // it has not ended
}

// span is a stretch of time in per cent of the whole.
type span struct{ X, W float64 }

func (c *Console) timeline(w http.ResponseWriter, r *http.Request) {
	found, err := c.api.Timeline(r.Context(), mux.Vars(r)["id"])
	if err != nil {
		c.fail(w, r, err)
		return
	}
	c.show(w, r, "request.html", c.tell(r, found))
}

// tell places the attempts of a request on its time.
func (c *Console) tell(r *http.Request, found admin.Timeline) story {
	row := c.listed(found.Request, c.api.Now())
	s := story{tab: c.tab(r, "requests"), Timeline: found, Open: row.Open, Elapsed: row.Elapsed, Whole: max(found.DurationMS, row.Elapsed)}
	begin := func(a admin.Attempt) float64 {
		return max(0, float64(a.StartedAt.Sub(found.StartedAt).Microseconds())/1000)
	}
	for _, a := range found.Attempts {
		s.Whole = max(s.Whole, begin(a)+a.DurationMS)
	}
	for _, a := range found.Attempts {
		one := step{Attempt: a, After: begin(a), Open: s.Open}
		if one.Open {
			a.DurationMS = s.Whole - begin(a)
		}
		one.span = place(begin(a), a.DurationMS, s.Whole)
		s.Steps = append(s.Steps, one)
	}
	return s
}

// leastWidth lets what took no time be seen, in per cent.
const leastWidth = 0.6

func place(begin, length, whole float64) span {
	if whole <= 0 {
		return span{0, leastWidth}
	}
	w := max(leastWidth, min(100, length/whole*100))
	return span{min(begin/whole*100, 100-w), w}
}
