package main

// consoleBreakages are about the gateway's console: who sees it, and what it shows.
func consoleBreakages() []Breakage {
	const (
		in    = "internal/gateway/console/"
		tests = "./internal/gateway/console"
	)
	return []Breakage{
		{"the console needs a token", in + "session.go", "case c.allowed(r):", "case c.allowed(r) || page:", tests},
		{"parts and streams need a token", in + "session.go", "case c.allowed(r):", "case c.allowed(r) || !page:", tests},
		{"a session ends in time", in + "session.go", "return ok && now.Before(until)", "return ok && !until.IsZero()", tests},
		{"sessions are bounded", in + "session.go", "if len(s.open) >= maxSessions {", "if len(s.open) > 2*maxSessions {", tests},
		{"a logout ends the session", in + "login.go", "c.sessions.end(presented(r))", "_ = presented(r)", tests},
		{"a login leads nowhere else", in + "session.go", "u.Path != home && !strings.HasPrefix(u.Path, home+\"/\")", "u.Path == \"\"", tests},
		{"logins are limited", in + "console.go", "c.logins.Configure(maxLogins, loginWindow)", "c.logins.Configure(0, loginWindow)", tests},
		{"another site's form does not log in", in + "console.go", "private(http.HandlerFunc(c.login))", "http.HandlerFunc(c.login)", tests},
		{"a stream ends with its session", in + "live.go", "func() bool { return c.allowed(r) }", "func() bool { return true }", tests},
		{"viewers are bounded", in + "live.go", "if len(f.viewers) >= maxViewers {", "if len(f.viewers) > maxViewers {", tests},
		{"viewers share a snapshot", in + "live.go", "age < fresh {", "age < 0 {", tests},
		{"no snapshot for nobody", in + "live.go", "if f.idle() {", "if f.idle() && ctx == nil {", tests},
		{"a page that is not live is told", in + "live.go", "close(viewer)", "viewer <- nil", tests},
		{"an open attempt is no failed one", in + "requests.go", "one := step{Attempt: a, After: begin(a), Open: s.Open}", "one := step{Attempt: a, After: begin(a)}", tests},
		{"a cell is no formula", in + "csv.go", "return \"'\" + text", "return text", tests},
		{"a file holds the whole window", in + "csv.go", "if next == nil {", "if next == nil || len(lines) > 0 {", tests},
		{"cooldowns in a row are one", in + "overview.go", "e.EndedAt.Equal(at):", "e.EndedAt.Before(at):", tests},
		{"an hour is known by its beginning", in + "chart.go", "sums[h.At.Unix()] = h.Sums", "sums[h.At.Unix()+3600] = h.Sums", tests},
		{"what cannot be seen is not hidden on pages", "internal/webui/words.go", "strings.ReplaceAll(visible.Text(text)", "strings.ReplaceAll(visible.Text(\"\")+text", "./internal/webui"},
		{"pages are not framed", "internal/webui/guard.go", "\"DENY\"", "\"ALLOW\"", "./internal/webui"},
		{"an open page does not hold up the stop", "internal/gateway/run.go", "if a.server.Addr() == \"\" {\n\t\tif err", "if a.server == nil {\n\t\tif err", gatewayTests + " -run=TestConsoleEnds"},
		{"the data plane leads to the console", "internal/gateway/front/front.go", "host == \"\" || ip != nil && ip.IsUnspecified()", "host == \"\" || ip != nil", "./internal/gateway/front"},
	}
}
