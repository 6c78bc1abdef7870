package heartbeat

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEventsTellOfChanges(t *testing.T) {
	r := newRig(t, testConfig, testRoster)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.Addr()+"/api/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer read-token")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	next := func() string {
		buffer := make([]byte, 512)
		n, err := resp.Body.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
	if got := next(); !strings.Contains(got, "changed") {
		t.Fatalf("got %q", got)
	}
	r.do("POST", "/ping/ping-secret/coo", "", "")
	if got := next(); !strings.Contains(got, "changed") {
		t.Errorf("got %q", got)
	}
}

func TestUpstreamIsPinged(t *testing.T) {
	got := make(chan string, 8)
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.URL.Path }), ReadHeaderTimeout: time.Second}
	listener := listen(t)
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	newRig(t, testConfig+fmt.Sprintf("upstream_ping: http://%s/outside-key\n", listener.Addr()), testRoster)
	if path := <-got; path != "/outside-key" {
		t.Errorf("got %s", path)
	}
}
