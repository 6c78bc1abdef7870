package llm

import (
	"net/http"
	"testing"
	"time"
)

func TestWait(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		header map[string]string
		want   time.Duration
	}{
		{"nothing", nil, 0},
		{"milliseconds win", map[string]string{"Retry-After-Ms": "250", "Retry-After": "9"}, 250 * time.Millisecond},
		{"seconds", map[string]string{"Retry-After": "2"}, 2 * time.Second},
		{"fraction", map[string]string{"Retry-After": "0.5"}, 500 * time.Millisecond},
		{"date", map[string]string{"Retry-After": "Sun, 22 Nov 2026 10:01:00 GMT"}, time.Minute},
		{"past date", map[string]string{"Retry-After": "Sun, 22 Nov 2026 09:01:00 GMT"}, 0},
		{"negative", map[string]string{"Retry-After": "-3"}, 0},
		{"not a number", map[string]string{"Retry-After": "NaN"}, 0},
		{"absurd", map[string]string{"Retry-After": "1e300"}, MaxWait},
		{"reset of what is used up", map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "6m0s", "X-Ratelimit-Remaining-Tokens": "5", "X-Ratelimit-Reset-Tokens": "1h"}, 6 * time.Minute},
		{"the later reset", map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "12ms", "X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "1s"}, time.Second},
		{"an Anthropic reset", map[string]string{"Anthropic-Ratelimit-Input-Tokens-Remaining": "0", "Anthropic-Ratelimit-Input-Tokens-Reset": "2026-11-22T10:00:42Z", "Anthropic-Ratelimit-Requests-Remaining": "9", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T11:00:00Z"}, 42 * time.Second},
		{"the later of them", map[string]string{"Anthropic-Ratelimit-Tokens-Remaining": "0", "Anthropic-Ratelimit-Tokens-Reset": "2026-11-22T18:01:00+08:00", "Anthropic-Ratelimit-Output-Tokens-Remaining": "0", "Anthropic-Ratelimit-Output-Tokens-Reset": "2026-11-22T10:00:30Z"}, time.Minute},
		{"one that is over", map[string]string{"Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T09:59:00Z"}, 0},
		{"one that is absurd", map[string]string{"Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "9999-11-22T09:59:00Z"}, MaxWait},
		{"that of a subscription", map[string]string{"Anthropic-Ratelimit-Unified-Status": "rejected", "Anthropic-Ratelimit-Unified-Reset": "1795345200"}, time.Hour},
		{"without its status", map[string]string{"Anthropic-Ratelimit-Unified-Reset": "1795345200"}, time.Hour},
		{"not reached", map[string]string{"Anthropic-Ratelimit-Unified-Status": "allowed_warning", "Anthropic-Ratelimit-Unified-Reset": "1795345200"}, 0},
		{"a date by the provider's clock", map[string]string{"Date": "Sun, 22 Nov 2026 08:00:00 GMT", "Retry-After": "Sun, 22 Nov 2026 08:01:00 GMT"}, time.Minute},
		{"a reset by the provider's clock", map[string]string{"Date": "Sun, 22 Nov 2026 12:00:00 GMT", "Anthropic-Ratelimit-Requests-Remaining": "0", "Anthropic-Ratelimit-Requests-Reset": "2026-11-22T12:00:42Z"}, 42 * time.Second},
		{"a subscription by the provider's clock", map[string]string{"Date": "Sun, 22 Nov 2026 10:59:00 GMT", "Anthropic-Ratelimit-Unified-Reset": "1795345200"}, time.Minute},
		{"a date that is none", map[string]string{"Date": "today", "Retry-After": "Sun, 22 Nov 2026 10:01:00 GMT"}, time.Minute},
		{"an absurd one", map[string]string{"Anthropic-Ratelimit-Unified-Reset": "9223372036854775807"}, MaxWait},
		{"one before time began", map[string]string{"Anthropic-Ratelimit-Unified-Reset": "-9223372036854775808"}, 0},
		{"retry-after wins", map[string]string{"Retry-After": "3", "Anthropic-Ratelimit-Unified-Reset": "1795345200"}, 3 * time.Second},
		{"reset of nothing", map[string]string{"X-Ratelimit-Reset-Requests": "6m0s"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			for k, v := range c.header {
				h.Set(k, v)
			}
			if got := Wait(h, now); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzWait(f *testing.F) {
	f.Add("1", "2", "6m0s", "2026-11-22T10:00:42Z", "1795345200")
	f.Add("inf", "Sun, 22 Nov 2026 10:01:00 GMT", "-1s", "0000-01-01T00:00:00Z", "-9223372036854775808")
	f.Fuzz(func(t *testing.T, ms, after, reset, anthropic, unified string) {
		h := http.Header{
			"Retry-After-Ms": {ms}, "Retry-After": {after}, "X-Ratelimit-Remaining-Tokens": {"0"}, "X-Ratelimit-Reset-Tokens": {reset},
			"Anthropic-Ratelimit-Tokens-Remaining": {"0"}, "Anthropic-Ratelimit-Tokens-Reset": {anthropic}, "Anthropic-Ratelimit-Unified-Reset": {unified},
		}
		if d := Wait(h, time.Now()); d < 0 || d > MaxWait {
			t.Fatalf("Wait = %s", d)
		}
	})
}
