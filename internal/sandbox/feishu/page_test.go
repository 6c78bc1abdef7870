package feishu_test

import (
	"context"
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

var screenshots = flag.String("screenshots", "", "folder for screenshots of the page (empty: none)")

// alertCard is a card like the bridge's.
func alertCard(template, title, state, detail string) string {
	card := `{"schema":"2.0","config":{"update_multi":true,"width_mode":"fill"},
	"header":{"title":{"tag":"plain_text","content":"TITLE"},"subtitle":{"tag":"plain_text","content":"严重级别 critical · agents"},"template":"COLOUR",
	  "text_tag_list":[{"tag":"text_tag","text":{"tag":"plain_text","content":"opengineer"},"color":"neutral"}]},
	"body":{"elements":[
	 {"tag":"column_set","flex_mode":"stretch","columns":[
	  {"tag":"column","width":"weighted","weight":1,"elements":[{"tag":"markdown","content":"**智能体**\n运维工程师 (opengineer)"}]},
	  {"tag":"column","width":"weighted","weight":1,"elements":[{"tag":"markdown","content":"**状态**\nSTATE"}]}]},
	 {"tag":"column_set","flex_mode":"stretch","columns":[
	  {"tag":"column","width":"weighted","weight":1,"elements":[{"tag":"markdown","content":"**开始时间**\n2026-11-22 17:03:12 CST（4 分钟前）"}]},
	  {"tag":"column","width":"weighted","weight":1,"elements":[{"tag":"markdown","content":"**当前值**\n` + "`0`" + `"}]}]},
	 {"tag":"hr"},
	 {"tag":"markdown","content":"DETAIL"},
	 {"tag":"markdown","content":"**下一步** 登录主机，查看 ` + "`systemctl status`" + `，再按处理手册重启。"},
	 {"tag":"column_set","columns":[
	  {"tag":"column","width":"auto","elements":[{"tag":"button","type":"primary_filled","text":{"tag":"plain_text","content":"监控面板"},"behaviors":[{"type":"open_url","default_url":"https://grafana.example/d/agent-health"}]}]},
	  {"tag":"column","width":"auto","elements":[{"tag":"button","text":{"tag":"plain_text","content":"处理手册"},"behaviors":[{"type":"open_url","default_url":"https://runbooks.example/agent"}]}]}]},
	 {"tag":"hr"},
	 {"tag":"div","text":{"tag":"plain_text","content":"Fleetwatch · Alertmanager 127.0.0.1:9093 · 第 1 次提醒","text_size":"notation","text_color":"grey"}}]}}`
	return strings.NewReplacer("TITLE", title, "COLOUR", template, "STATE", state, "DETAIL", detail).Replace(card)
}

func (f *fixture) story(t *testing.T) (dead, unknown, fixed string) {
	t.Helper()
	fixed = f.mustCreate(t, "ou_coo", "", alertCard("red", "🚨 [CRITICAL] 智能体 coo 已停止心跳", "🔥 触发中", "连续 2 次没有收到心跳。"))
	f.clock.add(90 * time.Second)
	f.patch(t, fixed, alertCard("grey", "❔ [CRITICAL] 智能体 coo 状态未知", "未知", "监控中断，无法判断是否恢复。"))
	f.clock.add(90 * time.Second)
	if resp := f.patch(t, fixed, alertCard("green", "✅ [RESOLVED] 智能体 coo 已恢复心跳", "✅ 已恢复", "持续 3 分钟。")); !resp.Success() {
		t.Fatalf("patch: %d %s", resp.Code, resp.Msg)
	}
	reply, err := f.sdk.Im.V1.Message.Reply(t.Context(), larkim.NewReplyMessageReqBuilder().MessageId(fixed).
		Body(larkim.NewReplyMessageReqBodyBuilder().MsgType("text").Content(`{"text":"✅ 已恢复：智能体 coo 于 17:06 恢复心跳。"}`).Uuid("r1").Build()).Build())
	if err != nil || !reply.Success() {
		t.Fatalf("reply: %v %+v", err, reply)
	}
	unknown = f.mustCreate(t, "ou_oncall", "", alertCard("grey", "❔ [WARNING] 智能体 secretary 状态未知", "未知", "监控中断，卡片不会变绿。"))
	f.clock.add(20 * time.Second)
	dead = f.mustCreate(t, "ou_oncall", "", alertCard("red", "🚨 [CRITICAL] 智能体 opengineer 失联", "🔥 触发中", "进程已退出，<font color='red'>**15 分钟**</font>没有心跳。负责人 <at id=ou_oncall></at>"))
	f.hook(t, "ops", map[string]any{"msg_type": "text", "content": map[string]string{"text": "Watchdog 心跳中断：Prometheus 可能已停止。"}})
	return dead, unknown, fixed
}

func pageFixture(t *testing.T) *fixture {
	return start(t, func(o *feishu.Options) {
		o.Names = map[string]string{"ou_coo": "首席运营官", "ou_oncall": "值班工程师"}
		o.Bots = map[string]feishu.Bot{"ops": {Name: "运维告警群"}}
	})
}

func TestPageInChromium(t *testing.T) {
	f := pageFixture(t)
	dead, unknown, fixed := f.story(t)
	ctx := browsertest.Open(t, browsertest.View{Width: 1280, Height: 1760}) // tall enough for all three
	err := chromedp.Do(ctx, chromedp.Navigate(f.url+"/"),
		chromedp.WaitVisible(chromedp.CSS(`[data-card="`+dead+`"][data-template="red"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-card="`+unknown+`"][data-template="grey"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-card="`+fixed+`"][data-template="green"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-live-state][data-state="on"]`)))
	if err != nil {
		t.Fatal(err)
	}
	if title := look(t, ctx, chromedp.Text(chromedp.CSS(`[data-card="`+dead+`"] h3`))); !strings.Contains(title, "opengineer 失联") {
		t.Errorf("title %q", title)
	}
	if cards := look(t, ctx, chromedp.Evaluate[int](`document.querySelectorAll("[data-card]").length`)); cards != 3 {
		t.Errorf("%d cards, want 3", cards)
	}
	if text := look(t, ctx, chromedp.Text(chromedp.CSS(`[data-card="`+dead+`"]`))); !strings.Contains(text, "@值班工程师") {
		t.Errorf("the mention has no name: %q", text)
	}
	bar := look(t, ctx, chromedp.Evaluate[string](`getComputedStyle(document.querySelector('[data-card="`+dead+`"] header')).backgroundImage`))
	if !strings.Contains(bar, "gradient") {
		t.Errorf("the header has no colour: %q", bar)
	}
	browsertest.Screenshot(t, ctx, *screenshots, "feishu-light")

	// The living card turns green on the open page, without a reload.
	look(t, ctx, chromedp.Evaluate[bool](`window.stayed = true`))
	f.patch(t, dead, alertCard("green", "✅ [RESOLVED] 智能体 opengineer 已恢复", "✅ 已恢复", "持续 5 分钟。"))
	if err := chromedp.Do(ctx, chromedp.WaitVisible(chromedp.CSS(`[data-card="`+dead+`"][data-template="green"]`))); err != nil {
		t.Fatal(err)
	}
	if title := look(t, ctx, chromedp.Text(chromedp.CSS(`[data-card="`+dead+`"] h3`))); !strings.Contains(title, "已恢复") {
		t.Errorf("title %q", title)
	}
	if !look(t, ctx, chromedp.Evaluate[bool](`window.stayed === true`)) {
		t.Error("the page was loaded anew")
	}
}

// look reads something from the page.
func look[T any](t *testing.T, ctx context.Context, action chromedp.Action[T]) T {
	t.Helper()
	value, err := chromedp.Run(ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestPageLooks(t *testing.T) {
	cases := []struct {
		name string
		view browsertest.View
		says string
	}{
		{"feishu-dark", browsertest.View{Width: 1280, Height: 860, Dark: true}, "全部消息"},
		{"feishu-phone", browsertest.Phone(), "全部消息"},
		{"feishu-phone-dark", browsertest.View{Width: 390, Height: 844, Dark: true, Language: "en"}, "All messages"},
	}
	f := pageFixture(t)
	dead, _, _ := f.story(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx := browsertest.Open(t, c.view)
			if err := chromedp.Do(ctx, chromedp.Navigate(f.url+"/"), chromedp.WaitVisible(chromedp.CSS(`[data-card="`+dead+`"]`))); err != nil {
				t.Fatal(err)
			}
			body := look(t, ctx, chromedp.Evaluate[string](`document.body.textContent`))
			overflow := look(t, ctx, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > document.documentElement.clientWidth`))
			if !strings.Contains(body, c.says) || !strings.Contains(body, "FEISHU_APP_ID") {
				t.Errorf("the page lacks %q or the setting that replaces the stand-in", c.says)
			}
			if overflow {
				t.Error("the page is wider than the window")
			}
			browsertest.Screenshot(t, ctx, *screenshots, c.name)
		})
	}
}

func TestPageEscapesAndGuards(t *testing.T) {
	f := start(t, nil)
	f.mustCreate(t, "ou_<b>x", "", cardJSON("red", "<script>alert(1)</script>", "<img src=x onerror=alert(2)> [a](javascript:alert(3))"))
	resp, err := http.Get(f.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script>alert", "<img", "ou_<b>", `href="javascript`} {
		if strings.Contains(string(body), bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if policy := resp.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "script-src 'self'") || strings.Contains(policy, "unsafe") {
		t.Errorf("policy %q", policy)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.url+"/sandbox/reset", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("another site's page may reset: %d", resp.StatusCode)
	}
}
