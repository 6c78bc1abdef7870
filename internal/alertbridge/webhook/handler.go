package webhook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// Acceptor stores notifications.
type Acceptor interface {
	Accept(context.Context, store.Intake) (store.Accepted, error)
}

// Router says who is told of what.
type Router interface {
	Receivers(labels map[string]string, at time.Time) []string
	Has(receiver string) bool
}

// Routed is the receiver label of webhooks that are routed by severity, Unnamed
// that of webhooks for a receiver that does not exist.
const (
	Routed  = "routed"
	Unnamed = "unknown"
)

// Metrics are the counters of what arrived.
type Metrics struct {
	webhooks *prometheus.CounterVec
	alerts   *prometheus.CounterVec
	dropped  prometheus.Counter
}

// NewMetrics registers the metrics.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		webhooks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_webhooks_total",
			Help: "Webhooks by receiver in the path (routed: by severity) and HTTP status.",
		}, []string{"receiver", "code"}),
		alerts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "alertbridge_alerts_total",
			Help: "Alerts in accepted webhooks by severity (critical, warning, info, other) and status.",
		}, []string{"severity", "status"}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "alertbridge_alerts_dropped_total",
			Help: "Alerts in accepted webhooks that the configuration sends to nobody.",
		}),
	}
	r.MustRegister(m.webhooks, m.alerts, m.dropped)
	for _, severity := range []string{"critical", "warning", "info", otherSeverity} {
		for _, status := range []card.Status{card.Firing, card.Resolved} {
			m.alerts.WithLabelValues(severity, string(status))
		}
	}
	m.Announce(Routed)
	return m
}

// Announce makes a receiver's counters exist before its first webhook.
func (m *Metrics) Announce(receiver string) {
	for _, code := range []int{200, 400, 401, 413, 503} {
		m.webhooks.WithLabelValues(receiver, strconv.Itoa(code))
	}
}

const otherSeverity = "other"

func severity(labels map[string]string) string {
	switch s := labels["severity"]; s {
	case "critical", "warning", "info":
		return s
	default:
		return otherSeverity
	}
}

// Handler is the endpoint. Config gives what is in force when a webhook arrives.
type Handler struct {
	Store    Acceptor
	Config   func() (Router, func(receiver string) store.Channels)
	Metrics  *Metrics
	Log      *slog.Logger
	Accepted func(store.Accepted) // told of every stored notification, before the 200
}

func (m *Metrics) observe(receiver string, status int) {
	m.webhooks.WithLabelValues(receiver, strconv.Itoa(status)).Inc()
}

// ServeHTTP takes one notification. The path variable receiver, where there is
// one, replaces the routing.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	receiver, named := mux.Vars(r)["receiver"]
	router, channels := h.Config()
	label := Routed
	if named {
		label = receiver
		if !router.Has(receiver) {
			label = Unnamed
		}
	}
	h.accept(status, r, receiver, router, channels)
	h.Metrics.observe(label, status.status)
}

func (h *Handler) accept(w http.ResponseWriter, r *http.Request, receiver string, router Router, channels func(string) store.Channels) {
	if receiver != "" && !router.Has(receiver) {
		httpserve.WriteError(w, r, http.StatusNotFound, "unknown_receiver", fmt.Sprintf("no receiver is named %q in the configuration", clipped(receiver)))
		return
	}
	body, ok := httpserve.ReadBody(w, r)
	if !ok {
		return
	}
	now := time.Now().UTC()
	group, notice, err := Decode(body, now)
	if err != nil {
		httpserve.WriteError(w, r, http.StatusBadRequest, "bad_payload", err.Error())
		return
	}
	intake := store.Intake{Group: group, Notice: notice, Channels: channels, Receivers: func(labels map[string]string) []string {
		if receiver != "" {
			return []string{receiver}
		}
		return router.Receivers(labels, now)
	}}
	accepted, err := h.Store.Accept(r.Context(), intake)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	h.count(r.Context(), notice, group, accepted)
	h.Accepted(accepted)
	httpserve.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// refuse answers 503, which Alertmanager tries again.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	code, message := "store_failed", "the notification could not be stored, send it again"
	switch {
	case errors.Is(err, store.ErrTooManyCards):
		code, message = "too_many_cards", "store.max_open_cards is reached, send it again"
	case sqlstore.IsFull(err):
		code, message = "disk_full", "there is no space left to store the notification, send it again"
	}
	h.Log.ErrorContext(r.Context(), "storing a notification failed", "code", code, "error", err)
	httpserve.WriteError(w, r, http.StatusServiceUnavailable, code, message)
}

func (h *Handler) count(ctx context.Context, n card.Notice, group map[string]string, a store.Accepted) {
	for _, alert := range n.Alerts {
		h.Metrics.alerts.WithLabelValues(severity(alert.Labels), string(alert.Status)).Inc()
	}
	h.Metrics.dropped.Add(float64(a.Dropped))
	if a.Dropped > 0 || a.Ignored > 0 {
		h.Log.InfoContext(ctx, "alerts not shown", "dropped_by_config", a.Dropped, "already_told", a.Ignored, "alertname", clipped(group["alertname"]))
	}
}

// clipped is the beginning of what somebody sent, for messages.
func clipped(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxQuoted)], "")
}

const maxQuoted = 200

// statusWriter notes the status that was answered.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Guard lets a request pass with the token and counts the refusal otherwise.
func (h *Handler) Guard(authorized func(*http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if authorized(r) {
			h.ServeHTTP(w, r)
			return
		}
		h.Metrics.observe(Routed, http.StatusUnauthorized)
		w.Header().Set("WWW-Authenticate", `Bearer realm="alertbridge"`)
		httpserve.WriteError(w, r, http.StatusUnauthorized, "unauthorized", "the webhook needs a valid token: set http_config.authorization.credentials_file of the Alertmanager receiver to server.token")
	})
}
