package admin

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Total adds up everything that is kept.
type Total struct {
	Requests         int64   `json:"total_requests"`
	Errors           int64   `json:"total_errors"`
	Tokens           int64   `json:"total_tokens"`
	PromptTokens     int64   `json:"total_prompt_tokens"` // cached ones included
	CompletionTokens int64   `json:"total_completion_tokens"`
	Cost             float64 `json:"total_cost"`
	Currency         string  `json:"currency"`
}

// Hour adds up what began in an hour, of one backend, model and client.
type Hour struct {
	Bucket       time.Time `json:"hour_bucket"`
	Backend      string    `json:"backend_id"` // empty where none answered
	Model        string    `json:"model"`      // "other" where it was not known
	Client       string    `json:"client"`
	Requests     int64     `json:"request_count"`
	Errors       int64     `json:"error_count"` // failed or interrupted
	Tokens       Tokens    `json:"tokens"`
	Cost         float64   `json:"cost"`
	Currency     string    `json:"currency"`
	AvgLatencyMS float64   `json:"avg_latency_ms"`
	TTFTMS       *float64  `json:"ttft_ms"` // average; null where no first byte came
}

// Day adds up what began on a day, in one pool.
type Day struct {
	Date           string  `json:"date"` // of the configured timezone
	Pool           string  `json:"pool"` // empty where no backend answered
	Requests       int64   `json:"request_count"`
	Errors         int64   `json:"error_count"`
	Tokens         Tokens  `json:"tokens"`
	Cost           float64 `json:"cost"`
	Currency       string  `json:"currency"`
	UniqueBackends int64   `json:"unique_backends"`
}

// Cooldown is one cooldown of a backend.
type Cooldown struct {
	StartedAt   time.Time  `json:"started_at"`
	EndedAt     *time.Time `json:"ended_at"` // null while it lasts
	Backend     string     `json:"backend_id"`
	Consecutive int        `json:"consecutive_count"`
	Seconds     float64    `json:"cooldown_seconds"`
	Summary     string     `json:"response_summary"`
}

// Reliability is how a backend did what it was asked.
type Reliability struct {
	Backend        string              `json:"backend_id"`
	Provider       string              `json:"provider"`
	Attempts       int64               `json:"attempts"` // succeeded, or failed by the backend's fault
	Succeeded      int64               `json:"succeeded"`
	Failed         int64               `json:"failed"`
	SuccessRatio   *float64            `json:"success_ratio"`   // of Attempts; null where there were none
	FailureClasses map[llm.Class]int64 `json:"failure_classes"` // those that are not the backend's fault included
	TTFBP50MS      *float64            `json:"ttfb_p50_ms"`
	TTFBP95MS      *float64            `json:"ttfb_p95_ms"`
	LastFailure    *Failure            `json:"last_failure"`
	Since          time.Time           `json:"since"`     // what is counted began after
	Truncated      bool                `json:"truncated"` // the window held more than MaxRequests, and begins later than asked for
	MaxRequests    int                 `json:"max_requests"`
}

// Failure is one failed call.
type Failure struct {
	At         time.Time `json:"at"`
	Request    string    `json:"request_id"` // of the ledger
	Class      llm.Class `json:"class"`
	Remedy     string    `json:"remedy"`
	HTTPStatus int       `json:"http_status,omitempty"`
	Error      string    `json:"error,omitempty"`
}

// bad answers a query that is not understood.
func bad(w http.ResponseWriter, r *http.Request, err error) {
	httpserve.WriteError(w, r, http.StatusBadRequest, "bad_filter", err.Error())
}

// TokensOf counts by bucket.
func TokensOf(u llm.Usage) Tokens {
	return Tokens{u.Input, u.Output, u.CacheRead, u.CacheWrite, u.Reasoning, u.Total()}
}

func (h *Handler) total(w http.ResponseWriter, r *http.Request) {
	if err := strict(r.URL.Query(), nil); err != nil {
		h.failed(w, r, BadQuery{err})
		return
	}
	total, err := h.Total(r.Context())
	if err != nil {
		h.failed(w, r, err)
		return
	}
	httpserve.WriteJSON(w, http.StatusOK, total)
}

// Total adds up everything that is kept.
func (h *Handler) Total(ctx context.Context) (Total, error) {
	s, err := h.Ledger.Total(ctx)
	if err != nil {
		return Total{}, err
	}
	return Total{
		Requests: s.Requests, Errors: s.Errors, Tokens: s.Usage.Total(), PromptTokens: s.Usage.Total() - s.Usage.Output, CompletionTokens: s.Usage.Output,
		Cost: units(s.Cost), Currency: h.View().Currency,
	}, nil
}

func (h *Handler) hourly(w http.ResponseWriter, r *http.Request) {
	lines, next, err := h.Hourly(r.Context(), r.URL.Query())
	answer(h, w, r, lines, next, err)
}

// Hourly returns the hours that the query selects, newest first, and the query of the
// next page; nil where there is none. So do Daily and Cooldowns.
func (h *Handler) Hourly(ctx context.Context, query url.Values) ([]Hour, url.Values, error) {
	type key struct {
		Hour                   time.Time
		Backend, Model, Client string
	}
	currency := h.View().Currency
	return page(h, query, statistic{filters: []string{byBackend, byModel, byClient}, paged: true},
		func(window ledger.Window, k *key) ([]ledger.Hour, error) {
			if k == nil {
				return h.Ledger.Hourly(ctx, window, nil)
			}
			return h.Ledger.Hourly(ctx, window, &ledger.Hour{At: k.Hour, Backend: k.Backend, Model: k.Model, Client: k.Client})
		},
		func(x ledger.Hour) key { return key{x.At, x.Backend, x.Model, x.Client} },
		func(x ledger.Hour) Hour {
			out := Hour{
				Bucket: x.At, Backend: x.Backend, Model: x.Model, Client: x.Client, Requests: x.Requests, Errors: x.Errors, Tokens: TokensOf(x.Usage),
				Cost: units(x.Cost), Currency: currency, AvgLatencyMS: milliseconds(x.Duration / time.Duration(max(x.Requests, 1))),
			}
			if x.TTFBCount > 0 {
				out.TTFTMS = first(x.TTFB / time.Duration(x.TTFBCount))
			}
			return out
		})
}

func (h *Handler) daily(w http.ResponseWriter, r *http.Request) {
	lines, next, err := h.Daily(r.Context(), r.URL.Query())
	answer(h, w, r, lines, next, err)
}

// Daily returns days; see Hourly.
func (h *Handler) Daily(ctx context.Context, query url.Values) ([]Day, url.Values, error) {
	type key struct {
		Date time.Time
		Pool string
	}
	currency := h.View().Currency
	return page(h, query, statistic{filters: []string{byBackend, byClient}, paged: true, daily: true},
		func(window ledger.Window, k *key) ([]ledger.Day, error) {
			if k == nil {
				return h.Ledger.Daily(ctx, window, nil)
			}
			return h.Ledger.Daily(ctx, window, &ledger.Day{Date: k.Date, Pool: k.Pool})
		},
		func(x ledger.Day) key { return key{x.Date, x.Pool} },
		func(x ledger.Day) Day {
			return Day{
				Date: x.Date.Format(time.DateOnly), Pool: x.Pool, Requests: x.Requests, Errors: x.Errors, Tokens: TokensOf(x.Usage), Cost: units(x.Cost),
				Currency: currency, UniqueBackends: x.Backends,
			}
		})
}

func (h *Handler) cooldowns(w http.ResponseWriter, r *http.Request) {
	lines, next, err := h.Cooldowns(r.Context(), r.URL.Query())
	answer(h, w, r, lines, next, err)
}

// Cooldowns returns cooldowns; see Hourly.
func (h *Handler) Cooldowns(ctx context.Context, query url.Values) ([]Cooldown, url.Values, error) {
	type key struct {
		StartedAt time.Time
		Backend   string
	}
	backends := h.View().Backends
	return page(h, query, statistic{filters: []string{byBackend}, paged: true},
		func(window ledger.Window, k *key) ([]ledger.CooldownEvent, error) {
			if k == nil {
				return h.Ledger.Cooldowns(ctx, window, nil)
			}
			return h.Ledger.Cooldowns(ctx, window, &ledger.CooldownEvent{StartedAt: k.StartedAt, Backend: k.Backend})
		},
		func(x ledger.CooldownEvent) key { return key{x.StartedAt, x.Backend} },
		func(x ledger.CooldownEvent) Cooldown {
			return Cooldown{
				StartedAt: x.StartedAt, EndedAt: stamp(x.EndedAt), Backend: x.Backend, Consecutive: x.Consecutive, Seconds: x.Cooldown.Seconds(),
				Summary: clean(x.Summary, x.Backend, backends),
			}
		})
}

// page reads a list whose lines are newest first. read returns the lines of the window
// behind a key, keyOf and show say what a line is marked by and looks like.
func page[Line, Key, Shown any](h *Handler, query url.Values, s statistic,
	read func(ledger.Window, *Key) ([]Line, error), keyOf func(Line) Key, show func(Line) Shown) (out []Shown, next url.Values, err error) {
	window, err := s.window(query, h.Now())
	if err != nil {
		return nil, nil, BadQuery{err}
	}
	behind, err := mark[Key](query)
	if err != nil {
		return nil, nil, BadQuery{err}
	}
	limit := window.Limit
	window.Limit++ // one more tells whether there is a next page
	lines, err := read(window, behind)
	if err == nil && len(lines) > limit {
		lines = lines[:limit]
		next, err = following(query, window, keyOf(lines[limit-1]))
	}
	if err != nil {
		return nil, nil, err
	}
	out = make([]Shown, 0, len(lines))
	for _, line := range lines {
		out = append(out, show(line))
	}
	return out, next, nil
}

// answer answers with a list, and with the way to its next page.
func answer[Shown any](h *Handler, w http.ResponseWriter, r *http.Request, lines []Shown, next url.Values, err error) {
	if err != nil {
		h.failed(w, r, err)
		return
	}
	if next != nil {
		w.Header().Set("Link", "<"+r.URL.Path+"?"+next.Encode()+`>; rel="next"`)
	}
	httpserve.WriteJSON(w, http.StatusOK, lines)
}

// clean is what a backend said, without its key.
func clean(text, name string, all []*backend.Backend) string {
	if i := slices.IndexFunc(all, func(b *backend.Backend) bool { return b.Name == name }); i >= 0 {
		return redact.Text(text, all[i].Key)
	}
	return text
}

func (h *Handler) reliability(w http.ResponseWriter, r *http.Request) {
	lines, err := h.Reliability(r.Context(), r.URL.Query())
	answer(h, w, r, lines, nil, err)
}

// Reliability returns how the backends did in the window of the query.
func (h *Handler) Reliability(ctx context.Context, query url.Values) ([]Reliability, error) {
	s := statistic{filters: []string{byBackend, byModel, byClient}}
	window, err := s.window(query, h.Now())
	if err != nil {
		return nil, BadQuery{err}
	}
	all, from, err := h.Ledger.Reliability(ctx, window)
	if err != nil {
		return nil, err
	}
	out, backends := []Reliability{}, h.View().Backends
	for _, x := range all[:min(len(all), window.Limit)] {
		line := Reliability{
			Backend: x.Backend, Provider: x.Provider, Attempts: x.Succeeded + x.Failed, Succeeded: x.Succeeded, Failed: x.Failed, FailureClasses: x.Classes,
			TTFBP50MS: first(x.TTFB50), TTFBP95MS: first(x.TTFB95), Since: from.UTC(), Truncated: from.After(window.Since), MaxRequests: ledger.MaxReliabilityRows,
		}
		if line.Attempts > 0 {
			ratio := float64(x.Succeeded) / float64(line.Attempts)
			line.SuccessRatio = &ratio
		}
		if f := x.LastFailure; f != nil {
			line.LastFailure = &Failure{At: f.At.UTC(), Request: f.Request.String(), Class: f.Class, Remedy: f.Class.Remedy(), HTTPStatus: f.HTTPStatus, Error: clean(f.Error, x.Backend, backends)}
		}
		out = append(out, line)
	}
	return out, nil
}
