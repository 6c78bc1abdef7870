package iplimit

import (
	"strconv"
	"testing"
	"time"
)

func TestAllow(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var l Limiter
	if ok, _ := l.Allow("a", "/", now); !ok {
		t.Fatal("the zero value refuses")
	}
	l.Configure(2, time.Minute)
	for i, c := range []struct {
		ip, route string
		after     time.Duration
		ok        bool
		wait      time.Duration
	}{
		{"a", "/x", 0, true, 0}, {"a", "/x", time.Second, true, 0}, {"a", "/x", 2 * time.Second, false, 58 * time.Second},
		{"a", "/y", 2 * time.Second, true, 0}, {"b", "/x", 2 * time.Second, true, 0}, {"a", "/x", time.Minute, true, 0}, {"a", "/x", 0, true, 0},
	} {
		if ok, wait := l.Allow(c.ip, c.route, now.Add(c.after)); ok != c.ok || wait != c.wait {
			t.Errorf("call %d: %t, %s; want %t, %s", i, ok, wait, c.ok, c.wait)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	now := time.Now()
	var l Limiter
	l.Configure(1, time.Hour)
	for i := range maxKeys {
		l.Allow(strconv.Itoa(i), "/", now)
	}
	l.Allow("one more", "/", now)
	if ok, _ := l.Allow("another", "/", now); ok || len(l.counts) > maxKeys+1 {
		t.Errorf("allowed %t, %d addresses kept", ok, len(l.counts))
	}
}
