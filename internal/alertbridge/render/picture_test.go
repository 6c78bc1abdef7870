package render_test

import (
	"context"
	"flag"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	bridge "github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of all cards on a phone, light and dark (empty: none)")

// look is how a card has to appear on the page.
type look struct{ colour, icon, buttons string }

// Buttons, by the words on them. Links are on every card.
const (
	ackButton = "acknowledge "
	muteFor   = "silence "
	unmute    = "end "
)

// looks are the header's colour, the title's icon and the buttons of every golden.
func looks() map[string]look {
	red, green, grey := look{"red", "🚨", ""}, look{"green", "✅", ""}, look{"grey", "🔕", ""}
	with := func(l look, buttons string) look { l.buttons = buttons; return l }
	unknown := look{"grey", "❔", ""}
	return map[string]look{
		"firing": red, "warning": {"yellow", "⚠️", ""}, "info": {"blue", "ℹ️", ""}, "other_severity": {"yellow", "⚠️", ""},
		"group": with(red, ackButton+muteFor), "resolved": green, "unseen": green, "group_resolved": green, "silenced": grey, "inhibited": grey,
		"unknown": unknown, "group_unknown": unknown, "settling_firing": red, "settling_unknown": unknown, "contested": green,
		"buttons": with(red, ackButton+muteFor), "acknowledged": with(red, muteFor), "asked": with(red, unmute), "held": with(grey, unmute), "partly_held": with(red, unmute),
		"ending": grey, "ended": with(red, muteFor), "gone": with(red, muteFor), "refused": with(red, muteFor), "acked_green": green, "escalated": with(red, ackButton+muteFor),
		"hostile": {"yellow", "⚠️", ""}, "truncated": red, "continued": red, "repeated": red, "linked": red, "terse": red, "long": with(red, ackButton+muteFor),
		"bot": red, "bot_resolved": green, "plain": red, "acked_plain": red,
		"template": {"red", "🔥", muteFor}, "template_resolved": green, "template_failed": red,
		"digest": {"red", "🌊", ""}, "digest_even": {"yellow", "🌊", ""}, "digest_calm": {"grey", "🌊", ""}, "digest_over": green,
	}
}

// words are the buttons' words in a language.
func (l look) words(language, name string) []string {
	zh := language == "zh-CN"
	pick := func(chinese, english string) string {
		if zh {
			return chinese
		}
		return english
	}
	var out []string
	if strings.Contains(l.buttons, ackButton) {
		out = append(out, pick("确认", "Acknowledge"))
	}
	if strings.Contains(l.buttons, muteFor) {
		out = append(out, pick("静默 1 小时", "Silence 1h"), pick("静默 4 小时", "Silence 4h"), pick("静默 24 小时", "Silence 24h"))
	}
	if strings.Contains(l.buttons, unmute) {
		out = append(out, pick("结束静默", "End silence"))
	}
	switch {
	case name == "plain" || name == "acked_plain":
	case strings.HasPrefix(name, "digest"):
		out = append(out, pick("监控面板", "Dashboard"), pick("告警列表", "All alerts"))
	default:
		out = append(out, pick("监控面板", "Dashboard"), pick("处理手册", "Runbook"))
	}
	return out
}

// sheet are the states of the contact sheet in docs/img, in its order, with what
// stands above each.
func sheet() [][3]string {
	return [][3]string{
		{"buttons", "触发中：严重", "firing, critical"}, {"warning", "触发中：警告", "firing, warning"}, {"info", "触发中：提示", "firing, info"},
		{"acknowledged", "已确认", "acknowledged"}, {"escalated", "已升级", "escalated"}, {"asked", "请求静默", "silence asked for"}, {"held", "经卡片静默", "silenced on the card"},
		{"silenced", "在 Alertmanager 中静默", "silenced in Alertmanager"}, {"inhibited", "被抑制", "inhibited"}, {"group", "一组告警，部分已恢复", "a group, partly resolved"},
		{"unknown", "未知：监控中断", "unknown: monitoring is down"}, {"resolved", "已恢复", "resolved"}, {"unseen", "触发后已恢复", "fired and resolved"},
		{"continued", "接续旧卡片", "continues an older card"}, {"repeated", "可能重复", "possible duplicate"}, {"truncated", "有省略", "some left out"},
		{"plain", "简化形式", "plain form"}, {"digest", "告警风暴", "a storm"}, {"digest_over", "告警风暴已结束", "a storm that is over"}, {"template", "自定义模板", "templates of one's own"},
	}
}

// gallery is a stand-in whose chats hold a card of every golden.
type gallery struct {
	url string
	ids map[string]string // message ids by golden
}

func newGallery(t *testing.T, language string) *gallery {
	t.Helper()
	names := map[string]string{"ou_ana": "Ana", "ou_ben": "Ben", "all": map[string]string{"zh-CN": "所有人", "en": "everyone"}[language]}
	order := slices.Concat(slices.Sorted(maps.Keys(requests())), slices.Sorted(maps.Keys(digests())))
	for _, s := range slices.Backward(sheet()) { // the page has the newest on top
		order = append(slices.DeleteFunc(order, func(name string) bool { return name == s[0] }), s[0])
		names["oc_"+s[0]] = s[map[string]int{"zh-CN": 1, "en": 2}[language]]
	}
	server, err := feishu.New(feishu.Options{Names: names, Now: nowFunc})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	client := bridge.NewClient(bridge.AppOptions{ID: "cli_app", Secret: "secret-value", BaseURL: web.URL, Timeout: chromeWait, Log: slog.New(slog.DiscardHandler)})
	g := &gallery{url: web.URL, ids: map[string]string{}}
	for _, name := range order {
		content := contentOf(t, language, name)
		g.ids[name], err = client.Create(t.Context(), bridge.Address{Type: "chat_id", ID: "oc_" + name}, bridge.Message{Card: content}, card.UUID(name, "app", "create", 1))
		if err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// contentOf renders a golden for the app.
func contentOf(t *testing.T, language, name string) []byte {
	t.Helper()
	r := rendererOf(t, language, ownOf(t, name))
	var content []byte
	var err error
	if q, is := digests()[name]; is {
		q.Now, q.Budget = now, render.AppBudget
		content, err = r.Digest(q)
	} else {
		q := requests()[name]
		q.Now, q.Budget = now, render.AppBudget
		content, err = r.Card(q)
	}
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func run[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestCardsOnThePage shows every golden on the stand-in's page, in Chromium: its
// colour, its title and its buttons, in words. With -update it writes the contact
// sheets of docs/img.
func TestCardsOnThePage(t *testing.T) {
	for _, language := range render.Languages() {
		t.Run(language, func(t *testing.T) {
			ctx := browsertest.Open(t, browsertest.View{Width: sheetWidth, Height: 1000, Language: language})
			g := newGallery(t, language)
			if err := chromedp.Do(ctx, chromedp.Navigate(g.url+"/"), chromedp.WaitVisible(chromedp.CSS(`[data-card="`+g.ids["buttons"]+`"]`))); err != nil {
				t.Fatal(err)
			}
			for name, want := range looks() {
				at := `document.querySelector('[data-card="` + g.ids[name] + `"]')`
				if got := run(t, ctx, chromedp.Evaluate[string](at+`.dataset.template`)); got != want.colour {
					t.Errorf("%s is %s, want %s", name, got, want.colour)
				}
				if got := run(t, ctx, chromedp.Evaluate[string](at+`.querySelector("h3").textContent`)); !strings.HasPrefix(got, want.icon+" ") {
					t.Errorf("%s: title %q, want %s", name, got, want.icon)
				}
				got := run(t, ctx, chromedp.Evaluate[string](`[...`+at+`.querySelectorAll(".card-button")].map(b => b.textContent.trim()).join("|")`))
				if words := strings.Join(want.words(language, name), "|"); got != words {
					t.Errorf("%s: buttons %q, want %q", name, got, words)
				}
			}
			for name := range g.ids {
				if _, known := looks()[name]; !known {
					t.Errorf("%s: say in looks how it has to appear", name)
				}
			}
			writeSheet(t, ctx, language)
		})
	}
}

// sheetWidth is three cards and what is between them.
const sheetWidth = 1320

// sheetLook is the page as a contact sheet: the cards of the sheet in columns, what
// each shows above it, and nothing else.
const sheetLook = `
	const names = NAMES, look = new CSSStyleSheet();
	look.replaceSync('.side, .banner, .stats, .people, .life, .avatar, .meta b, .meta .badge, .meta time, body > header, body > footer, .topbar, .hidden-note { display: none !important }' +
		'.chats { display: block } .room { padding: 16px } .timeline { display: block; max-width: none; columns: 3; column-gap: 16px }' +
		'.message { break-inside: avoid; margin-bottom: 16px } .meta .to { font-size: 14px; font-weight: 600 } .card { max-width: none; box-shadow: none }');
	document.adoptedStyleSheets = [...document.adoptedStyleSheets, look];
	for (const m of document.querySelectorAll(".message")) {
		const to = m.querySelector(".meta .to");
		if (names.includes(to.textContent.replace("→", "").trim())) to.textContent = to.textContent.replace("→", "").trim(); else m.remove();
	}
	document.documentElement.scrollHeight`

func writeSheet(t *testing.T, ctx context.Context, language string) {
	t.Helper()
	var names []string
	for _, s := range sheet() {
		names = append(names, strconv.Quote(s[map[string]int{"zh-CN": 1, "en": 2}[language]]))
	}
	height := run(t, ctx, chromedp.Evaluate[float64](strings.Replace(sheetLook, "NAMES", "["+strings.Join(names, ",")+"]", 1)))
	if left := run(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("[data-card]").length`)); left != len(sheet()) {
		t.Errorf("the sheet has %d cards, want %d", left, len(sheet()))
	}
	if !*update {
		return
	}
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(sheetWidth, int64(height), chromedp.EmulateScale(1))); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(testtool.Root(t), "docs", "img")
	browsertest.Screenshot(t, ctx, folder, "cards-"+language)
	shrink(t, filepath.Join(folder, "cards-"+language+".png"))
}

// TestCardsOnAPhone is that a person who was woken sees on the first screen of a
// phone what, since when, how bad, and what to do; and that nothing is wider than
// the screen, in light and dark.
func TestCardsOnAPhone(t *testing.T) {
	for _, dark := range []bool{false, true} {
		t.Run(map[bool]string{false: "light", true: "dark"}[dark], func(t *testing.T) {
			view := browsertest.Phone()
			view.Dark = dark
			ctx := browsertest.Open(t, view)
			g := newGallery(t, "zh-CN")
			if err := chromedp.Do(ctx, chromedp.Navigate(g.url+"/"), chromedp.WaitVisible(chromedp.CSS(`[data-card="`+g.ids["buttons"]+`"]`))); err != nil {
				t.Fatal(err)
			}
			if run(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`)) {
				t.Error("the page is wider than the phone")
			}
			for name, id := range g.ids {
				at := `document.querySelector('[data-card="` + id + `"]')`
				if run(t, ctx, chromedp.Evaluate[bool](`[...`+at+`.querySelectorAll("*")].some(e => e.getBoundingClientRect().right > `+at+`.getBoundingClientRect().right + 1)`)) {
					t.Errorf("%s: something stands out of the card", name)
				}
				// The four facts are the first four children of the body.
				bottom := run(t, ctx, chromedp.Evaluate[float64](`(() => { const c = `+at+`, rows = c.querySelector(".card-body").querySelectorAll(":scope > .columns, :scope > .text"); return rows[Math.min(3, rows.length - 1)].getBoundingClientRect().bottom - c.getBoundingClientRect().top })()`))
				if firstScreen := 600.0; bottom > firstScreen { // 844 less the app's own bars
					t.Errorf("%s: the next action ends %.0f px below the card's top, want %.0f at most", name, bottom, firstScreen)
				}
			}
			phoneButtons(t, ctx, g)
			lefts := run(t, ctx, chromedp.Evaluate[int](`new Set([...document.querySelectorAll('[data-card="`+g.ids["buttons"]+`"] .columns:not(.flex-flow) > .column:nth-child(2)')].map(c => c.getBoundingClientRect().left)).size`))
			tops := run(t, ctx, chromedp.Evaluate[int](`new Set([...document.querySelectorAll('[data-card="`+g.ids["buttons"]+`"] .card-button')].slice(0, 2).map(b => b.getBoundingClientRect().top)).size`))
			if lefts != 1 || tops != 1 {
				t.Errorf("values begin at %d places, the first two buttons stand on %d lines", lefts, tops)
			}
			if *screenshots == "" {
				return
			}
			height := run(t, ctx, chromedp.Evaluate[float64](`document.documentElement.scrollHeight`))
			for part := range int(height)/4000 + 1 {
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 4000, chromedp.EmulateScale(1))); err != nil {
					t.Fatal(err)
				}
				run(t, ctx, chromedp.Evaluate[bool](`(window.scrollTo(0, `+strconv.Itoa(part*4000)+`), true)`))
				browsertest.Screenshot(t, ctx, *screenshots, "phone-"+map[bool]string{false: "light", true: "dark"}[dark]+"-"+strconv.Itoa(part))
			}
		})
	}
}

// phoneButtons asserts that the first button is on the first screen as well,
// however much there is to tell.
func phoneButtons(t *testing.T, ctx context.Context, g *gallery) {
	t.Helper()
	for name, want := range looks() {
		if want.buttons == "" {
			continue
		}
		at := `document.querySelector('[data-card="` + g.ids[name] + `"]')`
		bottom := run(t, ctx, chromedp.Evaluate[float64](at+`.querySelector(".card-button").getBoundingClientRect().bottom - `+at+`.getBoundingClientRect().top`))
		if firstScreen := 844.0; bottom > firstScreen {
			t.Errorf("%s: the first button ends %.0f px below the card's top", name, bottom)
		}
	}
}

// TestPicturesAreSmall keeps the pictures of docs/cards.md fit for a page.
func TestPicturesAreSmall(t *testing.T) {
	for _, language := range render.Languages() {
		info, err := os.Stat(filepath.Join(testtool.Root(t), "docs", "img", "cards-"+language+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 400<<10 || info.Size() < 20<<10 {
			t.Errorf("%s has %d bytes", info.Name(), info.Size())
		}
	}
}
