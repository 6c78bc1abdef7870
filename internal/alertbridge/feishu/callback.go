package feishu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	"github.com/larksuite/oapi-sdk-go/v3/event/dispatcher"
	"github.com/larksuite/oapi-sdk-go/v3/event/dispatcher/callback"
	larkws "github.com/larksuite/oapi-sdk-go/v3/ws"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Press is a button that somebody pressed.
type Press struct {
	EventID   string // the same for every delivery of one event
	Operator  string // open id
	MessageID string
	ChatID    string
	Value     map[string]any // as the card had it, by Feishu's word
}

// Toast is what the person is told. Kind is info, success, warning or error.
type Toast struct{ Kind, Text string }

// How long to wait before connecting again.
const (
	firstReconnect   = time.Second
	longestReconnect = time.Minute
	steady           = time.Minute // a connection that lasted this long was a good one
)

// errNotConnected is the state before the first connection.
var errNotConnected = errors.New("the long connection is not made yet")

// Callbacks keeps the long connection on which Feishu tells of pressed buttons.
// Make it with NewCallbacks, run it with Run.
//
// The SDK would reconnect by itself, at a pace that the server chooses (two
// minutes as a rule), and gives up on refusals, such as a secret that is about to
// be put right. So each of its clients makes one connection, and the next try is
// ours: after full jitter of one second that doubles up to a minute.
type Callbacks struct {
	log    *slog.Logger
	handle func(context.Context, Press) Toast
	events *dispatcher.EventDispatcher // by Run's goroutine alone

	mu      sync.Mutex
	app     *AppOptions   // nil: no connection is wanted
	changed chan struct{} // closed and replaced with each change of app
	trouble error         // why there is no connection; nil while there is
}

// NewCallbacks makes one without a connection. handle is called for each press,
// by several goroutines at once, and has to answer within three seconds.
func NewCallbacks(log *slog.Logger, handle func(context.Context, Press) Toast) *Callbacks {
	return &Callbacks{log: log, handle: handle, changed: make(chan struct{}), trouble: errNotConnected}
}

// Configure says which app to connect as; nil ends the connection. The connection
// stays where nothing of the app has changed.
func (c *Callbacks) Configure(app *AppOptions) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if sameApp(c.app, app) {
		return
	}
	c.app = app
	close(c.changed)
	c.changed = make(chan struct{})
}

func sameApp(a, b *AppOptions) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.ID == b.ID && a.Secret == b.Secret && a.BaseURL == b.BaseURL && a.Timeout == b.Timeout
}

func (c *Callbacks) wanted() (app *AppOptions, changed <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.app, c.changed
}

// Trouble says why nobody hears of pressed buttons; nil while somebody does, or
// none are to be heard.
func (c *Callbacks) Trouble() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.app == nil {
		return nil
	}
	return c.trouble
}

// Connected reports whether the connection is there; wanted is false where none
// is to be made.
func (c *Callbacks) Connected() (connected, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.app != nil && c.trouble == nil, c.app != nil
}

// Run keeps the connection until ctx ends, then waits for presses under way.
func (c *Callbacks) Run(ctx context.Context) {
	failures := 0
	for ctx.Err() == nil {
		app, changed := c.wanted()
		if app == nil {
			failures = 0
			await(ctx, changed, nil)
			continue
		}
		lasted := c.keep(ctx, *app, changed)
		if lasted >= steady {
			failures = 0
		}
		failures++
		wait := time.NewTimer(reconnectAfter(failures))
		if await(ctx, changed, wait.C) {
			failures = 0
		}
		wait.Stop()
	}
}

// await waits for a change, the time or the end, and reports whether it was the
// change.
func await(ctx context.Context, changed <-chan struct{}, at <-chan time.Time) bool {
	select {
	case <-ctx.Done():
	case <-changed:
		return true
	case <-at:
	}
	return false
}

func reconnectAfter(failures int) time.Duration {
	bound := longestReconnect
	if failures < 7 {
		bound = min(firstReconnect<<(failures-1), longestReconnect)
	}
	return time.Duration(rand.Int64N(int64(bound)) + 1) //nolint:gosec // spreads retries, guards nothing
}

// keep makes one connection and returns, once it has ended, how long it lasted.
func (c *Callbacks) keep(ctx context.Context, app AppOptions, changed <-chan struct{}) time.Duration {
	one, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-changed:
			cancel()
		case <-one.Done():
		}
	})
	var since time.Time
	err := c.client(app, func() {
		since = time.Now() // by the goroutine that Start runs on
		c.note(ctx, nil)
	}).Start(one)
	cancel()
	watching.Wait()
	if err == nil {
		err = errors.New("the long connection ended")
	}
	c.note(ctx, fmt.Errorf("long connection: %w", redact.Error(err, app.Secret)))
	if since.IsZero() {
		return 0
	}
	return time.Since(since)
}

func (c *Callbacks) client(app AppOptions, ready func()) *larkws.Client {
	if c.events == nil { // made once and late, since the SDK prints a line for each
		c.events = dispatcher.NewEventDispatcher("", "").OnP2CardActionTrigger(c.pressed)
	}
	return larkws.NewClient(app.ID, app.Secret.Reveal(),
		larkws.WithDomain(app.BaseURL),
		larkws.WithEventHandler(c.events),
		larkws.WithAutoReconnect(false),
		larkws.WithHttpClient(newHTTPClient(app.Timeout, nil)),
		larkws.WithWebSocketDialer(&websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: app.Timeout}),
		larkws.WithWriteTimeout(app.Timeout),
		larkws.WithLogger(callbackLog{sdkLog{app.Log, app.Secret}}),
		larkws.WithLogLevel(larkcore.LogLevelWarn),
		larkws.WithOnReady(ready))
}

// note keeps and tells whether there is a connection.
func (c *Callbacks) note(ctx context.Context, err error) {
	c.mu.Lock()
	before := c.trouble
	c.trouble = err
	c.mu.Unlock()
	switch {
	case err == nil:
		c.log.InfoContext(ctx, "buttons are answered: the long connection is there")
	case before == nil && ctx.Err() == nil, before != nil && before.Error() != err.Error() && ctx.Err() == nil:
		c.log.WarnContext(ctx, "buttons are not answered: no long connection", "error", err)
	}
}

// pressed passes a press on. Only a toast goes back: the card is changed by its
// own lane.
func (c *Callbacks) pressed(ctx context.Context, e *callback.CardActionTriggerEvent) (*callback.CardActionTriggerResponse, error) {
	p := Press{}
	if e.EventV2Base != nil && e.EventV2Base.Header != nil {
		p.EventID = e.EventV2Base.Header.EventID
	}
	if r := e.Event; r != nil {
		if r.Operator != nil {
			p.Operator = r.Operator.OpenID
		}
		if r.Context != nil {
			p.MessageID, p.ChatID = r.Context.OpenMessageID, r.Context.OpenChatID
		}
		if r.Action != nil {
			p.Value = r.Action.Value
		}
	}
	t := c.handle(ctx, p)
	return &callback.CardActionTriggerResponse{Toast: &callback.Toast{Type: t.Kind, Content: t.Text}}, nil
}

// callbackLog leaves out what the SDK logs at debug: whole events, with their
// tokens and signed values.
type callbackLog struct{ sdkLog }

func (callbackLog) Debug(context.Context, ...any) {}
