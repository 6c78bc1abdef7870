package alertbridge_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/webhook"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	feishucard "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

// hostileCase is a body, and what becomes of it.
type hostileCase struct {
	body   string
	status int
	says   string   // in the answer, where it is refused
	title  string   // in the title of the card; "" where no card is made
	shows  []string // in the card's text
	never  []string // not in the card, nor in its title
}

// body is a payload of one group with these alerts, as JSON.
func body(name string, alerts ...string) string {
	return fmt.Sprintf(`{"version":"4","groupLabels":{"alertname":%q},"externalURL":"http://am.example","alerts":[%s]}`, name, strings.Join(alerts, ","))
}

// one is a firing alert with further labels and annotations, as JSON members.
func one(name, labels, annotations string) string {
	return fmt.Sprintf(`{"status":"firing","labels":{"alertname":%q%s},"annotations":{"summary":%q%s},"startsAt":%q}`, name, labels, name, annotations, time.Now().UTC().Format(time.RFC3339))
}

// at is an alert of that status and those times.
func at(name, status, starts, ends string) string {
	return fmt.Sprintf(`{"status":%q,"labels":{"alertname":%q},"annotations":{"summary":%q},"startsAt":%q,"endsAt":%q}`, status, name, name, starts, ends)
}

func refused() map[string]hostileCase {
	bad := func(body, says string) hostileCase {
		return hostileCase{body: body, status: http.StatusBadRequest, says: says}
	}
	long := strings.Repeat("x", 500_000)
	return map[string]hostileCase{
		"nothing":               bad("", "not an Alertmanager webhook in JSON"),
		"bytes":                 bad("\x00\xff\xfe\x80", "not an Alertmanager webhook in JSON"),
		"a byte order mark":     bad("\ufeff{}", "not an Alertmanager webhook in JSON"),
		"a list":                bad("[]", "expected an object, got array"),
		"a text":                bad(`"x"`, "expected an object, got string"),
		"null":                  bad("null", `version is \"\", expected \"4\"`),
		"cut off":               bad(body("x", one("x", "", ""))[:90], "unexpected EOF"),
		"a list of labels":      bad(body("x", `{"status":"firing","labels":[1]}`), "alerts.labels: expected an object, got array"),
		"a number as a label":   bad(body("x", `{"status":"firing","labels":{"a":1}}`), "alerts.labels: expected text, got number"),
		"null as an alert":      bad(body("x", "null"), `alerts[0].status is \"\"`),
		"alerts as an object":   bad(`{"version":"4","alerts":{}}`, "alerts: expected a list, got object"),
		"a number as status":    bad(body("x", `{"status":5}`), "alerts.status: expected text, got number"),
		"a number as version":   bad(`{"version":4}`, "version: expected text, got number"),
		"a huge number":         bad(`{"version":"4","truncatedAlerts":1e400,"alerts":[]}`, "truncatedAlerts: expected a whole number, got number 1e400"),
		"a time that is none":   bad(body("x", at("x", "firing", "NaN", "0001-01-01T00:00:00Z")), "parsing time"),
		"a number as time":      bad(body("x", `{"status":"firing","startsAt":1e400}`), "not an Alertmanager webhook in JSON"),
		"a year of five digits": bad(body("x", at("x", "firing", "10000-01-01T00:00:00Z", "0001-01-01T00:00:00Z")), "parsing time"),
		"a long version":        bad(`{"version":"`+long+`"}`, "version is"),
		"a long status":         bad(body("x", `{"status":"`+long+`"}`), "alerts[0].status is"),
		"a long time":           bad(body("x", `{"status":"firing","startsAt":"`+long+`"}`), "parsing time"),
		"nested too deep":       bad(`{"version":"4","alerts":[],"more":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`, "exceeded max depth"),
		"an unknown status":     bad(body("x", `{"status":"burning"}`), "alerts[0].status"),
		"the second of two":     bad(body("x", one("x", "", ""), `{"status":"no"}`), "alerts[1].status"),
		"larger than the limit": {body: `{"version":"4","x":"` + long + long + long + `"}`, status: http.StatusRequestEntityTooLarge, says: "larger than"},
	}
}

func shown() map[string]hostileCase {
	long, zero := strings.Repeat("很长\\\"<at id=all></at>", 10_000), "0001-01-01T00:00:00Z"
	var many, labels strings.Builder
	for i := range 10_000 {
		_, _ = fmt.Fprintf(&many, `,{"status":"firing","labels":{"instance":"i%d"}}`, i)
		_, _ = fmt.Fprintf(&labels, `,"label_%d":"value"`, i)
	}
	return map[string]hostileCase{
		"markup": {body: body("markup", one("markup", `,"agent_name":"<at id=all></at> **b** [l](http://evil) \u0060c\u0060 \\ \" {{ .Title }}"`, `,"description":"# h\n- <font color='red'>x</font>"`)),
			title: "markup", shows: []string{`<at id=all></at> **b** [l](http://evil) ` + "`c`" + ` \ " {{ .Title }}`, "# h\n- <font color='red'>x</font>"}},
		"invalid UTF-8":   {body: strings.Replace(body("utf8", one("utf8", `,"agent_name":"a@b"`, "")), "a@b", "a\xff\xfeb", 1), title: "utf8", shows: []string{"a\ufffd\ufffdb"}},
		"lone surrogates": {body: body("surrogates", one("surrogates", `,"agent_name":"a\ud800b"`, "")), title: "surrogates", shows: []string{"a\ufffdb"}},
		"control characters": {body: body("control", one("control", `,"agent_name":"a\u0000\u0007\u001b[31mb\u007f"`, `,"description":"one\r\ntwo\tthree"`)),
			title: "control", shows: []string{"a\ufffd\ufffd\ufffd[31mb\ufffd", "one\ntwo three"}, never: []string{"\x00", "\x1b", "\r"}},
		"direction": {body: body("direction", one("direction", `,"agent_name":"evil\u202egnp.exe\u2066x\u2069"`, "")),
			title: "direction", shows: []string{"evil\ufffdgnp.exe\ufffdx\ufffd"}, never: []string{"\u202e", "\u2066", "\u2069"}},
		"zero width": {body: body("width", one("width", `,"agent_name":"sec\u200bret\u200dary\ufeff"`, "")), title: "width", shows: []string{"sec\ufffdret\ufffdary\ufffd"}, never: []string{"\u200b", "\u200d", "\ufeff"}},
		"long values": {body: body("long", one("long", `,"agent_name":"`+strings.ReplaceAll(strings.ReplaceAll(long, `\`, `\\`), `"`, `\"`)+`"`, `,"description":"`+strings.Repeat("d", 300_000)+`"`)),
			title: "long", shows: []string{"很长\\\"<at id=all></at>", "ddd…"}},
		"10,000 labels":      {body: body("labels", one("labels", labels.String(), ""), one("labels", labels.String()+`,"agent_name":"second"`, "")), title: "labels (+1)", shows: []string{"second"}},
		"10,000 alerts":      {body: body("many", strings.TrimPrefix(many.String(), ",")), title: "many", shows: []string{"10000 条触发中", "另有 9990 条"}},
		"names of labels":    {body: body("names", one("names", `,"":"empty","<at>":"x","a b\u202e":"y"`, ""), one("names", `,"":"other","<at>":"z"`, "")), title: "names (+1)", shows: []string{"=empty", "<at>=x", "a b\ufffd=y"}, never: []string{"\u202e"}},
		"no labels at all":   {body: `{"version":"4","groupLabels":null,"alerts":[{"status":"firing","labels":{}}]}`, title: "⚠️ alert"},
		"empty labels":       {body: body("empty", one("empty", `,"agent_name":"","severity":"","owner":""`, `,"value":" "`)), title: "⚠️ empty"},
		"an odd severity":    {body: body("odd", one("odd", `,"severity":"<at id=all>\nCRITICAL"`, "")), title: "[<AT ID=ALL> CRITICAL] odd"},
		"year 0":             {body: body("year0", at("year0", "firing", "0000-01-01T00:00:00+08:00", zero)), title: "year0", shows: []string{"前)"}, never: []string{"0000-", "-0001"}},
		"year 9999":          {body: body("year9999", at("year9999", "firing", "9999-12-31T23:59:59-08:00", "9999-12-31T23:59:59-08:00")), title: "year9999", shows: []string{"前)"}, never: []string{"9999-", "10000-"}},
		"a time long ago":    {body: body("epoch", at("epoch", "firing", "1969-12-31T23:59:59Z", zero)), title: "epoch", shows: []string{"前)"}, never: []string{"1969", "1970"}},
		"ended before begun": {body: body("backwards", at("backwards", "resolved", time.Now().UTC().Format(time.RFC3339), "2020-01-01T00:00:00Z")), title: "✅ backwards", shows: []string{"持续 0 秒"}},
		"ended in year 0":    {body: body("ended0", at("ended0", "resolved", "0000-01-01T00:00:00Z", "0000-01-01T00:00:00Z")), title: "✅ ended0", shows: []string{"持续 0 秒"}, never: []string{"0000-"}},
		"fires and has ended": {body: body("twice", at("twice", "resolved", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"), at("twice", "firing", "2026-01-01T00:00:00Z", zero)),
			title: "⚠️ twice", shows: []string{"🔥 触发中\n"}},
		"one fingerprint, two alerts": {body: body("same", strings.Replace(one("same", `,"agent_name":"first"`, ""), "{", `{"fingerprint":"f",`, 1), strings.Replace(one("same", `,"agent_name":"second"`, ""), "{", `{"fingerprint":"f",`, 1)),
			title: "same (+1)", shows: []string{"agent_name=first", "agent_name=second"}},
		"a long fingerprint": {body: body("finger", strings.Replace(one("finger", "", ""), "{", `{"fingerprint":"`+strings.Repeat("f", 100_000)+`",`, 1)), title: "finger"},
		"links that are none": {body: strings.Replace(body("links", one("links", "", `,"runbook_url":"javascript:alert(1)","dashboard_uid":"../x","panel":"1&x"`)), "http://am.example", "javascript:alert(2)", 1),
			title: "links", never: []string{"javascript", "来源"}},
		"left out, less than none": {body: strings.Replace(body("negative", one("negative", "", "")), `"alerts"`, `"truncatedAlerts":-5,"alerts"`, 1), title: "negative", never: []string{"-5"}},
		"nested deep":              {body: strings.Replace(body("deep", one("deep", "", "")), `"alerts"`, `"more":`+strings.Repeat("[", 9_000)+strings.Repeat("]", 9_000)+`,"alerts"`, 1), title: "deep"},
		"no alerts":                {body: body("none")},
	}
}

// TestHostileWebhooks sends hostile bodies to the whole program: each is refused
// with the reason, or taken and shown, in a rich card that Feishu accepts.
func TestHostileWebhooks(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	b := startBridge(t, settings{feishu: fs.url, extra: "limits: {max_age: 0}\nstorm: {per_receiver_per_minute: 0}\n"})
	for name, c := range refused() {
		t.Run(name, func(t *testing.T) {
			status, text := b.do(http.MethodPost, "/webhook", "hook-token-value", c.body)
			if status != c.status || !strings.Contains(text, c.says) {
				t.Errorf("%d %.300s, want %d with %q", status, text, c.status, c.says)
			}
			if len(text) > 1000 {
				t.Errorf("the answer has %d bytes", len(text))
			}
		})
	}
	if n := len(fs.views()); n != 0 {
		t.Fatalf("%d cards were made of what was refused", n)
	}
	cards := 0
	all := shown()
	for name, c := range all {
		if status, text := b.do(http.MethodPost, "/webhook", "hook-token-value", c.body); status != http.StatusOK {
			t.Errorf("%s: %d %.300s", name, status, text)
		}
		if c.title != "" {
			cards++
		}
	}
	eventually(t, func() bool { return len(fs.views()) == cards }, func() string { return fmt.Sprintf("%d cards, want %d", len(fs.views()), cards) })
	for name, c := range all {
		if c.title != "" {
			t.Run(name, func(t *testing.T) { c.check(t, fs.views()) })
		}
	}
	for _, result := range []string{"content", "refused"} {
		if got := b.metric(`alertbridge_deliveries_total{kind="create",receiver="coo",result="` + result + `"}`); got != "0" {
			t.Errorf("%s cards were refused as %s", got, result)
		}
	}
}

func (c hostileCase) check(t *testing.T, views []feishu.MessageView) {
	t.Helper()
	for _, v := range views {
		if !strings.HasSuffix(v.Title, c.title) {
			continue
		}
		if !strings.Contains(v.Text, "#") || strings.Contains(v.Title, "\n") {
			t.Errorf("the card lacks its mark, or its title %q is not one line: %.300q", v.Title, v.Text)
		}
		for _, want := range c.shows {
			if !strings.Contains(v.Text, want) {
				t.Errorf("%q is not in %.1000q", want, v.Text)
			}
		}
		for _, never := range c.never {
			if strings.Contains(v.Title+"\n"+v.Text, never) {
				t.Errorf("%q is in %q: %.1000q", never, v.Title, v.Text)
			}
		}
		return
	}
	var titles []string
	for _, v := range views {
		titles = append(titles, v.Title)
	}
	t.Errorf("no card ends with %q: %.3000q", c.title, titles)
}

// FuzzChain takes any bytes from the webhook to the card: they are refused, or make a
// card that Feishu accepts.
func FuzzChain(f *testing.F) {
	for _, c := range shown() {
		if len(c.body) < 5000 {
			f.Add([]byte(c.body))
		}
	}
	for _, c := range refused() {
		if len(c.body) < 5000 {
			f.Add([]byte(c.body))
		}
	}
	checker := feishucard.NewChecker()
	renderer, err := render.New(render.Options{Language: "zh-CN", Grafana: "http://g.example", Runbooks: "http://r.example"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		now := time.Now().UTC()
		group, notice, err := webhook.Decode(body, now)
		if err != nil {
			return
		}
		c := card.Open("r", group, notice, nil)
		if c == nil {
			return
		}
		c.Judge(card.Snapshot{Began: now.Add(time.Second)})
		for _, budget := range []int{render.AppBudget, render.WebhookBudget} {
			content, err := renderer.Card(render.Request{Card: c, Now: now, Budget: budget, First: true})
			if err != nil || len(content) > budget {
				t.Fatalf("%d bytes of %d: %v", len(content), budget, err)
			}
			if err := checker.Check(content); err != nil {
				t.Fatalf("%v: %s", err, content)
			}
		}
	})
}
