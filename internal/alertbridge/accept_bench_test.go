package alertbridge_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// BenchmarkWebhookAccept is durable accepts per second: concurrent posters over
// HTTP, one fsynced commit or more before each 200, a new group each time, and
// deliveries going on beside it.
func BenchmarkWebhookAccept(b *testing.B) {
	fs := newFeishu(b, feishu.Options{})
	x := startBridge(b, settings{feishu: fs.url, extra: "store: {max_open_cards: 0}"})
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	start := time.Now()
	var n atomic.Int64
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			agent := fmt.Sprintf("agent-%d", n.Add(1))
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+x.Addr()+"/webhook", strings.NewReader(payload(group(agent), down(agent, "warning", start))))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header.Set("Authorization", "Bearer hook-token-value")
			response, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				b.Errorf("status %d", response.StatusCode)
				return
			}
		}
	})
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "accepts/s")
}
