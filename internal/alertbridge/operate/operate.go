// Package operate is the API for operators: what is shown, what could not be
// delivered, and trying a receiver. Every change is written to the audit trail.
package operate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

// Limits of a list.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Handler is the API. Its handlers expect a request that is authorised.
type Handler struct {
	Store  *store.Store
	Config func() *deliver.Config
	Wake   func() // told when something is to be sent
	Log    *slog.Logger
}

// Routes adds the API to a router; guard wraps each handler.
func (h *Handler) Routes(r *mux.Router, guard func(http.Handler) http.Handler) {
	for _, x := range []struct {
		method, path string
		handler      http.HandlerFunc
	}{
		{http.MethodGet, "/api/cards", h.cards},
		{http.MethodGet, "/api/dead", h.dead},
		{http.MethodPost, "/api/dead/{id}/replay", h.replay},
		{http.MethodGet, "/api/receivers", h.receivers},
		{http.MethodPost, "/api/receivers/{name}/test", h.test},
		{http.MethodGet, "/api/audit", h.audit},
	} {
		r.Handle(x.path, guard(x.handler)).Methods(x.method)
	}
}

// cardView is a card in the API.
type cardView struct {
	*card.Card
	Title string    `json:"title"`
	Legs  []legView `json:"legs"`
}

type legView struct {
	Channel      store.Channel `json:"channel"`
	Lane         string        `json:"lane"`
	Sent         int64         `json:"sent"` // last revision that Feishu confirmed
	State        card.State    `json:"state,omitempty"`
	MessageID    string        `json:"message_id,omitempty"`
	Pending      bool          `json:"pending"`
	Digest       string        `json:"digest,omitempty"` // id of the card that tells of this one in its place
	NextAt       time.Time     `json:"next_at"`
	Failures     int           `json:"failures"`
	FailingSince time.Time     `json:"failing_since,omitzero"`
	LastError    string        `json:"last_error,omitempty"`
	Dead         bool          `json:"dead"`
	Standby      bool          `json:"standby"`
}

func (h *Handler) cards(w http.ResponseWriter, r *http.Request) {
	n, ok := limit(w, r)
	if !ok {
		return
	}
	q := r.URL.Query()
	cards, err := h.Store.Cards(r.Context(), store.Filter{Receiver: q.Get("receiver"), State: q.Get("state"), Limit: n})
	if err != nil {
		h.failed(w, r, err)
		return
	}
	views := make([]cardView, 0, len(cards))
	renderer := h.Config().Renderer
	for _, c := range cards {
		v, err := h.view(r.Context(), c, renderer)
		if err != nil {
			h.failed(w, r, err)
			return
		}
		views = append(views, v)
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"cards": views})
}

func (h *Handler) view(ctx context.Context, c *card.Card, renderer *render.Renderer) (cardView, error) {
	legs, err := h.Store.Legs(ctx, c.ID)
	if err != nil {
		return cardView{}, err
	}
	v := cardView{Card: c, Title: renderer.Title(c), Legs: []legView{}}
	for _, l := range legs {
		v.Legs = append(v.Legs, legView{
			Channel: l.Channel, Lane: l.Lane, Sent: l.Sent, State: l.SentState, MessageID: l.MessageID, NextAt: l.NextAt,
			Pending: !l.Dead && !l.Standby && l.Digest == "" && (l.Sent < c.Revision || l.Reply != ""), Digest: l.Digest,
			Failures: l.Failures, FailingSince: l.FailingSince, LastError: l.LastError, Dead: l.Dead, Standby: l.Standby,
		})
	}
	return v, nil
}

func (h *Handler) dead(w http.ResponseWriter, r *http.Request) {
	n, ok := limit(w, r)
	if !ok {
		return
	}
	letters, err := h.Store.Dead(r.Context(), r.URL.Query().Get("all") == "true", n)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if letters == nil {
		letters = []store.DeadLetter{}
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"dead": letters})
}

func (h *Handler) replay(w http.ResponseWriter, r *http.Request) {
	id := mux.Vars(r)["id"]
	err := h.Store.Replay(r.Context(), id, h.Config().Channels, time.Now())
	switch {
	case errors.Is(err, store.ErrNotFound):
		httpserve.WriteError(w, r, http.StatusNotFound, "no_dead_letter", "there is no such dead letter, it was replayed already, or its card is past its retention")
		return
	case err != nil:
		h.failed(w, r, err)
		return
	}
	if !h.record(w, r, "replay_dead", id, "") {
		return
	}
	h.Wake()
	httpserve.WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

// receiverView is a receiver in the API. It holds no credentials.
type receiverView struct {
	Name       string          `json:"name"`
	Configured bool            `json:"configured"`
	Channels   []store.Channel `json:"channels"`
	Failover   bool            `json:"failover"`
}

func (h *Handler) receivers(w http.ResponseWriter, _ *http.Request) {
	c := h.Config()
	views := make([]receiverView, 0, len(c.Receivers))
	for _, name := range c.Names() {
		ways := c.Receivers[name].Channels()
		v := receiverView{Name: name, Configured: len(ways.Ways) > 0, Channels: ways.Ways, Failover: ways.Failover}
		if v.Channels == nil {
			v.Channels = []store.Channel{}
		}
		views = append(views, v)
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"receivers": views})
}

func (h *Handler) test(w http.ResponseWriter, r *http.Request) {
	name := mux.Vars(r)["name"]
	tried, err := h.Config().Test(r.Context(), name)
	switch {
	case errors.Is(err, deliver.ErrNoReceiver):
		httpserve.WriteError(w, r, http.StatusNotFound, "no_receiver", fmt.Sprintf("no receiver is named %q", name))
		return
	case err != nil:
		h.failed(w, r, err)
		return
	case len(tried) == 0:
		httpserve.WriteError(w, r, http.StatusConflict, "unconfigured", fmt.Sprintf("receiver %q has no credentials: nothing was sent", name))
		return
	}
	status, failures := http.StatusOK, 0
	for _, t := range tried {
		if !t.OK {
			status = http.StatusBadGateway
			failures++
		}
	}
	if !h.record(w, r, "test_receiver", name, fmt.Sprintf("%d of %d channels failed", failures, len(tried))) {
		return
	}
	httpserve.WriteJSON(w, status, map[string]any{"receiver": name, "channels": tried})
}

func (h *Handler) audit(w http.ResponseWriter, r *http.Request) {
	n, ok := limit(w, r)
	if !ok {
		return
	}
	entries, err := h.Store.Audit(r.Context(), n)
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if entries == nil {
		entries = []store.AuditEntry{}
	}
	httpserve.WriteJSON(w, http.StatusOK, map[string]any{"audit": entries})
}

// record writes the audit trail; on failure it has answered.
func (h *Handler) record(w http.ResponseWriter, r *http.Request, action, target, detail string) bool {
	err := h.Store.Record(r.Context(), store.AuditEntry{At: time.Now(), Actor: "admin", Action: action, Target: target, Detail: detail, RequestID: obslog.RequestID(r.Context())})
	if err != nil {
		h.failed(w, r, err)
	}
	return err == nil
}

func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	h.Log.ErrorContext(r.Context(), "answering an operator failed", "error", err)
	httpserve.WriteError(w, r, http.StatusInternalServerError, "store_failed", "the store did not answer; the log has the details under this request id")
}

// limit reads ?limit=; on failure it has answered.
func limit(w http.ResponseWriter, r *http.Request) (int, bool) {
	text := r.URL.Query().Get("limit")
	if text == "" {
		return defaultLimit, true
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxLimit {
		httpserve.WriteError(w, r, http.StatusBadRequest, "bad_limit", fmt.Sprintf("limit: expected 1 to %d, got %q", maxLimit, text))
		return 0, false
	}
	return n, true
}
