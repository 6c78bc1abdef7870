package backend

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/limit"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
)

// maxDoublings bounds the loop below; Max is reached long before.
const maxDoublings = 20

// State is what is known of a backend by calling it. Its methods may be used from
// several goroutines.
//
// Waits are as long as they were meant to be, whatever the clock is set to meanwhile,
// as long as the times that methods are given have a monotonic part.
type State struct {
	inflight atomic.Int64
	changed  func() // told, outside the lock, that Snapshot differs
	freed    func() // told, outside the lock, that a place may have become free

	mu         sync.Mutex
	policy     Policy
	disabled   bool
	broken     llm.Class // why the status is error; "" = it is not
	reason     llm.Class // of the present or last cooldown or error
	detail     string    // what the provider said then
	since      time.Time
	until      time.Time     // of cooling and of error; zero = no end of its own
	lasts      time.Duration // from since to until, where that is not zero
	asked      time.Time     // until when the provider asked to be left alone; zero = it did not
	cooled     bool          // a cooldown has begun and no success has followed
	level      int           // cooldowns in a row
	failures   int           // in a row, of the kind that cools only after several
	refusals   int           // 401 in a row
	generation int64
	trial      bool
	holder     int64 // which trial it is
	blocks     map[string]block
	rpm, tpm   limit.Window
	emergency  limit.Window // calls while cooling
	health     health
	ttfb       time.Duration // moving average
}

// block keeps one model from one backend.
type block struct {
	until time.Time
	lasts time.Duration // as a whole
	level int
	class llm.Class
}

// NewState returns the state of a backend that was never called. changed is told of
// every change that is kept over a restart, freed of every place that may have become
// free for a request that waits; neither may call back.
func NewState(changed, freed func()) *State {
	return &State{changed: changed, freed: freed, blocks: map[string]block{}}
}

// Configure takes over what may change by a reload.
func (s *State) Configure(p Policy, c *Config) {
	s.mu.Lock()
	s.policy, s.disabled = p, c.Disabled
	s.rpm.Configure(c.RPM)
	s.tpm.Configure(c.TPM)
	s.emergency.Configure(max(1, int(p.EmergencyFraction*float64(c.RPM))))
	s.mu.Unlock()
	s.freed()
}

// status is the status at now. A cooldown, or an error with an end, that has
// passed leaves the backend half open.
func (s *State) status(now time.Time) Status {
	switch {
	case s.disabled:
		return Disabled
	case s.broken != "" && (s.until.IsZero() || now.Before(s.until)):
		return Error
	case s.cooled && now.Before(s.until):
		return Cooling
	case s.cooled || s.broken != "":
		return HalfOpen
	default:
		return Healthy
	}
}

// Permit is the leave to make one attempt. Exactly one Release follows.
type Permit struct {
	state      *State
	model      string
	generation int64
	tokens     int64 // taken; what is used is settled
	mark       limit.Mark
	trial      bool
	holder     int64
	emergency  bool
}

// Ask is what an attempt needs.
type Ask struct {
	Model       string
	MaxInflight int   // 0 = no limit
	Tokens      int64 // that it may use, for the limit a minute
}

// Acquire asks for leave to call the backend. Where the answer is a Skip, wait is when
// it could be otherwise; 0 = that is not known.
func (s *State) Acquire(ask Ask, now time.Time) (p Permit, skip Skip, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	status := s.status(now)
	switch status {
	case Disabled:
		return p, SkipDisabled, 0
	case Error:
		return p, SkipError, s.left(now)
	case Cooling:
		return p, SkipCooling, s.left(now)
	case HalfOpen:
		if s.trial {
			return p, SkipTrial, trialWait
		}
	case Healthy:
	}
	if b, blocked := s.blocks[ask.Model]; blocked && now.Before(b.until) {
		return p, SkipModel, b.until.Sub(now)
	}
	if ask.MaxInflight > 0 && s.inflight.Load() >= int64(ask.MaxInflight) {
		return p, SkipFull, fullWait
	}
	if wait := s.tpm.Wait(ask.Tokens, now); wait > 0 {
		return p, SkipTPM, wait
	}
	if _, wait := s.rpm.Take(1, now); wait > 0 {
		return p, SkipRPM, wait
	}
	if status == HalfOpen {
		s.trial = true
		s.holder++
	}
	return s.permit(ask, status == HalfOpen, false, now), "", 0
}

// How long a full backend, or one with its trial under way, is waited for at least
// where nothing tells earlier that a place is free.
const (
	fullWait  = time.Second
	trialWait = time.Second
)

// Emergency asks for leave to call a backend that is cooling, because nothing else is
// left: a few times a minute, and never before the end of a wait that the provider
// itself asked for. until is when its cooldown ends.
func (s *State) Emergency(ask Ask, now time.Time) (p Permit, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status(now) != Cooling || now.Before(s.asked) {
		return p, false
	}
	if b, blocked := s.blocks[ask.Model]; blocked && now.Before(b.until) {
		return p, false
	}
	if ask.MaxInflight > 0 && s.inflight.Load() >= int64(ask.MaxInflight) {
		return p, false
	}
	if s.rpm.Wait(1, now) > 0 || s.tpm.Wait(ask.Tokens, now) > 0 {
		return p, false
	}
	if _, wait := s.emergency.Take(1, now); wait > 0 {
		return p, false
	}
	s.rpm.Use(1, now)
	return s.permit(ask, false, true, now), true
}

func (s *State) permit(ask Ask, trial, emergency bool, now time.Time) Permit {
	s.inflight.Add(1)
	return Permit{
		state: s, model: ask.Model, generation: s.generation, tokens: ask.Tokens, mark: s.tpm.Use(ask.Tokens, now), trial: trial, holder: s.holder, emergency: emergency,
	}
}

// Recovery returns when the backend can be asked for the model again; 0 = nothing
// keeps it from it now, or nobody knows.
func (s *State) Recovery(model string, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.status(now) {
	case Disabled:
		return 0
	case Error, Cooling:
		return s.left(now)
	case HalfOpen, Healthy:
	}
	return max(0, s.blocks[model].until.Sub(now))
}

func (s *State) left(now time.Time) time.Duration {
	if s.until.IsZero() {
		return 0
	}
	return max(s.until.Sub(now), 0)
}

// Release ends the attempt. A trial without an outcome frees its place.
func (p *Permit) Release() {
	s := p.state
	s.inflight.Add(-1)
	if p.trial {
		s.mu.Lock()
		s.endTrial(p)
		s.mu.Unlock()
	}
	s.freed()
}

// Settle says how many tokens the attempt has used; it is called once.
func (p *Permit) Settle(used int64, now time.Time) {
	s := p.state
	s.mu.Lock()
	s.tpm.Settle(p.mark, used-p.tokens, now)
	s.mu.Unlock()
}

func (s *State) endTrial(p *Permit) {
	if p.trial {
		p.trial = false
		s.trial = s.trial && s.holder != p.holder // after a reset another may be the one
	}
}

// Succeeded notes a first meaningful byte, which came at now, ttfb after the call.
func (p *Permit) Succeeded(ttfb time.Duration, now time.Time) {
	s := p.state
	s.mu.Lock()
	if s.ttfb == 0 {
		s.ttfb = ttfb
	}
	s.ttfb += (ttfb - s.ttfb) / 8
	s.health.note(true, now)
	if p.generation != s.generation {
		s.endTrial(p)
		s.mu.Unlock()
		return
	}
	_, blocked := s.blocks[p.model]
	changed := s.cooled || s.broken != "" || blocked || s.level > 0
	delete(s.blocks, p.model)
	s.level, s.failures, s.refusals = 0, 0, 0
	if s.cooled || s.broken != "" {
		s.cooled, s.broken, s.reason, s.detail, s.until, s.asked = false, "", "", "", time.Time{}, time.Time{}
		s.generation++ // the others that were under way at the cooldown stay without say
		p.generation = s.generation
	}
	s.endTrial(p)
	s.mu.Unlock()
	if changed {
		s.changed()
		s.freed()
	}
}

// Failed notes a fault.
func (p *Permit) Failed(f *llm.Fault, now time.Time) {
	s := p.state
	if s.settleFault(p, f, now) {
		s.changed()
	}
}

func (s *State) settleFault(p *Permit, f *llm.Fault, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.endTrial(p)
	return s.failed(p, f, now)
}

// failed changes the state as the class says, and reports whether it did.
func (s *State) failed(p *Permit, f *llm.Fault, now time.Time) bool {
	if f.Class.BlamesBackend() {
		s.health.note(false, now)
	}
	// What an emergency finds out about a backend that is cooling is known.
	if p.generation != s.generation || p.emergency && (f.Class == llm.RateLimit || f.Class.Passing()) {
		return s.extend(f, now)
	}
	switch f.Class {
	case llm.RateLimit:
		s.cool(f, now)
	case llm.Quota:
		end := now.Add(f.Wait)
		if f.Wait == 0 {
			end = nextDay(now, s.policy.Zone)
		}
		s.fail(f, now, end)
	case llm.ServerError, llm.Timeout, llm.Connection, llm.Malformed: // those that pass
		s.failures++
		if s.failures < s.policy.FailuresBeforeError && !p.trial {
			return false
		}
		s.cool(f, now)
	case llm.ModelUnavailable:
		s.block(p.model, f, now)
	case llm.Auth:
		return s.refused(p, f, now)
	case llm.ContentPolicy, llm.InvalidRequest, llm.ClientCancelled:
		return false
	default:
		return false
	}
	return true
}

// refused: a key is blamed after two refusals in a row, or at once where the
// provider says that it is the key; a 403 alone concerns the model.
func (s *State) refused(p *Permit, f *llm.Fault, now time.Time) bool {
	if f.Status == 403 && !f.NamesKey {
		s.block(p.model, f, now)
		return true
	}
	if s.refusals++; f.Status == 401 && s.refusals < 2 {
		return false
	}
	s.fail(f, now, time.Time{})
	return true
}

// extend lets a provider's own later deadline win over the present one.
func (s *State) extend(f *llm.Fault, now time.Time) bool {
	end := now.Add(f.Wait)
	if f.Class != llm.RateLimit || f.Wait == 0 || !s.cooled || s.until.IsZero() || !end.After(s.until) {
		return false
	}
	s.lasts += end.Sub(s.until)
	s.until, s.asked = end, end
	return true
}

// cool begins a cooldown. What the provider asks for wins over our own where it is
// longer, over the cap as well; jitter only ever adds.
func (s *State) cool(f *llm.Fault, now time.Time) {
	wait := max(s.backoff(s.level), f.Wait)
	s.level++
	wait += time.Duration(float64(wait) * s.policy.Jitter * rand.Float64()) //nolint:gosec // spreads retries, guards nothing
	if end := now.Add(wait); !s.cooled || end.After(s.until) {
		s.until = end
	}
	if end := now.Add(f.Wait); f.Wait > 0 && end.After(s.asked) {
		s.asked = end
	}
	s.cooled, s.broken, s.failures, s.lasts = true, "", 0, s.until.Sub(now)
	s.note(f, now)
}

// fail begins the status error; end is zero where only a person, or a new key, ends it.
func (s *State) fail(f *llm.Fault, now, end time.Time) {
	s.broken, s.until, s.cooled, s.lasts = f.Class, end, false, end.Sub(now)
	s.note(f, now)
}

func (s *State) note(f *llm.Fault, now time.Time) {
	s.reason, s.detail, s.since = f.Class, f.Message, now
	s.generation++
}

func (s *State) block(model string, f *llm.Fault, now time.Time) {
	b := s.blocks[model]
	b.lasts = max(s.backoff(b.level), f.Wait)
	b.until, b.class = now.Add(b.lasts), f.Class
	b.level++
	s.blocks[model] = b
}

func (s *State) backoff(level int) time.Duration {
	wait := s.policy.Base
	for range min(level, maxDoublings) {
		if wait >= s.policy.Max {
			break
		}
		wait *= 2
	}
	return min(wait, s.policy.Max)
}

// nextDay is when the day of now ends: so much later, whatever the clock is set to
// meanwhile.
func nextDay(now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	return now.Add(time.Date(y, m, d+1, 0, 0, 0, 0, zone).Sub(now))
}

// Reset ends a cooldown or an error, and forgets what led to it.
func (s *State) Reset() {
	s.mu.Lock()
	s.cooled, s.broken, s.reason, s.detail, s.until, s.asked = false, "", "", "", time.Time{}, time.Time{}
	s.level, s.failures, s.refusals, s.trial = 0, 0, 0, false
	clear(s.blocks)
	s.generation++
	s.mu.Unlock()
	s.changed()
	s.freed()
}

// Probed notes what a free probe has found. A key that was refused and is taken again
// leaves the error for one trial; nothing else that was learnt by calling is undone.
func (s *State) Probed(p Probe, now time.Time) {
	s.mu.Lock()
	s.health.probed(p, now)
	back := p == ProbeTaken && s.broken == llm.Auth && !s.disabled
	if back {
		s.broken, s.cooled, s.until, s.refusals = "", true, now, 0
		s.generation++
	}
	s.mu.Unlock()
	if back {
		s.changed()
		s.freed()
	}
}
