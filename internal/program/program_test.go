package program_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

type config struct {
	Listen string `yaml:"listen"`
}

func testProgram() program.Program {
	return program.Program{
		Name: "prog", Summary: "A program.",
		New: func(env program.Env) (lifecycle.App, error) {
			file, err := env.RequireConfig("prog")
			if err != nil {
				return nil, err
			}
			return nil, confload.Load(file, &config{})
		},
		Check:     func(context.Context, program.Env) error { return errors.New("checked") },
		HealthURL: func(program.Env) (string, error) { return program.HealthURL("0.0.0.0:1"), nil },
		Commands: []program.Command{{Name: "run", Args: "AGENT", Summary: "Run one.", Example: "prog run coo --wait", Setup: func(fs *flag.FlagSet) program.Run {
			wait := fs.Bool("wait", false, "wait for the end")
			return func(_ context.Context, env program.Env) error {
				if !*wait {
					return program.Exit{Code: 5, Err: errors.New("did not wait for " + strings.Join(env.Args, "+"))}
				}
				return program.Exit{Code: 7}
			}
		}}},
	}
}

func TestMainExitCodes(t *testing.T) {
	t.Chdir(t.TempDir())
	bad := filepath.Join(t.TempDir(), "prog.yaml")
	if err := os.WriteFile(bad, []byte("lisen: 1\nzz: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"-version", 0, "fleetwatch prog"},
		{"serve -version", 0, "fleetwatch prog"},
		{"-h", 0, "prog run coo --wait"},
		{"help", 0, "healthcheck"},
		{"run -h", 0, "wait for the end"},
		{"", 2, "give -config FILE"},
		{"-config none.yaml", 2, "none.yaml"},
		{"-config " + bad, 2, "prog.yaml:1: lisen: unknown key"},
		{"serve -config " + bad, 2, "prog.yaml:2: zz: unknown key"},
		{"serve extra", 2, `unexpected argument "extra"`},
		{"fly", 2, "expected one of serve, check-config, healthcheck, run"},
		{"-fly", 2, "-h lists the flags"},
		{"run -fly", 2, "prog run -h lists"},
		{"-log.level loud check-config", 2, "expected debug"},
		{"check-config", 1, "prog: checked"},
		{"healthcheck", 1, "not healthy"},
		{"run coo", 5, "did not wait for coo"},
		{"run coo --wait", 7, ""},
		{"run --wait coo", 7, ""},
		{"run coo -- --wait", 5, "did not wait for coo+--wait"},
	} {
		var out, err bytes.Buffer
		code := program.Main(t.Context(), testProgram(), strings.Fields(c.args), nil, &out, &err)
		if text := out.String() + err.String(); code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("prog %s: code %d, want %d; output %q, want %q", c.args, code, c.code, text, c.says)
		}
	}
}

func TestHealthURL(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9": "http://127.0.0.1:9/health", "0.0.0.0:9": "http://127.0.0.1:9/health", ":9": "http://127.0.0.1:9/health",
		"[::]:9": "http://127.0.0.1:9/health", "[::1]:9": "http://[::1]:9/health", "host:9": "http://host:9/health",
	} {
		if got := program.HealthURL(listen); got != want {
			t.Errorf("HealthURL(%q) = %q, want %q", listen, got, want)
		}
	}
}
