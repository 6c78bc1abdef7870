package console

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLogins is how many logins an address may try in loginWindow.
	maxLogins   = 10
	loginWindow = time.Minute
	maxForm     = 8 << 10
)

// entrance is what the login says.
type entrance struct {
	tab
	Next  string
	Wrong bool          // the token was not one of ours
	Wait  time.Duration // too many logins were tried; 0 = they were not
}

// login shows the form, and begins a session for who knows a token.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	form := r.URL.Query()
	if r.Method == http.MethodPost {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			c.told(w, r, c.ui.RenderStatus(w, r, http.StatusBadRequest, "login.html", entrance{Wrong: true}))
			return
		}
		form = r.PostForm
	}
	e := entrance{Next: inside(form.Get("next"))}
	if c.allowed(r) {
		http.Redirect(w, r, e.Next, http.StatusSeeOther)
		return
	}
	if r.Method != http.MethodPost {
		c.told(w, r, c.ui.Render(w, r, "login.html", e))
		return
	}
	now := c.api.Now()
	ok, wait := c.logins.Allow(address(r), "login", now)
	if !ok {
		e.Wait = wait
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		c.options.Log.WarnContext(r.Context(), "too many logins to the console", "remote", r.RemoteAddr)
		c.told(w, r, c.ui.RenderStatus(w, r, http.StatusTooManyRequests, "login.html", e))
		return
	}
	token := strings.TrimSpace(form.Get("token"))
	// Both are compared, so that the time taken does not tell which is near.
	if asAdmin, asReader := c.options.Admin.Equal(token), c.options.Read.Equal(token); !asAdmin && !asReader {
		e.Wrong = true
		c.options.Log.WarnContext(r.Context(), "login to the console refused", "remote", r.RemoteAddr)
		c.told(w, r, c.ui.RenderStatus(w, r, http.StatusForbidden, "login.html", e))
		return
	}
	http.SetCookie(w, cookie(r, c.sessions.begin(now), int(sessionTime/time.Second)))
	c.options.Log.InfoContext(r.Context(), "login to the console", "remote", r.RemoteAddr)
	http.Redirect(w, r, e.Next, http.StatusSeeOther)
}

// logout ends the session.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	c.sessions.end(presented(r))
	http.SetCookie(w, cookie(r, "", -1))
	http.Redirect(w, r, home+"/login", http.StatusSeeOther)
}

// cookie is that of a session. It is secure where the connection is, or that to a proxy in
// front: on loopback pages are served over plain HTTP. Who says so without any TLS only
// keeps the cookie from being sent back.
func cookie(r *http.Request, value string, seconds int) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // G124: Secure follows the connection
		Name: cookieName, Value: value, Path: home, MaxAge: seconds, HttpOnly: true, Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https", SameSite: http.SameSiteStrictMode}
}
