package console

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/webui"
)

const (
	pace = time.Second
	// fresh is how old a snapshot may be to be shown: a little less than the pace, so that
	// each frame has its own.
	fresh = 900 * time.Millisecond
	// maxViewers bounds the streams; pages beyond ask now and then instead.
	maxViewers = 64
)

// frame is what the event stream says.
type frame struct {
	Type          string          `json:"type"`
	Pool          []admin.Pool    `json:"pool"`
	Total         admin.Total     `json:"total"`
	Backends      []admin.Backend `json:"backends"`
	UptimeSeconds float64         `json:"uptime_seconds"`
	Timestamp     time.Time       `json:"timestamp"`
}

// snapshot is what is shown of one moment: as a frame, and to the pages.
type snapshot struct {
	frame
	figures

	at   time.Time
	line []byte // the frame
}

// look makes a snapshot.
func (c *Console) look(ctx context.Context) (*snapshot, error) {
	now := c.api.Now()
	total, err := c.api.Total(ctx)
	if err != nil {
		return nil, err
	}
	s := &snapshot{at: now, frame: frame{
		Type: "snapshot", Pool: c.api.Pools(), Total: total, Backends: c.api.Backends(""), UptimeSeconds: now.Sub(c.began).Seconds(), Timestamp: now.UTC().Round(time.Millisecond),
	}}
	if s.figures, err = c.figures(ctx, now); err != nil {
		return nil, err
	}
	if s.line, err = json.Marshal(s.frame); err != nil {
		return nil, fmt.Errorf("encoding a snapshot: %w", err)
	}
	return s, nil
}

// events answers GET /dashboard/sse.
func (c *Console) events(w http.ResponseWriter, r *http.Request) {
	frames, leave, ok := c.feed.join()
	if !ok {
		w.Header().Set("Retry-After", "5")
		httpserve.WriteError(w, r, http.StatusServiceUnavailable, "too_many_viewers", fmt.Sprintf("%d viewers follow the console already", maxViewers))
		return
	}
	defer leave()
	webui.Frames(w, r, c.options.Draining, frames, func() bool { return c.allowed(r) })
}

// feed gives one snapshot to all who want one.
type feed struct {
	make func(context.Context) (*snapshot, error)
	now  func() time.Time
	log  *slog.Logger
	came chan struct{} // somebody looks

	making sync.Mutex // held while a snapshot is made
	last   *snapshot  // guarded by making

	mu      sync.Mutex
	viewers map[chan []byte]*snapshot // and what each was told last
}

func newFeed(log *slog.Logger, now func() time.Time) feed {
	return feed{log: log, now: now, came: make(chan struct{}, 1), viewers: map[chan []byte]*snapshot{}}
}

// get returns a snapshot that is fresh. Who asks while one is made gets that one.
func (f *feed) get(ctx context.Context) (*snapshot, error) {
	f.making.Lock()
	defer f.making.Unlock()
	if f.last != nil {
		if age := f.now().Sub(f.last.at); age < fresh {
			return f.last, nil
		}
	}
	s, err := f.make(ctx)
	if err != nil {
		return nil, err
	}
	f.last = s
	return s, nil
}

// join adds a viewer, who leaves in the end; ok is false where there are too many. Its
// channel is closed where no snapshot can be made.
func (f *feed) join() (frames <-chan []byte, leave func(), ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.viewers) >= maxViewers {
		return nil, nil, false
	}
	viewer := make(chan []byte, 1)
	f.viewers[viewer] = nil
	select {
	case f.came <- struct{}{}:
	default: // it is known already
	}
	return viewer, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.viewers, viewer)
	}, true
}

// run makes a snapshot at once when somebody comes, and at the pace while anybody looks.
func (f *feed) run(ctx context.Context) error {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	failing := false
	for {
		tick := ticker.C
		if f.idle() {
			tick = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick:
		case <-f.came:
		}
		s, err := f.get(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing { // once, not once a second
			f.log.ErrorContext(ctx, "pages are not kept up to date", "error", err)
		}
		if failing = err != nil; failing {
			f.dismiss()
			continue
		}
		f.tell(s)
	}
}

func (f *feed) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.viewers) == 0
}

// tell gives the snapshot to all viewers that have not been told it. Who has not taken
// the last one in gets the next.
func (f *feed) tell(s *snapshot) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for viewer, last := range f.viewers {
		if last == s {
			continue
		}
		select {
		case viewer <- s.line:
			f.viewers[viewer] = s
		default:
		}
	}
}

// dismiss ends all streams: a page is told that it is not live by its stream being over.
func (f *feed) dismiss() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for viewer := range f.viewers {
		close(viewer)
	}
	clear(f.viewers)
}
