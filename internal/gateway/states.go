package gateway

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
)

// states keeps the state of every backend that was ever configured, by name: over
// reloads in memory, over restarts in the ledger's store.
type states struct {
	log   *slog.Logger
	now   func() time.Time
	poke  func() // asks for changes to be kept soon
	freed func() // told of every place that may have become free

	mu    sync.Mutex
	all   map[string]*backend.State
	keys  map[string]string // hash of the key that each was seen with
	dirty map[string]bool
	moved map[string]bool                 // whose cooldown may have begun, changed or ended
	open  map[string]ledger.CooldownEvent // cooldowns that have not ended
}

func newStates(log *slog.Logger, now func() time.Time) *states {
	return &states{log: log, now: now, poke: func() {}, freed: func() {}, all: map[string]*backend.State{}, keys: map[string]string{}, dirty: map[string]bool{}, moved: map[string]bool{}, open: map[string]ledger.CooldownEvent{}}
}

// get returns the state of a backend, a new one where it was never seen.
func (s *states) get(name string) *backend.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.all[name]
	if !ok {
		state = backend.NewState(func() { s.changed(name) }, func() { s.freed() })
		s.all[name] = state
	}
	return state
}

func (s *states) changed(name string) {
	s.mu.Lock()
	s.dirty[name], s.moved[name] = true, true
	s.mu.Unlock()
	s.poke()
}

// adopt puts the backends of an assembly into force: their limits, and the end of
// errors whose key is gone.
func (s *states) adopt(a *assembly) {
	for _, b := range a.backends {
		b.Configure(a.policy, &b.Config)
		hash := keyHash(b)
		s.mu.Lock()
		before, seen := s.keys[b.Name]
		s.keys[b.Name] = hash
		s.mu.Unlock()
		if seen && before != hash {
			b.KeyChanged()
		}
	}
}

// restore takes over what an earlier process kept. It comes after adopt.
func (s *states) restore(kept map[string]json.RawMessage, a *assembly, now time.Time) {
	for _, b := range a.backends {
		raw, ok := kept[b.Name]
		if !ok {
			continue
		}
		var k backend.Kept
		if err := json.Unmarshal(raw, &k); err != nil {
			s.log.Warn("the kept state of a backend cannot be read, and is left out", "backend", b.Name, "error", err)
			continue
		}
		b.Restore(k, now)
		s.follow(b.Name, b.Keep(), now)
		if k.KeyHash != keyHash(b) {
			b.KeyChanged()
		}
		if status := b.Snapshot(now).Status; status != backend.Healthy && status != backend.Disabled {
			s.log.Warn("backend is left alone since before the start", "backend", b.Name, "status", string(status), "reason", string(k.Reason))
		}
	}
}

// take returns the states that have changed since the last call, as JSON by name.
// Where storing them fails they stay in memory, and are stored with their next change.
func (s *states) take() map[string][]byte {
	s.mu.Lock()
	if len(s.dirty) == 0 {
		s.mu.Unlock()
		return nil
	}
	names := s.dirty
	s.dirty = map[string]bool{}
	s.mu.Unlock()
	out := map[string][]byte{}
	for name := range names {
		k := s.get(name).Keep()
		s.mu.Lock()
		k.KeyHash = s.keys[name]
		s.mu.Unlock()
		raw, err := json.Marshal(k)
		if err != nil {
			s.log.Error("encoding the state of a backend failed", "backend", name, "error", err)
			continue
		}
		out[name] = raw
	}
	return out
}

// events returns the cooldowns and errors that have begun, changed or ended since the
// last call.
func (s *states) events() []ledger.CooldownEvent {
	s.mu.Lock()
	if len(s.moved) == 0 {
		s.mu.Unlock()
		return nil
	}
	moved := s.moved
	s.moved = map[string]bool{}
	s.mu.Unlock()
	var out []ledger.CooldownEvent
	for name := range moved {
		out = append(out, s.follow(name, s.get(name).Keep(), s.now())...)
	}
	return out
}

// follow tells what has become of a backend's cooldown.
func (s *states) follow(name string, k backend.Kept, now time.Time) []ledger.CooldownEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []ledger.CooldownEvent
	before, was := s.open[name]
	aside := k.Cooled || k.Broken != ""
	if was && (!aside || !before.StartedAt.Equal(k.Since)) {
		before.EndedAt = now
		if aside && k.Since.Before(now) {
			before.EndedAt = k.Since
		}
		if before.EndedAt.Before(before.StartedAt) { // the clock was set back meanwhile
			before.EndedAt = before.StartedAt
		}
		out = append(out, before)
		delete(s.open, name)
	}
	if aside {
		e := ledger.CooldownEvent{Backend: name, StartedAt: k.Since, Consecutive: k.Level, Summary: string(k.Reason) + ": " + k.Detail}
		if !k.Until.IsZero() {
			e.Cooldown = k.Length
		}
		s.open[name] = e
		out = append(out, e)
	}
	return out
}
