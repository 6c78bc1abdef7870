// Package iplimit bounds how often one address may call one route, so that a client
// run wild, or somebody guessing keys, costs little.
//
// Windows are fixed: at a window's border up to twice the limit can pass. Memory is
// bounded by the addresses of one window.
package iplimit

import (
	"sync"
	"time"
)

// maxKeys bounds the table; beyond it, addresses share what is left of the window.
const maxKeys = 100_000

type key struct{ ip, route string }

// Limiter counts calls by address and route. The zero value lets all pass.
type Limiter struct {
	mu     sync.Mutex
	max    int
	window time.Duration
	began  time.Time
	counts map[key]int
}

// Configure sets how many calls pass in a window; 0 = no limit.
func (l *Limiter) Configure(limit int, window time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.max, l.window = limit, window
}

// Allow counts a call. Where it is one too many, wait is when the next may pass.
func (l *Limiter) Allow(ip, route string, now time.Time) (ok bool, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max == 0 {
		return true, 0
	}
	if past := now.Sub(l.began); past >= l.window || past < 0 || l.counts == nil {
		l.began, l.counts = now, map[key]int{}
	}
	k := key{ip, route}
	if _, known := l.counts[k]; !known && len(l.counts) >= maxKeys {
		k = key{}
	}
	if l.counts[k] >= l.max {
		return false, l.window - now.Sub(l.began)
	}
	l.counts[k]++
	return true, 0
}
