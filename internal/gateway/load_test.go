package gateway_test

import (
	"io"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// TestFourThousandStreams: so many are held at the same time, none is cut, and each
// ends whole and is in the ledger.
func TestFourThousandStreams(t *testing.T) {
	streams := 4000
	if testing.Short() {
		streams = 400 // with the race detector, where each takes ten times as much
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(min(files.Cur, 1<<20)) / 5; streams > most { // each is four files of this process
		t.Logf("only %d streams: this machine allows %d open files", most, files.Cur)
		streams = most
	}
	p := newProviders(t, provider.Options{})
	text := "one two"
	if err := p.AddAnswer(provider.Answer{Text: &text, Pace: 5}); err != nil {
		t.Fatal(err)
	}
	g := start(t, writeConfig(t, settings{providers: p.url}))
	var group sync.WaitGroup
	var mu sync.Mutex
	ends := map[string]int{}
	for range streams {
		group.Go(func() {
			end := "failed"
			if response, err := g.stream(t.Context()); err == nil {
				body, err := io.ReadAll(response.Body)
				_ = response.Body.Close()
				end = wireChat.ending(t, answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}, true)
			}
			mu.Lock()
			ends[end]++
			mu.Unlock()
		})
	}
	eventually(t, "all are open at the same time", func() bool { return p.Inflight("primary-1") == streams })
	group.Wait()
	if ends[endWhole] != streams || len(ends) != 1 {
		t.Errorf("endings %v", ends)
	}
	var total struct {
		Requests int `json:"total_requests"`
		Errors   int `json:"total_errors"`
	}
	g.get("/api/admin/stats/total", &total)
	if total.Requests != streams || total.Errors != 0 {
		t.Errorf("the ledger has %+v", total)
	}
}
