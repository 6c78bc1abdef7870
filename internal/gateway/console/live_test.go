package console

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
)

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// counted is a feed whose snapshots are counted.
func counted(f *feed, broken *atomic.Bool) *atomic.Int64 {
	var made atomic.Int64
	f.make = func(context.Context) (*snapshot, error) {
		if broken.Load() {
			return nil, errors.New("broken")
		}
		return &snapshot{at: time.Now(), line: []byte{byte('0' + made.Add(1))}}, nil
	}
	return &made
}

// TestViewersShareASnapshot that is made once a second, and only while somebody looks.
func TestViewersShareASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(discard(), time.Now)
		made := counted(&f, &atomic.Bool{})
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := f.run(ctx); err != nil {
				t.Error(err)
			}
		})
		time.Sleep(10 * time.Second)
		if made.Load() != 0 {
			t.Errorf("%d snapshots for nobody", made.Load())
		}
		one, leaveOne, _ := f.join()
		two, leaveTwo, _ := f.join()
		for i := range 5 {
			first, second := string(<-one), string(<-two)
			if want := string(byte('1' + i)); first != want || second != want {
				t.Errorf("second %d: %q and %q", i, first, second)
			}
			if s, err := f.get(ctx); err != nil || string(s.line) != first {
				t.Errorf("a page shows %q, %v", s.line, err)
			}
		}
		if made.Load() != 5 {
			t.Errorf("%d snapshots in 5 frames", made.Load())
		}
		leaveOne()
		leaveTwo()
		time.Sleep(time.Minute)
		if made.Load() > 6 {
			t.Errorf("%d snapshots, though nobody looks", made.Load())
		}
		_, leave, _ := f.join() // and takes nothing in
		time.Sleep(2500 * time.Millisecond)
		leave()
		cancel()
		running.Wait()
	})
}

// TestPagesOfAMomentShareASnapshot without any viewer.
func TestPagesOfAMomentShareASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFeed(discard(), time.Now)
		made := counted(&f, &atomic.Bool{})
		var pages sync.WaitGroup
		for range 10 {
			pages.Go(func() {
				if _, err := f.get(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		pages.Wait()
		if made.Load() != 1 {
			t.Errorf("%d snapshots", made.Load())
		}
		time.Sleep(pace)
		if _, err := f.get(t.Context()); err != nil || made.Load() != 2 {
			t.Errorf("a second later: %d snapshots, %v", made.Load(), err)
		}
	})
}

// TestViewersAreDismissed where no snapshot can be made, and come back.
func TestViewersAreDismissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logs strings.Builder
		f := newFeed(slog.New(slog.NewTextHandler(&logs, nil)), time.Now)
		var broken atomic.Bool
		broken.Store(true)
		counted(&f, &broken)
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := f.run(ctx); err != nil {
				t.Error(err)
			}
		})
		for range 3 {
			frames, leave, _ := f.join()
			if line, ok := <-frames; ok {
				t.Errorf("a frame of nothing: %q", line)
			}
			leave()
		}
		broken.Store(false)
		frames, leave, _ := f.join()
		if line, ok := <-frames; !ok || string(line) != "1" {
			t.Errorf("after it: %q, %v", line, ok)
		}
		leave()
		cancel()
		running.Wait()
		if n := strings.Count(logs.String(), "not kept up to date"); n != 1 {
			t.Errorf("said %d times", n)
		}
	})
}

func TestViewersAreBounded(t *testing.T) {
	f := newFeed(discard(), time.Now)
	for range maxViewers {
		if _, _, ok := f.join(); !ok {
			t.Fatal("too many too early")
		}
	}
	if _, _, ok := f.join(); ok {
		t.Error("one too many")
	}
}

// TestFrame is what the stream says, key by key.
func TestFrame(t *testing.T) {
	s := serve(t, busy())
	snap, err := s.console.look(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Type          string           `json:"type"`
		Pool          []map[string]any `json:"pool"`
		Total         map[string]any   `json:"total"`
		Backends      []map[string]any `json:"backends"`
		UptimeSeconds *float64         `json:"uptime_seconds"`
		Timestamp     time.Time        `json:"timestamp"`
	}
	decoder := json.NewDecoder(strings.NewReader(string(snap.line)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.Type != "snapshot" || len(got.Pool) != 2 || got.Pool[0]["name"] != "primary" || got.Total["total_requests"] != 2.0 || len(got.Backends) != 4 || got.Backends[0]["status"] != "cooling" ||
		got.UptimeSeconds == nil || time.Since(got.Timestamp).Abs() > time.Minute {
		t.Errorf("%s", snap.line)
	}
	if strings.Contains(string(snap.line), "sk-hidden") || strings.Contains(string(snap.line), "\n") {
		t.Errorf("a secret, or two lines: %s", snap.line)
	}
}

func TestCharts(t *testing.T) {
	first := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	got := charts([]ledger.Group{
		{At: first.Add(23 * time.Hour), Sums: ledger.Sums{Requests: 200, Errors: 50, TTFB: 3 * time.Second, TTFBCount: 2}}, {At: first.Add(time.Hour), Sums: ledger.Sums{Requests: 1}},
	}, first)
	for i, name := range []string{"requests", "cost", "tokens", "ttfb"} {
		if got[i].Name != name || len(got[i].Bars) != chartHours {
			t.Fatalf("chart %d: %+v", i, got[i])
		}
	}
	requests, ttfb := got[0], got[3]
	if last := requests.Bars[23]; requests.Max != 200 || last.H != 100 || last.Y != 0 || last.BadH != 25 || last.BadY != 75 || last.Slot+last.SlotWide != chartWidth {
		t.Errorf("the last hour: %+v", last)
	}
	if little, none := requests.Bars[1], requests.Bars[0]; little.H != leastHeight || none.H != 0 {
		t.Errorf("a little: %v, nothing: %v", little.H, none.H)
	}
	if ttfb.Max != 1500 || !ttfb.Bars[23].Known || ttfb.Bars[1].Known || got[1].Max != 0 || got[1].Bars[23].H != 0 {
		t.Errorf("first byte: %+v", ttfb)
	}
}

func TestWords(t *testing.T) {
	for amount, want := range map[float64]string{0: "0", 0.000000012: "0.000000012", 0.00123: "0.00123", 0.5: "0.50", 0.1234: "0.1234", 1234.5: "1,234.50"} {
		if got := money(amount); got != want {
			t.Errorf("%v: %s, want %s", amount, got, want)
		}
	}
	for share, want := range map[float64]string{0: "0 %", 1: "100 %", 0.0001: "<0.1 %", 0.99999: ">99.9 %", 0.1234: "12.3 %"} {
		if got := percent(share); got != want {
			t.Errorf("%v: %s, want %s", share, got, want)
		}
	}
	some := 12_345.0
	for in, want := range map[any]string{0.0: "0.0 ms", 9.96: "10.0 ms", 12.4: "12 ms", 1234.0: "1.23 s", &some: "12.3 s", (*float64)(nil): "—"} {
		if got := duration(in); got != want {
			t.Errorf("%v: %s, want %s", in, got, want)
		}
	}
	for _, c := range []struct {
		begin, length, whole float64
		want                 span
	}{{0, 50, 100, span{0, 50}}, {100, 0, 100, span{100 - leastWidth, leastWidth}}, {0, 0, 0, span{0, leastWidth}}, {50, 500, 100, span{0, 100}}} {
		if got := place(c.begin, c.length, c.whole); got != c.want {
			t.Errorf("%+v: %+v", c, got)
		}
	}
}
