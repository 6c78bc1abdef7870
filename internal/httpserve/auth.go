package httpserve

import (
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// IsLoopback reports whether a listen address is reachable from this machine
// only. An empty host and 0.0.0.0, as in a container, count as beyond.
func IsLoopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// CheckExposure refuses a server that would listen beyond loopback without the
// token that guards it. key is the token's key in the configuration.
func CheckExposure(listen, key string, token redact.Secret) error {
	if IsLoopback(listen) || token.IsSet() {
		return nil
	}
	return fmt.Errorf("listening on %s, beyond this machine, needs a token: set %s (openssl rand -hex 32 makes one), or listen on 127.0.0.1", listen, key)
}

// RequireAdmin lets a request pass with the admin token. Without a configured
// token, which is possible on loopback only, it lets requests of this machine
// pass that no web page of another site made.
func (s *Server) RequireAdmin(next http.Handler) http.Handler {
	return Require(next, s.options.Admin)
}

// RequireRead lets a request pass with the read or the admin token; see
// [Server.RequireAdmin] for the case that neither is configured.
func (s *Server) RequireRead(next http.Handler) http.Handler {
	return Require(next, s.options.Read, s.options.Admin)
}

// Require lets a request pass that presents one of the tokens, as bearer or as
// the password of basic authentication. Where no token at all is set, see
// [Server.RequireAdmin].
func Require(next http.Handler, tokens ...redact.Secret) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if Authorized(r, tokens...) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="fleetwatch"`)
		WriteError(w, r, http.StatusUnauthorized, "unauthorized", "this path needs a valid token: send Authorization: Bearer TOKEN")
	})
}

// Authorized reports whether Require would let r pass.
func Authorized(r *http.Request, tokens ...redact.Secret) bool {
	presented, anySet := presentedToken(r), false
	for _, token := range tokens {
		if token.Equal(presented) {
			return true
		}
		anySet = anySet || token.IsSet()
	}
	return !anySet && sameMachine(r)
}

func presentedToken(r *http.Request) string {
	if _, password, ok := r.BasicAuth(); ok {
		return password
	}
	kind, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(kind, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// sameMachine reports whether the connection is local, names this machine as
// its host (a rebound DNS name does not) and was not made by another site's
// page.
func sameMachine(r *http.Request) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || !IsLoopback(local.String()) || !IsLoopback(r.RemoteAddr) {
		return false
	}
	host := r.Host
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "0")
	}
	if !IsLoopback(host) {
		return false
	}
	protection := http.NewCrossOriginProtection()
	return protection.Check(r) == nil
}
