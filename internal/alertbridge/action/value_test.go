package action_test

import (
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/action"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func value() action.Value {
	return action.Value{Kind: render.Silence, For: 4 * time.Hour, Turn: 2, Card: "01M832RJNFKCDKDZVTS02AHADS", Expires: now.Add(time.Hour)}
}

// sent is a value as it comes back from Feishu.
func sent(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func TestValue(t *testing.T) {
	s := action.NewSigner("key")
	good := s.Sign(value())["fleetwatch"]
	parts := strings.Split(good, ".")
	swap := func(i int, text string) string {
		changed := append([]string(nil), parts...)
		changed[i] = text
		return strings.Join(changed, ".")
	}
	for _, c := range []struct {
		name string
		sent map[string]any
		at   time.Time
		err  error
	}{
		{"as signed", map[string]any{"fleetwatch": good}, now, nil},
		{"with more beside it", map[string]any{"fleetwatch": good, "other": 1}, now, nil},
		{"at its end", map[string]any{"fleetwatch": good}, now.Add(time.Hour), action.ErrExpired},
		{"just before its end", map[string]any{"fleetwatch": good}, now.Add(time.Hour - time.Second), nil},
		{"nil", nil, now, action.ErrForged},
		{"another field", map[string]any{"v": good}, now, action.ErrForged},
		{"no text", map[string]any{"fleetwatch": 7}, now, action.ErrForged},
		{"empty", map[string]any{"fleetwatch": ""}, now, action.ErrForged},
		{"a dot", map[string]any{"fleetwatch": "."}, now, action.ErrForged},
		{"no signature", map[string]any{"fleetwatch": good[:strings.LastIndex(good, ".")]}, now, action.ErrForged},
		{"empty signature", map[string]any{"fleetwatch": swap(6, "")}, now, action.ErrForged},
		{"other version", map[string]any{"fleetwatch": swap(0, "v2")}, now, action.ErrForged},
		{"other action", map[string]any{"fleetwatch": swap(1, "end_silence")}, now, action.ErrForged},
		{"longer", map[string]any{"fleetwatch": swap(2, "86400")}, now, action.ErrForged},
		{"other turn", map[string]any{"fleetwatch": swap(3, "3")}, now, action.ErrForged},
		{"other card", map[string]any{"fleetwatch": swap(4, "01M832RJNFKCDKDZVTS02AHADT")}, now, action.ErrForged},
		{"later end", map[string]any{"fleetwatch": swap(5, "9999999999")}, now.Add(2 * time.Hour), action.ErrForged},
		{"other key", sent(action.NewSigner("kez").Sign(value())), now, action.ErrForged},
		{"long", map[string]any{"fleetwatch": strings.Repeat("a", 1<<20) + good}, now, action.ErrForged},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := s.Check(c.sent, c.at)
			if !errors.Is(err, c.err) {
				t.Fatalf("%v, want %v", err, c.err)
			}
			if want := value(); err == nil && got != want {
				t.Errorf("%+v, want %+v", got, want)
			}
		})
	}
}

func TestKeysDiffer(t *testing.T) {
	if a, b := action.NewKey(), action.NewKey(); a == b || len(a) < 32 {
		t.Errorf("keys %d and %d characters long, equal: %t", len(a), len(b), a == b)
	}
}

// FuzzCheck: whatever comes back, only what was signed is taken, and as it was.
func FuzzCheck(f *testing.F) {
	s := action.NewSigner("key")
	f.Add(s.Sign(value())["fleetwatch"], int64(3600))
	f.Add("v1.acknowledge.0.0.x.1.", int64(0))
	f.Add("", int64(-1))
	f.Fuzz(func(t *testing.T, text string, after int64) {
		at := now.Add(time.Duration(after%100000) * time.Second)
		got, err := s.Check(map[string]any{"fleetwatch": text}, at)
		switch {
		case errors.Is(err, action.ErrForged):
			if got != (action.Value{}) {
				t.Errorf("a forged value was read: %+v", got)
			}
		case err == nil || errors.Is(err, action.ErrExpired):
			if again := s.Sign(got); !maps.Equal(again, map[string]string{"fleetwatch": text}) {
				t.Errorf("%q was taken as %q", text, again)
			}
			if (err == nil) != at.Before(got.Expires) {
				t.Errorf("at %s: %v, ends %s", at, err, got.Expires)
			}
		default:
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

// FuzzSigned signs whatever text, as only a holder of the key can: nothing panics,
// and what is read is what was signed.
func FuzzSigned(f *testing.F) {
	s := action.NewSigner("key")
	f.Add("silence", int64(3600), 1, "01X", int64(1))
	f.Add("a.b", int64(-1), -1, "..", int64(-1))
	f.Fuzz(func(t *testing.T, kind string, seconds int64, turn int, id string, expires int64) {
		v := action.Value{Kind: render.ActionKind(kind), For: time.Duration(seconds%1000000) * time.Second, Turn: turn, Card: id, Expires: time.Unix(expires%1e12, 0).UTC()}
		signed := s.Sign(v)
		got, err := s.Check(sent(signed), now)
		if err == nil && !maps.Equal(s.Sign(got), signed) {
			t.Errorf("%+v was read as %+v", v, got)
		}
	})
}
