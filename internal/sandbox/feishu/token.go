package feishu

import (
	"sync"
	"time"
)

// A tenant token lives two hours; the same one is handed out until less than
// half an hour of it is left.
const (
	tokenLife  = 2 * time.Hour
	tokenRenew = 30 * time.Minute
)

type token struct {
	value   string
	app     string
	expires time.Time
}

// tokens holds the tenant tokens in force.
type tokens struct {
	mu      sync.Mutex
	byValue map[string]token
	current map[string]string // app id -> newest token
}

func newTokens() *tokens {
	return &tokens{byValue: map[string]token{}, current: map[string]string{}}
}

func (t *tokens) issue(app string, now time.Time) token {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.byValue[t.current[app]]; ok && known.expires.Sub(now) >= tokenRenew {
		return known
	}
	fresh := token{value: newID("t-"), app: app, expires: now.Add(tokenLife)}
	t.byValue[fresh.value] = fresh
	t.current[app] = fresh.value
	for value, old := range t.byValue {
		if !old.expires.After(now) {
			delete(t.byValue, value)
		}
	}
	return fresh
}

// appOf returns the app a token belongs to, or "" when it is not in force.
func (t *tokens) appOf(value string, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	known, ok := t.byValue[value]
	if !ok || !known.expires.After(now) {
		return ""
	}
	return known.app
}

func (t *tokens) revoke(value string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byValue, value)
}

func (t *tokens) revokeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.byValue)
	clear(t.current)
}

func (s *Server) issueToken(c *call) answer {
	var in struct {
		AppID     string `json:"app_id"`
		AppSecret string `json:"app_secret"`
	}
	if !c.decode(&in) || in.AppID == "" || in.AppSecret == "" {
		return answer{status: 400, code: 10003, msg: "invalid param"}
	}
	if len(s.opts.Apps) > 0 {
		secret, known := s.opts.Apps[in.AppID]
		if !known {
			return answer{status: 400, code: 10003, msg: "invalid param"}
		}
		if secret != in.AppSecret {
			return answer{status: 400, code: 10014, msg: "app secret invalid"}
		}
	}
	issued := s.tokens.issue(in.AppID, s.now())
	return answer{msg: "ok", extra: map[string]any{
		"tenant_access_token": issued.value,
		"expire":              int(issued.expires.Sub(s.now()).Seconds()),
	}}
}

// withToken lets a call through that carries a tenant token in force.
func (s *Server) withToken(handle func(*call) answer) func(*call) answer {
	return func(c *call) answer {
		value := bearer(c.r)
		if value == "" {
			return answer{status: 400, code: 99991661, msg: "Missing access token for authorization. Please make a test attempt and try again."}
		}
		c.app = s.tokens.appOf(value, s.now())
		if c.app == "" {
			return staleToken()
		}
		if wait, ok := s.limiter.allow("app:"+c.app, s.now(), s.opts.Limits.app()...); !ok {
			return gatewayLimit(429, wait)
		}
		return handle(c)
	}
}

func staleToken() answer {
	return answer{status: 400, code: 99991663, msg: "Invalid access token for authorization. Please make a test attempt and try again."}
}
