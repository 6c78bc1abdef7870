package ping

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// recorder is a receiver that notes what it gets.
type recorder struct {
	mu   sync.Mutex
	got  []string
	body string
	err  error
}

func (r *recorder) note(to string, e Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, fmt.Sprintf("%s %s %d %s", to, e.Kind, e.ExitStatus, e.Run))
	r.body = e.Body
	return r.err
}

func (r *recorder) PingJob(_ context.Context, id string, e Event) error { return r.note("job:"+id, e) }
func (r *recorder) PingCheck(_ context.Context, name string, e Event) error {
	return r.note("check:"+name, e)
}

type rig struct {
	*recorder
	t        *testing.T
	url      string
	logs     *bytes.Buffer
	registry *prometheus.Registry
	handler  *Handler
	stop     func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{recorder: &recorder{}, t: t, logs: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	log := slog.New(slog.NewJSONHandler(r.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	r.handler = New(r.recorder, log, r.registry)
	r.handler.Set(Keys{
		Jobs: "ping-key", IDs: map[string]bool{"coo": true, "lawyer": true},
		Checks: map[string]redact.Secret{"watchdog": "check-key", "other": "other-check-key", "keyless": ""},
	})
	server := httpserve.New(httpserve.Options{Program: "test", Listen: "127.0.0.1:0", Log: log, Registry: r.registry})
	r.handler.Routes(server.Router())
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	r.stop = sync.OnceFunc(func() { _ = server.Stop(context.WithoutCancel(t.Context())) })
	t.Cleanup(r.stop)
	r.url = "http://" + server.Addr()
	return r
}

func (r *rig) do(method, path, body string) *http.Response {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// The URLs are those of https://healthchecks.io/docs/http_api/.
func TestConformance(t *testing.T) {
	const uuid = "728b3763-ea80-4113-9fc0-f8c7b0e2e0c5"
	tests := []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/ping/ping-key/coo", 200, "job:coo success -1 "},
		{"HEAD", "/ping/ping-key/coo", 200, "job:coo success -1 "},
		{"POST", "/ping/ping-key/coo", 200, "job:coo success -1 "},
		{"POST", "/ping/ping-key/coo/start", 200, "job:coo start -1 "},
		{"GET", "/ping/ping-key/coo/start?rid=" + uuid, 200, "job:coo start -1 " + uuid},
		{"GET", "/ping/ping-key/coo?rid=" + uuid, 200, "job:coo success -1 " + uuid},
		{"POST", "/ping/ping-key/coo/fail", 200, "job:coo fail -1 "},
		{"POST", "/ping/ping-key/coo/log", 200, "job:coo log -1 "},
		{"POST", "/ping/ping-key/coo/progress", 200, "job:coo progress -1 "},
		{"GET", "/ping/ping-key/coo/0", 200, "job:coo success 0 "},
		{"GET", "/ping/ping-key/coo/1", 200, "job:coo fail 1 "},
		{"GET", "/ping/ping-key/coo/255", 200, "job:coo fail 255 "},
		{"GET", "/ping/ping-key/coo/256", 400, ""},
		{"GET", "/ping/ping-key/coo/-1", 400, ""},
		{"GET", "/ping/ping-key/coo/stop", 400, ""},
		{"GET", "/ping/ping-key/coo?rid=not%20an%20id", 400, ""},
		{"PUT", "/ping/ping-key/coo", 405, ""},
		{"GET", "/ping/ping-key/nobody", 404, ""},
		{"GET", "/ping/ping-key/start", 404, ""},
		{"GET", "/ping/ping-key/7", 404, ""},
		{"GET", "/ping/ping-key", 404, ""},
		{"GET", "/ping/wrong-key/coo", 404, ""},
		{"GET", "/ping//coo", 404, ""},
		{"POST", "/ping/check-key", 200, "check:watchdog success -1 "},
		{"POST", "/ping/check-key/fail", 200, "check:watchdog fail -1 "},
		{"POST", "/ping/check-key/1", 200, "check:watchdog fail 1 "},
		{"POST", "/ping/check-key/coo", 400, ""},
		{"POST", "/ping/check-key/coo/start", 404, ""},
		{"POST", "/ping/wrong-key", 404, ""},
	}
	r := newRig(t)
	for _, test := range tests {
		t.Run(test.method+" "+test.path, func(t *testing.T) {
			r.got = nil
			resp := r.do(test.method, test.path, "")
			if resp.StatusCode != test.status {
				t.Errorf("status %d, want %d", resp.StatusCode, test.status)
			}
			if got := strings.Join(r.got, ","); got != test.want {
				t.Errorf("received %q, want %q", got, test.want)
			}
		})
	}
	r.stop()
	for _, secret := range []string{"ping-key", "check-key", "wrong-key"} {
		if strings.Contains(r.logs.String(), secret) {
			t.Errorf("%s is in the log", secret)
		}
	}
	if !strings.Contains(r.logs.String(), `"route":"/ping/{key}/{word}"`) {
		t.Error("the log does not name the route")
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWithoutKeysNobodyIsAdmitted(t *testing.T) {
	r := newRig(t)
	r.handler.Set(Keys{IDs: map[string]bool{"coo": true}, Checks: map[string]redact.Secret{"keyless": ""}})
	for _, path := range []string{"/ping/x/coo", "/ping/x", "/ping/%20/coo", "/ping/ping-key/coo"} {
		if got := r.do("GET", path, "").StatusCode; got != 404 {
			t.Errorf("%s: %d", path, got)
		}
	}
	if _, _, ok := r.handler.resolve("", "", ""); ok {
		t.Error("an empty key matches a check without one")
	}
	if _, _, ok := r.handler.resolve("", "coo", ""); ok {
		t.Error("an empty key matches an unset ping key")
	}
	if len(r.got) > 0 {
		t.Errorf("received %v", r.got)
	}
}

func TestBodyIsKeptToItsLimit(t *testing.T) {
	r := newRig(t)
	if got := r.do("POST", "/ping/ping-key/coo/log", strings.Repeat("x", 3*maxBody)).StatusCode; got != 200 {
		t.Fatalf("status %d", got)
	}
	if len(r.body) != maxBody {
		t.Errorf("kept %d bytes", len(r.body))
	}
}

func TestAFloodIsLimitedPerSender(t *testing.T) {
	r := newRig(t)
	limited := 0
	for range burst + 20 {
		resp := r.do("GET", "/ping/ping-key/coo", "")
		if resp.StatusCode == http.StatusTooManyRequests {
			limited++
			if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || n < 1 {
				t.Fatalf("Retry-After %q", resp.Header.Get("Retry-After"))
			}
		}
	}
	if limited == 0 || len(r.got) < burst {
		t.Errorf("%d limited, %d received", limited, len(r.got))
	}
	for _, other := range []string{"/ping/ping-key/lawyer", "/ping/check-key"} {
		if got := r.do("GET", other, "").StatusCode; got != 200 {
			t.Errorf("another sender: %d", got)
		}
	}
	for range burst + 20 {
		r.do("GET", "/ping/check-key", "")
	}
	if got := r.do("GET", "/ping/other-check-key", "").StatusCode; got != 200 {
		t.Errorf("another check: %d", got)
	}
	for range 5 {
		r.do("GET", "/ping/ping-key/nobody-"+strconv.Itoa(time.Now().Nanosecond()), "")
	}
	if len(r.handler.limiters) != 4 {
		t.Errorf("%d senders are kept", len(r.handler.limiters))
	}
}

func TestOKOnlyAfterThePingIsRecorded(t *testing.T) {
	r := newRig(t)
	r.err = errors.New("disk full")
	if got := r.do("GET", "/ping/ping-key/coo", "").StatusCode; got != 503 {
		t.Errorf("status %d", got)
	}
	r.err = ErrUnknown
	if got := r.do("GET", "/ping/ping-key/coo", "").StatusCode; got != 404 {
		t.Errorf("status %d", got)
	}
}
