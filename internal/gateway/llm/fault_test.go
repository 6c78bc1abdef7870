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
		{"absurd", map[string]string{"Retry-After": "1e300"}, maxWait},
		{"reset of what is used up", map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "6m0s", "X-Ratelimit-Remaining-Tokens": "5", "X-Ratelimit-Reset-Tokens": "1h"}, 6 * time.Minute},
		{"the later reset", map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "12ms", "X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "1s"}, time.Second},
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
	f.Add("1", "2", "6m0s")
	f.Add("inf", "Sun, 22 Nov 2026 10:01:00 GMT", "-1s")
	f.Fuzz(func(t *testing.T, ms, after, reset string) {
		h := http.Header{"Retry-After-Ms": {ms}, "Retry-After": {after}, "X-Ratelimit-Remaining-Tokens": {"0"}, "X-Ratelimit-Reset-Tokens": {reset}}
		if d := Wait(h, time.Now()); d < 0 || d > maxWait {
			t.Fatalf("Wait = %s", d)
		}
	})
}
