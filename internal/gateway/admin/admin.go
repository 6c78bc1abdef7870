// Package admin is the part of the operations API that shows, and resets, what the
// gateway knows: backends, pools, the ledger with its failover timelines, the
// statistics over it, its backups, the holders of client keys, and who changed what.
//
// No answer holds a secret: keys are masked, and so are the values of configured
// headers, which may be credentials.
package admin

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/audit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/backup"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// View is what is in force.
type View struct {
	Backends []*backend.Backend
	Table    *pool.Table
	Currency string
}

// Handler serves the API.
type Handler struct {
	View    func() View
	Ledger  *ledger.Ledger
	Backups *backup.Keeper
	Clients func() []Client // declared and made ones, sorted by name
	ChangeClient
	Log *slog.Logger
	Now func() time.Time // as time.Now, with a monotonic part
}

// Routes adds the API to a router. read and change guard the two kinds of access.
func (h *Handler) Routes(r *mux.Router, read, change func(http.Handler) http.Handler) {
	get := func(path string, f http.HandlerFunc) { r.Handle("/api/admin"+path, read(f)).Methods(http.MethodGet) }
	get("/backends", h.backends)
	get("/backends/{id}", h.backend)
	get("/pools", h.pools)
	get("/requests", h.requests)
	get("/requests/{id}", h.request)
	get("/stats/total", h.total)
	get("/stats/hourly", h.hourly)
	get("/stats/daily", h.daily)
	get("/stats/cooldown", h.cooldowns)
	get("/stats/reliability", h.reliability)
	get("/clients", h.clients)
	get("/clients/{name}", h.client)
	get("/audit", h.audit)
	get("/backups", h.backups)
	do := func(method, path string, f http.HandlerFunc) { r.Handle("/api/admin"+path, change(f)).Methods(method) }
	do(http.MethodPost, "/clients", h.createClient)
	do(http.MethodPut, "/clients/{name}", h.updateClient)
	do(http.MethodDelete, "/clients/{name}", h.deleteClient)
	do(http.MethodPost, "/backup", h.makeBackup)
	do(http.MethodPost, "/backends/{id}/reset", h.reset)
}

// Backend is a backend as the API shows it.
type Backend struct {
	ID             string             `json:"id"`
	Name           string             `json:"name"`
	Label          string             `json:"label"`
	Pool           string             `json:"pool"`
	API            []dialect.Name     `json:"api"`
	BaseURL        string             `json:"api_base_url"`
	Key            string             `json:"api_key"`
	TimeoutSeconds float64            `json:"timeout_seconds"`
	RPMLimit       int                `json:"rpm_limit"`
	MaxInflight    int                `json:"max_inflight"`
	Weight         int                `json:"weight"`
	Enabled        bool               `json:"enabled"`
	Headers        map[string]string  `json:"headers"`
	Models         map[string]Mapping `json:"model_mappings"`
	Source         string             `json:"source"`
	Status         backend.Status     `json:"status"`
	Reason         llm.Class          `json:"reason"`
	Detail         string             `json:"detail,omitempty"` // what the provider said
	CooldownUntil  *time.Time         `json:"cooldown_until"`
	CooldownLevel  int                `json:"consecutive_429_count"`
	Inflight       int64              `json:"inflight"`
	RPMUtilization float64            `json:"rpm_utilization"`
	TPMLimit       int                `json:"tpm_limit"`
	TPMUtilization float64            `json:"tpm_utilization"`
	Health         backend.Health     `json:"health"`
}

// Mapping is how a backend offers a model.
type Mapping struct {
	NativeID         string     `json:"native_id"`
	Reasoning        bool       `json:"reasoning"`
	InputModalities  []string   `json:"input_modalities,omitempty"`
	ContextWindow    int64      `json:"context_window,omitempty"`
	MaxTokens        int64      `json:"max_tokens,omitempty"`
	Capabilities     []string   `json:"capabilities,omitempty"`
	AnthropicBeta    []string   `json:"anthropic_beta,omitempty"`
	Price            *price     `json:"price_per_mtok,omitempty"`
	UnavailableUntil *time.Time `json:"unavailable_until,omitempty"` // the provider does not offer it to this key
}

type price struct {
	Input      float64 `json:"input"`
	Output     float64 `json:"output"`
	CacheRead  float64 `json:"cache_read"`
	CacheWrite float64 `json:"cache_write"`
	// CacheWrite1h is for what is kept for an hour; 0 = as cache_write.
	CacheWrite1h float64 `json:"cache_write_1h,omitempty"`
}

func show(b *backend.Backend, now time.Time) Backend {
	s := b.Snapshot(now)
	out := Backend{
		ID: b.Name, Name: b.Name, Label: b.Label, Pool: b.Pool, API: b.Dialects, BaseURL: b.BaseURL.String(), Key: b.MaskedKey(),
		TimeoutSeconds: b.Timeout.Seconds(), RPMLimit: b.RPM, MaxInflight: b.MaxInflight, Weight: b.Weight, Enabled: !b.Disabled, Source: b.Source,
		Headers: map[string]string{}, Models: map[string]Mapping{}, Status: s.Status, Reason: s.Reason, Detail: redact.Text(s.Detail, b.Key),
		CooldownLevel: s.Level, Inflight: s.Inflight, RPMUtilization: s.RPMUsed,
		TPMLimit: b.TPM, TPMUtilization: s.TPMUsed, Health: s.Health,
	}
	if s.Status == backend.Cooling || s.Status == backend.Error {
		out.CooldownUntil = stamp(s.Until)
	}
	for name := range b.Headers {
		out.Headers[name] = redact.Mask
	}
	blocked := s.Blocked(now)
	for name, m := range b.Models {
		x := Mapping{NativeID: m.NativeID, Reasoning: m.Reasoning, InputModalities: m.InputModalities, ContextWindow: m.ContextWindow, MaxTokens: m.MaxTokens, Capabilities: m.Capabilities, AnthropicBeta: m.Betas}
		if p := m.Price; p != (llm.Price{}) {
			x.Price = &price{units(p.Input), units(p.Output), units(p.CacheRead), units(p.CacheWrite), units(p.CacheWrite1h)}
		}
		if block, ok := blocked[name]; ok {
			x.UnavailableUntil = stamp(block.Until)
		}
		out.Models[name] = x
	}
	return out
}

func units(n llm.Nano) float64 { return float64(n) / llm.NanoPerUnit }

// stamp is a moment as the API shows it, nil where there is none.
func stamp(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC().Round(time.Millisecond)
	return &at
}

func (h *Handler) backends(w http.ResponseWriter, r *http.Request) {
	httpserve.WriteJSON(w, http.StatusOK, h.Backends(r.URL.Query().Get("pool")))
}

// Backends returns the backends of a pool, or of all where it is "".
func (h *Handler) Backends(only string) []Backend {
	now, out := h.Now(), []Backend{}
	for _, b := range h.View().Backends {
		if only == "" || b.Pool == only {
			out = append(out, show(b, now))
		}
	}
	return out
}

// find returns the backend that the path names, or answers 404.
func (h *Handler) find(w http.ResponseWriter, r *http.Request) *backend.Backend {
	all, id := h.View().Backends, mux.Vars(r)["id"]
	i := slices.IndexFunc(all, func(b *backend.Backend) bool { return b.Name == id })
	if i < 0 {
		httpserve.WriteError(w, r, http.StatusNotFound, "not_found", "there is no backend of this id")
		return nil
	}
	return all[i]
}

func (h *Handler) backend(w http.ResponseWriter, r *http.Request) {
	if b := h.find(w, r); b != nil {
		httpserve.WriteJSON(w, http.StatusOK, show(b, h.Now()))
	}
}

// reset ends a cooldown or an error.
func (h *Handler) reset(w http.ResponseWriter, r *http.Request) {
	b := h.find(w, r)
	if b == nil {
		return
	}
	if err := audit.Record(r.Context(), h.Ledger.Store(), h.entry(r, audit.ResetBackend, b.Name, "")); err != nil {
		h.refuse(w, r, err)
		return
	}
	b.Reset()
	h.Log.InfoContext(r.Context(), "backend reset", "backend", b.Name, "remote", r.RemoteAddr)
	httpserve.WriteJSON(w, http.StatusOK, show(b, h.Now()))
}

// Pool counts the backends of a pool.
type Pool struct {
	Name            string     `json:"name"`
	Total           int        `json:"total"`
	Enabled         int        `json:"enabled"`
	Healthy         int        `json:"healthy"`
	Cooling         int        `json:"cooling"` // half open ones included
	Error           int        `json:"error"`
	Disabled        int        `json:"disabled"`
	SoonestRecovery *time.Time `json:"soonest_recovery"`
}

func (h *Handler) pools(w http.ResponseWriter, _ *http.Request) {
	httpserve.WriteJSON(w, http.StatusOK, h.Pools())
}

// Pools returns the pools in their order.
func (h *Handler) Pools() []Pool {
	view, now := h.View(), h.Now()
	out := []Pool{}
	for _, name := range view.Table.Pools() {
		p, soonest := Pool{Name: name}, time.Time{}
		for _, b := range view.Backends {
			if b.Pool != name {
				continue
			}
			s := b.Snapshot(now)
			p.Total++
			switch s.Status {
			case backend.Healthy:
				p.Healthy++
			case backend.Cooling, backend.HalfOpen:
				p.Cooling++
			case backend.Error:
				p.Error++
			case backend.Disabled:
				p.Disabled++
			}
			if (s.Status == backend.Cooling || s.Status == backend.Error) && !s.Until.IsZero() && (soonest.IsZero() || s.Until.Before(soonest)) {
				soonest = s.Until
			}
		}
		p.Enabled, p.SoonestRecovery = p.Total-p.Disabled, stamp(soonest)
		out = append(out, p)
	}
	return out
}

// BadQuery says which parameter of a query is not understood, and what was expected.
type BadQuery struct{ error }

// Wrong is a BadQuery.
func Wrong(format string, args ...any) error { return BadQuery{fmt.Errorf(format, args...)} }

// failed answers an error of a query or of the ledger.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, err error) {
	if wrong, ok := errors.AsType[BadQuery](err); ok {
		bad(w, r, wrong)
		return
	}
	if errors.Is(err, ledger.ErrNotFound) {
		httpserve.WriteError(w, r, http.StatusNotFound, "not_found", "there is no request of this id; give the ledger's id, or the x-request-id of the client")
		return
	}
	h.Log.ErrorContext(r.Context(), "reading the ledger failed", "error", err)
	httpserve.WriteError(w, r, http.StatusInternalServerError, "internal", "the ledger could not be read; the log has the details under this request id")
}
