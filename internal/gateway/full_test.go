package gateway_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
)

// TestDiskFull: where rows cannot be stored, traffic goes on or is refused as
// ledger.on_error says; metric and readiness tell of it; and it is over when there is
// space, without a restart.
func TestDiskFull(t *testing.T) {
	for _, c := range []struct {
		mode   string
		status int // of requests meanwhile
		ready  int
	}{
		{"open", http.StatusOK, http.StatusOK},
		{"close", http.StatusServiceUnavailable, http.StatusServiceUnavailable},
	} {
		t.Run(c.mode, func(t *testing.T) {
			p := newProviders(t, provider.Options{})
			config := writeConfig(t, settings{providers: p.url, extra: "ledger: {on_error: " + c.mode + "}"})
			child := startChild(t, config)
			g := &running{t: t}
			get := func(address, path string) answer {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+readKey)
				return g.do(r)
			}
			post := func(stream bool) answer {
				t.Helper()
				r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+child.data+"/v1/chat/completions", strings.NewReader(chat(stream)))
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Authorization", "Bearer "+clientKey)
				return g.do(r)
			}
			fails := func() bool {
				return !strings.Contains(get(child.admin, "/metrics").body, "gateway_ledger_failures_total 0")
			}
			if a := post(false); a.status != http.StatusOK {
				t.Fatalf("%d %s", a.status, a.body)
			}
			var before unix.Rlimit
			if err := unix.Prlimit(child.command.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 200_000, Max: unix.RLIM_INFINITY}, &before); err != nil {
				t.Fatal(err)
			}
			var last answer
			for i := 0; i < 5000 && !fails(); i++ {
				last = post(i%2 == 0)
			}
			for _, stream := range []bool{false, true} {
				a := post(stream)
				if stream && c.mode == "close" {
					if a.status != http.StatusOK || ending(t, a, true) != endCut || !strings.Contains(a.body, "ledger_unavailable") {
						t.Errorf("a stream without its row: %d %s", a.status, a.body)
					}
					continue
				}
				if a.status != c.status || c.status != http.StatusOK && !strings.Contains(a.body, "ledger_unavailable") {
					t.Errorf("%d %s, the last one before %d", a.status, a.body, last.status)
				}
			}
			if a := get(child.data, "/ready"); a.status != c.ready || !strings.Contains(a.body, "full") {
				t.Errorf("/ready answers %d %s", a.status, a.body)
			}
			if err := unix.Prlimit(child.command.Process.Pid, unix.RLIMIT_FSIZE, &before, nil); err != nil {
				t.Fatal(err)
			}
			var id string
			eventually(t, "rows are stored again", func() bool {
				a := post(false)
				id = a.header.Get("X-Gateway-Request")
				return a.status == http.StatusOK && get(child.admin, "/api/admin/requests/"+id).status == http.StatusOK
			})
			eventually(t, "it is ready again", func() bool {
				a := get(child.data, "/ready")
				return a.status == http.StatusOK && !strings.Contains(a.body, "full")
			})
		})
	}
}
