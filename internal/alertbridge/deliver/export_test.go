package deliver

import (
	"context"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
)

// Step does a step of a leg as it was listed.
func (d *Dispatcher) Step(ctx context.Context, listed store.Leg) { d.step(ctx, listed) }
