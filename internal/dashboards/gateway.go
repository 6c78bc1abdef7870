package dashboards

// Gateway is the dashboard of LLM traffic.
func Gateway() Dashboard {
	d := base("gateway", "OpenClaw LLM Gateway", "经过网关的 LLM 流量：成败、切换、后端状态、时延、用量与费用。", "openclaw", "gateway", "llm")
	d.choice("backend", "后端", "gateway_backend_state", "backend")
	d.choice("client", "客户端", "gateway_client_requests_total", "client")
	d.Annotations.List = append(d.Annotations.List,
		annotation("冷却", orange, `gateway_backend_state{backend=~"$backend", state="cooling"} == 1`, "{{backend}} 冷却", "backend"))
	d.row("流量",
		lines("请求速率", "每秒请求数，按应答的后端池；none 表示没有后端应答。", 8, 8, field{Unit: "reqps", Min: new(0.0)},
			graph(`sum by (pool, outcome) (rate(gateway_requests_total[$__rate_interval]))`, "{{pool}} {{outcome}}")),
		lines("失败率", "失败请求的比例，客户端自己造成的不计；虚线为 SLO 99.5% 的预算。", 8, 8, field{Unit: "percentunit", Min: new(0.0), Thresholds: levels(green, 0.005, red)},
			graph(`sum(gateway:requests_bad:increase5m) / (sum(gateway:requests_valid:increase5m) > 0)`, "失败率")),
		stat("错误预算燃烧速度", "失败率与预算（0.5%）之比；1 表示按此速度 30 天正好用完，1 小时内超过 14.4 或 6 小时内超过 6 会告警。", 8, 8, field{Decimals: new(2), Thresholds: levels(green, 1, yellow, 14.4, red)},
			graph(`max(gateway:error_burn:1h)`, "1 小时"), graph(`max(gateway:error_burn:6h)`, "6 小时")),
		lines("各客户端请求", "每秒请求数，按客户端与结果。", 12, 8, field{Unit: "reqps", Min: new(0.0)},
			graph(`sum by (client, outcome) (rate(gateway_client_requests_total{client=~"$client"}[$__rate_interval]))`, "{{client}} {{outcome}}")),
		lines("客户端应答时间（中位）", "从请求到应答结束。", 12, 8, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.5, sum by (client, le) (rate(gateway_client_response_seconds_bucket{client=~"$client"}[$__rate_interval])))`, "{{client}}")),
	)
	d.row("切换与后端",
		lines("切换次数", "每分钟失败后改用其他后端的次数，按失败类别。", 12, 8, field{Min: new(0.0)},
			graph(`60 * sum by (class) (rate(gateway_failovers_total[$__rate_interval]))`, "{{class}}")),
		lines("各后端调用", "每秒调用数，按结果；skipped 为未调用即跳过。", 12, 8, field{Unit: "reqps", Min: new(0.0)},
			graph(`sum by (backend, outcome) (rate(gateway_attempts_total{backend=~"$backend"}[$__rate_interval]))`, "{{backend}} {{outcome}}")),
		states("后端状态时间线", "各后端在每个时刻的状态。", 16, 8, backendStates(), graph(backendState(), "{{backend}}")),
		bars("冷却剩余", "距后端可再次使用的时间。", 8, 8, field{Unit: "s", Min: new(0.0), Thresholds: levels(green, 1, yellow, 300, red)},
			now(`clamp_min(max by (backend) (gateway_backend_cooldown_until_timestamp_seconds{backend=~"$backend"}) - time(), 0)`, "{{backend}}")),
		bars("RPM 使用率", "已用每分钟请求数占上限的比例；没有上限的后端不显示。", 8, 8,
			field{Unit: "percentunit", Min: new(0.0), Max: new(1.0), NoValue: "没有设上限的后端", Thresholds: levels(green, 0.8, yellow, 0.95, red)},
			now(`max by (backend) (gateway_backend_rpm_utilization_ratio{backend=~"$backend"})`, "{{backend}}")),
		table("模型可用后端", "每个模型在各池中现在可用的后端数；primary 为 0 即在用备用池。", 8, 8, field{Thresholds: levels(red, 1, green)}, []string{"Time"},
			map[string]string{"model": "模型", "pool": "池", "Value": "可用"}, rows(`sum by (model, pool) (gateway_model_available_backends)`)).
			column("可用", inColour()),
		lines("全部池耗尽", "每分钟没有任何后端可用的请求数。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (model) (rate(gateway_pools_exhausted_total[$__rate_interval]))`, "{{model}}")),
	)
	d.row("时延与账本",
		heat("首字节时间", "从调用后端到第一个有意义的字节。", 12, 9, "s",
			buckets(`sum by (le) (increase(gateway_ttfb_seconds_bucket{backend=~"$backend"}[$__rate_interval]))`)),
		lines("首字节时间 p95", "按后端。", 12, 9, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.95, sum by (backend, le) (rate(gateway_ttfb_seconds_bucket{backend=~"$backend"}[$__rate_interval])))`, "{{backend}}")),
		lines("账本提交时间 p99", "一次提交所用时间。", 12, 8, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.99, sum by (le) (rate(gateway_ledger_commit_seconds_bucket[$__rate_interval])))`, "p99")),
		stat("账本失败", "最近 1 小时内应答时未落盘的请求数。", 6, 8, field{Decimals: new(0), Thresholds: levels(green, 1, red)},
			graph(`sum(increase(gateway_ledger_failures_total[1h]))`, "1 小时")),
		lines("数据库大小", "账本文件的大小。", 6, 8, field{Unit: "bytes", Min: new(0.0)}, graph(`sum by (file) (gateway_database_size_bytes)`, "{{file}}")),
	)
	d.row("用量与费用",
		lines("令牌速率", "每分钟令牌数，按类别（reasoning 为 output 的一部分）。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (kind) (rate(gateway_tokens_total{backend=~"$backend"}[$__rate_interval]))`, "{{kind}}")),
		lines("费用，按模型与后端", "每小时费用，以配置的货币计。", 8, 8, field{Min: new(0.0), Decimals: new(4)},
			graph(`3600 * sum by (model, backend, currency) (rate(gateway_cost_total{backend=~"$backend"}[$__rate_interval]))`, "{{model}} {{backend}} {{currency}}")),
		lines("费用，按客户端", "每小时费用，以配置的货币计。", 8, 8, field{Min: new(0.0), Decimals: new(4)},
			graph(`3600 * sum by (client, currency) (rate(gateway_client_cost_total{client=~"$client"}[$__rate_interval]))`, "{{client}} {{currency}}")),
		lines("令牌速率，按模型与后端", "每分钟令牌数，缓存读写在内（reasoning 已含在 output 中）。", 12, 8, field{Min: new(0.0)},
			graph(`60 * sum by (model, backend) (rate(gateway_tokens_total{backend=~"$backend", kind!="reasoning"}[$__rate_interval]))`, "{{model}} {{backend}}")),
		lines("令牌速率，按客户端", "每分钟令牌数，缓存读写在内（reasoning 已含在 output 中）。", 12, 8, field{Min: new(0.0)},
			graph(`60 * sum by (client) (rate(gateway_client_tokens_total{client=~"$client", kind!="reasoning"}[$__rate_interval]))`, "{{client}}")),
	)
	d.row("排队、应急与预算",
		lines("排队", "等待后端的请求数与队列容量。", 8, 8, field{Min: new(0.0)},
			graph(`max(gateway_queue_depth)`, "等待中"), graph(`max(gateway_queue_capacity)`, "容量")),
		lines("排队时间 p95", "没有立即得到后端的请求等了多久，被拒绝的在内。", 8, 8, field{Unit: "s", Min: new(0.0)},
			graph(`histogram_quantile(0.95, sum by (le) (rate(gateway_queue_wait_seconds_bucket[$__rate_interval])))`, "p95")),
		lines("排队被拒", "每分钟因队列满（queue_full）或等待过久（queue_timeout）被拒的请求数。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (reason) (rate(gateway_queue_rejected_total[$__rate_interval]))`, "{{reason}}")),
		lines("应急调用", "每分钟对仍在冷却的后端的调用数；只有别无选择时才有。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum(rate(gateway_emergency_total[$__rate_interval]))`, "应急")),
		bars("预算剩余", "各客户端本周期（day 当天，month 当月）预算剩余的比例；没有预算的客户端不显示。", 8, 8,
			field{Unit: "percentunit", Min: new(0.0), Max: new(1.0), NoValue: "没有设预算的客户端", Thresholds: levels(red, 0.0001, yellow, 0.2, green)},
			now(`min by (client, period) (gateway_budget_remaining_ratio{client=~"$client"})`, "{{client}} {{period}}")),
		lines("客户端被限", "每分钟因客户端自己的限额或预算被拒的请求数。", 8, 8, field{Min: new(0.0)},
			graph(`60 * sum by (client, by) (rate(gateway_client_rate_limited_total{client=~"$client"}[$__rate_interval]))`, "{{client}} {{by}}")),
	)
	return d
}

// backendState is the state of each backend as a number; backendStates says which.
func backendState() string {
	state := func(name string) string {
		return `gateway_backend_state{backend=~"$backend", state="` + name + `"}`
	}
	return "sum by (backend) (" + state("healthy") + " * 1 or " + state("half_open") + " * 2 or " + state("cooling") + " * 3 or " + state("error") + " * 4 or " + state("disabled") + " * 5)"
}

func backendStates() []mapping {
	return words(map[string]result{
		"1": {Text: "健康", Color: green, Index: 0}, "2": {Text: "试探", Color: yellow, Index: 1}, "3": {Text: "冷却", Color: orange, Index: 2},
		"4": {Text: "错误", Color: red, Index: 3}, "5": {Text: "停用", Color: grey, Index: 4},
	})
}
