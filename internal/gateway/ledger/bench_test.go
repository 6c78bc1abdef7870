package ledger

import (
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// BenchmarkCommit is what one request costs the writer, in commits of one and of
// sixteen rows, where all are of one client and where each is of another.
func BenchmarkCommit(b *testing.B) {
	for _, batch := range []int{1, 16} {
		for _, clients := range []int{1, 16} {
			b.Run(fmt.Sprintf("batch=%d/clients=%d", batch, clients), func(b *testing.B) { benchCommit(b, batch, clients) })
		}
	}
}

func benchCommit(b *testing.B, batch, clients int) {
	l, _, err := New(b.Context(), Options{
		URL: sqlstore.URL("sqlite:" + filepath.Join(b.TempDir(), "l.db")), Observe: func(time.Duration, int, error) {},
		States: func() map[string][]byte { return nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	price := llm.Price{Input: 1_000_000_000, Output: 4_000_000_000, CacheRead: 100_000_000}
	entries := make([]*entry, b.N)
	for i := range entries {
		now := time.Now()
		entries[i], err = newEntry(&Row{
			ID: l.NextID(now), Status: Completed, HTTPStatus: 200, Model: "deepseek-v4-pro", Backend: "primary-1", Pool: "primary",
			Client: fmt.Sprintf("client-%d", i%clients), Attempts: 1, StartedAt: now, Duration: 3 * time.Millisecond, TTFB: 2 * time.Millisecond,
			Usage: llm.Usage{Input: 186, Output: 40, CacheRead: 64, Source: llm.Reported}, Cost: 352_400,
			Detail: Detail{Dialect: "openai", NativeID: "deepseek-ai/deepseek-v4-pro", Provider: "nvidia", ClientIP: "127.0.0.1", UserAgent: "OpenAI/Python 1.99", Price: &price},
		}, l.zone)
		if err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	before := processorTime(b)
	for batch := range slices.Chunk(entries, batch) {
		l.commit(batch)
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-us/request")
	for _, e := range entries {
		if err := <-e.done; err != nil {
			b.Fatal(err)
		}
	}
}

// processorTime is what the process has used; unlike the clock it does not tell of
// what else the machine does.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
