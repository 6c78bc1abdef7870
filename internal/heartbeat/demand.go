package heartbeat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/job"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/preflight"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/run"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/worklist"
	"github.com/fleetwatch/fleetwatch/internal/program"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// errNoServer says that no server answers at the configured address.
var errNoServer = errors.New("no heartbeat runs here")

// demand is one beat that a person or a crontab asks for.
type demand struct {
	id, reason string
	wait       bool
	timeout    time.Duration
}

// byServer asks the running server for the beat; errNoServer where none runs.
func (d demand) byServer(ctx context.Context, p *plan) (ledger.Run, error) {
	path := "/api/jobs/" + url.PathEscape(d.id) + "/run"
	if d.wait {
		path += "?wait=" + min(d.timeout, maxWait).String()
	}
	var r ledger.Run
	err := p.ask(ctx, http.MethodPost, path, map[string]string{"reason": d.reason}, &r)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return r, d.whyRefused(p, err)
	}
	return r, err
}

// whyRefused tells a server that is starting or listens elsewhere from none.
func (d demand) whyRefused(p *plan, err error) error {
	path, pathErr := p.config.Store.URL.Path()
	if pathErr != nil {
		return pathErr
	}
	busy, lockErr := sqlstore.Served(path)
	switch {
	case lockErr != nil:
		return lockErr
	case busy:
		return fmt.Errorf("a heartbeat serves this store but does not answer at %s: %w", p.config.Server.Listen, err)
	}
	return errNoServer
}

// alone carries out the beat in this process, on the same record. It always
// waits: the driver is a child of this process.
func (d demand) alone(ctx context.Context, p *plan, log *slog.Logger) (ledger.Run, error) {
	record, err := ledger.Open(ctx, p.config.Store.URL)
	if err != nil {
		return ledger.Run{}, err
	}
	defer func() { _ = record.Close() }() // what counts was committed
	book, err := d.bookOf(ctx, p, record)
	if err != nil {
		return ledger.Run{}, err
	}
	exec, err := driver.NewExec(killGrace, p.config.secrets()...)
	if err != nil {
		return ledger.Run{}, err
	}
	survey := preflight.NewSurvey(p.sources(newLines(exec)))
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), killGrace)
		defer cancel()
		if err := survey.Close(closing); err != nil {
			log.Warn("task sources still being read", "error", err)
		}
	}()
	tasks, err := worklist.Open(ctx, record, survey, time.Now)
	if err != nil {
		return ledger.Run{}, err
	}
	executor := run.New(run.Options{
		Ledger: record, Book: book, Work: tasks, Exec: exec, Log: log, Metrics: run.NewMetrics(prometheus.NewRegistry()), KillGrace: killGrace,
		Returned: func(string, time.Time) {}, Changed: func(string) {},
	})
	executor.Set([]job.Job{p.byID[d.id]}, run.Limits{Retries: p.config.Retries.Max, RetryBase: p.config.Retries.Base})
	if err := executor.Recover(ctx, d.id); err != nil {
		return ledger.Run{}, err
	}
	_, done, err := executor.Demand(d.id, d.reason)
	if err != nil {
		return ledger.Run{}, err
	}
	if d.wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	select {
	case ended := <-done:
		return ended, nil
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), 4*killGrace)
	defer cancel()
	if err := executor.Stop(stopping, 0); err != nil {
		return ledger.Run{}, err
	}
	ended := <-done
	return ended, nil
}

// bookOf opens what is known of the one job, adding it to the record if the
// server never saw it.
func (d demand) bookOf(ctx context.Context, p *plan, record *ledger.Ledger) (*liveness.Book, error) {
	saved, err := record.Jobs(ctx)
	if err != nil {
		return nil, err
	}
	known, ok := saved[d.id]
	if !ok {
		now := time.Now().UTC()
		known = ledger.Job{
			ID: d.id, Kind: string(p.byID[d.id].Kind), ScheduleKey: p.keys[d.id], Cursor: now, Facts: liveness.Facts{FirstSeen: now},
		}
		if err := record.SaveJobs(ctx, []ledger.Job{known}); err != nil {
			return nil, err
		}
	}
	book := liveness.NewBook()
	book.Open(d.id, known.Facts)
	return book, nil
}

// ask makes a request of the running server.
func (p *plan) ask(ctx context.Context, method, path string, body, into any) error {
	base := strings.TrimSuffix(program.HealthURL(p.config.Server.Listen), "/health")
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("encoding a request: %w", err)
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, payload)
	if err != nil {
		return fmt.Errorf("asking heartbeat: %w", err)
	}
	token := p.config.Server.Token
	if method == http.MethodGet && !token.IsSet() {
		token = p.config.Server.ReadToken
	}
	if token.IsSet() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking heartbeat: %w", err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading heartbeat's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return beat.ErrorOf(resp.StatusCode, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("reading heartbeat's answer: %w", err)
	}
	return nil
}
