package deliver_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/openclaw"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// inProcess carries calls to a handler without a network, so that time can be
// simulated.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (response *http.Response, err error) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GotConn != nil {
		trace.GotConn(httptrace.GotConnInfo{})
	}
	defer func() {
		// What a server does to cut a connection.
		if x := recover(); x != nil {
			if failure, ok := x.(error); !ok || !errors.Is(failure, http.ErrAbortHandler) {
				panic(x)
			}
			response, err = nil, errors.New("the connection was cut")
		}
	}()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	return w.Result(), nil
}

// bubble is a dispatcher over a store and the stand-in, in simulated time.
type bubble struct {
	t      *testing.T
	feishu *sandbox.Server
	store  *store.Store
	config *deliver.Config
	file   string
	said   string          // what was sent through OpenClaw, a file
	ctx    context.Context //nolint:containedctx // of the test, without its end, which is outside the bubble
	wake   func()
	end    func()
}

// inBubble runs a test in simulated time. Receivers: chat and person by the app,
// bot by a custom bot, both by the app and then the bot.
func inBubble(t *testing.T, storm deliver.Storm, test func(*bubble)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "b.db")
	said, script := filepath.Join(t.TempDir(), "said"), filepath.Join(t.TempDir(), "openclaw")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\n' \"$8\" >> "+said+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		fs, err := sandbox.New(sandbox.Options{Limits: sandbox.PublishedLimits()})
		if err != nil {
			t.Fatal(err)
		}
		renderer, err := render.New(render.Options{Language: "zh-CN", Grafana: "https://grafana.example", Dashboard: "/d/agent-health"})
		if err != nil {
			t.Fatal(err)
		}
		carrier := inProcess{fs}
		bot := func(token string) *feishu.Bot {
			return feishu.NewBot(feishu.BotOptions{URL: redact.Secret("http://feishu.example/open-apis/bot/v2/hook/" + token), Timeout: 5 * time.Second, Transport: carrier})
		}
		address := func(kind, id string) *feishu.Address { return &feishu.Address{Type: kind, ID: id} }
		b := &bubble{t: t, said: said, ctx: context.WithoutCancel(t.Context()), feishu: fs, file: file, config: &deliver.Config{
			Client:   feishu.NewClient(feishu.AppOptions{ID: "a", Secret: "s", BaseURL: "http://feishu.example", Timeout: 5 * time.Second, Log: slog.New(slog.DiscardHandler), Transport: carrier}),
			Renderer: renderer, Timeout: 5 * time.Second, MaxAge: 24 * time.Hour, Storm: storm,
			Receivers: map[string]deliver.Receiver{
				"chat":   {Name: "chat", App: address("chat_id", "oc_1")},
				"person": {Name: "person", App: address("open_id", "ou_1")},
				"bot":    {Name: "bot", Bot: bot("t1"), BotKey: "t1"},
				"chain": {
					Name: "chain", App: address("chat_id", "oc_3"), Bot: bot("t3"), BotKey: "t3", Failover: true, FailoverAfter: 2 * time.Minute,
					OpenClaw: openclaw.New(openclaw.Options{CLI: script, Target: "oc_3", Timeout: time.Minute}),
				},
				"both": {Name: "both", App: address("chat_id", "oc_2"), Bot: bot("t2"), BotKey: "t2", Failover: true, FailoverAfter: 2 * time.Minute},
			},
		}}
		b.start()
		defer func() {
			b.stop()
			if err := fs.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(b)
	})
}

// start opens the store and runs a dispatcher over it, as a new process would.
func (b *bubble) start() {
	b.t.Helper()
	s, err := store.Open(b.ctx, store.Options{URL: sqlstore.URL("sqlite:" + b.file)})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = s
	d := deliver.New(s, slog.New(slog.DiscardHandler), deliver.NewMetrics(prometheus.NewRegistry()), b.config)
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	b.wake = d.Wake
	b.end = func() {
		cancel()
		<-ended
		if err := s.Close(); err != nil {
			b.t.Error(err)
		}
	}
}

func (b *bubble) stop() { b.end() }

// wait lets time pass.
func (b *bubble) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// group is one alert that is a group of its own.
type group struct {
	name, subject, severity string
}

// groups makes n groups of an alert.
func groups(name, severity string, n int) []group {
	out := make([]group, n)
	for i := range out {
		out[i] = group{name, fmt.Sprintf("%s-%03d", strings.ToLower(name), i), severity}
	}
	return out
}

// tell stores what Alertmanager says of the groups, to one receiver.
func (b *bubble) tell(receiver string, status card.Status, all ...group) {
	b.t.Helper()
	for _, g := range all {
		now := time.Now().UTC()
		a := card.Alert{
			Fingerprint: g.name + g.subject, Status: status, StartsAt: now, Labels: map[string]string{"alertname": g.name, "agent_name": g.subject, "severity": g.severity},
			Annotations: map[string]string{"summary": g.subject + " is down"},
		}
		if status == card.Resolved {
			a.StartsAt, a.EndsAt = now.Add(-time.Minute), now
		}
		_, err := b.store.Accept(b.ctx, store.Intake{
			Group: map[string]string{"alertname": g.name, "agent_name": g.subject}, Channels: b.config.Channels,
			Receivers: func(map[string]string) []string { return []string{receiver} },
			Notice:    card.Notice{At: now, ExternalURL: "http://alertmanager.example", Alerts: []card.Alert{a}},
		})
		if err != nil {
			b.t.Fatal(err)
		}
	}
	if status == card.Resolved {
		b.judge(card.Snapshot{Began: time.Now().UTC().Add(time.Second)})
	}
	b.wake()
}

// judge settles what waits: without a watchdog, a resolve's own word is enough.
func (b *bubble) judge(snapshot card.Snapshot) {
	b.t.Helper()
	ids, err := b.store.OpenCards(b.ctx, true)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.store.Judge(b.ctx, ids, snapshot); err != nil {
		b.t.Fatal(err)
	}
}

// cards are the messages that are no replies, digests apart.
func (b *bubble) cards() (own, digests []sandbox.MessageView) {
	for _, v := range b.feishu.Snapshot().Views() {
		if strings.Contains(v.Title, "告警风暴") {
			digests = append(digests, v)
		} else {
			own = append(own, v)
		}
	}
	return own, digests
}

// within checks that nothing was ever more than Feishu takes.
func (b *bubble) within() {
	b.t.Helper()
	for _, r := range b.feishu.Requests() {
		if r.Fault == "" && (r.Code == 99991400 || r.Code == 230020 || r.Code == 11232 || r.Code == 9499) {
			b.t.Errorf("Feishu refused a call for its limits: %+v", r)
		}
	}
}
