package llm

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Fault is a failed attempt, as the dialect reads it.
type Fault struct {
	Class    Class
	Status   int           // HTTP status of the provider; 0 where none came
	Code     string        // the provider's own code, where it gave one
	Message  string        // for people; may hold text of the provider
	NamesKey bool          // the provider blames the key itself, not one model
	Wait     time.Duration // how long the provider asks to be left alone; 0 = it does not say
}

func (f *Fault) Error() string {
	if f.Status == 0 {
		return fmt.Sprintf("%s: %s", f.Class, f.Message)
	}
	return fmt.Sprintf("%s: HTTP %d: %s", f.Class, f.Status, f.Message)
}

// Step is what one frame of a stream means.
type Step struct {
	Content int  // bytes of content, reasoning or tool calls; 0 = nothing meaningful
	End     bool // the dialect's own end marker
	Drop    bool // asked for by the gateway, not for the client
}

// MaxWait bounds what a provider may ask for: beyond it is a misread header.
const MaxWait = 32 * 24 * time.Hour

// Wait reads how long the provider asks to be left alone: retry-after-ms,
// retry-after (seconds or an HTTP date), else the latest of the rate limit resets
// whose remaining count is 0, of either dialect. Sources: the official SDKs' retry
// code, https://platform.openai.com/docs/guides/rate-limits and
// https://docs.anthropic.com/en/api/rate-limits.
//
// Moments in it are meant by the provider's clock, which its Date tells; now is ours,
// for answers without one.
func Wait(h http.Header, now time.Time) time.Duration {
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 {
		return bounded(ms * float64(time.Millisecond))
	}
	if text := h.Get("Retry-After"); text != "" {
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 {
			return bounded(seconds * float64(time.Second))
		}
		if at, err := http.ParseTime(text); err == nil && at.After(now) {
			return until(at, now)
		}
	}
	var longest time.Duration
	spent := func(remaining string) bool { return strings.TrimSpace(h.Get(remaining)) == "0" }
	for _, limit := range []string{"Requests", "Tokens"} {
		if d, err := time.ParseDuration(h.Get("X-Ratelimit-Reset-" + limit)); err == nil && spent("X-Ratelimit-Remaining-"+limit) {
			longest = max(longest, min(d, MaxWait))
		}
	}
	for _, limit := range []string{"Requests", "Tokens", "Input-Tokens", "Output-Tokens"} {
		if at, err := time.Parse(time.RFC3339, h.Get("Anthropic-Ratelimit-"+limit+"-Reset")); err == nil && spent("Anthropic-Ratelimit-"+limit+"-Remaining") {
			longest = max(longest, until(at, now))
		}
	}
	// The limit of subscriptions has no count: its status says whether it is reached.
	if status := h.Get("Anthropic-Ratelimit-Unified-Status"); status == "" || status == "rejected" {
		if at, err := strconv.ParseInt(h.Get("Anthropic-Ratelimit-Unified-Reset"), 10, 64); err == nil && at > now.Unix() {
			longest = max(longest, bounded(float64(at-now.Unix())*float64(time.Second)))
		}
	}
	return longest
}

// until is the time from now on, at most MaxWait; negative where it is over.
func until(at, now time.Time) time.Duration { return min(at.Sub(now), MaxWait) }

func bounded(d float64) time.Duration {
	if !(d < float64(MaxWait)) {
		return MaxWait
	}
	return time.Duration(d)
}
