package ledger

import (
	"fmt"
	"path/filepath"
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
	rows := func(n, from int) []*entry {
		out := make([]*entry, n)
		for i := range out {
			now := time.Now()
			row := &Row{
				ID: l.NextID(now), Status: Completed, HTTPStatus: 200, Model: "deepseek-v4-pro", Backend: "primary-1", Pool: "primary",
				Client: fmt.Sprintf("client-%d", (from+i)%clients), Attempts: 1, StartedAt: now, Duration: 3 * time.Millisecond, TTFB: 2 * time.Millisecond,
				Usage: llm.Usage{Input: 186, Output: 40, CacheRead: 64, Source: llm.Reported}, Cost: 352_400,
				Detail: Detail{Dialect: "openai", NativeID: "deepseek-ai/deepseek-v4-pro", Provider: "nvidia", ClientIP: "127.0.0.1", UserAgent: "OpenAI/Python 1.99", Price: &price},
			}
			if out[i], err = newEntry(row, l.zone); err != nil {
				b.Fatal(err)
			}
		}
		return out
	}
	var took time.Duration
	for i := 0; i < b.N; i += batch {
		entries := rows(batch, i)
		began := time.Now()
		l.commit(entries)
		took += time.Since(began)
		for _, e := range entries {
			if err := <-e.done; err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(took.Microseconds())/float64(b.N), "us/request")
}
