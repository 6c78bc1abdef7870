package watchdog

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/liveness"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/notify"
)

// tickEvery is how often time alone is looked at.
const tickEvery = time.Second

// Watch keeps the checks.
type Watch struct {
	ledger *ledger.Ledger
	log    *slog.Logger
	now    func() time.Time
	kick   func()

	mu     sync.Mutex
	checks map[string]*entry
}

type entry struct {
	mu    sync.Mutex // held over a change and its commit
	check Check
	state State
}

// New returns a watch without checks; kick is called when there are notices.
func New(l *ledger.Ledger, log *slog.Logger, now func() time.Time, kick func()) *Watch {
	return &Watch{ledger: l, log: log, now: now, kick: kick, checks: map[string]*entry{}}
}

// Set replaces the checks; one that stays keeps its state. Where reading the
// record fails nothing is replaced.
func (w *Watch) Set(ctx context.Context, checks []Check) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := make(map[string]*entry, len(checks))
	for _, check := range checks {
		e := &entry{check: check}
		if old := w.checks[check.Name]; old != nil {
			old.mu.Lock()
			e.state = old.state
			old.mu.Unlock()
		} else {
			var err error
			if e.state, err = w.load(ctx, check.Name); err != nil {
				return err
			}
		}
		next[check.Name] = e
	}
	w.checks = next
	return nil
}

// load returns the saved state of a check; a check seen for the first time is
// saved as new.
func (w *Watch) load(ctx context.Context, name string) (State, error) {
	saved, err := w.ledger.CheckState(ctx, name)
	if err != nil {
		return State{}, err
	}
	now := w.now()
	state := State{Status: StatusNew, Since: now, FirstSeen: now}
	if saved != "" {
		if err := json.Unmarshal([]byte(saved), &state); err != nil {
			return State{}, fmt.Errorf("reading check %s: %w", name, err)
		}
		state.Back = now
		return state, nil
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return State{}, fmt.Errorf("encoding check %s: %w", name, err)
	}
	return state, w.ledger.SaveCheck(ctx, name, string(raw), nil)
}

// Absent tells that heartbeat was off until now.
func (w *Watch) Absent(to time.Time) {
	for _, e := range w.entries() {
		e.mu.Lock()
		e.state.Back = to
		e.mu.Unlock()
	}
}

// Ping takes a ping for a check. It returns after the change is committed.
// Start, log and progress change nothing.
func (w *Watch) Ping(ctx context.Context, name string, kind liveness.Kind, body string) error {
	w.mu.Lock()
	e := w.checks[name]
	w.mu.Unlock()
	if e == nil {
		return fmt.Errorf("check %s is not known", name)
	}
	report := ParseReport(body)
	switch {
	case kind == liveness.PingSuccess:
		return w.change(ctx, e, e.check.pinged)
	case kind == liveness.PingFail && !report.Resolved:
		return w.change(ctx, e, func(s State, now time.Time) (State, change) { return e.check.failed(s, now, report) })
	}
	return nil
}

// Run looks at the clock until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	for {
		w.Tick(ctx)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Tick changes what time alone changes.
func (w *Watch) Tick(ctx context.Context) {
	for _, e := range w.entries() {
		if err := w.change(ctx, e, e.check.ticked); err != nil && ctx.Err() == nil {
			w.log.Error("check not saved, will be tried again", "check", e.check.Name, "error", err)
		}
	}
}

func (w *Watch) change(ctx context.Context, e *entry, step func(State, time.Time) (State, change)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := w.now()
	next, c := step(e.state, now)
	if !c.tell && next.Status == e.state.Status && next.LastPing.Equal(e.state.LastPing) && next.LastFail.Equal(e.state.LastFail) {
		return nil
	}
	raw, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("encoding check %s: %w", e.check.Name, err)
	}
	var notices []ledger.Notice
	if c.tell {
		if notices, err = e.check.notices(next, c, now); err != nil {
			return err
		}
	}
	if err := w.ledger.SaveCheck(ctx, e.check.Name, string(raw), notices); err != nil {
		return err
	}
	e.state = next
	if c.tell {
		w.log.Warn("check changed", "check", e.check.Name, "status", string(next.Status), "reason", c.reason, "notices", len(notices))
		w.kick()
	}
	return nil
}

func (c Check) notices(s State, ch change, now time.Time) ([]ledger.Notice, error) {
	body, err := json.Marshal(c.message(s, ch, now))
	if err != nil {
		return nil, fmt.Errorf("encoding a notice of check %s: %w", c.Name, err)
	}
	out := make([]ledger.Notice, 0, len(c.Notify))
	for _, target := range c.Notify {
		out = append(out, ledger.Notice{Check: c.Name, Target: target, Body: string(body), CreatedAt: now})
	}
	return out, nil
}

// message words a change, in both languages.
func (c Check) message(s State, ch change, now time.Time) notify.Message {
	m := notify.Message{Check: c.Name, State: string(s.Status), Reason: ch.reason, At: now, Repeats: ch.repeats}
	switch ch.reason {
	case reasonMissed:
		m.Title = "● " + c.Name + " 失联 / silent"
		m.Text = "已超过 " + (c.Every + c.Grace).String() + " 没有收到它的心跳，告警链路可能已中断：请检查 Prometheus 与 Alertmanager 是否在运行。\n" +
			"No ping for " + (c.Every + c.Grace).String() + ": the alert path may be broken; check that Prometheus and Alertmanager run."
	case reasonFailed:
		m.Title = "● " + c.Name + " 失败 / failed"
		if ch.repeats {
			m.Title = "● " + c.Name + " 又有告警 / more failed"
		}
		m.Text = s.Detail
		if m.Text == "" {
			m.Text = "收到失败信号，没有说明。\nA failure was reported without details."
		}
	case reasonCleared:
		m.Title = "○ " + c.Name + " 未再报告失败 / no further failure"
		m.Text = "一段时间内没有再收到失败信号（这不等于已确认恢复）。\n" + s.Detail
	default:
		m.Title = "○ " + c.Name + " 恢复 / recovered"
		m.Text = "心跳已恢复。\nPings arrive again."
	}
	return m
}

// Snapshot is one check with its state.
type Snapshot struct {
	Name string `json:"name"`
	State
	Due time.Time `json:"due,omitzero"`
}

// Snapshots returns all checks, by name.
func (w *Watch) Snapshots() []Snapshot {
	var out []Snapshot
	for _, e := range w.entries() {
		e.mu.Lock()
		out = append(out, Snapshot{Name: e.check.Name, State: e.state, Due: e.check.due(e.state)})
		e.mu.Unlock()
	}
	slices.SortFunc(out, func(a, b Snapshot) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func (w *Watch) entries() []*entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([]*entry, 0, len(w.checks))
	for _, e := range w.checks {
		out = append(out, e)
	}
	return out
}
