package console

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

const evil = `"><script>alert(1)</script>`

// busy is a gateway that has seen something: a cools, b answers in its place.
func busy() content {
	now := time.Now()
	failed := ledger.Attempt{Outcome: ledger.OutcomeFailed, Backend: "a", Provider: "a.example", Pool: "primary", Class: llm.RateLimit, HTTPStatus: 429, Error: "slow down", Duration: 100 * time.Millisecond, Cost: 5e6}
	skipped := ledger.Attempt{Outcome: ledger.OutcomeSkipped, Backend: "c", Pool: "primary", Skip: "rpm_limit", Started: 100 * time.Millisecond}
	good := ledger.Attempt{Outcome: ledger.OutcomeSucceeded, Backend: "b", Provider: "b.example", Pool: "fallback", Started: 100 * time.Millisecond, Duration: 300 * time.Millisecond, TTFB: 250 * time.Millisecond, Emergency: true}
	wrong := failed
	wrong.Class, wrong.HTTPStatus, wrong.Error = llm.Connection, 0, "no route"
	again := wrong
	again.Backend, again.Provider = "b", "b.example"
	return content{
		backends: []*backend.Backend{
			made("a", "primary", cooling(now.Add(-10*time.Second), now.Add(50*time.Second)), "m"),
			made("c", "primary", backend.Kept{}, "n"), made("b", "fallback", backend.Kept{}, "m"),
			made("d", "fallback", backend.Kept{Broken: llm.Auth, Reason: llm.Auth, Since: now.Add(-time.Hour)}, "k"),
		},
		events: []ledger.CooldownEvent{
			{Backend: "a", StartedAt: now.Add(-time.Hour), EndedAt: now.Add(-50 * time.Minute), Consecutive: 1, Cooldown: 30 * time.Second, Summary: "an older one"},
			{Backend: "a", StartedAt: now.Add(-40 * time.Second), EndedAt: now.Add(-10 * time.Second), Consecutive: 1, Cooldown: 30 * time.Second, Summary: "rate_limit: sk-hidden-key-of-a"},
			{Backend: "a", StartedAt: now.Add(-10 * time.Second), Consecutive: 2, Cooldown: time.Minute, Summary: "rate_limit: slow down"},
		},
		rows: []ledger.Row{
			{StartedAt: now.Add(-3 * time.Second), RequestID: "theirs-1", Status: ledger.Completed, HTTPStatus: 200, Model: "m", Backend: "b", Pool: "fallback", Client: "coo", Attempts: 2, Duration: 400 * time.Millisecond, TTFB: 350 * time.Millisecond,
				Usage: llm.Usage{Input: 1000, Output: 234}, Cost: 2_500_000_000, Timeline: []ledger.Attempt{failed, skipped, good}},
			{StartedAt: now.Add(-2 * time.Second), Status: ledger.Failed, HTTPStatus: 502, Class: llm.Connection, Model: "m", Client: "coo", Attempts: 2, Duration: 200 * time.Millisecond, Timeline: []ledger.Attempt{wrong, again}},
			{StartedAt: now.Add(-time.Second), Status: ledger.Streaming, Model: "m", Backend: "b", Client: "coo"},
		},
	}
}

func TestOverview(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home, "en")
	has(t, page, `data-live="/dashboard/sse"`, `data-fragment="/dashboard/fragment/overview"`, "Requests today", "50 %", "1,234", "2.50", "EUR",
		"On fallback", `<bdi>m</bdi>`, "instead of <b>primary</b>", "No backend", `<bdi>k</bdi>`)
	if n := strings.Count(page, "<figure"); n != 4 {
		t.Errorf("%d charts", n)
	}
	has(t, page, `2, errors 1`, `class="bar bad"`, "1,234", "2.50", "350 ms")
	pools := between(page, `<ul class="pools">`, "</ul>")
	numbers := regexp.MustCompile(`<dd>(\d+)</dd>`).FindAllStringSubmatch(pools, -1)
	got := ""
	for _, n := range numbers {
		got += n[1]
	}
	if got != "21100"+"21010" { // total, healthy, cooling, error, disabled of each pool
		t.Errorf("pools: %s", got)
	}
	has(t, s.page(t, home, "zh-CN"), "走备用", "今天", "冷却中")
	fragment := s.page(t, home+"/fragment/overview", "en")
	if strings.Contains(fragment, "<html") || !strings.Contains(page, strings.TrimSpace(between(fragment, `<dl class="stats">`, "</dl>"))[:40]) {
		t.Errorf("the fragment is not the live part: %.200s", fragment)
	}
	if empty := serve(t, content{}).page(t, home, "en"); !strings.Contains(empty, "0 %") || strings.Contains(empty, "NaN") || strings.Contains(empty, "Inf") {
		t.Error("an empty gateway")
	}
}

// TestSinceWhenOnFallback is told over cooldowns that followed each other without a
// success in between.
func TestSinceWhenOnFallback(t *testing.T) {
	c := busy()
	s := serve(t, c)
	found, err := s.console.reroutes(t.Context(), time.Now())
	if err != nil || len(found) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	k, m := found[0], found[1]
	if m.Model != "m" || m.Home != "primary" || m.Pool != "fallback" || !m.Since.Equal(c.events[1].StartedAt.Truncate(time.Millisecond)) {
		t.Errorf("m: %+v, want since %v", m, c.events[1].StartedAt)
	}
	if k.Model != "k" || k.Pool != "" || time.Since(k.Since) < 59*time.Minute {
		t.Errorf("k: %+v", k)
	}
	now := time.Now()
	blocked := made("a", "primary", backend.Kept{Blocks: map[string]backend.Block{"m": {Until: now.Add(time.Minute), Length: 3 * time.Minute}}}, "m", "n")
	off := made("o", "primary", backend.Kept{}, "off")
	off.Config.Disabled = true
	off.Configure(backend.Policy{Zone: time.UTC}, &off.Config)
	s = serve(t, content{backends: []*backend.Backend{blocked, off, made("b", "fallback", backend.Kept{}, "m", "n", "off")}})
	found, err = s.console.reroutes(t.Context(), now)
	if err != nil || len(found) != 2 || found[0].Model != "m" || found[0].Since.Sub(now.Add(-2*time.Minute)).Abs() > time.Second || found[1].Model != "off" || !found[1].Since.IsZero() {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestBackends(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home+"/backends", "en")
	has(t, page, `data-backend="a" data-state="cooling"`, `data-backend="d" data-state="error"`, `data-backend="b" data-state="healthy"`, "data-until", "rate limit", "slow down, said &lt;secret&gt;",
		llm.RateLimit.Remedy(), "not by itself", "0 / 40", "native/m", "declared in the configuration file", "<code>file</code>", "https://a.example")
	lacks(t, page, "sk-hidden", "<button class=\"button primary\"", "delete", "enable")
	shapes := map[string]backend.Status{}
	for _, lang := range []string{"zh-CN", "en"} {
		words := map[string]backend.Status{}
		for _, status := range backend.Statuses() {
			b := made("x", "primary", map[backend.Status]backend.Kept{
				backend.Cooling: {Cooled: true, Until: time.Now().Add(time.Hour), Length: time.Hour}, backend.HalfOpen: {Cooled: true, Until: time.Now().Add(-time.Hour)},
				backend.Error: {Broken: llm.Quota},
			}[status], "m")
			b.Config.Disabled = status == backend.Disabled
			b.Configure(backend.Policy{Zone: time.UTC}, &b.Config)
			row := between(serve(t, content{backends: []*backend.Backend{b}}).page(t, home+"/backends", lang), `class="state state-`+string(status)+`">`, "</span>")
			shape, word := between(row, `aria-hidden="true">`, "</svg>"), row[strings.LastIndex(row, ">")+1:]
			if other, twice := shapes[shape]; shape == "" || twice && other != status {
				t.Errorf("%s has the shape of %s: %q", status, other, row)
			}
			if other, twice := words[word]; word == "" || twice {
				t.Errorf("%s: %s has the word of %s: %q", lang, status, other, row)
			}
			shapes[shape], words[word] = status, status
		}
	}
	has(t, serve(t, content{}).page(t, home+"/backends", "en"), "No backend yet")
}

func TestRequests(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home+"/requests", "en")
	has(t, page, "1 failed", "2 failed", "chip red badge", "streaming", "connection", `href="/dashboard/requests/`+s.ids[0]+`"`, "350 ms", `data-live="/dashboard/sse"`)
	if strings.Index(page, s.ids[2]) > strings.Index(page, s.ids[0]) {
		t.Error("the newest is not first")
	}
	for query, want := range map[string]string{
		"status=failed": ".x.", "class=connection&model=&client=": ".x.", "backend=b": "x.x", "client=nobody": "...", "failed_over=true": "xx.",
		"since=2200-01-01T00%3A00": "...", "since=1999-01-01T00%3A00": "xxx", "model=m&status=completed": "x..",
	} {
		page, got := s.page(t, home+"/fragment/requests?"+query, "en"), ""
		for _, id := range s.ids {
			if strings.Contains(page, id) {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	for query, says := range map[string]string{"status=odd": "status: expected one of", "since=yesterday": "since: expected a time", "before=x": "before: expected the id", "limit=0": "limit: expected", "hours=3": "hours: no such parameter"} {
		if a := s.get(t, home+"/requests?"+query, "en"); a.status != http.StatusBadRequest || !strings.Contains(a.body, says) {
			t.Errorf("%s: %d, lacks %q", query, a.status, says)
		}
	}
	if a := s.get(t, home+"/requests?id="+url.QueryEscape("theirs-1"), "en"); a.status != http.StatusSeeOther || a.header.Get("Location") != home+"/requests/theirs-1" {
		t.Errorf("by id: %d to %q", a.status, a.header.Get("Location"))
	}
}

// TestPages: each row is on one page, and only the newest page is live.
func TestPages(t *testing.T) {
	s := serve(t, busy())
	path, seen := home+"/requests?limit=1&model=m", 0
	for i := range 3 {
		page := s.page(t, path, "en")
		seen += strings.Count(page, `<tr data-key="`)
		if live := strings.Contains(page, "data-live="); live != (i == 0) {
			t.Errorf("page %d is live: %v", i, live)
		}
		if newest := strings.Contains(page, `href="?limit=1&amp;model=m">Newest`); newest != (i > 0) {
			t.Errorf("page %d leads to the newest: %v", i, newest)
		}
		next := between(page, `rel="next" href="`, `"`)
		if (next == "") != (i == 2) {
			t.Fatalf("page %d: next is %q", i, next)
		}
		path = home + "/requests" + strings.ReplaceAll(next, "&amp;", "&")
	}
	if seen != 3 {
		t.Errorf("%d rows on all pages", seen)
	}
}

func TestSinceIsMeantByTheClockOfThePages(t *testing.T) {
	c := busy()
	c.zone = time.FixedZone("CST", 8*3600)
	c.rows = []ledger.Row{{StartedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Status: ledger.Completed, Model: "m"}}
	s := serve(t, c)
	for since, want := range map[string]bool{"2026-11-22T18:00": true, "2026-11-22T18:01": false} {
		page := s.page(t, home+"/requests?since="+since, "en")
		if strings.Contains(page, s.ids[0]) != want || !strings.Contains(page, `value="`+since+`"`) {
			t.Errorf("since %s: shown is %v", since, !want)
		}
	}
	has(t, s.page(t, home+"/requests?since=2026-11-22T09:59:00Z", "en"), `value="2026-11-22T17:59"`, "11-22 18:00:00 CST")
}

func TestTimeline(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home+"/requests/theirs-1", "en")
	steps := regexp.MustCompile(`data-outcome="(\w+)"`).FindAllStringSubmatch(page, -1)
	if len(steps) != 3 || steps[0][1] != "failed" || steps[1][1] != "skipped" || steps[2][1] != "succeeded" {
		t.Errorf("steps %v", steps)
	}
	has(t, page, "1 failed", `x="0" width="25"`, `x="25" width="75"`, llm.RateLimit.Remedy(), "slow down", "HTTP 429", "requests a minute were used up", "capture is not available in this version", "emergency: called while cooling",
		"0.005", "after 100 ms", `<code>theirs-1</code>`)
	lacks(t, page, "data-problem")
	page = s.page(t, home+"/requests/"+s.ids[1], "en")
	has(t, page, "data-problem", "every backend failed in the same class", "2 failed")
	page = s.page(t, home+"/requests/"+s.ids[2], "en")
	has(t, page, `data-outcome="open"`, "under way", "streaming")
	lacks(t, page, `data-outcome="failed"`, "What to do")
	if a := s.get(t, home+"/requests/nothing", "zh-CN"); a.status != http.StatusNotFound || !strings.Contains(a.body, "没有这个请求") {
		t.Errorf("no such request: %d %s", a.status, a.body)
	}
}

// TestEveryClassAndSkipIsWorded in both languages, with what to do.
func TestEveryClassAndSkipIsWorded(t *testing.T) {
	var timeline []ledger.Attempt
	for _, class := range llm.Classes() {
		timeline = append(timeline, ledger.Attempt{Outcome: ledger.OutcomeFailed, Backend: "b", Class: class})
	}
	skips := []backend.Skip{backend.SkipCooling, backend.SkipTrial, backend.SkipError, backend.SkipDisabled, backend.SkipModel, backend.SkipRPM, backend.SkipTPM, backend.SkipFull, backend.SkipAttempts}
	for _, skip := range skips {
		timeline = append(timeline, ledger.Attempt{Outcome: ledger.OutcomeSkipped, Backend: "b", Skip: string(skip)})
	}
	s := serve(t, content{rows: []ledger.Row{{StartedAt: time.Now(), Status: ledger.Failed, Timeline: timeline}}})
	for _, lang := range []string{"zh-CN", "en"} {
		page := s.page(t, home+"/requests/"+s.ids[0], lang)
		words := map[string]bool{}
		for i, part := range strings.Split(page, `<li class="panel attempt`)[1:] {
			word := strings.TrimSpace(between(part, `class="verdict">`, "</span>"))
			if i < len(llm.Classes()) {
				remedy := between(part, `<p class="remedy"><b>`, "</p>")
				if class := string(llm.Classes()[i]); words[word] || words[remedy] || len(remedy) < 40 || lang == "zh-CN" && (strings.Contains(word, class) || !strings.Contains(remedy, "怎么办") || strings.Contains(remedy, llm.Classes()[i].Remedy())) ||
					lang == "en" && !strings.Contains(remedy, strings.ReplaceAll(llm.Classes()[i].Remedy(), "'", "&#39;")) {
					t.Errorf("%s in %s: %q, %q", class, lang, word, remedy)
				}
				words[remedy] = true
			} else {
				word = strings.TrimSpace(between(part, `<p class="attempt-facts">`, "</p>"))
				if words[word] || strings.Contains(word, "_") || word == "" {
					t.Errorf("%s in %s: %q", skips[i-len(llm.Classes())], lang, word)
				}
			}
			words[word] = true
		}
		if len(words) != 2*len(llm.Classes())+len(skips) {
			t.Errorf("%d words in %s", len(words), lang)
		}
	}
}

func TestReliability(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home+"/reliability?days=1", "en")
	has(t, page, "<bdi>a</bdi>", "rate limit 1", "connection 1", "250 ms", `href="/dashboard/requests/`+s.ids[1]+`"`, llm.Connection.Remedy(), "By provider", "b.example", "50 %")
	has(t, s.page(t, home+"/reliability?days=30", "en"), `href="?days=7"`, `aria-current="true">30`)
	if a := s.get(t, home+"/reliability?days=3", "en"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "days: expected one of [1 7 30 90]") {
		t.Errorf("3 days: %d", a.status)
	}
	has(t, serve(t, content{}).page(t, home+"/reliability", "zh-CN"), "这段时间没有调用")
}

func TestCooldowns(t *testing.T) {
	s := serve(t, busy())
	page := s.page(t, home+"/cooldowns", "en")
	has(t, page, "an older one", "still open", "rate_limit: &lt;secret&gt;", "30 s", "1 min 0 s", "10 min 0 s")
	lacks(t, page, "sk-hidden")
	has(t, s.page(t, home+"/cooldowns?backend_id=b", "en"), "No cooldown in this time")
	var rows int
	for path := home + "/cooldowns?limit=ignored"; path != ""; {
		page := s.page(t, path, "en")
		rows += strings.Count(page, "<tr><td")
		next := between(page, `rel="next" href="`, `"`)
		path = ""
		if next != "" {
			path = home + "/cooldowns" + strings.ReplaceAll(next, "&amp;", "&")
		}
	}
	if rows != 3 {
		t.Errorf("%d rows", rows)
	}
}

// TestOlderPages of statistics keep their window and their filters.
func TestOlderPages(t *testing.T) {
	var c content
	for i := range 120 {
		c.rows = append(c.rows, ledger.Row{StartedAt: time.Now().Add(-time.Hour), Status: ledger.Completed, Model: "m", Client: fmt.Sprintf("client-%03d", i), Backend: "b", Pool: "primary"})
		c.events = append(c.events, ledger.CooldownEvent{Backend: "b", StartedAt: time.Now().Add(-time.Duration(i) * time.Minute), EndedAt: time.Now(), Consecutive: 1})
	}
	s := serve(t, c)
	for _, first := range []string{"/usage?by=hour&model=m&days=30", "/cooldowns?backend_id=b&days=30"} {
		page, _, _ := strings.Cut(first, "?")
		rows, pages, path := 0, 0, home+first
		for path != "" {
			body := s.page(t, path, "en")
			rows += strings.Count(body, "<tr><td")
			pages++
			if !strings.Contains(body, `aria-current="true">30`) || (pages > 1) != strings.Contains(body, ">Newest<") {
				t.Errorf("%s, page %d: the window is not kept, or there is no way back", first, pages)
			}
			next := between(body, `rel="next" href="`, `"`)
			path = ""
			if next != "" {
				path = home + page + strings.ReplaceAll(next, "&amp;", "&")
			}
		}
		if rows != 120 || pages != 3 {
			t.Errorf("%s: %d rows on %d pages", first, rows, pages)
		}
	}
}

// TestHostileText: nothing that comes from outside is markup, turns the direction of
// text, or is longer than a page bears.
func TestHostileText(t *testing.T) {
	long := "bidi\u202e" + evil + strings.Repeat("長", 10_000)
	now := time.Now()
	c := content{
		backends: []*backend.Backend{made(evil, evil, backend.Kept{Cooled: true, Reason: llm.RateLimit, Detail: long, Until: now.Add(time.Hour), Length: time.Hour}, long, evil)},
		events:   []ledger.CooldownEvent{{Backend: evil, StartedAt: now, Summary: long}},
	}
	c.backends[0].Label, c.backends[0].Source = long, evil
	attempt := ledger.Attempt{Outcome: ledger.OutcomeFailed, Backend: evil, Provider: long, Pool: evil, NativeID: long, Class: llm.Class(evil), Error: long, ProviderRequestID: evil, Duration: time.Second}
	skip := ledger.Attempt{Outcome: ledger.OutcomeSkipped, Backend: long, Skip: long}
	c.rows = []ledger.Row{{StartedAt: now, RequestID: evil, Status: ledger.Failed, Class: llm.Class(evil), Model: long, Label: long, Backend: evil, Pool: long, Client: long, Duration: time.Second,
		Detail:   ledger.Detail{Dialect: evil, NativeID: long, Provider: evil, ClientIP: evil, UserAgent: long, Code: evil, Error: long, UsageSource: llm.UsageSource(evil)},
		Timeline: []ledger.Attempt{attempt, attempt, skip}}}
	s := serve(t, c)
	query := "?model=" + url.QueryEscape(evil) + "&client=" + url.QueryEscape("\u202e"+evil)
	for _, path := range []string{"", "/backends", "/requests", "/requests" + query, "/requests/" + s.ids[0], "/reliability", "/usage", "/usage?by=model", "/usage?by=client", "/usage" + query, "/cooldowns",
		"/cooldowns?backend_id=" + url.QueryEscape(evil), "/requests?backend=" + url.QueryEscape(evil)} {
		page := s.page(t, home+path, "en")
		if strings.Contains(page, "<script>") || strings.Contains(page, `"><script`) || !strings.Contains(page, "<script src=") {
			t.Errorf("%s: not escaped", path)
		}
		if strings.Contains(page, strings.Repeat("長", 1001)) {
			t.Errorf("%s: %d bytes", path, len(page))
		}
		if outside := regexp.MustCompile(`value="[^"]*"`).ReplaceAllString(page, ""); strings.Contains(outside, "\u202e") {
			t.Errorf("%s: text turns its direction", path)
		}
		if odd := regexp.MustCompile(`(?i)<[^>]*\s(style|on\w+)=`).FindString(page); odd != "" {
			t.Errorf("%s: the policy blocks %s", path, odd)
		}
	}
	if page := s.page(t, home, "en"); !strings.Contains(page, "bidi\ufffd&#34;&gt;&lt;script&gt;") {
		t.Error("the model is not named")
	}
	a := s.get(t, home+"/requests?status="+url.QueryEscape(evil+long), "en")
	if a.status != http.StatusBadRequest || strings.Contains(a.body, "<script>") || strings.Contains(a.body, "\u202e") {
		t.Errorf("the error of a filter: %d", a.status)
	}
}

func TestALedgerThatCannotBeRead(t *testing.T) {
	s := serve(t, content{})
	if err := s.end(); err != nil {
		t.Fatal(err)
	}
	s.console.options.Log = discard()
	for _, path := range []string{"", "/requests", "/reliability", "/usage", "/usage.csv", "/cooldowns"} {
		if a := s.get(t, home+path, "en"); a.status != http.StatusInternalServerError || !strings.Contains(a.body, "could not be read") {
			t.Errorf("%s: %d %.100s", path, a.status, a.body)
		}
	}
}
