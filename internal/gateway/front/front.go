// Package front is the data plane: the addresses that clients call, as the dialect
// defines them. Anything else is answered 404: this is no open relay.
//
// Every response carries x-request-id, every request of a known client x-gateway-request
// (the id of its row in the ledger), and each finished request is one log line. The
// last bytes of an answer leave once the row is durable. It keeps the contract of
// internal/httpserve without its router and contexts, which cost a fifth of what a
// request may cost here.
package front

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/attempt"
	"github.com/fleetwatch/fleetwatch/internal/gateway/client"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/anthropic"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/openai"
	"github.com/fleetwatch/fleetwatch/internal/gateway/iplimit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/meter"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
)

// ErrStopping is the cause with which the contexts of open requests are cancelled
// when they may not go on any longer.
var ErrStopping = errors.New("the gateway is stopping")

// Plan is what a configuration means for requests. A reload makes a new one; requests
// keep the one they began with.
type Plan struct {
	Clients     *client.Registry
	Table       *pool.Table
	Limits      attempt.Limits
	MaxBody     int64
	BodyTimeout time.Duration // from the beginning of a request to the end of its body
	MaxBuffered int64         // bytes of bodies held at the same time; 0 = no limit
	LedgerWait  time.Duration
	LedgerClose bool // refuse, rather than answer without a row
	Trusted     []netip.Prefix
	Since       time.Time
}

// Handler serves the data plane.
type Handler struct {
	Plan      func() *Plan
	Endpoints map[string]*dialect.Endpoint // by path, such as /v1/chat/completions
	Ledger    *ledger.Ledger
	Walker    *attempt.Walker
	Metrics   *meter.Metrics
	Limiter   *iplimit.Limiter
	Log       *slog.Logger
	Now       func() time.Time // as time.Now, with a monotonic part
	Health    http.Handler     // /health and /ready
	// Operations is the address of the operations listener, host:port.
	Operations func() string

	buffered atomic.Int64
	texts    sync.Pool // of *text that nobody holds
}

var acceptedID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Handler: h, plan: h.Plan(), w: w, r: r, out: http.NewResponseController(w), started: h.Now(), route: "none", errors: openai.Errors{}}
	if r.Header["Anthropic-Version"] != nil || strings.HasPrefix(r.URL.Path, "/v1/messages") {
		x.errors = anthropic.Errors{} // which those clients understand, wherever they call
	}
	x.id = h.Ledger.NextID(x.started)
	if given := r.Header.Get("X-Request-Id"); given != "" && acceptedID.MatchString(given) {
		x.given, x.requestID = given, given
	} else {
		x.requestID = x.id.RequestID()
	}
	header := w.Header()
	header["X-Request-Id"] = []string{x.requestID}
	header["X-Content-Type-Options"] = []string{"nosniff"}
	if x.errors == (anthropic.Errors{}) {
		header["Request-Id"] = header["X-Request-Id"] // where the dialect's clients look for it
	}
	if r.ContentLength != 0 {
		// Also where the body is refused unread: the server reads it before it answers.
		_ = x.out.SetReadDeadline(x.started.Add(x.plan.BodyTimeout)) // a connection that knows no deadlines has none to keep
	}
	defer x.finished()
	defer x.recovered()
	x.serve()
}

// serve finds the endpoint.
func (x *exchange) serve() {
	switch path := x.r.URL.Path; {
	case x.Endpoints[path] != nil:
		endpoint := x.Endpoints[path]
		x.errors = endpoint.Errors
		if x.is(http.MethodPost) {
			x.route = path
			x.ask(endpoint)
		}
	case path == "/v1/models", strings.HasPrefix(path, "/v1/models/"):
		if x.is(http.MethodGet) {
			x.models(strings.TrimPrefix(strings.TrimPrefix(path, "/v1/models"), "/"))
		}
	case path == "/health", path == "/ready":
		x.route = path
		x.status = http.StatusOK
		x.Health.ServeHTTP(statusWriter{x.w, x}, x.r)
	case path == "/dashboard", strings.HasPrefix(path, "/dashboard/"):
		if x.is(http.MethodGet) {
			x.elsewhere()
		}
	case strings.HasPrefix(path, "/api/admin"):
		x.refuse(http.StatusNotFound, "not_found", "the admin API is on the operations listener, "+x.Operations())
	default:
		x.refuse(http.StatusNotFound, "not_found", "there is nothing at this path; the gateway serves "+strings.Join(slices.Sorted(maps.Keys(x.Endpoints)), ", ")+" and /v1/models")
	}
}

// elsewhere leads to the same path of the operations listener. One that takes all
// addresses is where the client has found us.
func (x *exchange) elsewhere() {
	host, port, err := net.SplitHostPort(x.Operations())
	if err != nil {
		x.refuse(http.StatusNotFound, "not_found", "the console is on the operations listener, "+x.Operations())
		return
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = (&url.URL{Host: x.r.Host}).Hostname()
	}
	to := url.URL{Scheme: "http", Host: net.JoinHostPort(host, port), Path: x.r.URL.Path, RawQuery: x.r.URL.RawQuery}
	x.w.Header().Set("Location", to.String())
	x.begin(http.StatusFound)
}

func (x *exchange) is(method string) bool {
	if x.r.Method == method || method == http.MethodGet && x.r.Method == http.MethodHead {
		return true
	}
	x.w.Header().Set("Allow", method)
	x.refuse(http.StatusMethodNotAllowed, "method_not_allowed", "this path answers "+method+" only")
	return false
}

// statusWriter notes the status that another handler answers.
type statusWriter struct {
	http.ResponseWriter
	x *exchange
}

func (s statusWriter) WriteHeader(status int) {
	s.x.status = status
	s.ResponseWriter.WriteHeader(status)
}

// recovered turns a panic into a 500, or into an aborted connection where the answer
// has begun.
func (x *exchange) recovered() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	x.Log.Error("handler panicked", "panic", p, "stack", string(debug.Stack()), "request_id", x.requestID)
	if x.row != nil {
		x.row.Status, x.row.HTTPStatus, x.row.Detail.Code = ledger.Failed, http.StatusInternalServerError, "internal"
		x.row.Duration = time.Since(x.started)
		x.ledgerError = x.Ledger.Commit(x.row, x.plan.LedgerWait, false)
	}
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	x.refuse(http.StatusInternalServerError, "internal", "an internal error; the log has the details under this request id")
}

// finished counts and logs the request.
func (x *exchange) finished() {
	took := time.Since(x.started)
	x.Metrics.HTTP(meter.ServiceData, x.r.Method, x.route, x.status, took)
	level := slog.LevelInfo
	switch {
	case x.ledgerError != nil:
		level = slog.LevelError
	case x.route == "/health", x.route == "/ready":
		level = slog.LevelDebug
	}
	ctx := context.Background() // the request's own may have ended, and holds nothing for the log
	if !x.Log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 14)
	attrs = append(attrs, slog.String("method", x.r.Method), slog.String("route", x.route), slog.Int("status", x.status), slog.Int64("bytes", x.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.String("remote", x.r.RemoteAddr), slog.String("request_id", x.requestID))
	if x.row != nil {
		attrs = append(attrs, slog.String("gateway_request", x.id.String()), slog.String("client", x.row.Client), slog.String("model", x.row.Model),
			slog.String("backend", x.row.Backend), slog.Int("attempts", x.row.Attempts))
		if x.row.Class != "" {
			attrs = append(attrs, slog.String("class", string(x.row.Class)))
		}
	}
	if x.ledgerError != nil {
		attrs = append(attrs, slog.String("ledger_error", x.ledgerError.Error()))
	}
	x.Log.LogAttrs(ctx, level, "request finished", attrs...)
}

// clientIP is the address of the client: that of the connection, or, behind proxies
// that are trusted, the last one in X-Forwarded-For that is none of them.
func (x *exchange) clientIP() string {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		return ""
	}
	if len(x.plan.Trusted) == 0 || !x.trusts(host) {
		return host
	}
	hops := strings.Split(strings.Join(x.r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		hop = strings.TrimSpace(hop)
		if _, err := netip.ParseAddr(hop); err != nil {
			break
		}
		host = hop
		if !x.trusts(hop) {
			break
		}
	}
	return host
}

func (x *exchange) trusts(ip string) bool {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return false
	}
	for _, p := range x.plan.Trusted {
		if p.Contains(address.Unmap()) {
			return true
		}
	}
	return false
}
