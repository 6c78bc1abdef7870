package store_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// crowd are cards that closed long ago, with two ways each, of which every tenth
// still has something to send; and dead letters, audit entries and presses as old.
func crowd(n int) []string {
	many := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, n)
	card := fmt.Sprintf(`{"id":"c' || i || '","receiver":"oncall","group_key":"k' || i || '","group_labels":{"alertname":"%s"},"generation":1,"state":"resolved","revision":1,"alerts":[],"closed_at":"2026-01-01T00:00:00Z"}`, strings.Repeat("x", 700))
	leg := func(channel, pending string) string {
		return `INSERT INTO legs (card_id, channel, lane, rank, pending, pending_since, next_at, body) ` + many + `SELECT 'c' || i, '` + channel + `', 'oncall/` + channel + `', 1, ` + pending + `, 1000, 1000, '{"sent":1}' FROM n`
	}
	return []string{
		`INSERT INTO cards (id, receiver, group_key, generation, state, rank, revision, waiting, opened_at, changed_at, closed_at, body) ` + many + `SELECT 'c' || i, 'oncall', 'k' || i, 1, 'resolved', 1, 1, 0, 1000, 1000, 1000 + i, '` + card + `' FROM n`,
		leg("app", "i % 10 = 0"), leg("webhook", "0"),
		`INSERT INTO dead (id, card_id, receiver, channel, reason, detail, title, created_at) ` + many + `SELECT 'd' || i, 'c' || i, 'oncall', 'app', 'target', '', '', 1000 FROM n`,
		`INSERT INTO audit (id, at, actor, action, target, detail, request_id) ` + many + `SELECT 'a' || i, 1000, '', '', '', '', '' FROM n`,
		`INSERT INTO presses (event_id, at, result) ` + many + `SELECT 'e' || i, 1000, '' FROM n`,
	}
}

// TestSweepLetsOthersIn: what a storm left is deleted in steps, between which alerts
// are taken; and nothing that is still to be sent goes.
func TestSweepLetsOthersIn(t *testing.T) {
	const n = 10_000
	file := filepath.Join(t.TempDir(), "b.db")
	before(t, file, 5, crowd(n)...)
	s := open(t, file)
	swept := make(chan error, 1)
	var wait sync.WaitGroup
	wait.Go(func() {
		old := time.Now().Add(-24 * time.Hour)
		swept <- s.Sweep(t.Context(), old, old)
	})
	accepted := 0
	for done := false; !done; accepted++ {
		fire(t, s, 1, time.Now().UTC())
		select {
		case err := <-swept:
			if done = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	wait.Wait()
	if accepted < 10 {
		t.Errorf("%d notifications were taken while old cards were deleted", accepted)
	}
	all, err := s.Cards(t.Context(), store.Filter{Limit: 2 * n})
	if err != nil || len(all) != n/10+1 {
		t.Errorf("%d cards are left, want %d that wait to be sent, and one that fires, %v", len(all), n/10, err)
	}
	letters, err := s.Dead(t.Context(), true, n)
	entries, aerr := s.Audit(t.Context(), n)
	if err != nil || aerr != nil || len(letters) != 0 || len(entries) != 0 {
		t.Errorf("%d dead letters and %d audit entries are left, %v, %v", len(letters), len(entries), err, aerr)
	}
}
