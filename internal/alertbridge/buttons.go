package alertbridge

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/action"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/deliver"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/feishu"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/render"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/silence"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/httpserve"
	"github.com/fleetwatch/fleetwatch/internal/lifecycle"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// buttons are the parts behind a card's buttons: the connection that hears of
// presses, the desk that takes them, and the keeper of silences.
type buttons struct {
	log        *slog.Logger
	store      *store.Store
	dispatcher *deliver.Dispatcher
	callbacks  *feishu.Callbacks
	desk       *action.Desk
	keeper     *silence.Keeper
}

// factKey names the key that signs the values of buttons. It is made once, so
// that cards from before a restart can still be pressed.
const factKey = "action_key"

func (a *App) newButtons(ctx context.Context, registry *prometheus.Registry, built *assembly) (*buttons, error) {
	key, err := a.store.Secret(ctx, factKey, action.NewKey)
	if err != nil {
		return nil, err
	}
	metrics := action.NewMetrics(registry, silence.ResultDone, silence.ResultFailed)
	b := &buttons{log: a.log, store: a.store, dispatcher: a.dispatcher}
	shown := func() {
		a.reconciler.Look()
		a.dispatcher.Wake()
	}
	count := func(ending bool, r string) {
		kind := render.Silence
		if ending {
			kind = render.EndSilence
		}
		metrics.Count(kind, action.Result(r))
	}
	if b.keeper, err = silence.New(a.store, a.log, shown, count, built.silencing()); err != nil {
		return nil, err
	}
	b.desk = action.NewDesk(a.store, action.NewSigner(redact.Secret(key)), a.log, metrics, func() {
		b.keeper.Wake()
		a.dispatcher.Wake()
	}, built.config.policy())
	b.callbacks = feishu.NewCallbacks(a.log, b.pressed)
	registry.MustRegister(connection{b.callbacks})
	return b, b.configure(built)
}

// pressed takes a press from Feishu.
func (b *buttons) pressed(ctx context.Context, p feishu.Press) feishu.Toast {
	return feishu.Toast(b.desk.Press(ctx, action.Press(p)))
}

// configure takes over a configuration. On an error nothing changes.
func (b *buttons) configure(built *assembly) error {
	if err := b.keeper.Configure(built.silencing()); err != nil {
		return err
	}
	b.desk.Configure(built.config.policy())
	built.deliver.Actions = b.desk.Offers
	if !built.config.buttons() {
		b.callbacks.Configure(nil)
		return nil
	}
	app := built.config.app(b.log)
	b.callbacks.Configure(&app)
	return nil
}

// start runs the parts. They end before the store is closed, and the connection
// before the desk.
func (b *buttons) start(stack *lifecycle.Stack) {
	stack.Push("presses", func(context.Context) error { b.desk.Wait(); return nil })
	stack.Go("silences", func(ctx context.Context) error { b.keeper.Run(ctx); return nil })
	stack.Go("callbacks", func(ctx context.Context) error { b.callbacks.Run(ctx); return nil })
}

// redraw sends open cards again that look different by now.
func (b *buttons) redraw(ctx context.Context, look string) error {
	n, err := b.store.Redraw(ctx, look, time.Now().UTC())
	if err != nil {
		return err
	}
	if n > 0 {
		b.log.InfoContext(ctx, "open cards are sent again, their buttons or templates are others", "cards", n)
		b.dispatcher.Wake()
	}
	return nil
}

// ready says why pressed buttons are not heard of; alerts are shown all the same.
func (b *buttons) ready(context.Context) error {
	if err := b.callbacks.Trouble(); err != nil {
		return httpserve.Degraded(err)
	}
	return nil
}
