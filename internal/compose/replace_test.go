//go:build e2e_compose

package compose

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/stack"
)

func replaced(t *testing.T, s *suite) {
	s.do(t, []string{"FEISHU_APP_ID=cli_real", "FEISHU_APP_SECRET=real"}, "up", "-d")
	s.await(t, "all services healthy", s.healthy)
	page, err := s.get(t.Context(), s.Layout.URL(stack.SandboxFeishu)+"/")
	if err != nil || !strings.Contains(page, "FEISHU_APP_ID is set") {
		t.Errorf("the stand-in's page says %q, %v", page, err)
	}
	if got := s.environment(t, []string{"FEISHU_APP_ID=cli_real", "FEISHU_APP_SECRET=real"}, "alertbridge"); got["FEISHU_APP_ID"] != "cli_real" || got["FEISHU_BASE_URL"] != "" {
		t.Errorf("alertbridge is given %v", got)
	}
}

// backends puts a provider of one's own in place of the stand-in, and asks it.
func backends(t *testing.T, s *suite) {
	own, err := provider.New(provider.Options{Backends: []string{"own-1"}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = own.Close() }()
	host, err := run(t.Context(), ".", nil, "docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(strings.TrimSpace(host), "0")) // what host.docker.internal is
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: own, ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()
	shipped, err := os.ReadFile(filepath.Join(s.root, "compose", "config", "gateway.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text, _, _ := strings.Cut(string(shipped), "backends:\n")
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	text += fmt.Sprintf("backends:\n  - {name: own, base_url: \"http://host.docker.internal:%s/own-1\", api_key: \"${OWN_KEY}\", models: {deepseek-v4-pro: {}}}\n", port)
	dir := t.TempDir()
	for name, content := range map[string]string{"gateway.yaml": text, "gateway.env": "OWN_KEY=a-key-of-ones-own\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.do(t, []string{"GATEWAY_DIR=" + dir}, "up", "-d")
	s.await(t, "all services healthy", s.healthy)
	key, err := s.secret(t, "client_lawyer")
	if err != nil {
		t.Fatal(err)
	}
	if by := s.ask(t, key); by != "own" {
		t.Errorf("the chat was answered by %q", by)
	}
	asked := own.Requests()
	if len(asked) != 1 || asked[0].Header.Get("Authorization") != "Bearer a-key-of-ones-own" {
		t.Errorf("one's own provider was asked %d times", len(asked))
	}
	page, err := s.get(t.Context(), s.Layout.URL(stack.SandboxProvider)+"/")
	if err != nil || !strings.Contains(page, "GATEWAY_DIR is set") {
		t.Errorf("the stand-in's page says %q, %v", page, err)
	}
}
