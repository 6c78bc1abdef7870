package store_test

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

func open(t *testing.T, file string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: sqlstore.URL("sqlite:" + file)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// fire has n groups fire for a receiver with a bot kept back behind its app.
func fire(t *testing.T, s *store.Store, n int, now time.Time) {
	t.Helper()
	for i := range n {
		name := fmt.Sprintf("agent-%04d", i)
		labels := map[string]string{"alertname": "AgentDown", "agent_name": name, "severity": "critical"}
		_, err := s.Accept(t.Context(), store.Intake{
			Group: map[string]string{"alertname": "AgentDown", "agent_name": name}, Receivers: func(map[string]string) []string { return []string{"oncall"} },
			Channels: func(string) store.Channels {
				return store.Channels{Ways: []store.Channel{store.App, store.Webhook}, Failover: true}
			},
			Notice: card.Notice{At: now, Alerts: []card.Alert{{Fingerprint: name, Status: card.Firing, StartsAt: now, Labels: labels}}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func due(t *testing.T, s *store.Store, now time.Time) []store.Leg {
	t.Helper()
	legs, err := s.Due(t.Context(), now, nil, 10000)
	if err != nil {
		t.Fatal(err)
	}
	return legs
}

// TestArmWhatADigestTellsOf: all of the cards, however many, and back.
func TestArmWhatADigestTellsOf(t *testing.T) {
	s, now := open(t, filepath.Join(t.TempDir(), "a.db")), time.Now().UTC()
	const n = 1201
	fire(t, s, n, now)
	if _, err := s.Hold(t.Context(), "oncall", store.App, due(t, s, now), now, now); err != nil {
		t.Fatal(err)
	}
	digest := due(t, s, now)
	if len(digest) != 1 || !digest[0].OfDigest {
		t.Fatalf("%d legs are due, want the digest's", len(digest))
	}
	later := now.Add(2 * time.Minute)
	if err := s.Arm(t.Context(), digest[0].CardID, store.Webhook, later); err != nil {
		t.Fatal(err)
	}
	if early, all := len(due(t, s, now)), len(due(t, s, later)); early != 1 || all != n+1 {
		t.Errorf("%d and then %d legs are due, want 1 and %d", early, all, n+1)
	}
	if err := s.Arm(t.Context(), digest[0].CardID, store.Webhook, now); err != nil {
		t.Fatal(err)
	}
	if all := len(due(t, s, now)); all != n+1 {
		t.Errorf("%d legs are due once armed for now, want %d", all, n+1)
	}
	if err := s.Arm(t.Context(), digest[0].CardID, store.Webhook, later); err != nil {
		t.Fatal(err)
	}
	if all := len(due(t, s, now)); all != n+1 {
		t.Errorf("%d legs are due after being armed for later, want %d still", all, n+1)
	}
	if err := s.Disarm(t.Context(), digest[0].CardID); err != nil {
		t.Fatal(err)
	}
	if left := len(due(t, s, later)); left != 1 {
		t.Errorf("%d legs are due after it was taken back, want the digest's", left)
	}
}

// TestGiveUpADigest: each of its groups leaves a letter and goes the next way, and
// the digest takes nothing in any more.
func TestGiveUpADigest(t *testing.T) {
	now := time.Now().UTC()
	for _, n := range []int{500, 501} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "a.db"))
			fire(t, s, n, now)
			if _, err := s.Hold(t.Context(), "oncall", store.App, due(t, s, now), now, now); err != nil {
				t.Fatal(err)
			}
			leg := due(t, s, now)[0]
			d, err := s.Card(t.Context(), leg.CardID)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.BuryDigest(t.Context(), d, leg, store.Webhook, store.ReasonTarget, "refused", now); err != nil {
				t.Fatal(err)
			}
			letters, err := s.Dead(t.Context(), false, 10000)
			if err != nil || len(letters) != n {
				t.Errorf("%d letters, %v, want %d", len(letters), err, n)
			}
			if legs := due(t, s, now); len(legs) != n || legs[0].Channel != store.Webhook {
				t.Errorf("%d legs are due, want %d at the bot", len(legs), n)
			}
			if d, err = s.Card(t.Context(), d.ID); err != nil || !d.Closed() || d.Digest.Total != n {
				t.Errorf("the digest is %+v, %v", d, err)
			}
		})
	}
}

// before makes a file with the schema of an earlier version and the rows given.
func before(t *testing.T, file string, version int, rows ...string) {
	t.Helper()
	old := fstest.MapFS{}
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) < version {
		t.Fatalf("migrations %v, %v", files, err)
	}
	for _, f := range files[:version] {
		text, err := os.ReadFile(filepath.Clean(f))
		if err != nil {
			t.Fatal(err)
		}
		old[filepath.Base(f)] = &fstest.MapFile{Data: text}
	}
	db, err := sqlstore.Open(t.Context(), sqlstore.Options{URL: sqlstore.URL("sqlite:" + file), Migrations: old})
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(tx *sql.Tx) error {
		for _, row := range rows {
			if _, err := tx.ExecContext(t.Context(), row); err != nil {
				return fmt.Errorf("%s: %w", row, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func oldCard(id, state, closed, more string) string {
	return fmt.Sprintf(`INSERT INTO cards (id, receiver, group_key, generation, state, rank, revision, waiting, changed_at, closed_at, body)
		VALUES ('%[1]s', 'oncall', 'key-%[1]s', 1, '%[2]s', 0, 1, 0, 1000, %[3]s,
		'{"id":"%[1]s","receiver":"oncall","group_key":"key-%[1]s","group_labels":{"alertname":"AgentDown"},"generation":1,"state":"%[2]s","revision":1,"alerts":[]%[4]s,"opened_at":"2026-01-01T00:00:00Z","changed_at":"2026-01-01T00:00:00Z","notified_at":"2026-01-01T00:00:00Z"}')`,
		id, state, closed, more)
}

// TestFromBeforeDigests: cards that waited when the program was replaced are held
// by a digest, but for what may have been sent already.
func TestFromBeforeDigests(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	leg := `INSERT INTO legs (card_id, channel, lane, rank, pending, pending_since, next_at, body) VALUES ('%s', 'app', 'oncall/app', 0, 1, 1000, 1000, '%s')`
	before(t, file, 3,
		oldCard("a", "firing", "NULL", ""), fmt.Sprintf(leg, "a", `{"sent":0,"sequence":0}`),
		oldCard("b", "firing", "NULL", ""), fmt.Sprintf(leg, "b", `{"sent":0,"sequence":1,"op":{"kind":"create","sequence":1,"uuid":"u","revision":1,"state":"firing","first_at":"2026-01-01T00:00:00Z","last_at":"2026-01-01T00:00:00Z","in_doubt":true}}`),
		oldCard("c", "firing", "NULL", ""), fmt.Sprintf(leg, "c", `{"sent":0,"sequence":1,"message_id":"om_1"}`),
	)
	s, now := open(t, file), time.Now().UTC()
	first := map[string]bool{}
	legs := due(t, s, now)
	for _, l := range legs {
		first[l.CardID] = l.First()
	}
	if len(legs) != 3 || !first["a"] || first["b"] || first["c"] {
		t.Fatalf("first messages are %v", first)
	}
	if opened, err := s.Hold(t.Context(), "oncall", store.App, legs, now, now); err != nil || !opened {
		t.Fatal(opened, err)
	}
	left := map[string]bool{}
	for _, l := range due(t, s, now) {
		if !l.OfDigest {
			left[l.CardID] = true
		}
	}
	if len(left) != 2 || left["a"] {
		t.Errorf("%v are due beside the digest", left)
	}
}

// TestHeldFromBefore: of what a digest told of before the ranks, what fires gets
// its card and the digest knows what is open.
func TestHeldFromBefore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.db")
	held := `INSERT INTO legs (card_id, channel, lane, rank, pending, pending_since, next_at, body, digest, mark) VALUES ('%s', 'app', 'oncall/app', 0, 0, 1000, 1000, '{"sent":0,"sequence":0}', 'd', 1)`
	before(t, file, 4,
		oldCard("d", "firing", "NULL", `,"digest":{"lane":"oncall/app","total":3,"carded":0}`), `UPDATE cards SET lane = 'oncall/app' WHERE id = 'd'`,
		oldCard("a", "firing", "NULL", ""), fmt.Sprintf(held, "a"),
		oldCard("b", "silenced", "NULL", ""), fmt.Sprintf(held, "b"),
		oldCard("c", "resolved", "2000", ""), fmt.Sprintf(held, "c"),
	)
	s, now := open(t, file), time.Now().UTC()
	if d, err := s.EndDigest(t.Context(), "d", now, now); err != nil || d.Closed() {
		t.Fatalf("the digest ended, %v", err)
	}
	if n, err := s.Promote(t.Context(), "oncall/app", 10, now); err != nil || n != 1 {
		t.Fatalf("%d cards are due, %v, want what fires", n, err)
	}
	if legs := due(t, s, now); len(legs) != 1 || legs[0].CardID != "a" {
		t.Errorf("due are %+v", legs)
	}
	if v, err := s.DigestView(t.Context(), "d"); err != nil || len(v.Counts) != 1 || v.Counts[0].Firing+v.Counts[0].Silenced+v.Counts[0].Resolved != 3 {
		t.Errorf("the digest tells %+v, %v", v, err)
	}
}
