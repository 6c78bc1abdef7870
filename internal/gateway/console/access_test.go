package console

import (
	"bufio"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// paths are all that need a token.
func paths() []string {
	return []string{"", "/backends", "/requests", "/requests/gwr_0000000000001", "/reliability", "/usage", "/usage.csv", "/cooldowns", "/sse",
		"/fragment/overview", "/fragment/backends", "/fragment/requests"}
}

func TestNothingIsShownWithoutAToken(t *testing.T) {
	s := serve(t, content{})
	for _, path := range paths() {
		path = home + path
		a := s.ask(t, http.MethodGet, path, "")
		isPart := strings.Contains(path, "fragment") || strings.HasSuffix(path, "sse")
		switch {
		case isPart && a.status != http.StatusUnauthorized:
			t.Errorf("%s: %d", path, a.status)
		case !isPart && (a.status != http.StatusSeeOther || a.header.Get("Location") != home+"/login?next="+url.QueryEscape(path)):
			t.Errorf("%s: %d to %q", path, a.status, a.header.Get("Location"))
		}
		for _, header := range [][]string{{"Authorization", "Bearer wrong"}, {"Authorization", "Bearer "}, {"Authorization", "Basic " + adminToken}} {
			if a := s.ask(t, http.MethodGet, path, "", header...); a.status != http.StatusUnauthorized {
				t.Errorf("%s with %v: %d", path, header, a.status)
			}
		}
		if a := s.ask(t, http.MethodGet, path, "", "Cookie", cookieName+"=guess"); a.status != http.StatusSeeOther && a.status != http.StatusUnauthorized {
			t.Errorf("%s with a cookie that is none of ours: %d", path, a.status)
		}
	}
}

func TestTokensOpen(t *testing.T) {
	s := serve(t, content{})
	for _, token := range []string{adminToken, readToken} {
		for _, path := range paths() {
			if path == "/sse" {
				continue
			}
			want := http.StatusOK
			if strings.HasPrefix(path, "/requests/") {
				want = http.StatusNotFound
			}
			a := s.ask(t, http.MethodGet, home+path, "", "Authorization", "Bearer "+token)
			if a.status != want || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Frame-Options") != "DENY" || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
				t.Errorf("%s: %d %v", path, a.status, a.header)
			}
		}
	}
	open := serve(t, content{open: true})
	if a := open.ask(t, http.MethodGet, home, ""); a.status != http.StatusOK {
		t.Errorf("without tokens, from this machine: %d", a.status)
	}
	if a := open.ask(t, http.MethodPost, home+"/login", "token="); a.status != http.StatusSeeOther || len(a.header.Values("Set-Cookie")) != 0 {
		t.Errorf("an empty token where there is none: %d %v", a.status, a.header)
	}
}

// login returns the cookie of a session.
func login(t *testing.T, s *site, token string) string {
	t.Helper()
	a := s.ask(t, http.MethodPost, home+"/login", url.Values{"token": {token}}.Encode(), "Sec-Fetch-Site", "same-origin")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != home {
		t.Fatalf("%d to %q: %s", a.status, a.header.Get("Location"), a.body)
	}
	cookie, rest, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	for _, attribute := range []string{"Path=/dashboard", "HttpOnly", "SameSite=Strict", "Max-Age=43200"} {
		if !strings.Contains(rest, attribute) {
			t.Errorf("the cookie lacks %s: %s", attribute, rest)
		}
	}
	if strings.Contains(cookie, token) || len(cookie) < len(cookieName)+20 {
		t.Errorf("cookie %s", cookie)
	}
	return cookie
}

func TestLoginAndLogout(t *testing.T) {
	s := serve(t, content{})
	page := s.ask(t, http.MethodGet, home+"/login?next="+url.QueryEscape(home+"/usage?by=day"), "", "Accept-Language", "en")
	has(t, page.body, `name="token"`, `value="/dashboard/usage?by=day"`, "admin.read_token")
	for _, wrong := range []string{"", "wrong", adminToken + "x", cookieName} {
		a := s.ask(t, http.MethodPost, home+"/login", url.Values{"token": {wrong}}.Encode(), "Accept-Language", "en")
		if a.status != http.StatusForbidden || len(a.header.Values("Set-Cookie")) != 0 || !strings.Contains(a.body, "not a token") {
			t.Errorf("%q: %d %v", wrong, a.status, a.header)
		}
	}
	for _, token := range []string{adminToken, " " + readToken + "\n"} {
		cookie := login(t, s, token)
		a := s.ask(t, http.MethodGet, home, "", "Cookie", cookie)
		if a.status != http.StatusOK || !strings.Contains(a.body, `action="/dashboard/logout"`) {
			t.Errorf("with a session: %d %s", a.status, a.body)
		}
		if a := s.ask(t, http.MethodPost, home+"/logout", "", "Cookie", cookie, "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
			t.Errorf("another site logs out: %d", a.status)
		}
		a = s.ask(t, http.MethodPost, home+"/logout", "", "Cookie", cookie)
		if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Set-Cookie"), "Max-Age=0") {
			t.Errorf("logout: %d %v", a.status, a.header)
		}
		if a := s.ask(t, http.MethodGet, home, "", "Cookie", cookie); a.status != http.StatusSeeOther {
			t.Errorf("after the logout: %d", a.status)
		}
	}
	if a := s.ask(t, http.MethodPost, home+"/login", "token="+adminToken, "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden || len(a.header.Values("Set-Cookie")) != 0 {
		t.Errorf("another site logs in: %d %v", a.status, a.header)
	}
	if a := s.ask(t, http.MethodHead, home+"/sse", "", "Authorization", "Bearer "+readToken); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a stream by HEAD: %d", a.status)
	}
	if a := s.ask(t, http.MethodGet, home+"/logout", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("a logout by GET: %d", a.status)
	}
}

func TestLoginsAreLimited(t *testing.T) {
	s := serve(t, content{})
	for i := range maxLogins {
		if a := s.ask(t, http.MethodPost, home+"/login", "token=wrong"); a.status != http.StatusForbidden {
			t.Fatalf("login %d: %d", i, a.status)
		}
	}
	a := s.ask(t, http.MethodPost, home+"/login", "token="+adminToken)
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || len(a.header.Values("Set-Cookie")) != 0 {
		t.Errorf("one more, with the right token: %d %v", a.status, a.header)
	}
	if a := s.ask(t, http.MethodPost, home+"/login", "token="+strings.Repeat("x", maxForm+1)); a.status != http.StatusBadRequest {
		t.Errorf("a huge form: %d", a.status)
	}
}

func TestALoginLeadsNowhereElse(t *testing.T) {
	s := serve(t, content{})
	for next, want := range map[string]string{
		"": home, home: home, home + "/requests?status=failed&model=a%26b": home + "/requests?status=failed&model=a%26b", home + "/requests/gwr_1": home + "/requests/gwr_1",
		"https://evil.example/dashboard": home, "//evil.example/dashboard": home, "/\\evil.example": home, "/dashboard\\@evil.example": home, "/dashboardx": home, "/api/admin/backends": home,
		"javascript:alert(1)": home, "/dashboard/../api": home, "/dashboard//evil.example": home, "/dashboard/%2e%2e/api": home, home + "/login": home, "/dashboard/\r\nSet-Cookie: x": home, "%zz": home,
	} {
		a := s.ask(t, http.MethodPost, home+"/login", url.Values{"token": {readToken}, "next": {next}}.Encode())
		s.console.logins.Configure(maxLogins, loginWindow/1000000) // each its own window
		if a.status != http.StatusSeeOther || a.header.Get("Location") != want {
			t.Errorf("%q leads to %q (%d), want %q", next, a.header.Get("Location"), a.status, want)
		}
	}
}

func TestSessions(t *testing.T) {
	var s sessions
	now := time.Now()
	first := s.begin(now)
	for at, want := range map[time.Duration]bool{0: true, sessionTime - time.Second: true, sessionTime: false} {
		if s.valid(first, now.Add(at)) != want {
			t.Errorf("after %v: %v", at, !want)
		}
	}
	if s.valid("", now) {
		t.Error("nothing is a session")
	}
	var last string
	for i := range maxSessions {
		last = s.begin(now.Add(time.Duration(i+1) * time.Millisecond))
	}
	if s.valid(first, now) || !s.valid(last, now) || len(s.open) != maxSessions {
		t.Errorf("%d sessions, the first is open: %v", len(s.open), s.valid(first, now))
	}
	s.begin(now.Add(2 * sessionTime))
	if len(s.open) != 1 {
		t.Errorf("%d sessions after all are over", len(s.open))
	}
	s.end(last)
}

// TestSecureWhereTheConnectionIs: over TLS the cookie is for TLS only.
func TestSecureWhereTheConnectionIs(t *testing.T) {
	for scheme, want := range map[string]bool{"http": false, "https": true} {
		if got := cookie(httptest.NewRequest(http.MethodGet, scheme+"://gateway.example/", nil), "x", 1).Secure; got != want {
			t.Errorf("%s: %v", scheme, got)
		}
	}
	behind := httptest.NewRequest(http.MethodGet, "http://gateway.example/", nil)
	behind.Header.Set("X-Forwarded-Proto", "https")
	if !cookie(behind, "x", 1).Secure {
		t.Error("a proxy in front speaks TLS")
	}
}

// TestStreamsEnd when the session does, when the program stops, and are bounded.
func TestStreamsEnd(t *testing.T) {
	s := serve(t, content{})
	cookie := login(t, s, readToken)
	watch := func() (*bufio.Scanner, func(), int) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+home+"/sse", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return bufio.NewScanner(response.Body), func() { response.Body.Close() }, response.StatusCode
	}
	lines, closeFirst, status := watch()
	defer closeFirst()
	if status != http.StatusOK || !lines.Scan() || !strings.HasPrefix(lines.Text(), `data: {"type":"snapshot","pool":[`) {
		t.Fatalf("%d %q", status, lines.Text())
	}
	s.ask(t, http.MethodPost, home+"/logout", "", "Cookie", cookie)
	ends(t, lines, "the session")
	cookie = login(t, s, readToken)
	lines, closeSecond, _ := watch()
	defer closeSecond()
	if !lines.Scan() {
		t.Fatal("no frame")
	}
	for i := range maxViewers - 1 {
		if _, leave, ok := s.console.feed.join(); ok {
			defer leave()
		} else {
			t.Fatalf("viewer %d is too many", i)
		}
	}
	if _, closeThird, status := watch(); status != http.StatusServiceUnavailable {
		t.Errorf("one viewer too many: %d", status)
	} else {
		closeThird()
	}
	s.drain()
	ends(t, lines, "the program")
}

// ends expects the end of a stream within a few frames.
func ends(t *testing.T, lines *bufio.Scanner, with string) {
	t.Helper()
	for range 10 {
		if !lines.Scan() {
			return
		}
	}
	t.Errorf("the stream does not end with %s", with)
}
