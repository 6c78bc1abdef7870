package admin

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

const (
	defaultLimit = 50
	maxLimit     = 500
)

// Request is a row of the ledger as the API shows it.
type Request struct {
	ID                string          `json:"id"`
	RequestID         string          `json:"request_id"`
	Status            ledger.Status   `json:"status"`
	HTTPStatus        int             `json:"http_status"`
	Class             llm.Class       `json:"class"`
	Code              string          `json:"code,omitempty"` // of the error that the client got
	Error             string          `json:"error,omitempty"`
	Dialect           string          `json:"dialect"`
	Stream            bool            `json:"stream"`
	Model             string          `json:"model"`
	NativeID          string          `json:"native_id,omitempty"`
	Backend           string          `json:"backend"`
	Provider          string          `json:"provider,omitempty"`
	Pool              string          `json:"pool"`
	Client            string          `json:"client"`
	ClientIP          string          `json:"client_ip,omitempty"`
	UserAgent         string          `json:"user_agent,omitempty"`
	AttemptCount      int             `json:"attempt_count"`
	FailedAttempts    int             `json:"failed_attempts"`
	StartedAt         time.Time       `json:"started_at"`
	DurationMS        float64         `json:"duration_ms"`
	TTFBMS            *float64        `json:"ttfb_ms"`
	QueuedMS          float64         `json:"queued_ms"` // waited for a backend
	Tokens            Tokens          `json:"tokens"`
	UsageSource       llm.UsageSource `json:"usage_source"`
	Cost              float64         `json:"cost"`
	Currency          string          `json:"currency"`
	ProviderRequestID string          `json:"provider_request_id,omitempty"`
}

// Tokens counts tokens by bucket.
type Tokens struct {
	Input      int64 `json:"input"`
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cache_read"`
	CacheWrite int64 `json:"cache_write"`
	Reasoning  int64 `json:"reasoning"` // a part of output
	Total      int64 `json:"total"`
}

// Timeline is a request with its attempts, failed ones before the one that answered.
type Timeline struct {
	Request
	TotalLatencyMS float64   `json:"total_latency_ms"` // of all calls
	ExtraCost      float64   `json:"extra_cost"`       // of the calls that failed
	RequestProblem llm.Class `json:"request_level_problem,omitempty"`
	Attempts       []Attempt `json:"attempts"`
}

// Attempt is one entry of a timeline.
type Attempt struct {
	ID                string         `json:"id"`
	PrimaryRequestID  string         `json:"primary_req_id"`
	Seq               int            `json:"seq"`
	Outcome           ledger.Outcome `json:"outcome"`
	Backend           string         `json:"backend"`
	Pool              string         `json:"pool"`
	Provider          string         `json:"provider"`
	Model             string         `json:"model"`
	NativeID          string         `json:"native_id"`
	SkipReason        string         `json:"skip_reason,omitempty"`
	Emergency         bool           `json:"emergency,omitempty"` // called while cooling, since nothing else was left
	Class             llm.Class      `json:"class,omitempty"`
	Remedy            string         `json:"remedy,omitempty"`
	HTTPStatus        int            `json:"http_status,omitempty"`
	Error             string         `json:"error,omitempty"`
	StartedAt         time.Time      `json:"started_at"`
	DurationMS        float64        `json:"duration_ms"`
	TTFBMS            *float64       `json:"ttfb_ms"`
	Tokens            int64          `json:"tokens"`
	Cost              float64        `json:"cost"`
	ProviderRequestID string         `json:"provider_request_id,omitempty"`
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// first is a time to the first byte, nil where none came.
func first(d time.Duration) *float64 {
	if d == 0 {
		return nil
	}
	ms := milliseconds(d)
	return &ms
}

func (h *Handler) showRequest(r ledger.Row) Request {
	out := Request{
		ID: r.ID.String(), RequestID: r.RequestID, Status: r.Status, HTTPStatus: r.HTTPStatus, Class: r.Class, Code: r.Detail.Code, Error: r.Detail.Error,
		Dialect: r.Detail.Dialect, Stream: r.Detail.Stream, Model: r.Model, NativeID: r.Detail.NativeID, Backend: r.Backend, Provider: r.Detail.Provider,
		Pool: r.Pool, Client: r.Client, ClientIP: r.Detail.ClientIP, UserAgent: r.Detail.UserAgent, AttemptCount: r.Attempts,
		StartedAt: r.StartedAt, DurationMS: milliseconds(r.Duration), TTFBMS: first(r.TTFB), QueuedMS: milliseconds(r.Detail.Queued),
		Tokens:      TokensOf(r.Usage),
		UsageSource: r.Usage.Source, Cost: units(r.Cost), Currency: h.View().Currency, ProviderRequestID: r.Detail.ProviderRequestID,
	}
	if out.RequestID == "" {
		out.RequestID = r.ID.RequestID()
	}
	for _, a := range r.Timeline {
		if a.Outcome == ledger.OutcomeFailed {
			out.FailedAttempts++
		}
	}
	return out
}

func (h *Handler) showTimeline(r ledger.Row) Timeline {
	out := Timeline{Request: h.showRequest(r), Attempts: []Attempt{}}
	entries := r.Timeline
	if len(entries) == 0 && r.Backend != "" {
		entries = []ledger.Attempt{only(r)}
	}
	classes := map[llm.Class]int{}
	for i, a := range entries {
		out.Attempts = append(out.Attempts, Attempt{
			ID: fmt.Sprintf("%s-%d", r.ID, i+1), PrimaryRequestID: r.ID.String(), Seq: i + 1, Outcome: a.Outcome, Backend: a.Backend, Pool: a.Pool,
			Provider: a.Provider, Model: r.Model, NativeID: a.NativeID, SkipReason: a.Skip, Emergency: a.Emergency, Class: a.Class, Remedy: a.Class.Remedy(), HTTPStatus: a.HTTPStatus,
			Error: a.Error, StartedAt: r.StartedAt.Add(a.Started), DurationMS: milliseconds(a.Duration), TTFBMS: first(a.TTFB),
			Tokens: a.Tokens, Cost: units(a.Cost), ProviderRequestID: a.ProviderRequestID,
		})
		out.TotalLatencyMS += milliseconds(a.Duration)
		if a.Outcome == ledger.OutcomeFailed {
			out.ExtraCost += units(a.Cost)
			classes[a.Class]++
		}
	}
	// The same failure everywhere is the request's, not that of the backends.
	for class, n := range classes {
		if len(classes) == 1 && n > 1 && n == out.FailedAttempts && r.Status != ledger.Completed {
			out.RequestProblem = class
		}
	}
	return out
}

// only is the attempt of a request that one backend answered at once: all of it is
// in the row.
func only(r ledger.Row) ledger.Attempt {
	outcome := ledger.OutcomeSucceeded
	if r.Status != ledger.Completed {
		outcome = ledger.OutcomeFailed
	}
	return ledger.Attempt{
		Outcome: outcome, Backend: r.Backend, Pool: r.Pool, Provider: r.Detail.Provider, NativeID: r.Detail.NativeID, Class: r.Class, HTTPStatus: r.HTTPStatus,
		Started: r.Detail.Started, Duration: max(r.Duration-r.Detail.Started, 0), TTFB: r.Detail.TTFBAttempt, Tokens: r.Usage.Total(), Cost: r.Cost,
		ProviderRequestID: r.Detail.ProviderRequestID,
	}
}

func (h *Handler) request(w http.ResponseWriter, r *http.Request) {
	shown, err := h.Timeline(r.Context(), mux.Vars(r)["id"])
	if err != nil {
		h.failed(w, r, err)
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, shown)
}

// Timeline returns the request of the ledger's id, or the newest of the client's.
func (h *Handler) Timeline(ctx context.Context, id string) (Timeline, error) {
	row, err := h.Ledger.Get(ctx, id)
	if err != nil {
		return Timeline{}, err
	}
	return h.showTimeline(row), nil
}

func (h *Handler) requests(w http.ResponseWriter, r *http.Request) {
	rows, next, err := h.Requests(r.Context(), r.URL.Query())
	answer(h, w, r, rows, next, err)
}

// Requests returns the requests that the query selects, newest first, and the query of
// the next page; nil where there is none.
func (h *Handler) Requests(ctx context.Context, query url.Values) (out []Request, next url.Values, err error) {
	filter, err := readFilter(query)
	if err != nil {
		return nil, nil, BadQuery{err}
	}
	filter.Limit++ // one more tells whether there is a next page
	rows, err := h.Ledger.List(ctx, filter)
	if err != nil {
		return nil, nil, err
	}
	if len(rows) == filter.Limit {
		rows = rows[:filter.Limit-1]
		next = maps.Clone(query)
		next.Set("before", rows[len(rows)-1].ID.String())
	}
	out = make([]Request, 0, len(rows))
	for _, row := range rows {
		out = append(out, h.showRequest(row))
	}
	return out, next, nil
}

// readFilter reads the query, all of which is checked.
func readFilter(q url.Values) (f ledger.Filter, err error) {
	if err := strict(q, []string{"status", "model", "backend", "client", "class", "failed_over", "limit", since, "before"}); err != nil {
		return f, err
	}
	f = ledger.Filter{Status: ledger.Status(q.Get("status")), Model: q.Get("model"), Backend: q.Get("backend"), Client: q.Get("client"), Class: llm.Class(q.Get("class")), Limit: defaultLimit}
	if f.Status != "" && !slices.Contains(ledger.Statuses(), f.Status) {
		return f, fmt.Errorf("status: expected one of %v, got %q", ledger.Statuses(), f.Status)
	}
	if f.Class != "" && !slices.Contains(llm.Classes(), f.Class) {
		return f, fmt.Errorf("class: expected one of %v, got %q", llm.Classes(), f.Class)
	}
	if text := q.Get("failed_over"); text != "" {
		if f.FailedOver, err = strconv.ParseBool(text); err != nil {
			return f, fmt.Errorf("failed_over: expected true or false, got %q", text)
		}
	}
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > maxLimit {
			return f, fmt.Errorf("limit: expected 1 to %d, got %q", maxLimit, text)
		}
	}
	if f.Since, err = moment(q, since); err != nil {
		return f, err
	}
	if text := q.Get("before"); text != "" {
		if f.Before, err = ledger.ParseID(text); err != nil {
			return f, fmt.Errorf("before: expected the id of a request, got %q", text)
		}
	}
	return f, nil
}
