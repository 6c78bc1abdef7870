package render_test

import (
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
)

// TestVisible is what becomes of characters that cannot be seen, in every place
// where a label or an annotation is shown, and in every form.
func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		"secretary":                              "secretary",
		"运维工程师 é ñ ✅ ⚠️":                         "运维工程师 é ñ ✅ ⚠️",
		"👩‍💻":                                    "👩‍💻",           // joined emoji
		"می\u200cخواهم":                          "می\u200cخواهم", // Persian needs its joiner
		"sec\u200bretary":                        "sec\ufffdretary",
		"sec\u200dretary":                        "sec\ufffdretary",
		"\ufeffsecretary":                        "\ufffdsecretary",
		"evil\u202egnp.exe":                      "evil\ufffdgnp.exe",
		"\u2066hidden\u2069":                     "\ufffdhidden\ufffd",
		"a\x00b\x1b[31mc\x7f":                    "a\ufffdb\ufffd[31mc\ufffd",
		"tab\tand\u00a0space":                    "tab and\u00a0space",
		"\u3164\u2800":                           "\ufffd\ufffd",
		"e\u0301":                                "e\u0301",
		"x" + strings.Repeat("\u0300", 50) + "y": "x\u0300\u0300\u0300\u0300\ufffdy",
		"bad \xff byte":                          "bad \ufffd byte",
		"\U000e0041tag":                          "\ufffdtag",
	} {
		c := cardOf(card.StateFiring, agentDown(in, func(a *card.Alert) { a.Annotations["description"] = in }), agentDown("b", nil))
		q := render.Request{Card: c, Now: now, Budget: render.AppBudget}
		r := renderer(t, "en")
		shown := view(t, r, q)
		if !strings.Contains(shown.Title, strings.ReplaceAll(want, "\u00a0", " ")+" is down") {
			t.Errorf("%q: title %q, want %q", in, shown.Title, want)
		}
		if title := r.Title(c); title != shown.Title {
			t.Errorf("%q: title %q elsewhere, %q on the card", in, title, shown.Title)
		}
		for form, text := range map[string]string{"rich": shown.Text(), "text": r.Text(q)} {
			if !strings.Contains(text, want) || strings.Contains(text, "\r") {
				t.Errorf("%q: %s form %q, want %q", in, form, text, want)
			}
		}
	}
}

func TestLineBreaks(t *testing.T) {
	c := cardOf(card.StateFiring, agentDown("a", func(a *card.Alert) { a.Annotations["description"] = "one\r\ntwo\rthree\u2028four\nfive" }))
	if text := view(t, renderer(t, "en"), render.Request{Card: c}).Text(); !strings.Contains(text, "one\ntwo\nthree\nfour\nfive") {
		t.Errorf("%q", text)
	}
}
