package heartbeat

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"log/slog"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/slot"
)

// BenchmarkScheduleDelay beats 10,000 jobs without a driver, intervals of one
// to ten minutes, in real time, and reports how late the rows of their slots
// were committed. HEARTBEAT_BENCH_SECONDS sets for how long, 20 by default.
func BenchmarkScheduleDelay(b *testing.B) {
	seconds := 20
	if text := os.Getenv("HEARTBEAT_BENCH_SECONDS"); text != "" {
		if _, err := fmt.Sscan(text, &seconds); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	var roster strings.Builder
	roster.WriteString("classes:\n")
	for minutes := 1; minutes <= 10; minutes++ {
		fmt.Fprintf(&roster, "  c%d: {every: %dm, grace: 1m}\n", minutes, minutes)
	}
	roster.WriteString("defaults: {class: c1}\nagents:\n")
	for i := range 10_000 {
		fmt.Fprintf(&roster, "  - {id: agent-%d, class: c%d}\n", i, 1+i%10)
	}
	for name, text := range map[string]string{
		"fleet.yaml":     roster.String(),
		"heartbeat.yaml": "server: {listen: \"127.0.0.1:0\"}\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		benchmarkRound(b, dir, time.Duration(seconds)*time.Second)
	}
}

func benchmarkRound(b *testing.B, dir string, length time.Duration) {
	app, err := New(Options{ConfigFile: filepath.Join(dir, "heartbeat.yaml"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	if err := app.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	begin := time.Now()
	<-time.After(length)
	end := time.Now()
	// What is due shortly before the end needs its time.
	<-time.After(2 * time.Second)
	reportDelays(b, app, begin, end)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.Context()), 30*time.Second)
	defer cancel()
	if err := app.Stop(ctx); err != nil {
		b.Fatal(err)
	}
}

func reportDelays(b *testing.B, app *App, begin, end time.Time) {
	runs, err := app.ledger.Runs(b.Context(), ledger.Query{Since: begin, Limit: 1_000_000})
	if err != nil {
		b.Fatal(err)
	}
	seen := map[string]int{}
	var late []time.Duration
	for _, r := range runs {
		if !r.ScheduledAt.Before(begin) && r.ScheduledAt.Before(end) && r.Trigger == ledger.TriggerSlot {
			seen[r.ID]++
			late = append(late, r.FinishedAt.Sub(r.ScheduledAt))
		}
	}
	missed, twice := 0, 0
	for _, j := range app.current().jobs {
		for _, at := range slot.Due(j.Schedule, begin, end, slot.CatchUp{Policy: slot.All, Cap: 100}).Run {
			switch seen[ledger.RunID(j.ID, at)] {
			case 0:
				missed++
			case 1:
			default:
				twice++
			}
		}
	}
	if len(late) == 0 {
		b.Fatal("no slot was due")
	}
	slices.Sort(late)
	milliseconds := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	b.ReportMetric(float64(len(late)), "slots")
	b.ReportMetric(milliseconds(late[len(late)/2]), "p50-ms")
	b.ReportMetric(milliseconds(late[len(late)*99/100]), "p99-ms")
	b.ReportMetric(milliseconds(late[len(late)-1]), "max-ms")
	b.ReportMetric(float64(missed), "missed")
	b.ReportMetric(float64(twice), "twice")
}
