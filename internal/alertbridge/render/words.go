package render

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// words are the texts of one language.
type words struct {
	subject, since, value, next, alert, state, severity, detail, differ, until, by string
	dashboard, runbook, source, reminders, more, remark, truncated, former, twice  string
	colon, list, ago, lasted, stillFiring, alsoResolved                            string
	states                                                                         map[card.State]string
	inhibited, firedAndResolved, unknownWhy, again                                 string
	acked, hold, holdAsked, holdEnding, holdEnded, holdGone, holdFailed            string
	acknowledge, silence, endSilence                                               string
	escalated, from, stepFailed                                                    string
	steps                                                                          map[string]string // of escalations
	severities                                                                     map[string]string // what follows a severity's name
	openRunbook, openDashboard, nothing, lookBack, monitoringFirst, afterwards     string            // next actions
	duration                                                                       func(time.Duration) string
	digest                                                                         digestWords
}

// digestWords are those of a storm's digest.
type digestWords struct {
	title, over, criticals, total, carded, next, moreKinds, list, why string
}

// languages are the languages that cards are written in.
func languages() map[string]words {
	return map[string]words{
		"zh-CN": {
			subject: "对象", since: "开始时间", value: "当前值", next: "下一步", alert: "告警名称", state: "状态", severity: "严重级别",
			detail: "详情", differ: "明细", until: "静默至", by: "操作人", dashboard: "监控面板", runbook: "处理手册", source: "来源",
			reminders: "已重复提醒 %d 次", more: "另有 %d 条", remark: "说明", truncated: "Alertmanager 另省略了 %d 条告警",
			former: "接续 %s 的卡片，原卡片已无法更新", twice: "这条消息可能重复", colon: "：", list: "、", ago: "%s前", lasted: "持续 %s",
			stillFiring: "%d 条触发中", alsoResolved: "%d 条已恢复", inhibited: "被更高级别的告警抑制", firedAndResolved: "触发后已恢复",
			unknownWhy: "监控中断，无法确认是否恢复", again: "再次触发",
			states: map[card.State]string{
				card.StateFiring: "🔥 触发中", card.StateResolved: "✅ 已恢复", card.StateSilenced: "已静默", card.StateUnknown: "未知",
			},
			acked: "已确认", hold: "静默", holdAsked: "请求静默至 %s，等待 Alertmanager", holdEnding: "请求结束静默，等待 Alertmanager",
			holdEnded: "%s 结束静默", holdGone: "已在 Alertmanager 中被结束", holdFailed: "静默失败：%s",
			escalated: "升级", from: "来自 %s，无人确认", stepFailed: "未成功",
			steps:       map[string]string{"urgent_app": "应用内加急", "urgent_sms": "短信加急", "urgent_phone": "电话加急"},
			severities:  map[string]string{"critical": "（严重）", "warning": "（警告）", "info": "（提示）"},
			openRunbook: "打开处理手册", openDashboard: "打开监控面板", nothing: "无需处理。", lookBack: "如需复查：%s",
			monitoringFirst: "先恢复监控（Prometheus 与 Alertmanager），卡片随后自动更新。", afterwards: "然后：%s",
			acknowledge: "确认", silence: "静默 %s", endSilence: "结束静默",
			duration: chineseDuration,
			digest: digestWords{
				title: "告警风暴：%d 组触发中", over: "告警风暴已结束：共 %d 组", criticals: "（严重 %d）", total: "本轮合并 %d 组", carded: "其中 %d 组已单独成卡",
				next: "从上往下处理，严重的在前；多组同时触发常有共同原因，先看影响最多的对象。仍在触发的组稍后会单独成卡。", moreKinds: "另有 %d 种告警，%d 组触发中",
				list: "告警列表", why: "每分钟最多 %d 张新卡片，其余合并在此",
			},
		},
		"en": {
			subject: "Subject", since: "Since", value: "Value", next: "Next", alert: "Alert", state: "State", severity: "Severity",
			detail: "Details", differ: "Alerts", until: "Silenced until", by: "By", dashboard: "Dashboard", runbook: "Runbook", source: "Source",
			reminders: "reminded %d times", more: "and %d more", remark: "Note", truncated: "Alertmanager left out %d more alerts",
			former: "Continues the card of %s, which can no longer be updated", twice: "This message is a possible duplicate", colon: ": ", list: ", ",
			ago: "%s ago", lasted: "lasted %s", stillFiring: "%d firing", alsoResolved: "%d resolved", inhibited: "inhibited by a more severe alert",
			firedAndResolved: "fired and resolved", unknownWhy: "monitoring is down, it is not known whether this is over", again: "firing again",
			states: map[card.State]string{
				card.StateFiring: "🔥 Firing", card.StateResolved: "✅ Resolved", card.StateSilenced: "Silenced", card.StateUnknown: "Unknown",
			},
			acked: "Acknowledged", hold: "Silence", holdAsked: "asked for until %s, waiting for Alertmanager", holdEnding: "its end is asked for, waiting for Alertmanager",
			holdEnded: "ended %s", holdGone: "ended in Alertmanager", holdFailed: "failed: %s",
			escalated: "Escalated", from: "from %s, where nobody acknowledged", stepFailed: "failed",
			steps:       map[string]string{"urgent_app": "buzzed in the app", "urgent_sms": "buzzed by SMS", "urgent_phone": "buzzed by phone"},
			openRunbook: "Open the runbook", openDashboard: "Open the dashboard", nothing: "Nothing to do.", lookBack: " To look back: %s",
			monitoringFirst: "Bring monitoring back first (Prometheus and Alertmanager); the card then updates by itself.", afterwards: " After that: %s",
			acknowledge: "Acknowledge", silence: "Silence %s", endSilence: "End silence",
			duration: englishDuration,
			digest: digestWords{
				title: "Alert storm: %d groups firing", over: "Alert storm is over: %d groups", criticals: "(%d critical)", total: "%d groups put together", carded: "%d of them have cards of their own",
				next: "Work from the top, critical first; many groups at once often share a cause, so begin with the subject that most are about. What still fires gets a card of its own later.", moreKinds: "%d more alerts, %d groups firing",
				list: "All alerts", why: "At most %d new cards a minute, the rest is put together here",
			},
		},
	}
}

// SpanIn returns how a language writes a whole span of time, such as how long to
// silence.
func SpanIn(language string) func(time.Duration) string {
	units := []struct {
		span   time.Duration
		zh, en string
	}{{24 * time.Hour, " 天", "d"}, {time.Hour, " 小时", "h"}, {time.Minute, " 分钟", "m"}, {time.Second, " 秒", "s"}}
	return func(d time.Duration) string {
		out, separator := "", ""
		if language == "zh-CN" {
			separator = " "
		}
		for i, u := range units {
			n := int64(d / u.span)
			// A day is 24 hours, as the choices are written.
			if n == 0 || (i == 0 && d < 2*u.span) {
				continue
			}
			d %= u.span
			unit := u.en
			if language == "zh-CN" {
				unit = u.zh
			}
			if out != "" {
				out += separator
			}
			out += strconv.FormatInt(n, 10) + unit
		}
		return out
	}
}

// Languages lists the languages that cards can be written in.
func Languages() []string { return []string{"zh-CN", "en"} }

func chineseDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d 秒", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d 分钟", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d 小时 %d 分钟", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%d 天 %d 小时", int(d.Hours())/24, int(d.Hours())%24)
	}
}

func englishDuration(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh %dm", int(d.Hours()), int(d.Minutes())%60)
	default:
		return fmt.Sprintf("%dd %dh", int(d.Hours())/24, int(d.Hours())%24)
	}
}
