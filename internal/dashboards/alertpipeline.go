package dashboards

// AlertPipeline is the dashboard of the way of an alert: from the rules over
// Alertmanager and the bridge to Feishu, and the second path that watches it. Rules
// link its panels by number.
func AlertPipeline() Dashboard {
	d := base("alert-pipeline", "OpenClaw Alert Pipeline", "一条告警走过的路：规则、Alertmanager、告警桥、飞书，以及看守这条路的第二路。哪一环断了，就看哪一行。", "openclaw", "alerting")
	d.choice("receiver", "接收人", "alertbridge_receiver_configured", "receiver")
	d.row("规则与 Prometheus", rulePanels()...)
	d.row("Alertmanager", alertmanagerPanels()...)
	d.row("告警桥", bridgePanels()...)
	d.row("飞书", feishuPanels()...)
	d.row("按钮、升级与第二路", peoplePanels()...)
	d.row("告警风暴", stormPanels()...)
	return d
}

// answers maps 1 and 0 to words with colours.
func answers(yes, no string) []mapping {
	return words(map[string]result{"1": {Text: "✅ " + yes, Color: green, Index: 0}, "0": {Text: "❌ " + no, Color: red, Index: 1}})
}

// light is a stat of a 1 or 0.
func light(title, description string, w, h int, yes, no, absent string, targets ...Target) Panel {
	return stat(title, description, w, h, field{NoValue: absent, Thresholds: levels(red, 1, green), Mappings: answers(yes, no)}, targets...)
}

func rulePanels() []Panel {
	return []Panel{
		lines("触发中的告警", "按名称与级别；Watchdog 一直触发，不计入。", 12, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`count by (alertname, severity) (ALERTS{alertstate="firing", alertname!="Watchdog"})`, "{{alertname}} {{severity}}")),
		lines("规则计算失败", "每分钟失败次数；失败的规则此时既不触发也不恢复。", 6, 8, field{Min: new(0.0)},
			graph(`60 * sum by (rule_group) (rate(prometheus_rule_evaluation_failures_total[$__rate_interval]))`, "{{rule_group}}")),
		lines("规则组计算时间", "最近一次计算所用时间；接近计算间隔时告警会变晚。", 6, 8, field{Unit: "s", Min: new(0.0)},
			graph(`max by (rule_group) (prometheus_rule_group_last_duration_seconds)`, "{{rule_group}}")),
		lines("送往 Alertmanager", "每分钟送出、出错与丢弃的告警数。", 12, 8, field{Min: new(0.0)},
			graph(`60 * sum by (alertmanager) (rate(prometheus_notifications_sent_total[$__rate_interval]))`, "送出 {{alertmanager}}"),
			graph(`60 * sum by (alertmanager) (rate(prometheus_notifications_errors_total[$__rate_interval]))`, "出错 {{alertmanager}}"),
			graph(`60 * sum by (alertmanager) (rate(prometheus_notifications_dropped_total[$__rate_interval]))`, "丢弃 {{alertmanager}}")),
		light("链路各环", "Prometheus 抓取得到它们吗。", 6, 8, "正常", "断开", "没有目标",
			now(`up{job=~"prometheus|alertmanager|alertbridge|heartbeat"}`, "{{job}} {{instance}}")),
		light("配置重载", "各程序最近一次加载配置是否成功；失败时仍在用旧配置。", 6, 8, "成功", "失败", "没有目标",
			now(`prometheus_config_last_reload_successful`, "{{job}}"), now(`alertmanager_config_last_reload_successful`, "{{job}}"),
			now(`alertbridge_config_last_reload_successful`, "{{job}}"), now(`heartbeat_config_last_reload_successful`, "{{job}}"),
			now(`gateway_config_last_reload_successful`, "{{job}}"), now(`exporter_config_last_reload_successful`, "{{job}}")),
	}
}

func alertmanagerPanels() []Panel {
	return []Panel{
		lines("Alertmanager 中的告警", "按状态；suppressed 为被静默或抑制。", 6, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (state) (alertmanager_alerts)`, "{{state}}"), graph(`sum by (state) (alertmanager_silences{state="active"})`, "静默 {{state}}")),
		lines("Alertmanager 的通知", "每分钟发出的通知数，到告警桥和到 heartbeat 的都在内。", 6, 8, field{Min: new(0.0)},
			graph(`60 * sum by (instance) (rate(alertmanager_notifications_total{integration="webhook"}[$__rate_interval]))`, "{{instance}}")),
		lines("被放弃的通知", "每分钟放弃的通知数，按原因；clientError 是被拒绝，如令牌不对。", 6, 8, field{Min: new(0.0)},
			graph(`60 * sum by (reason) (rate(alertmanager_notifications_failed_total{integration="webhook"}[$__rate_interval]))`, "{{reason}}")),
		lines("通知时间 p95", "Alertmanager 等告警桥和 heartbeat 应答的时间。", 6, 8, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.95, sum by (le) (rate(alertmanager_notification_latency_seconds_bucket{integration="webhook"}[$__rate_interval])))`, "p95")),
	}
}

func bridgePanels() []Panel {
	return []Panel{
		lines("Webhook 应答", "每分钟收到的通知数，按应答码；503 是没能落盘，会重发；401 是令牌不对。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (code) (rate(alertbridge_webhooks_total[$__rate_interval]))`, "{{code}}")),
		lines("收到的告警", "每分钟，按级别与状态；“丢弃”为配置中没有接收人的。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (severity, status) (rate(alertbridge_alerts_total[$__rate_interval]))`, "{{severity}} {{status}}"),
			graph(`60 * sum(rate(alertbridge_alerts_dropped_total[$__rate_interval]))`, "丢弃")),
		lines("未结束的卡片", "按状态；unknown 是监控中断、不知道是否恢复的。", 8, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (state) (alertbridge_cards{receiver=~"$receiver"})`, "{{state}}")),
		stat("最久未送达", "最早一张待发的卡片已等了多久；没有待发的为 0。", 6, 7, field{Unit: "s", Thresholds: levels(green, 60, yellow, 600, red)},
			graph(`max((time() - (alertbridge_pending_oldest_timestamp_seconds > 0)) or 0 * alertbridge_pending_oldest_timestamp_seconds)`, "等待")),
		stat("死信", "送不出去、尚未重发的卡片，按原因。", 6, 7, field{Decimals: new(0), Thresholds: levels(green, 1, red)},
			graph(`sum by (reason) (alertbridge_dead_letters)`, "{{reason}}")),
		stat("距上次核对", "距上次与 Alertmanager 核对的时间；5 分钟以上会告警。", 6, 7, field{Unit: "s", NoValue: "没有设 alertmanager.url", Thresholds: levels(green, 60, yellow, 300, red)},
			graph(`max(time() - (alertbridge_reconcile_last_success_timestamp_seconds > 0))`, "核对")),
		light("接收人配置", "没有凭据的接收人，发给它的告警都成为死信。", 6, 7, "有凭据", "没有凭据", "没有接收人",
			now(`min by (receiver) (alertbridge_receiver_configured{receiver=~"$receiver"})`, "{{receiver}}")),
	}
}

func feishuPanels() []Panel {
	return []Panel{
		light("飞书可达", "飞书是否应答了最近一次调用。", 4, 8, "可达", "连不上", "告警桥没有应答", now(`max(alertbridge_feishu_up)`, "飞书")),
		light("按钮长连接", "飞书经由它送来卡片按钮的点击。", 4, 8, "已连接", "断开", "卡片没有按钮", now(`max(alertbridge_callback_connected)`, "长连接")),
		lines("投递结果", "每分钟对飞书的调用，按种类与结果。", 16, 8, field{Min: new(0.0)},
			graph(`60 * sum by (kind, result) (rate(alertbridge_deliveries_total{receiver=~"$receiver"}[$__rate_interval]) > 0)`, "{{kind}} {{result}}")),
		lines("送达时间", "从收到变化到飞书接受，中位与 p99。", 12, 8, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.5, sum by (receiver, le) (rate(alertbridge_delivery_seconds_bucket{receiver=~"$receiver"}[$__rate_interval])))`, "{{receiver}} p50"),
			graph(`histogram_quantile(0.99, sum by (receiver, le) (rate(alertbridge_delivery_seconds_bucket{receiver=~"$receiver"}[$__rate_interval])))`, "{{receiver}} p99")),
		lines("触发限流", "每分钟被飞书以频率限制拒绝的调用；会按飞书要求的时间重试。", 12, 8, field{Min: new(0.0)},
			graph(`60 * sum by (receiver) (rate(alertbridge_rate_limited_total{receiver=~"$receiver"}[$__rate_interval]))`, "{{receiver}}")),
	}
}

func peoplePanels() []Panel {
	return []Panel{
		lines("按钮操作", "每小时，按操作与结果。", 8, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (action, result) (increase(alertbridge_actions_total[1h]))`, "{{action}} {{result}}")),
		lines("升级", "每小时执行的升级步骤：转给下一位、应用内、短信、电话加急；“放弃”为没能执行的。", 8, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (step) (increase(alertbridge_escalations_total[1h]))`, "{{step}}"),
			graph(`sum by (step) (increase(alertbridge_escalation_failures_total[1h]))`, "放弃 {{step}}")),
		light("第二路检查", "heartbeat 看守的检查：Watchdog 的信号、关于告警桥的告警。", 4, 8, "正常", "失败", "没有检查",
			now(`min by (check) (heartbeat_check_up)`, "{{check}}")),
		lines("第二路通知", "每小时由 heartbeat 自己发出的通知，按结果。", 4, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (target, result) (increase(heartbeat_notifications_total[1h]))`, "{{target}} {{result}}")),
	}
}

// stormPanels come last: alerts link to panels by their number.
func stormPanels() []Panel {
	return []Panel{
		lines("合并显示的卡片", "由风暴卡片代为显示、尚无单独卡片的告警组。", 12, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (receiver) (alertbridge_digested_cards{receiver=~"$receiver"})`, "{{receiver}}")),
		lines("风暴卡片", "每小时新开的风暴卡片数。", 12, 8, field{Min: new(0.0), Decimals: new(0)},
			graph(`sum by (receiver) (increase(alertbridge_digests_total{receiver=~"$receiver"}[1h]))`, "{{receiver}}")),
	}
}
