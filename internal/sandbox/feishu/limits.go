package feishu

import (
	"math"
	"sync"
	"time"
)

// Limits are how much the stand-in takes. Zero is no limit.
type Limits struct {
	AppPerSecond     int // all API calls of one app
	AppPerMinute     int
	ChatPerSecond    int // messages into one chat, or to one person
	MessagePerSecond int // updates of one message
	BotPerSecond     int // messages through one custom bot
	BotPerMinute     int
}

// PublishedLimits returns the limits that Feishu documents.
func PublishedLimits() Limits {
	return Limits{AppPerSecond: 50, AppPerMinute: 1000, ChatPerSecond: 5, MessagePerSecond: 5, BotPerSecond: 5, BotPerMinute: 100}
}

type window struct {
	span time.Duration
	most int
}

func (l Limits) app() []window {
	return []window{{time.Second, l.AppPerSecond}, {time.Minute, l.AppPerMinute}}
}

func (l Limits) bot() []window {
	return []window{{time.Second, l.BotPerSecond}, {time.Minute, l.BotPerMinute}}
}

func (l Limits) chat() []window { return []window{{time.Second, l.ChatPerSecond}} }

func (l Limits) message() []window { return []window{{time.Second, l.MessagePerSecond}} }

// limiter counts accepted calls by key over sliding windows.
type limiter struct {
	mu   sync.Mutex
	seen map[string][]time.Time
}

// sweepAt is how many keys are held before those without recent calls are dropped.
const sweepAt = 4096

func newLimiter() *limiter { return &limiter{seen: map[string][]time.Time{}} }

// allow counts one call for key, or says how many whole seconds to wait.
func (l *limiter) allow(key string, now time.Time, windows ...window) (wait int, ok bool) {
	longest, limited := time.Duration(0), false
	for _, w := range windows {
		longest = max(longest, w.span)
		limited = limited || w.most > 0
	}
	if !limited {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := dropBefore(l.seen[key], now.Add(-longest))
	for _, w := range windows {
		recent := dropBefore(calls, now.Add(-w.span))
		if w.most > 0 && len(recent) >= w.most {
			l.seen[key] = calls
			return max(1, int(math.Ceil(recent[0].Add(w.span).Sub(now).Seconds()))), false
		}
	}
	l.seen[key] = append(calls, now)
	if len(l.seen) > sweepAt {
		l.sweep(now)
	}
	return 0, true
}

func (l *limiter) sweep(now time.Time) {
	for key, calls := range l.seen {
		if len(dropBefore(calls, now.Add(-time.Minute))) == 0 {
			delete(l.seen, key)
		}
	}
}

// dropBefore returns the calls after the cut; calls are in order of time.
func dropBefore(calls []time.Time, cut time.Time) []time.Time {
	for len(calls) > 0 && !calls[0].After(cut) {
		calls = calls[1:]
	}
	return calls
}
