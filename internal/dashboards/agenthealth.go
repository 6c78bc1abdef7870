package dashboards

// AgentHealth is the fleet's dashboard. Its uid, its title and the names of rows
// and panels are linked from cards and runbooks: they stay.
func AgentHealth() Dashboard {
	d := base("agent-health", "OpenClaw Agent Health Dashboard", "智能体的心跳、任务与流量，以及所在主机和告警。没有证据就不算健康：未知不会显示为正常。", "openclaw", "agent", "monitoring")
	d.choice("agent", "智能体", "agent_info", "agent_name")
	d.row("系统资源概览",
		gauge("CPU 使用率", "各主机 CPU 非空闲的比例。", 6, levels(green, 70, yellow, 90, red),
			now(`100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval])))`, "{{instance}}")),
		gauge("内存使用率", "各主机已用内存的比例（不含可回收的缓存）。", 6, levels(green, 80, yellow, 95, red),
			now(`100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)`, "{{instance}}")),
		gauge("磁盘使用率", "各主机根分区已用的比例。", 6, levels(green, 80, yellow, 95, red),
			now(`100 * (1 - max by (instance) (node_filesystem_avail_bytes{mountpoint="/"}) / max by (instance) (node_filesystem_size_bytes{mountpoint="/"}))`, "{{instance}}")),
		lines("系统负载", "1、5、15 分钟平均负载；长期高于核数说明主机忙不过来。", 6, 6, field{Decimals: new(2), Min: new(0.0)},
			graph(`node_load1`, "{{instance}} 1m"), graph(`node_load5`, "{{instance}} 5m"), graph(`node_load15`, "{{instance}} 15m")),
	)
	d.row("Agent 健康状态",
		beats(),
		states("Agent 状态时间线", "各智能体在每个时刻的判定。", 14, 10, verdicts(), graph(verdict(), "{{agent_name}}")),
		bars("任务停滞时长", "最老的进行中任务距上次进展的时间；没有进行中的任务为 0，未知则不显示。", 8, 9,
			field{Unit: "s", Min: new(0.0), NoValue: "无任务来源", Thresholds: levels(green, 3600, yellow, 14400, red)},
			now(`max by (agent_name) (agent_task_stagnation_seconds{agent_name=~"$agent"})`, "{{agent_name}}")),
		stat("待办任务数", "全部智能体待办（todo）任务之和。", 4, 9, field{NoValue: "无任务来源", Thresholds: levels(green, 5, yellow, 10, red)},
			graph(`sum(agent_tasks{state="todo", agent_name=~"$agent"})`, "待办")),
		bars("429 错误计数", "最近 5 分钟内后端以 429 拒绝的次数。", 6, 9, field{Min: new(0.0), Decimals: new(0), Thresholds: levels(green, 10, yellow, 50, red)},
			now(`max by (agent_name) (agent_429_error_rate{agent_name=~"$agent"})`, "{{agent_name}}")),
		bars("任务轮次", "用得最多的任务已调用驱动的次数占上限的比例；到上限任务会暂停。", 6, 9,
			field{Unit: "percentunit", Min: new(0.0), Max: new(1.0), NoValue: "无任务来源", Thresholds: levels(green, 0.8, yellow, 1, red)},
			now(`max by (agent_name) (agent_task_rounds{agent_name=~"$agent"}) / max by (agent_name) (agent_task_round_limit{agent_name=~"$agent"})`, "{{agent_name}}")),
		lines("响应时间", "最近 5 分钟内网关应答各智能体的中位时间。", 16, 8, field{Unit: "s", Min: new(0.0)},
			graph(`max by (agent_name) (agent_response_time_seconds{agent_name=~"$agent"})`, "{{agent_name}}")),
		stat("Prometheus 目标状态", "各抓取目标是否应答。", 8, 8, field{Thresholds: levels(red, 1, green), Mappings: words(map[string]result{
			"0": {Text: "❌ 断开", Color: red, Index: 0}, "1": {Text: "✅ 正常", Color: green, Index: 1},
		})}, now(`up`, "{{job}} {{instance}}")),
	)
	d.row("告警状态",
		table("活跃告警", "正在触发的告警（不含 Watchdog）；处理步骤见运行手册。", columns, 8, field{NoValue: "没有活跃告警"},
			[]string{"Time", "Value", "__name__", "alertstate"}, map[string]string{
				"alertname": "告警", "severity": "级别", "agent_name": "智能体", "agent_label": "名称", "owner": "负责人", "instance": "实例", "job": "任务",
			}, rows(`ALERTS{alertstate="firing", alertname!="Watchdog"}`)).
			column("级别", inColour(), property{"mappings", words(map[string]result{
				"critical": {Text: "严重", Color: red, Index: 0}, "warning": {Text: "警告", Color: orange, Index: 1}, "info": {Text: "提示", Color: blue, Index: 2},
			})}),
	)
	return d
}

// beats is the table of who beats. The kept metric has no value for those who are
// paused or unknown; they get values of their own here, so that nobody is missing.
func beats() Panel {
	status := `max by (agent_name, agent_label) (agent_heartbeat_status{agent_name=~"$agent"})
or max by (agent_name, agent_label) (agent_heartbeat_state{agent_name=~"$agent", state="paused"} == 1) + 1
or max by (agent_name, agent_label) (agent_heartbeat_state{agent_name=~"$agent", state="unknown"} == 1) - 2`
	seen := `1000 * max by (agent_name, agent_label) (agent_heartbeat_last_success_timestamp_seconds{agent_name=~"$agent"})`
	return table("Agent 心跳状态", "1 ✅ 正常，0 ❌ 超时；未知与暂停另外标出。", 10, 10, field{}, []string{"Time"}, map[string]string{
		"agent_name": "智能体", "agent_label": "名称", "Value #A": "心跳", "Value #B": "上次心跳",
	}, rows(status), rows(seen)).
		column("心跳", inColour(), property{"mappings", words(map[string]result{
			"1": {Text: "✅ 正常", Color: green, Index: 0}, "0": {Text: "❌ 超时", Color: red, Index: 1},
			"2": {Text: "⏸ 暂停", Color: blue, Index: 2}, "-1": {Text: "❔ 未知", Color: orange, Index: 3},
		})}).
		column("上次心跳", property{"unit", "dateTimeFromNow"})
}

// verdict is the state of each agent as a number; verdicts says which.
func verdict() string {
	state := func(name string) string { return `agent_heartbeat_state{agent_name=~"$agent", state="` + name + `"}` }
	return "sum by (agent_name) (" + state("ok") + " * 1 or " + state("late") + " * 2 or " + state("down") + " * 3 or " + state("paused") + " * 4 or " + state("unknown") + " * 5)"
}

func verdicts() []mapping {
	return words(map[string]result{
		"1": {Text: "正常", Color: green, Index: 0}, "2": {Text: "迟到", Color: yellow, Index: 1}, "3": {Text: "失联", Color: red, Index: 2},
		"4": {Text: "暂停", Color: blue, Index: 3}, "5": {Text: "未知", Color: grey, Index: 4},
	})
}
