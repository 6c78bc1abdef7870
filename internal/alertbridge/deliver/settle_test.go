package deliver_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	sandbox "github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// parts are a store and a client of the stand-in, without a running bridge.
type parts struct {
	store  *store.Store
	feishu *sandbox.Server
	client *feishu.Client
	config *deliver.Config
}

func newParts(t *testing.T, to feishu.Address) *parts {
	t.Helper()
	fs, err := sandbox.New(sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(fs)
	t.Cleanup(server.Close)
	s, err := store.Open(t.Context(), store.Options{URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "b.db"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	renderer, err := render.New(render.Options{Language: "zh-CN"})
	if err != nil {
		t.Fatal(err)
	}
	client := feishu.NewClient(feishu.AppOptions{ID: "a", Secret: "s", BaseURL: server.URL, Timeout: time.Second, Log: slog.New(slog.DiscardHandler)})
	return &parts{s, fs, client, &deliver.Config{
		Client: client, Renderer: renderer, Timeout: time.Second,
		Receivers: map[string]deliver.Receiver{"r": {Name: "r", App: &to}},
	}}
}

// accept stores a firing alert and returns its leg.
func (p *parts) accept(t *testing.T) (*card.Card, store.Leg) {
	t.Helper()
	now := time.Now().UTC()
	_, err := p.store.Accept(t.Context(), store.Intake{
		Group: map[string]string{"a": "b"}, Channels: p.config.Channels, Receivers: func(map[string]string) []string { return []string{"r"} },
		Notice: card.Notice{At: now, Alerts: []card.Alert{{Fingerprint: "f", Status: card.Firing, StartsAt: now, Labels: map[string]string{"alertname": "A", "severity": "critical"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	legs, err := p.store.Due(t.Context(), time.Now(), nil, 10)
	if err != nil || len(legs) != 1 {
		t.Fatalf("legs %v, %v", legs, err)
	}
	c, err := p.store.Card(t.Context(), legs[0].CardID)
	if err != nil {
		t.Fatal(err)
	}
	return c, legs[0]
}

// TestOldAmbiguousCreate is a create that may have been accepted two hours ago:
// its uuid is forgotten, so the chat's history is asked; where there is none, a
// second card says that it may be one.
func TestOldAmbiguousCreate(t *testing.T) {
	chat, person := feishu.Address{Type: "chat_id", ID: "oc_1"}, feishu.Address{Type: "open_id", ID: "ou_1"}
	for _, c := range []struct {
		name     string
		to       feishu.Address
		accepted bool
		cards    int
		says     string
	}{
		{"found in the chat", chat, true, 1, ""},
		{"not in the chat", chat, false, 2, ""}, // the other message there, and ours
		{"a person has no history", person, true, 2, "可能重复"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newParts(t, c.to)
			shown, leg := p.accept(t)
			content := feishu.Message{Text: "another message"}
			if c.accepted {
				data, err := p.config.Renderer.Card(render.Request{Card: shown, Now: time.Now(), Budget: render.AppBudget})
				if err != nil {
					t.Fatal(err)
				}
				content = feishu.Message{Card: data}
			}
			if _, err := p.client.Create(t.Context(), c.to, content, "another-uuid"); err != nil {
				t.Fatal(err)
			}
			old := time.Now().Add(-2 * time.Hour)
			leg.Sequence = 1
			leg.Op = &store.Op{Kind: "create", Sequence: 1, UUID: card.UUID(shown.ID, "app", "create", 1), Revision: 1, State: card.StateFiring, FirstAt: old, LastAt: old, InDoubt: true}
			if err := p.store.Begin(t.Context(), leg); err != nil {
				t.Fatal(err)
			}
			p.run(t, func() bool {
				legs, err := p.store.Legs(t.Context(), shown.ID)
				return err == nil && legs[0].MessageID != "" && legs[0].Op == nil
			})
			views := p.feishu.Snapshot().Views()
			if len(views) != c.cards || (c.says != "" && !strings.Contains(views[len(views)-1].Text, c.says)) {
				t.Errorf("%d messages, want %d: %+v", len(views), c.cards, views)
			}
		})
	}
}

// run runs a dispatcher until done.
func (p *parts) run(t *testing.T, done func() bool) {
	t.Helper()
	d := deliver.New(p.store, slog.New(slog.DiscardHandler), deliver.NewMetrics(prometheus.NewRegistry()), p.config)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	defer func() { cancel(); <-ended }()
	deadline, tick := time.NewTimer(20*time.Second), time.NewTicker(5*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatal("did not come about")
		case <-tick.C:
		}
	}
}

// TestPatchInDoubtIsWaitedFor is a patch that a killed process had under way:
// the next one is not sent before the first can no longer arrive.
func TestPatchInDoubtIsWaitedFor(t *testing.T) {
	to := feishu.Address{Type: "chat_id", ID: "oc_1"}
	p := newParts(t, to)
	shown, leg := p.accept(t)
	data, err := p.config.Renderer.Card(render.Request{Card: shown, Now: time.Now(), Budget: render.AppBudget})
	if err != nil {
		t.Fatal(err)
	}
	id, err := p.client.Create(t.Context(), to, feishu.Message{Card: data}, "u")
	if err != nil {
		t.Fatal(err)
	}
	last := time.Now()
	leg.MessageID, leg.MessageAt, leg.Sequence = id, last, 2
	leg.Op = &store.Op{Kind: "patch", Sequence: 2, Revision: 1, FirstAt: last, LastAt: last, InDoubt: true}
	if err := p.store.Begin(t.Context(), leg); err != nil {
		t.Fatal(err)
	}
	p.run(t, func() bool { return p.feishu.Counts().Patches == 1 })
	for _, r := range p.feishu.Requests() {
		if r.Op == sandbox.OpPatch && r.At.Before(last.Add(p.config.Timeout)) {
			t.Errorf("patched %s after the one in doubt, within its timeout of %s", r.At.Sub(last), p.config.Timeout)
		}
	}
}

// TestStoredBeforeSent looks into the store while Feishu hangs over the first
// send: a kill at that moment must find the operation there.
func TestStoredBeforeSent(t *testing.T) {
	p := newParts(t, feishu.Address{Type: "chat_id", ID: "oc_1"})
	if err := p.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultHang, Ops: []sandbox.Op{sandbox.OpCreate}, Times: 1}); err != nil {
		t.Fatal(err)
	}
	shown, _ := p.accept(t)
	var op *store.Op
	hung := func() bool {
		for _, r := range p.feishu.Requests() {
			if r.Op != sandbox.OpCreate {
				continue
			}
			legs, err := p.store.Legs(t.Context(), shown.ID)
			if err != nil {
				t.Fatal(err)
			}
			op = legs[0].Op // before the call ends
			return true
		}
		return false
	}
	p.run(t, hung)
	if op == nil || !op.InDoubt || op.UUID != card.UUID(shown.ID, "app", "create", 1) {
		t.Errorf("the store holds %+v", op)
	}
}

// TestResetHeaderWins is a rate limit that ends when Feishu says.
func TestResetHeaderWins(t *testing.T) {
	p := newParts(t, feishu.Address{Type: "chat_id", ID: "oc_1"})
	if err := p.feishu.AddFault(sandbox.Fault{Kind: sandbox.FaultRateLimit, Ops: []sandbox.Op{sandbox.OpCreate}, Times: 1, Reset: 2}); err != nil {
		t.Fatal(err)
	}
	p.accept(t)
	p.run(t, func() bool { return p.feishu.Counts().Creates == 1 })
	var creates []time.Time
	for _, r := range p.feishu.Requests() {
		if r.Op == sandbox.OpCreate {
			creates = append(creates, r.At)
		}
	}
	if len(creates) != 2 || creates[1].Sub(creates[0]) < 2*time.Second {
		t.Errorf("sent at %v, want the second 2s after the first", creates)
	}
}

// TestListedButSentSince is a leg that was listed as due and sent before its
// turn came.
func TestListedButSentSince(t *testing.T) {
	p := newParts(t, feishu.Address{Type: "chat_id", ID: "oc_1"})
	_, leg := p.accept(t)
	d := deliver.New(p.store, slog.New(slog.DiscardHandler), deliver.NewMetrics(prometheus.NewRegistry()), p.config)
	for range 2 {
		d.Step(t.Context(), leg)
	}
	if n := p.feishu.Counts(); n.Creates != 1 || n.Duplicates != 0 {
		t.Errorf("%d creates, %d repeats", n.Creates, n.Duplicates)
	}
}
