package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

// unusedFlag registers the flag with which a stand-in of the container stack is
// told that it is not needed.
func unusedFlag(fs *flag.FlagSet) *string {
	return fs.String("unused", "", "`NAMES` of the settings that replace this stand-in; when there are any, it stands idle and says so on its page")
}

// runUnused serves a page that says what replaced the stand-in, and a /health, so
// that it counts as well.
func runUnused(ctx context.Context, address, names, format string, out io.Writer) error {
	log, err := obslog.New(out, "info", format)
	if err != nil {
		return err
	}
	listener, err := listen(ctx, address)
	if err != nil {
		return err
	}
	text := "This stand-in is not used: " + strings.Join(strings.Fields(names), ", ") + " is set.\n"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, "application/json; charset=utf-8", `{"status":"ok","unused":true}`)
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { answer(w, "text/plain; charset=utf-8", text) })
	log.Info("standing idle", "replaced_by", strings.TrimSpace(names))
	return serve(ctx, listener, mux, log, func() error { return nil })
}

func answer(w http.ResponseWriter, kind, text string) {
	w.Header().Set("Content-Type", kind)
	_, _ = io.WriteString(w, text) // a caller that is gone needs no answer
}

// runHealthcheck asks a stand-in's /health, for containers without a shell.
func runHealthcheck(ctx context.Context, fs *flag.FlagSet, args []string, _ io.Writer) error {
	url := fs.String("url", "", "`URL` that must answer 200")
	if ok, err := parse(fs, args); !ok {
		return err
	}
	if err := need(fs, "url"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, *url, nil)
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	if err := response.Body.Close(); err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking for health: HTTP %d", response.StatusCode)
	}
	return nil
}
