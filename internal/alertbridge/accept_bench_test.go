package alertbridge_test

import (
	"fmt"
	"io"
	"net/http"
	"slices"
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

// BenchmarkQuietDelivery is one alert at a time, from the answer to its webhook to
// its card: what the bridge itself adds, as the stand-in answers at once.
func BenchmarkQuietDelivery(b *testing.B) {
	const alerts = 60
	var took []time.Duration
	for round := range b.N {
		fs := newFeishu(b, feishu.Options{})
		x := startBridge(b, settings{feishu: fs.url, extra: "storm: {per_receiver_per_minute: 0}"})
		pace := time.NewTicker(250 * time.Millisecond) // within what one chat takes
		for i := range alerts {
			<-pace.C
			agent := fmt.Sprintf("agent-%d-%d", round, i)
			body := payload(group(agent), down(agent, "critical", time.Now()))
			if status, text := x.do(http.MethodPost, "/webhook", "hook-token-value", body); status != http.StatusOK {
				b.Fatalf("webhook: %d %s", status, text)
			}
			accepted := time.Now()
			if _, err := fs.WaitFor(b.Context(), func(s feishu.Snapshot) bool { return len(s.Messages) > i }); err != nil {
				b.Fatal(err)
			}
			took = append(took, time.Since(accepted))
		}
		pace.Stop()
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}
