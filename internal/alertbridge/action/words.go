package action

import (
	"fmt"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
)

// words are the toasts of one language.
type words struct {
	accepted map[render.ActionKind]string // of a silence: with its length
	refused  map[Result]string
	pending  string
	span     func(time.Duration) string
}

func languages() map[string]words {
	return map[string]words{
		"zh-CN": {
			accepted: map[render.ActionKind]string{
				render.Acknowledge: "已确认，卡片稍后更新", render.Silence: "正在静默 %s，卡片稍后更新", render.EndSilence: "正在结束静默，卡片稍后更新",
			},
			refused: map[Result]string{
				NotOperator: "您不在操作人名单（operators）中，请联系管理员", Forged: "按钮无效：签名不符", Expired: "按钮已过期，请使用最新的卡片",
				UnknownCard: "找不到这张卡片，它可能已过保留期", Resolved: "告警已恢复，无需再操作", Superseded: "卡片的状态已改变，请看最新的卡片",
				StoreFailed: "未能记录这次操作，请稍后再试",
			},
			pending: "已收到，正在处理，请稍后查看卡片",
			span:    render.SpanIn("zh-CN"),
		},
		"en": {
			accepted: map[render.ActionKind]string{
				render.Acknowledge: "Acknowledged, the card follows", render.Silence: "Silencing for %s, the card follows", render.EndSilence: "Ending the silence, the card follows",
			},
			refused: map[Result]string{
				NotOperator: "You are not one of the operators: ask who runs the bridge", Forged: "This button is not valid: wrong signature",
				Expired: "This button is past its time, use the latest card", UnknownCard: "There is no such card, it may be past its retention",
				Resolved: "This alert is resolved, there is nothing to do", Superseded: "The card has changed since, look at the latest one",
				StoreFailed: "This could not be recorded, try again in a while",
			},
			pending: "Received, look at the card in a while",
			span:    render.SpanIn("en"),
		},
	}
}

// toast words a result.
func (w words) toast(r Result, v Value) Toast {
	if r != Accepted {
		kind := KindWarning
		if r == Forged || r == StoreFailed {
			kind = KindError
		}
		return Toast{Kind: kind, Text: w.refused[r]}
	}
	text := w.accepted[v.Kind]
	if v.Kind == render.Silence {
		text = fmt.Sprintf(text, w.span(v.For))
	}
	return Toast{Kind: KindSuccess, Text: text}
}
