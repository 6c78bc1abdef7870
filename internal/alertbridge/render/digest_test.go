package render_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	feishucard "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

// digests are the states of a digest.
func digests() map[string]render.DigestRequest {
	opened := now.Add(-4 * time.Minute)
	open := func(total, carded int) *card.Card {
		c := card.OpenDigest("01M8PHFJN4GTP3ZJRJSE0V5F4C", "oncall", "oncall/app", opened)
		c.ExternalURL, c.Digest.Total, c.Digest.Carded = "http://alertmanager.example:9093", total, carded
		return c
	}
	over := open(61, 20)
	over.EndDigest(now)
	return map[string]render.DigestRequest{
		"digest": {Card: open(61, 12), PerMinute: 20, Mention: []string{"ou_ana"}, Counts: []render.DigestCount{
			{Name: "AgentDown", Severity: "critical", Firing: 9, Resolved: 2, Subjects: []string{"opengineer", "lawyer", "secretary", "architect"}},
			{Name: "GatewayBackendCoolingTooLong", Severity: "warning", Firing: 30, Silenced: 2, Subjects: []string{"nvidia-1", "nvidia-2"}},
			{Name: "HostLoad", Severity: "info", Firing: 5, Unknown: 1, Subjects: []string{"web-1"}},
		}, Worst: []render.DigestCount{{Name: "opengineer", Firing: 4}, {Name: "nvidia-1", Firing: 3}}},
		"digest_even": {Card: open(2, 0), PerMinute: 20, Counts: []render.DigestCount{{Name: "AgentDown", Severity: "warning", Firing: 2, Subjects: []string{"opengineer", "lawyer"}}}},
		"digest_calm": {Card: open(5, 0), PerMinute: 20, Counts: []render.DigestCount{{Name: "AgentDown", Severity: "critical", Silenced: 3, Unknown: 1, Resolved: 1}}},
		"digest_over": {Card: over, PerMinute: 20, Keyword: "告警机器人", Former: opened.Add(-time.Hour), Repeated: true, Counts: []render.DigestCount{{Name: "AgentDown", Severity: "critical", Resolved: 41}}},
	}
}

// TestDigestGolden is every state of a digest in each language and form, as the
// golden file has it, and accepted by Feishu within both budgets.
func TestDigestGolden(t *testing.T) {
	checker := feishucard.NewChecker()
	for name, q := range digests() {
		for _, language := range render.Languages() {
			t.Run(name+"."+language, func(t *testing.T) {
				r := renderer(t, language)
				q.Now = now
				for _, plain := range []bool{false, true} {
					q.Plain, q.Budget = plain, render.WebhookBudget
					got, err := r.Digest(q)
					if err != nil {
						t.Fatal(err)
					}
					if err := checker.Check(got); err != nil {
						t.Errorf("Feishu would refuse: %v", err)
					}
					view, err := feishucard.Parse(got)
					if err != nil {
						t.Fatal(err)
					}
					if plain {
						continue
					}
					digestInOrder(t, view.Text(), language, q)
					compare(t, name+"."+language+".json", indented(t, got))
				}
				compare(t, "text_"+name+"."+language+".txt", []byte(r.DigestText(q)+"\n"))
			})
		}
	}
}

// digestInOrder asserts what a person who was woken reads, in order.
func digestInOrder(t *testing.T, text, language string, q render.DigestRequest) {
	t.Helper()
	want := map[string][]string{"zh-CN": {"对象", "开始时间", "当前值", "下一步"}, "en": {"Subject", "Since", "Value", "Next"}}[language]
	if len(q.Counts[0].Subjects) == 0 {
		want = want[1:] // nothing fires
	}
	if q.Card.Closed() {
		want = want[:len(want)-1] // nothing is left to do
	}
	last := -1
	for _, word := range append(want, q.Counts[0].Name) {
		at := strings.Index(text, word)
		if at <= last {
			t.Errorf("%q stands at %d, after %d, in\n%s", word, at, last, text)
		}
		last = at
	}
}

// TestDigestOfMuch: whatever is in a digest, it fits, is accepted, keeps the most
// urgent, says how much it leaves out, and holds no markup of a label.
func TestDigestOfMuch(t *testing.T) {
	checker := feishucard.NewChecker()
	q := render.DigestRequest{Card: card.OpenDigest("01M8", "oncall", "oncall/app", now.Add(-time.Minute)), PerMinute: 20, Now: now}
	for i := range 120 {
		c := render.DigestCount{Name: fmt.Sprintf("Alert%03d<at id=all></at>**x**", i), Severity: "warning", Firing: 100}
		if i < 5 {
			c.Severity = "critical"
		}
		for j := range 100 {
			c.Subjects = append(c.Subjects, fmt.Sprintf("\u202esubject-%d-%s<at user_id=\"all\"></at>", j, strings.Repeat("长", 100)))
		}
		q.Counts = append(q.Counts, c)
		q.Card.Digest.Total += 100
	}
	q.Worst = []render.DigestCount{{Name: strings.Repeat("[a](http://x)", 50), Firing: 7}}
	for _, language := range render.Languages() {
		for _, budget := range []int{render.WebhookBudget, render.AppBudget} {
			q.Budget = budget
			r := renderer(t, language)
			got, err := r.Digest(q)
			if err != nil {
				t.Fatal(err)
			}
			if err := checker.Check(got); err != nil || len(got) > budget {
				t.Errorf("Feishu would refuse %d bytes for %d: %v", len(got), budget, err)
			}
			text := string(got)
			for i := range 5 {
				if !strings.Contains(text, fmt.Sprintf("Alert%03d", i)) {
					t.Errorf("critical %d is left out", i)
				}
			}
			if strings.Contains(text, `"markdown"`) || strings.Contains(text, "\u202e") {
				t.Error("a label's text got in as markup")
			}
			if said := r.DigestText(q); strings.Contains(said, "<") || !strings.Contains(said, "Alert000") {
				t.Errorf("the text form holds a label's markup, or no alert: %q", said)
			}
		}
	}
}
