package main

import "slices"

const (
	backendTests = "./internal/gateway/backend"
	gatewayTests = "./internal/gateway"
	matrix       = gatewayTests + " -run=TestFaults"
	clockTests   = "./internal/gateway/backend -run=Clock"
)

// breakages returns the promises, each with one way to break it.
func breakages() []Breakage {
	return slices.Concat(stateBreakages(), pathBreakages(), matrixBreakages(), recordBreakages(), consoleBreakages(), bridgeBreakages(), sourceBreakages())
}

// stateBreakages are about what is learnt of backends, and the limits.
func stateBreakages() []Breakage {
	const state, walk = "internal/gateway/backend/state.go", "internal/gateway/attempt/walk.go"
	return []Breakage{
		{"the provider's own longer wait wins over ours", state, "wait := max(s.backoff(s.level), f.Wait)", "wait := s.backoff(s.level)", matrix + "/retry-after"},
		{"a later deadline always wins", state, "if end := now.Add(wait); !s.cooled || end.After(s.until) {", "if end := now.Add(wait); !s.cooled || end.Before(s.until) {", backendTests},
		{"many failures in flight are one cooldown", state, "if p.generation != s.generation || p.emergency", "if p.emergency", matrix + "/forty"},
		{"a late success does not end a newer cooldown", state, "if p.generation != s.generation {\n\t\ts.endTrial(p)", "if p.generation < 0 {\n\t\ts.endTrial(p)", matrix + "/late_success"},
		{"the count is cleared by a success, not by time", state, "s.level++\n\twait += ", "s.level = 1\n\twait += ", backendTests},
		{"one trial at a time", state, "if s.trial {", "if s.trial && now.IsZero() {", backendTests},
		{"a cancelled trial frees its place", state, "if p.trial {\n\t\ts.mu.Lock()", "if p.trial && p.model == \"\" {\n\t\ts.mu.Lock()", backendTests},
		{"a 403 concerns its model only", state, "if f.Status == 403 && !f.NamesKey {", "if f.Status == 403 && f.NamesKey {", matrix + "/forbidden"},
		{"one 401 is no error yet", state, "f.Status == 401 && s.refusals < 2", "f.Status == 401 && s.refusals < 1", matrix + "/unauthorized"},
		{"a quota is an error until the day ends", state, "if f.Wait == 0 {\n\t\t\tend = nextDay", "if f.Wait != 0 {\n\t\t\tend = nextDay", backendTests},
		{"several passing failures in a row before a cooldown", state, "if s.failures < s.policy.FailuresBeforeError && !p.trial {", "if s.failures > s.policy.FailuresBeforeError && !p.trial {", matrix + "/server_error"},
		{"no emergency call before the provider's own deadline", state, "|| now.Before(s.asked) {", "|| now.IsZero() {", backendTests},
		{"emergency calls are few", state, "if _, wait := s.emergency.Take(1, now); wait > 0 {", "if _, wait := s.emergency.Take(0, now); wait > 0 {", backendTests},
		{"max_inflight is kept", state, "if ask.MaxInflight > 0 && s.inflight.Load() >= int64(ask.MaxInflight) {\n\t\treturn p, SkipFull", "if ask.MaxInflight > 0 && s.inflight.Load() > int64(ask.MaxInflight) {\n\t\treturn p, SkipFull", backendTests},
		{"no minute holds more than the limit", "internal/gateway/limit/window.go", "now.Sub(w.uses[gone].at) >= length", "now.Sub(w.uses[gone].at) >= length/2", "./internal/gateway/limit"},
		{"reservations are atomic", "internal/gateway/limit/client.go", "c.reserved > 0 && b.spent+c.reserved+cost > b.limit", "c.reserved > 0 && b.spent+cost > b.limit", "./internal/gateway/limit"},
		{"every choice that is asked for is set aside", "internal/gateway/front/admit.go", "output(endpoint, r) * max(r.Choices, 1)", "output(endpoint, r)", gatewayTests + " -run=TestChoices"},
		{"what is spent survives a restart", "internal/gateway/clients.go", "if slices.Contains(unknown, name) {", "if slices.Contains(unknown, name) && len(unknown) == 0 {", gatewayTests + " -run=TestLimitsOfAClient"},
		{"first come, first served", "internal/gateway/queue/queue.go", "l.tickets = append(l.tickets, t)", "l.tickets = append([]*Ticket{t}, l.tickets...)", "./internal/gateway/queue"},
		{"the queue is bounded", "internal/gateway/queue/queue.go", "if int(q.waiting.Load()) >= q.capacity {", "if int(q.waiting.Load()) > q.capacity {", "./internal/gateway/queue"},
		{"who leaves lets the next one try", "internal/gateway/queue/queue.go", "l.tickets[0].wake()\n}\n", "}\n", "./internal/gateway/queue"},
		{"a request waits for a backend that is back soon", walk, "case left > 0 && (hope.anyTime ||", "case left < 0 && (hope.anyTime ||", gatewayTests + " -run=TestWaiting"},
		{"what has just failed is no emergency", walk, "if !k.known[i].called {", "if k.known[i].called || !k.known[i].called {", gatewayTests + " -run=TestEmergencyChannel"},
		{"a request goes only where it can be served", "internal/gateway/pool/needs.go", "case ask.Needs.Reasoning && !c.Model.Reasoning:", "case ask.Needs.Reasoning && c.Model.Reasoning:", "./internal/gateway/pool"},
		{"the state survives a restart", "internal/gateway/app.go", "a.states.restore(kept, built, a.now())", "a.states.restore(kept, &assembly{}, a.now())", gatewayTests + " -run=TestStateSurvivesARestart"},
	}
}

// pathBreakages are about the way of a request and its answer.
func pathBreakages() []Breakage {
	const (
		stream, try = "internal/gateway/attempt/stream.go", "internal/gateway/attempt/try.go"
		exchange    = "internal/gateway/front/exchange.go"
		scan        = "internal/gateway/request/request.go"
	)
	return []Breakage{
		{"nothing is sent before the first meaningful byte", stream, "if !meaningful && len(f.held) < maxHeld {", "if !meaningful && len(f.held) < 1 {", matrix + "/early_error"},
		{"a stream without its end marker is no whole answer", stream, "case f.reader.Complete() && f.client.Err() == nil:", "case f.client.Err() == nil:", matrix + "/no_end"},
		{"silence inside a stream ends it", stream, "if meaningful {\n\t\tf.timer.Reset(f.limits.Idle)", "if meaningful {\n\t\tf.timer.Reset(1 << 62)", matrix + "/stall"},
		{"only what means something keeps a stream alive", stream, "if meaningful {\n\t\tf.timer.Reset(f.limits.Idle)", "if meaningful || f.began {\n\t\tf.timer.Reset(f.limits.Idle)", matrix + "/drip"},
		{"a silent upstream is noticed", try, "limit, cause = t.limits.FirstByte, errFirstByte;", "limit, cause = time.Hour, errFirstByte;", matrix + "/(hang|silence)"},
		{"a model that thinks has more time", try, "limit = max(limit, t.limits.FirstByteReasoning)", "limit = max(limit, 0)", matrix + "/long_thinking"},
		{"a client that goes away is nobody's fault", try, "if t.client.Err() != nil {\n\t\treturn", "if t.client.Err() != nil && t.ttfb < 0 {\n\t\treturn", matrix + "/client_gone"},
		{"a request that is wrong is relayed, not tried elsewhere", "internal/gateway/llm/class.go", "case RateLimit, Quota, ServerError, ModelUnavailable, Auth, Timeout, Connection, Malformed:\n\t\treturn true\n\tcase ContentPolicy, InvalidRequest,", "case RateLimit, Quota, ServerError, ModelUnavailable, Auth, Timeout, Connection, Malformed, InvalidRequest:\n\t\treturn true\n\tcase ContentPolicy,", matrix + "/bad_request"},
		{"the client's credential stays here", exchange, "{\"Accept\", \"User-Agent\"}", "{\"Accept\", \"User-Agent\", \"Cookie\", \"Authorization\", \"X-Api-Key\"}", gatewayTests + " -run=TestBytesPass|TestAnthropicClient"},
		{"a usage report that nobody asked for is not shown", "internal/gateway/dialect/openai/answer.go", "step.Drop = s.addedUsage &&", "step.Drop = !s.addedUsage &&", matrix + "/no_fault"},
		{"a key that stands twice is refused", scan, "if seen[i] || text != w {", "if text != w {", "./internal/gateway/request"},
		{"a key in other letters is refused", scan, "if seen[i] || text != w {", "if seen[i] {", "./internal/gateway/request"},
		{"a body that is too large is refused", exchange, "http.MaxBytesReader(x.w, x.r.Body, limit)", "http.MaxBytesReader(x.w, x.r.Body, limit<<10)", matrix + "/body_grows"},
		{"bodies that are held are bounded", exchange, "now > x.plan.MaxBuffered {", "now < 0 {", matrix + "/more_bodies"},
		{"a body that does not come is given up", "internal/gateway/front/front.go", "x.started.Add(x.plan.BodyTimeout)", "x.started.Add(time.Hour)", matrix + "/body_that"},
		{"a model that is not allowed is unknown", exchange, "|| !x.client.May(r.Model) {", "{", matrix + "/model_"},
		{"an expired key is unknown", "internal/gateway/client/client.go", "!c.Expires.IsZero() && !now.Before(c.Expires)", "!c.Expires.IsZero() && now.Before(c.Expires)", gatewayTests + " -run=TestRefusals"},
		{"a response goes on where it came from", "internal/gateway/front/admit.go", "ask.Backend = backend", "_ = backend", gatewayTests + " -run=TestOpenAIResponses"},
		{"the upstream's 401 is not the client's", "internal/gateway/front/outcome.go", "Status: http.StatusBadGateway, Code: \"upstream_auth\"", "Status: http.StatusUnauthorized, Code: \"upstream_auth\"", gatewayTests + " -run=TestRefusedKeys"},
		{"requests may finish when the gateway stops", "internal/gateway/run.go", "context.WithTimeout(ctx, a.current.Load().config.Server.ShutdownGrace)", "context.WithTimeout(ctx, 0)", matrix + "/stopping_drains"},
		{"a probe is never a paid call", "internal/gateway/probe/probe.go", "http.MethodGet, target.String()", "http.MethodPost, target.String()", gatewayTests + " -run=TestFreeProbes"},
	}
}

// matrixBreakages are about what else stands behind the fault matrix: clients that cost
// too much, or leave; what is learnt and told while the clock is set; the gateway's own
// end, and a disk that is full.
func matrixBreakages() []Breakage {
	const (
		state, snapshot = "internal/gateway/backend/state.go", "internal/gateway/backend/snapshot.go"
		exchange, try   = "internal/gateway/front/exchange.go", "internal/gateway/attempt/try.go"
		outcome, app    = "internal/gateway/front/outcome.go", "internal/gateway/app.go"
	)
	return []Breakage{
		{"a prompt that is refused is tried elsewhere by configuration only", try, "fault.Class == llm.ContentPolicy && t.limits.RetryContentPolicy", "fault.Class == llm.ContentPolicy", matrix + "/content_filter"},
		{"a packed body is not unpacked", exchange, "if encoding := x.r.Header.Get(\"Content-Encoding\"); encoding != \"\" &&", "if encoding := x.r.Header.Get(\"Content-Encoding\"); encoding == \"x\" &&", matrix + "/packed"},
		{"headers are bounded", app, "MaxHeaderBytes: maxHeaderBytes,\n\t\tBaseContext", "MaxHeaderBytes: 1 << 30,\n\t\tBaseContext", matrix + "/header_bomb"},
		{"what the HTTP server refuses is counted", app, "a.metrics.Refused(meter.ServiceData, status)", "_ = status", matrix + "/(header_bomb|no_HTTP)"},
		{"only what the HTTP server refuses is counted so", "internal/gateway/front/refused.go", "bytes.Contains(p, []byte(\"\\r\\nX-Request-Id: \")) ||", "", matrix + "/body_grows"},
		{"an escaped key is the key", "internal/gateway/request/request.go", "text := jsonscan.Key(body, key)", "text := string(name)", matrix + "/model_"},
		{"names that clients make up are no labels", exchange, "x.label = meter.OtherModel", "x.label = x.requestID", matrix + "/unknown_model"},
		{"a client that leaves, leaves the queue", "internal/gateway/queue/queue.go", "case <-ctx.Done():\n\t\t\treturn ctx.Err()", "case <-make(chan struct{}):\n\t\t\treturn ctx.Err()", matrix + "/client_gone_while_queued"},
		{"the call to a backend ends with its client", try, "context.WithCancelCause(ctx)", "context.WithCancelCause(context.WithoutCancel(ctx))", matrix + "/client_gone"},
		{"an emergency call that fails lengthens no cooldown", state, "|| p.emergency && (f.Class == llm.RateLimit || f.Class.Passing())", "|| p.emergency && f.Class == llm.Quota", matrix + "/emergency"},
		{"an emergency call that succeeds ends the cooldown", state, "if s.cooled || s.broken != \"\" {\n\t\ts.cooled, s.broken", "if s.broken != \"\" {\n\t\ts.cooled, s.broken", matrix + "/emergency"},
		{"a late failure with a later deadline counts", state, "s.until, s.asked = end, end\n\treturn true", "return true", matrix + "/late_failure"},
		{"a reload that fails is seen", "internal/gateway/run.go", "a.reload.Observe(err)", "a.reload.Observe(nil)", matrix + "/bad_reload"},
		{"a request that is cut short is told so", outcome, "case r.Status == ledger.Cancelled && x.stopped():", "case r.Status == ledger.Cancelled && x.stopped() && x.w == nil:", matrix + "/stopping_cuts"},
		{"without a row there is no answer, where that is wanted", outcome, "if !x.plan.LedgerClose {\n\t\treturn true", "if x.plan.LedgerClose {\n\t\treturn true", matrix + "/disk_full"},
		{"a row that is lost is counted", outcome, "x.Metrics.LedgerFailed()", "x.Metrics.Commit(0)", matrix + "/disk_full"},
		{"what is counted is what the row says", outcome, "x.Metrics.Request(x.label, x.row)", "x.row.Usage.Output++\n\tx.Metrics.Request(x.label, x.row)", matrix + "/no_fault"},
		{"a provider's dates are by its own clock", "internal/gateway/llm/fault.go", "now = date", "_ = date", matrix + "/clock.*date"},
		{"a clock that is set back keeps no quota up", state, "return now.Add(time.Date(y, m, d+1, 0, 0, 0, 0, zone).Sub(now))", "return time.Date(y, m, d+1, 0, 0, 0, 0, zone)", matrix + "/clock_back"},
		{"the end of a wait is shown by the clock that people have", snapshot, "return now.Add(at.Sub(now))", "return at", matrix + "/clock"},
		{"a clock that is set keeps no failures in mind", "internal/gateway/backend/health.go", "int64(now.Sub(h.began)/time.Minute)", "now.Unix()/60", clockTests},
		{"a wait that was lengthened is as long after a restart", state, "s.lasts += end.Sub(s.until)", "s.lasts += 0", clockTests},
		{"a clock that was set back lengthens no wait over a restart", snapshot, "s.until = now.Add(min(k.Until.Sub(now), s.lasts))", "s.until = now.Add(k.Until.Sub(now))", matrix + "/clock_back"},
		{"no cooldown ends before it begins", "internal/gateway/states.go", "if before.EndedAt.Before(before.StartedAt) {", "if before.EndedAt.IsZero() {", matrix + "/clock_back"},
		{"a clock that is set opens no budget anew", "internal/gateway/limit/client.go", "return p.begin.Equal(begin) })", "return p.begin.Equal(begin) && p.spent == 0 })", matrix + "/budget"},
	}
}

// recordBreakages are about the ledger, the metrics, the rules, and other programs.
func recordBreakages() []Breakage {
	const ledger = "./internal/gateway/ledger"
	return []Breakage{
		{"a row is durable before the last byte", "internal/gateway/front/exchange.go", "if x.record() {\n\t\tx.deliver(result, failure)", "go x.record()\n\tif true {\n\t\tx.deliver(result, failure)", gatewayTests + " -run=TestFaults|Crash"},
		{"cache reads are no input", "internal/gateway/dialect/openai/usage.go", "u.Input = prompt - u.CacheRead", "u.Input = prompt", "./internal/gateway/dialect/..."},
		{"what is cached for an hour has its own price", "internal/gateway/llm/usage.go", "max(u.CacheWrite, 0)), p.CacheWrite1h", "max(u.CacheWrite, 0)), p.CacheWrite", "./internal/gateway/llm"},
		{"rollups are the sums of rows", "internal/gateway/ledger/rollup.go", "Sums{Requests: 1, Usage", "Sums{Requests: 2, Usage", ledger},
		{"a fold is counted once", "internal/gateway/ledger/fold.go", "next := folding{number: l.number + 1,", "next := folding{number: l.number,", ledger},
		{"a fold that fails loses nothing", "internal/gateway/ledger/fold.go", "l.due = now.Add(retryAfter)\n", "l.due = now.Add(retryAfter)\n\t\tl.pending.forget()\n", ledger},
		{"a fold is whole", "internal/gateway/ledger/fold.go", "tx.StmtContext(ctx, l.daily)); err != nil {\n\t\t\treturn err\n\t\t}\n\t\treturn next.save", "tx.StmtContext(ctx, l.daily)); err != nil {\n\t\t\treturn nil\n\t\t}\n\t\treturn next.save", ledger},
		{"what was not folded is found at start", "internal/gateway/ledger/fold.go", "AND id >= ? AND fold = ?`, l.floor, l.number)", "AND id > ? AND fold = ? AND false`, l.floor, l.number)", ledger},
		{"a late end lowers the floor", "internal/gateway/ledger/fold.go", "floor = min(floor, int64(e.id))", "floor = max(floor, int64(e.id))", ledger},
		{"readers of sums see what is stored", "internal/gateway/ledger/fold.go", "if !f.behind.Load() {\n\t\treturn nil", "if f.behind.Load() || true {\n\t\treturn nil", ledger},
		{"a client that is made again has spent what it spent", "internal/gateway/clients.go", "used.Restore(spent[name].Day, spent[name].Month, now)", "used.Restore(0, 0, now)", gatewayTests + " -run=Client"},
		{"the key of a disabled client does not work", "internal/gateway/assemble.go", "if x.Enabled && !r.AddSum", "if !r.AddSum", gatewayTests + " -run=Client"},
		{"no change of a client without its entry", "internal/gateway/clientstore/clientstore.go", "return audit.Write(ctx, tx, e)", "return nil", gatewayTests + " -run=Client"},
		{"a client is in force before it is durable for no one", "internal/gateway/clientkeys.go", "if err := write(); err != nil {\n\t\treturn err\n\t}\n", "_ = write\n", gatewayTests + " -run=Client"},
		{"a backup that fails leaves none", "internal/gateway/backup/backup.go", "_ = os.Remove(partial)", "_ = partial", "./internal/gateway/backup"},
		{"a former log is not the new store's", "internal/sqlstore/copy.go", "for _, suffix := range []string{\"-wal\", \"-shm\"} {", "for _, suffix := range []string{\"-shm\"} {", "./internal/sqlstore"},
		{"a restore loses no commit of the former store", "internal/sqlstore/copy.go", "if busy != 0 || emptied", "if emptied", "./internal/sqlstore"},
		{"the newest backup stays", "internal/gateway/backup/backup.go", "range all[1:]", "range all", "./internal/gateway/backup"},
		{"who sees a row sees it in the sums", "internal/gateway/ledger/fold.go", "func(e *entry) bool { return e.ended }", "func(e *entry) bool { return e.ended && e.counts }", ledger},
		{"retention leaves what no sum holds", "internal/gateway/ledger/sweep.go", " AND fold <> (SELECT number FROM folds)", "", ledger},
		{"one process alone serves a store", "internal/sqlstore/lock.go", "syscall.LOCK_EX|", "syscall.LOCK_SH|", "./internal/sqlstore"},
		{"a metric keeps its name", "internal/gateway/meter/meter.go", "\"gateway_pools_exhausted_total\"", "\"gateway_pool_exhausted_total\"", "./internal/alerting"},
		{"a half open backend is no evidence", "internal/gateway/collector.go", "if candidate.Proven(model, now) {", "if candidate.Available(model, now) {", gatewayTests + " -run=TestHalfOpen|TestAllPools"},
		{"an empty token equals nothing", "internal/redact/redact.go", "&& s != \"\"", "", "./internal/redact"},
		{"an exporter never says healthy without a beat", "internal/exporter/verdict/verdict.go", "v := Verdict{State: Unknown}", "v := Verdict{State: OK}", "./internal/exporter/verdict"},
		{"an old answer is no fresh beat", "internal/exporter/verdict/verdict.go", "s.Now.After(b.NextDue.Add(grace))", "s.Now.After(b.NextDue.Add(1000 * grace))", "./internal/exporter/verdict"},
		{"a slot is started once", "internal/heartbeat/ledger/runs.go", "?, ?) ON CONFLICT DO NOTHING`", "?, ?) ON CONFLICT DO UPDATE SET note = excluded.note`", "./internal/heartbeat/ledger ./internal/heartbeat/run ./internal/heartbeat"},
	}
}
