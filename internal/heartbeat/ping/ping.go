// Package ping is the endpoint by which agents and checks say that they live:
// URLs and answers as healthchecks.io has them (https://healthchecks.io/docs/http_api/),
// so that its clients work unchanged.
//
// It promises: "OK" is answered only after the ping is durable; a key that is
// not known gets the same 404 whatever was asked; keys appear in no log (access
// logs carry the route); one sender cannot flood the record.
package ping

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

const (
	// maxBody is how much of a body is kept; the rest is not read.
	maxBody = 10 << 10
	// One sender may ping this often on average, and this many at once.
	perSecond, burst = 2, 30
)

// Event is one ping, understood.
type Event struct {
	Kind       liveness.Kind
	ExitStatus int // -1 if the ping had none
	Run        string
	Body       string
}

// Receiver takes pings. Both methods return after the ping is durable;
// ErrUnknown says that there is nobody of that name.
type Receiver interface {
	PingJob(ctx context.Context, id string, e Event) error
	PingCheck(ctx context.Context, name string, e Event) error
}

// ErrUnknown says that a name is not known.
var ErrUnknown = errors.New("not known")

// Keys are the keys in force.
type Keys struct {
	// Jobs is the key in front of agents' and jobs' ids; unset admits none.
	Jobs redact.Secret
	// IDs are the agents and jobs there are.
	IDs map[string]bool
	// Checks maps a check's name to its own key; unset keys admit nobody.
	Checks map[string]redact.Secret
}

// Handler answers pings.
type Handler struct {
	receiver Receiver
	log      *slog.Logger
	total    *prometheus.CounterVec

	mu       sync.Mutex
	keys     Keys
	limiters map[string]*rate.Limiter // by receiver: bounded by what is known
}

// New returns a handler that admits nobody yet, and registers its metric.
func New(receiver Receiver, log *slog.Logger, r prometheus.Registerer) *Handler {
	h := &Handler{
		receiver: receiver, log: log, limiters: map[string]*rate.Limiter{},
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "heartbeat_pings_total", Help: "Pings received, by kind; refused ones as unknown_key, bad_request and rate_limited.",
		}, []string{"kind"}),
	}
	r.MustRegister(h.total)
	for _, kind := range liveness.Kinds() {
		h.total.WithLabelValues(string(kind))
	}
	for _, refused := range []string{refusedKey, refusedRequest, refusedRate} {
		h.total.WithLabelValues(refused)
	}
	return h
}

const (
	refusedKey     = "unknown_key"
	refusedRequest = "bad_request"
	refusedRate    = "rate_limited"
)

// Set replaces the keys.
func (h *Handler) Set(keys Keys) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.keys = keys
}

// Routes adds the endpoint to a router.
func (h *Handler) Routes(router *mux.Router) {
	for _, path := range []string{"/ping/{key}", "/ping/{key}/{word}", "/ping/{key}/{word}/{action}"} {
		router.HandleFunc(path, h.serve).Methods(http.MethodGet, http.MethodHead, http.MethodPost)
	}
}

// address is whom a ping is for.
type address struct {
	check bool
	name  string
}

func (h *Handler) serve(w http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	to, action, ok := h.resolve(vars["key"], vars["word"], vars["action"])
	if !ok {
		h.unknown(w, r)
		return
	}
	event, problem := parse(action, r.URL.Query().Get("rid"))
	if problem != "" {
		h.total.WithLabelValues(refusedRequest).Inc()
		httpserve.WriteError(w, r, http.StatusBadRequest, "bad_ping", problem)
		return
	}
	if wait := h.reserve(to); wait > 0 {
		h.total.WithLabelValues(refusedRate).Inc()
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		httpserve.WriteError(w, r, http.StatusTooManyRequests, "rate_limited", "too many pings; slow down")
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		h.total.WithLabelValues(refusedRequest).Inc()
		httpserve.WriteError(w, r, http.StatusBadRequest, "bad_body", "the body could not be read")
		return
	}
	event.Body = string(body)
	h.deliver(w, r, to, event)
}

func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, to address, event Event) {
	deliver := h.receiver.PingJob
	if to.check {
		deliver = h.receiver.PingCheck
	}
	switch err := deliver(r.Context(), to.name, event); {
	case errors.Is(err, ErrUnknown):
		h.unknown(w, r)
	case err != nil:
		h.log.ErrorContext(r.Context(), "ping not recorded", "to", to.name, "kind", string(event.Kind), "error", err)
		httpserve.WriteError(w, r, http.StatusServiceUnavailable, "store_failed", "the ping could not be recorded; try again")
	default:
		h.total.WithLabelValues(string(event.Kind)).Inc()
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(w, "OK") // a client that is gone has been heard all the same
	}
}

func (h *Handler) unknown(w http.ResponseWriter, r *http.Request) {
	h.total.WithLabelValues(refusedKey).Inc()
	httpserve.WriteError(w, r, http.StatusNotFound, "not_found", "no agent, job or check has this ping URL")
}

// resolve finds whom a URL is for. Every key is compared, in constant time,
// whatever the outcome.
func (h *Handler) resolve(key, word, action string) (address, string, bool) {
	h.mu.Lock()
	keys := h.keys
	h.mu.Unlock()
	jobs := keys.Jobs.Equal(key)
	check := ""
	for name, own := range keys.Checks {
		if own.Equal(key) {
			check = name
		}
	}
	switch {
	case check != "" && action == "":
		return address{check: true, name: check}, word, true
	case jobs && keys.IDs[word] && !reserved.MatchString(word):
		return address{name: word}, action, true
	}
	return address{}, "", false
}

var (
	reserved = regexp.MustCompile(`^(start|fail|log|progress|[0-9]+)$`)
	runID    = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)
)

// parse understands the last word of a URL and the run id.
func parse(action, rid string) (Event, string) {
	event := Event{ExitStatus: -1, Run: rid}
	if rid != "" && !runID.MatchString(rid) {
		return event, "rid must be 1 to 64 of A-Z a-z 0-9 . _ : -, such as a UUID"
	}
	switch action {
	case "":
		event.Kind = liveness.PingSuccess
	case "start":
		event.Kind = liveness.PingStart
	case "fail":
		event.Kind = liveness.PingFail
	case "log":
		event.Kind = liveness.PingLog
	case "progress":
		event.Kind = liveness.PingProgress
	default:
		status, err := strconv.Atoi(action)
		if err != nil || status < 0 || status > 255 {
			return event, "expected start, fail, log, progress or an exit status from 0 to 255 at the end of the URL"
		}
		event.ExitStatus = status
		event.Kind = liveness.PingSuccess
		if status != 0 {
			event.Kind = liveness.PingFail
		}
	}
	return event, ""
}

// reserve takes one ping from a receiver's allowance, or says how long to wait.
func (h *Handler) reserve(to address) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := "job/" + to.name
	if to.check {
		id = "check/" + to.name
	}
	limiter := h.limiters[id]
	if limiter == nil {
		limiter = rate.NewLimiter(perSecond, burst)
		h.limiters[id] = limiter
	}
	reservation := limiter.Reserve()
	wait := reservation.Delay()
	if wait > 0 {
		reservation.Cancel()
	}
	return wait
}
