package httpserve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/metrics"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

type running struct {
	*httpserve.Server
	logs *bytes.Buffer
}

func start(t *testing.T, change func(*httpserve.Options), routes func(*httpserve.Server)) running {
	t.Helper()
	logs := &bytes.Buffer{}
	log, err := obslog.New(logs, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	o := httpserve.Options{Program: "test", Listen: "127.0.0.1:0", Log: log, Registry: metrics.NewRegistry("test"), MaxBody: 1024}
	if change != nil {
		change(&o)
	}
	s := httpserve.New(o)
	if routes != nil {
		routes(s)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return running{s, logs}
}

func (s running) do(t *testing.T, method, path, body string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.Addr()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

func TestRequestIDOnEveryResponse(t *testing.T) {
	s := start(t, nil, func(s *httpserve.Server) {
		s.Router().HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("bug") })
		s.Router().HandleFunc("/only-post", func(http.ResponseWriter, *http.Request) {}).Methods(http.MethodPost)
	})
	for path, status := range map[string]int{"/health": 200, "/ready": 200, "/metrics": 200, "/nothing": 404, "/only-post": 405, "/panic": 500} {
		for given, kept := range map[string]bool{"": false, "abc.DEF:1-2_3": true, "with space": false, strings.Repeat("x", 129): false} {
			response, body := s.do(t, http.MethodGet, path, "", "X-Request-Id", given)
			id := response.Header.Get("X-Request-Id")
			if response.StatusCode != status || (id == given) != kept || (!kept && (len(id) != 30 || !strings.HasPrefix(id, "req_"))) {
				t.Errorf("%s with id %q: status %d, id %q", path, given, response.StatusCode, id)
			}
			if status < 400 {
				continue
			}
			var e struct {
				Error struct{ Code, Message, Request_ID string } //nolint:revive // as on the wire
			}
			if err := json.Unmarshal([]byte(body), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.Request_ID != id {
				t.Errorf("%s: error body %s, %v", path, body, err)
			}
		}
	}
}

func TestLogNamesTheRouteNotThePath(t *testing.T) {
	s := start(t, nil, func(s *httpserve.Server) {
		s.Router().HandleFunc("/ping/{key}", func(http.ResponseWriter, *http.Request) {})
	})
	s.do(t, http.MethodGet, "/ping/hidden-key?also=hidden-key", "", "Authorization", "Bearer hidden-key")
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if logs := s.logs.String(); strings.Contains(logs, "hidden-key") || !strings.Contains(logs, `"route":"/ping/{key}"`) {
		t.Errorf("log: %s", logs)
	}
}

func TestAuth(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { httpserve.WriteJSON(w, 200, "ok") })
	routes := func(s *httpserve.Server) {
		s.Router().Handle("/admin", s.RequireAdmin(ok))
		s.Router().Handle("/read", s.RequireRead(ok))
	}
	guarded := start(t, func(o *httpserve.Options) { o.Admin, o.Read = "admin-token", "read-token" }, routes)
	open := start(t, nil, routes)
	for _, c := range []struct {
		server    running
		path      string
		headers   []string
		want      int
		whatItHas string
	}{
		{guarded, "/admin", nil, 401, "nothing"},
		{guarded, "/admin", []string{"Authorization", "Bearer "}, 401, "an empty token"},
		{guarded, "/admin", []string{"Authorization", "Bearer read-token"}, 401, "the read token"},
		{guarded, "/admin", []string{"Authorization", "Bearer admin-token"}, 200, "the token"},
		{guarded, "/admin", []string{"Authorization", "bearer admin-token"}, 200, "a lower-case scheme"},
		{guarded, "/admin", []string{"Authorization", "Basic eDphZG1pbi10b2tlbg=="}, 200, "basic"},
		{guarded, "/admin", []string{"Authorization", "Basic YWRtaW4tdG9rZW46"}, 401, "the token as user name"},
		{guarded, "/read", []string{"Authorization", "Bearer read-token"}, 200, "the read token"},
		{guarded, "/read", []string{"Authorization", "Bearer admin-token"}, 200, "the admin token"},
		{guarded, "/read", []string{"Authorization", "Bearer other"}, 401, "another token"},
		{open, "/admin", nil, 200, "loopback without a token"},
		{open, "/admin", []string{"Host", "localhost:80"}, 200, "localhost"},
		{open, "/admin", []string{"Host", "evil.example:80"}, 401, "a rebound name"},
	} {
		if response, _ := c.server.do(t, http.MethodGet, c.path, "", c.headers...); response.StatusCode != c.want {
			t.Errorf("%s with %s: %d, want %d", c.path, c.whatItHas, response.StatusCode, c.want)
		}
	}
	if response, _ := open.do(t, http.MethodPost, "/admin", "", "Sec-Fetch-Site", "cross-site"); response.StatusCode != 401 {
		t.Errorf("a cross-site POST without a token: %d, want 401", response.StatusCode)
	}
}

func TestCheckExposure(t *testing.T) {
	for listen, loopback := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "localhost:1": true, "0.0.0.0:1": false, ":1": false, "[::]:1": false, "10.0.0.1:1": false, "host:1": false, "": false} {
		if got := httpserve.CheckExposure(listen, "server.token", "") == nil; got != loopback {
			t.Errorf("CheckExposure(%q) without a token passes: %v, want %v", listen, got, loopback)
		}
		if err := httpserve.CheckExposure(listen, "server.token", "x"); err != nil {
			t.Errorf("CheckExposure(%q) with a token: %v", listen, err)
		}
	}
	if err := httpserve.CheckExposure(":1", "server.token", redact.Secret("")); !strings.Contains(err.Error(), "set server.token") {
		t.Errorf("the refusal does not say what to set: %v", err)
	}
}

func TestBodies(t *testing.T) {
	s := start(t, nil, func(s *httpserve.Server) {
		s.Router().HandleFunc("/json", func(w http.ResponseWriter, r *http.Request) {
			var v struct{ A int }
			if httpserve.ReadJSON(w, r, &v) {
				httpserve.WriteJSON(w, 200, v)
			}
		})
	})
	for body, want := range map[string]int{`{"A":1}`: 200, "": 200, `{"B":1}`: 400, `{"A":`: 400, `{"A":1}{}`: 400, `"` + strings.Repeat("x", 2000) + `"`: 413} {
		if response, text := s.do(t, http.MethodPost, "/json", body); response.StatusCode != want {
			t.Errorf("%.20q: %d %s, want %d", body, response.StatusCode, text, want)
		}
	}
}

func TestReadyNamesEachCheck(t *testing.T) {
	var failing error
	s := start(t, nil, func(s *httpserve.Server) {
		s.Ready("store", func(context.Context) error { return failing })
		s.Ready("receivers", func(context.Context) error { return httpserve.Degraded(errors.New("coo is unconfigured")) })
	})
	if response, body := s.do(t, http.MethodGet, "/ready", ""); response.StatusCode != 200 || !strings.Contains(body, "coo is unconfigured") || !strings.Contains(body, `"store":"ok"`) {
		t.Errorf("degraded: %d %s", response.StatusCode, body)
	}
	failing = errors.New("the disk is full")
	if response, body := s.do(t, http.MethodGet, "/ready", ""); response.StatusCode != 503 || !strings.Contains(body, "the disk is full") {
		t.Errorf("failing: %d %s", response.StatusCode, body)
	}
}

func TestReload(t *testing.T) {
	var outcome error
	s := start(t, func(o *httpserve.Options) {
		o.Admin = "t"
		o.Reload = func(context.Context) error { return outcome }
	}, nil)
	if response, _ := s.do(t, http.MethodPost, "/-/reload", ""); response.StatusCode != 401 {
		t.Errorf("without token: %d", response.StatusCode)
	}
	if response, _ := s.do(t, http.MethodPost, "/-/reload", "", "Authorization", "Bearer t"); response.StatusCode != 200 {
		t.Errorf("good: %d", response.StatusCode)
	}
	outcome = errors.New("p.yaml:3: bad")
	if response, body := s.do(t, http.MethodPost, "/-/reload", "", "Authorization", "Bearer t"); response.StatusCode != 422 || !strings.Contains(body, "p.yaml:3: bad") {
		t.Errorf("bad: %d %s", response.StatusCode, body)
	}
}

func TestPortInUseSaysWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	s := httpserve.New(httpserve.Options{Listen: taken.Addr().String(), Log: slog.New(slog.DiscardHandler), Registry: metrics.NewRegistry("test")})
	if err := s.Start(); err == nil || !strings.Contains(err.Error(), "is in use: stop the program") {
		t.Errorf("port in use: %v", err)
	}
}

func TestStopDrains(t *testing.T) {
	entered, finish := make(chan struct{}, 2), make(chan struct{})
	s := start(t, nil, func(s *httpserve.Server) {
		s.Router().HandleFunc("/slow", func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-finish
			httpserve.WriteJSON(w, 200, "whole")
		})
		s.Router().HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).Flush()
			entered <- struct{}{}
			select {
			case <-s.Draining():
			case <-r.Context().Done():
				t.Error("a stream was cut before the server drained")
			}
		})
	})
	bodies := make(chan string, 2)
	for _, path := range []string{"/slow", "/stream"} {
		go func() { _, body := s.do(t, http.MethodGet, path, ""); bodies <- path + body }()
	}
	<-entered
	<-entered
	stopped := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	go func() { stopped <- s.Stop(ctx) }()
	<-s.Draining()
	close(finish)
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if got := <-bodies + <-bodies; !strings.Contains(got, `/slow"whole"`) {
		t.Errorf("responses after the drain: %q", got)
	}
}
