package console

import (
	"crypto/rand"
	"crypto/sha256"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

const (
	cookieName = "fleetwatch_console"
	// sessionTime is how long a login lasts, whatever is done meanwhile.
	sessionTime = 12 * time.Hour
	// maxSessions bounds the sessions; beyond, the one that ends first ends now.
	maxSessions = 1000
)

// sessions are the logins that last. They are in memory only: a restart ends them. What
// is kept of each is a hash, so that no dump of memory opens the console.
type sessions struct {
	mu   sync.Mutex
	open map[[sha256.Size]byte]time.Time // until when
}

// begin returns the value of a new session's cookie.
func (s *sessions) begin(now time.Time) string {
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[[sha256.Size]byte]time.Time{}
	}
	var first [sha256.Size]byte
	var soonest time.Time
	for key, until := range s.open {
		if !now.Before(until) {
			delete(s.open, key)
		} else if soonest.IsZero() || until.Before(soonest) {
			first, soonest = key, until
		}
	}
	if len(s.open) >= maxSessions {
		delete(s.open, first)
	}
	s.open[sha256.Sum256([]byte(value))] = now.Add(sessionTime)
	return value
}

// valid reports whether the cookie's value is that of a session that lasts.
func (s *sessions) valid(value string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.open[sha256.Sum256([]byte(value))]
	return ok && now.Before(until)
}

func (s *sessions) end(value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sha256.Sum256([]byte(value)))
}

// presented is the cookie of the request; "" where there is none.
func presented(r *http.Request) string {
	cookie, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// allowed reports whether the request may see the console.
func (c *Console) allowed(r *http.Request) bool {
	return c.sessions.valid(presented(r), c.api.Now()) || httpserve.Authorized(r, c.options.Read, c.options.Admin)
}

// private sets what every answer of the console has: the headers of webui, and that it
// is kept nowhere.
func private(next http.Handler) http.Handler {
	return webui.Guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	}))
}

// guard lets a request pass that may see the console. Others are led to the login where
// it is a page that they ask for, and no token that they present.
func (c *Console) guard(next http.Handler, page bool) http.Handler {
	return private(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case c.allowed(r):
			next.ServeHTTP(w, r)
		case page && r.Header.Get("Authorization") == "":
			http.Redirect(w, r, home+"/login?"+url.Values{"next": {r.URL.RequestURI()}}.Encode(), http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="fleetwatch"`)
			httpserve.WriteError(w, r, http.StatusUnauthorized, "unauthorized", "the console needs a valid token: log in at "+home+"/login, or send Authorization: Bearer TOKEN")
		}
	}))
}

// inside returns the path that a login leads to: one of the console's own, whatever is
// asked for.
func inside(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || strings.ContainsAny(next, "\\\r\n\t") ||
		u.Path != home && !strings.HasPrefix(u.Path, home+"/") || strings.HasPrefix(u.Path, home+"/login") || strings.Contains(u.Path, "..") || strings.Contains(u.Path, "//") {
		return home
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}

// address is who calls, for the limit of logins.
func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
