package collector

import (
	"context"
	"sync"

	"github.com/fleetwatch/fleetwatch/internal/exporter/verdict"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/livesign"
)

// Watched is what the watches of a host say, by agent id.
type Watched map[string][]verdict.Signal

// watchLookers bounds how many agents are looked at at once.
const watchLookers = 8

// UnavailableWatches names the kinds of watch that an agent asks for and this
// version cannot look at.
func UnavailableWatches(w fleet.Watch) []string {
	var names []string
	for _, kind := range []struct {
		name string
		set  bool
	}{{"unit", w.Unit != ""}, {"container", w.Container != ""}, {"log", w.Log.File != ""}} {
		if kind.set {
			names = append(names, kind.name)
		}
	}
	return names
}

// ReadWatches looks at the processes and ports of the agents that live on host.
func ReadWatches(ctx context.Context, agents []fleet.Agent, host string) (Watched, error) {
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		watched = Watched{}
		places  = make(chan struct{}, watchLookers)
	)
	for _, a := range agents {
		if a.Host != host || (!a.Watch.Process.IsSet() && a.Watch.Port == "") {
			continue
		}
		wg.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			signals := look(ctx, a.Watch)
			mu.Lock()
			defer mu.Unlock()
			watched[a.ID] = signals
		})
	}
	wg.Wait()
	return watched, ctx.Err()
}

func look(ctx context.Context, w fleet.Watch) []verdict.Signal {
	var signals []verdict.Signal
	if w.Process.IsSet() {
		signals = append(signals, signal("process", livesign.Process(w.Process, nil)))
	}
	if w.Port != "" {
		signals = append(signals, signal("port", livesign.Port(ctx, w.Port)))
	}
	return signals
}

func signal(name string, s livesign.Sign) verdict.Signal {
	return verdict.Signal{Name: name, Known: s.Alive || s.Gone, Up: s.Alive, Detail: s.Detail}
}
