package backend

import (
	"cmp"
	"maps"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// Snapshot is a State at one moment: for people, for the selection, and, but for
// what only means something now, to be kept over a restart.
type Snapshot struct {
	Status   Status
	Reason   llm.Class // of the cooldown or error; "" where there is none
	Detail   string
	Since    time.Time
	Until    time.Time // zero = no end of its own
	Level    int       // cooldowns in a row
	Blocks   map[string]Block
	Inflight int64
	RPMUsed  float64 // share of the limit used in the last minute, 0..1; 0 without limit
	TPMUsed  float64 // likewise
	Health   Health
	TTFB     time.Duration
}

// Block is a model that is kept from the backend.
type Block struct {
	Until time.Time `json:"until"`
	// Length is how long it lasts as a whole.
	Length time.Duration `json:"length,omitempty"`
	Level  int           `json:"level"`
	Class  llm.Class     `json:"class"`
}

// Snapshot returns the state at now.
func (s *State) Snapshot(now time.Time) Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Snapshot{
		Status: s.status(now), Reason: s.reason, Detail: s.detail, Since: s.since, Until: shown(s.until, now), Level: s.level,
		Inflight: s.inflight.Load(), RPMUsed: s.rpm.Used(now), TPMUsed: s.tpm.Used(now), Health: s.health.at(now), TTFB: s.ttfb, Blocks: map[string]Block{},
	}
	for model, b := range s.blocks {
		out.Blocks[model] = Block{Until: shown(b.until, now), Length: b.lasts, Level: b.level, Class: b.class}
	}
	return out
}

// shown is a moment by the clock that shows now, which may have been set since the
// moment was computed; zero stays zero.
func shown(at, now time.Time) time.Time {
	if at.IsZero() {
		return at
	}
	return now.Add(at.Sub(now))
}

// Available reports whether the backend could serve the model at now, limits aside.
// A half open backend counts: it takes a trial.
func (s *State) Available(model string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status(now)
	return (status == Healthy || status == HalfOpen) && !now.Before(s.blocks[model].until)
}

// Proven reports whether the backend serves the model as far as its last answer
// tells. A half open one does not count: its cooldown ran out, which is no evidence
// that it is well.
func (s *State) Proven(model string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status(now) == Healthy && !now.Before(s.blocks[model].until)
}

// Load is what the selection compares.
type Load struct {
	Inflight int64         // calls under way
	Used     float64       // share of the limit of calls or tokens a minute that is used, the larger, 0..1
	TTFB     time.Duration // average; 0 = never called
	Health   Health
}

// Load returns the load at now.
func (s *State) Load(now time.Time) Load {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Load{s.inflight.Load(), max(s.rpm.Used(now), s.tpm.Used(now)), s.ttfb, s.health.at(now)}
}

// Kept is what a restart must know.
type Kept struct {
	Broken   llm.Class        `json:"broken,omitempty"`
	Cooled   bool             `json:"cooled,omitempty"`
	Reason   llm.Class        `json:"reason,omitempty"`
	Detail   string           `json:"detail,omitempty"`
	Since    time.Time        `json:"since,omitzero"`
	Until    time.Time        `json:"until,omitzero"`
	Asked    time.Time        `json:"asked,omitzero"`   // until when the provider asked to be left alone
	Length   time.Duration    `json:"length,omitempty"` // from Since to Until, even where a clock that was set puts them apart otherwise; 0 = as they are
	Level    int              `json:"level,omitempty"`
	Failures int              `json:"failures,omitempty"`
	Blocks   map[string]Block `json:"blocks,omitempty"`
	KeyHash  string           `json:"key_hash,omitempty"` // an error that a key caused ends with that key
}

// Keep returns what is to be kept. Times lose their monotonic part.
func (s *State) Keep() Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := Kept{Broken: s.broken, Cooled: s.cooled, Reason: s.reason, Detail: s.detail, Since: s.since.Round(0), Until: s.until.Round(0), Asked: s.asked.Round(0), Level: s.level, Failures: s.failures}
	for model, b := range s.blocks {
		if k.Blocks == nil {
			k.Blocks = map[string]Block{}
		}
		k.Blocks[model] = Block{b.until.Round(0), b.lasts, b.level, b.class}
	}
	if !k.Until.IsZero() {
		k.Length = s.lasts
	}
	return k
}

// Restore takes over what Keep returned, at now. A wait is never longer than it was
// meant to be, so that a clock that was set back does not lengthen it.
func (s *State) Restore(k Kept, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken, s.cooled, s.reason, s.detail = k.Broken, k.Cooled, k.Reason, k.Detail
	s.level, s.failures = max(k.Level, 0), max(k.Failures, 0)
	s.since = k.Since
	s.lasts = bounded(cmp.Or(k.Length, k.Until.Sub(k.Since)))
	if !k.Until.IsZero() {
		s.until = now.Add(min(k.Until.Sub(now), s.lasts))
	}
	if !k.Asked.IsZero() {
		s.asked = now.Add(min(k.Asked.Sub(now), s.lasts)) // no provider's wait is longer than the cooldown that it causes
	}
	for model, b := range k.Blocks {
		whole := bounded(cmp.Or(b.Length, s.policy.Max))
		s.blocks[model] = block{now.Add(min(b.Until.Sub(now), whole)), whole, max(b.Level, 0), b.Class}
	}
}

// bounded is the length of a wait: not negative, and no longer than any provider may ask for.
func bounded(whole time.Duration) time.Duration { return min(max(whole, 0), llm.MaxWait) }

// KeyChanged ends an error that the old key caused.
func (s *State) KeyChanged() {
	s.mu.Lock()
	broken := s.broken == llm.Auth || s.broken == llm.Quota
	s.refusals = 0
	s.generation++ // what is under way with the old key says nothing about the new one
	s.mu.Unlock()
	if broken {
		s.Reset()
	}
}

// Blocked returns the models kept from the backend at now.
func (s Snapshot) Blocked(now time.Time) map[string]Block {
	out := maps.Clone(s.Blocks)
	maps.DeleteFunc(out, func(_ string, b Block) bool { return !now.Before(b.Until) })
	return out
}
