package webui

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Names of the cookies that keep a person's choice.
const (
	langCookie  = "fleetwatch_lang"
	themeCookie = "fleetwatch_theme"
)

// themes are the looks; auto follows the system.
func themes() []string { return []string{"auto", "light", "dark"} }

// Lang returns the language for a request: the cookie, else Accept-Language, else
// zh-CN.
func Lang(r *http.Request) string {
	if c, err := r.Cookie(langCookie); err == nil && slices.Contains(languages(), c.Value) {
		return c.Value
	}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, _, _ := strings.Cut(strings.TrimSpace(part), ";")
		switch primary, _, _ := strings.Cut(strings.ToLower(tag), "-"); primary {
		case "zh":
			return "zh-CN"
		case "en":
			return "en"
		}
	}
	return languages()[0]
}

func theme(r *http.Request) string {
	if c, err := r.Cookie(themeCookie); err == nil && slices.Contains(themes(), c.Value) {
		return c.Value
	}
	return "auto"
}

// Guard wraps a program's pages: it sets the headers that keep a page to its own
// scripts and styles, refuses changes that another site's page sends, and turns
// ?lang= and ?theme= into a cookie and a clean URL.
func Guard(next http.Handler) http.Handler {
	same := http.NewCrossOriginProtection().Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		if r.Method == http.MethodGet && remember(w, r) {
			return
		}
		same.ServeHTTP(w, r)
	})
}

// remember keeps a choice in the query and sends the browser back without it.
func remember(w http.ResponseWriter, r *http.Request) bool {
	query, chosen := r.URL.Query(), false
	for _, choice := range []struct {
		key, cookie string
		values      []string
	}{{"lang", langCookie, languages()}, {"theme", themeCookie, themes()}} {
		value := query.Get(choice.key)
		if !slices.Contains(choice.values, value) {
			continue
		}
		http.SetCookie(w, &http.Cookie{ //nolint:gosec // G124: a preference; pages are served over plain HTTP on loopback too
			Name: choice.cookie, Value: value, Path: "/", MaxAge: 365 * 24 * 3600,
			HttpOnly: true, SameSite: http.SameSiteLaxMode})
		query.Del(choice.key)
		chosen = true
	}
	if !chosen {
		return false
	}
	// Only the path on this host: "//other" would lead away.
	back := url.URL{Path: "/" + strings.TrimLeft(r.URL.Path, "/"), RawQuery: query.Encode()}
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
	return true
}
