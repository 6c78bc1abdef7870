package gateway

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
)

// states keeps the state of every backend that was ever configured, by name: over
// reloads in memory, over restarts in the ledger's store.
type states struct {
	log  *slog.Logger
	poke func() // asks for changes to be kept soon

	mu    sync.Mutex
	all   map[string]*backend.State
	keys  map[string]string // hash of the key that each was seen with
	dirty map[string]bool
}

func newStates(log *slog.Logger) *states {
	return &states{log: log, poke: func() {}, all: map[string]*backend.State{}, keys: map[string]string{}, dirty: map[string]bool{}}
}

// get returns the state of a backend, a new one where it was never seen.
func (s *states) get(name string) *backend.State {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.all[name]
	if !ok {
		state = backend.NewState(func() { s.changed(name) })
		s.all[name] = state
	}
	return state
}

func (s *states) changed(name string) {
	s.mu.Lock()
	s.dirty[name] = true
	s.mu.Unlock()
	s.poke()
}

// adopt puts the backends of an assembly into force: their limits, and the end of
// errors whose key is gone.
func (s *states) adopt(a *assembly, now time.Time) {
	for _, b := range a.backends {
		b.Configure(a.policy, b.Disabled, b.RPM, now)
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
func (s *states) restore(kept map[string]json.RawMessage, a *assembly, now time.Time) error {
	for _, b := range a.backends {
		raw, ok := kept[b.Name]
		if !ok {
			continue
		}
		var k backend.Kept
		if err := json.Unmarshal(raw, &k); err != nil {
			return fmt.Errorf("reading the kept state of backend %s: %w", b.Name, err)
		}
		b.Restore(k, now)
		if k.KeyHash != keyHash(b) {
			b.KeyChanged()
		}
		if status := b.Snapshot(now).Status; status != backend.Healthy && status != backend.Disabled {
			s.log.Warn("backend is left alone since before the start", "backend", b.Name, "status", string(status), "reason", string(k.Reason))
		}
	}
	return nil
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
