package deliver

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
)

// Sizes of the dispatcher.
const (
	pageSize   = 64
	idle       = time.Minute     // longest time without looking at the store
	storeRetry = 2 * time.Second // after the store failed
	wakeGap    = 5 * time.Millisecond
	probeEvery = time.Minute
)

// How many calls are under way at once: of the app, of each custom bot, of all that
// OpenClaw sends, and of lanes that are no longer configured, which only end. What
// hangs keeps no worker from the others.
const (
	appWorkers      = 8
	botWorkers      = 2
	openClawWorkers = 4
	removedWorkers  = 8
)

// Dispatcher sends what is pending. Make it with New, run it with Run.
type Dispatcher struct {
	store   *store.Store
	log     *slog.Logger
	metrics *Metrics
	config  atomic.Pointer[Config]
	gates   *gates
	wake    chan struct{}

	mu       sync.Mutex
	inFlight map[flight]bool
	trouble  error // why Feishu does not take our calls; nil while it does

	neared time.Time // when nearer last looked, by Run's goroutine alone
}

type flight struct {
	card    string
	channel store.Channel
}

// New makes a dispatcher. Nothing is sent before Run.
func New(s *store.Store, log *slog.Logger, m *Metrics, c *Config) *Dispatcher {
	d := &Dispatcher{
		store: s, log: log, metrics: m, gates: newGates(), wake: make(chan struct{}, 1), inFlight: map[flight]bool{},
	}
	d.Configure(c)
	return d
}

// Configure replaces the configuration. Calls under way end with the old one.
func (d *Dispatcher) Configure(c *Config) {
	for name, r := range c.Receivers {
		var kinds []string
		if r.App != nil {
			kinds = append(kinds, kindCreate, kindPatch, kindReply)
		}
		if r.Bot != nil {
			kinds = append(kinds, kindBot)
		}
		if r.OpenClaw != nil {
			kinds = append(kinds, kindText)
		}
		d.metrics.announce(name, kinds)
	}
	d.config.Store(c)
	d.Wake()
}

// Config is the configuration in force.
func (d *Dispatcher) Config() *Config { return d.config.Load() }

// Wake makes the dispatcher look at the store now. It never blocks.
func (d *Dispatcher) Wake() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Retry makes everything that waits for its next try due now, such as after the
// credentials were put right.
func (d *Dispatcher) Retry(ctx context.Context) error {
	for name := range d.Config().lanes() {
		if err := d.store.Hasten(ctx, name, time.Now()); err != nil {
			return err
		}
	}
	d.Wake()
	return nil
}

// Run sends until ctx ends, then waits for the calls under way, which end
// within the configured timeout.
func (d *Dispatcher) Run(ctx context.Context) {
	d.recall(ctx)
	var running sync.WaitGroup
	running.Go(func() { d.probe(ctx) })
	defer running.Wait()
	for {
		next := d.dispatch(ctx, &running)
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-d.wake:
			timer.Stop()
		case <-timer.C:
		}
		// Changes that come close together are looked for once.
		select {
		case <-ctx.Done():
			return
		case <-time.After(wakeGap):
		}
	}
}

// dispatch hands out everything that may be sent now and returns when to look
// again at the latest.
func (d *Dispatcher) dispatch(ctx context.Context, running *sync.WaitGroup) time.Time {
	for ctx.Err() == nil {
		now := time.Now()
		lanes := d.Config().lanes()
		blocked, opens := d.blocked(lanes, now)
		if len(lanes) > 0 && len(blocked) == len(lanes) {
			return opens
		}
		legs, err := d.store.Due(ctx, now, blocked, pageSize+d.underWay())
		if err != nil {
			return d.failed(ctx, err)
		}
		started, excess := d.start(ctx, lanes, legs, running)
		if len(excess) > 0 {
			if err := d.hold(ctx, lanes, excess, now); err != nil {
				return d.failed(ctx, err)
			}
			continue
		}
		if started {
			continue // there may be more, and other lanes may be closed by now
		}
		promoted, room, err := d.promote(ctx, lanes, blocked, now)
		if err != nil {
			return d.failed(ctx, err)
		}
		if promoted {
			continue
		}
		if err := d.nearer(ctx, now); err != nil {
			return d.failed(ctx, err)
		}
		next, ok, err := d.store.NextDue(ctx, now, blocked)
		if err != nil {
			return d.failed(ctx, err)
		}
		look := now.Add(idle)
		if !room.IsZero() && room.Before(look) {
			look = room
		}
		if ok && next.Before(look) {
			look = next
		}
		if !opens.IsZero() && opens.Before(look) {
			look = opens
		}
		return look
	}
	return time.Now().Add(idle)
}

// nearer makes due, now and then, what would wait for longer than anything has to:
// the clock was set back, or a shorter pace configured between two runs.
func (d *Dispatcher) nearer(ctx context.Context, now time.Time) error {
	if !d.neared.IsZero() && now.Sub(d.neared) < idle {
		return nil
	}
	d.neared = now
	c := d.Config()
	longest := max(longestBackoff, c.Storm.Every)
	for _, r := range c.Receivers {
		longest = max(longest, r.FailoverAfter)
	}
	return d.store.Nearer(ctx, now, now.Add(longest+idle))
}

func (d *Dispatcher) failed(ctx context.Context, err error) time.Time {
	if ctx.Err() == nil {
		d.log.ErrorContext(ctx, "looking for what to send failed", "error", err)
	}
	return time.Now().Add(storeRetry)
}

// blocked names the lanes that are to be left alone and when the first opens.
func (d *Dispatcher) blocked(lanes map[string]lane, now time.Time) (names []string, opens time.Time) {
	for name, l := range lanes {
		until := d.gates.blocked(l.receiver.targets(l.channel), now)
		if until.IsZero() {
			continue
		}
		names = append(names, name)
		if opens.IsZero() || until.Before(opens) {
			opens = until
		}
	}
	return names, opens
}

// underWay is how many calls are.
func (d *Dispatcher) underWay() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.inFlight)
}

// start hands legs to workers, as far as their targets allow, and reports
// whether it handed out any. What is more than a lane's share of first messages
// comes back, by lane.
func (d *Dispatcher) start(ctx context.Context, lanes map[string]lane, legs []store.Leg, running *sync.WaitGroup) (started bool, excess map[string][]store.Leg) {
	storm := d.Config().Storm
	for _, leg := range legs {
		if ctx.Err() != nil {
			return false, nil
		}
		if !d.claim(leg) {
			continue
		}
		targets := removed()
		if l, known := lanes[leg.Lane]; known {
			targets = l.receiver.targets(l.channel)
			if storm.PerMinute > 0 && leg.First() {
				share := storm.target(leg.Lane)
				if n, _ := d.gates.room(share, time.Now()); n == 0 {
					d.release(leg)
					excess = with(excess, leg)
					continue
				}
				targets = append(targets, share)
			}
		}
		if _, ok := d.gates.take(targets, time.Now()); !ok {
			d.release(leg)
			continue
		}
		started = true
		running.Go(func() {
			defer func() {
				d.gates.done(targets, time.Now())
				d.release(leg)
				d.Wake()
			}()
			// A call under way is not cut by the end of the program: its outcome
			// would be in doubt.
			d.step(context.WithoutCancel(ctx), leg)
		})
	}
	return started, excess
}

// claim makes sure that a leg has one call in flight.
func (d *Dispatcher) claim(l store.Leg) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := flight{l.CardID, l.Channel}
	if d.inFlight[f] {
		return false
	}
	d.inFlight[f] = true
	return true
}

func (d *Dispatcher) release(l store.Leg) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inFlight, flight{l.CardID, l.Channel})
}

// probe keeps alertbridge_feishu_up true while nothing is sent.
func (d *Dispatcher) probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		if c := d.Config(); c.Client != nil {
			d.noteProbe(ctx, c.Client.Probe(ctx))
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// noteProbe logs when Feishu begins, or ceases, to take our credentials.
func (d *Dispatcher) noteProbe(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	d.noteUp(err)
	d.mu.Lock()
	before := d.trouble
	d.trouble = err
	d.mu.Unlock()
	switch {
	case err != nil && before == nil:
		d.log.ErrorContext(ctx, "feishu does not give a token", "error", err)
	case err == nil && before != nil:
		d.log.InfoContext(ctx, "feishu gives tokens again")
	}
}

// Ready says why Feishu cannot be used; alerts are taken all the same.
func (d *Dispatcher) Ready(context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.trouble == nil {
		return nil
	}
	return httpserve.Degraded(d.trouble)
}
