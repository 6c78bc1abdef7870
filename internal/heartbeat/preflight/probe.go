// Package preflight finds out, without spending a token, whether there is
// something to do for an agent and whether it lives, and decides what its slot
// becomes.
//
// It promises: what could not be found out is unknown, never a value.
package preflight

import (
	"context"
	"strings"

	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/livesign"
)

// Sign is what an agent's probe says.
type Sign struct {
	livesign.Sign
	Asked bool // the agent has a probe
}

// Unavailable names the kinds of a probe that this version cannot ask.
func Unavailable(p fleet.Probe) []string {
	var out []string
	for _, kind := range []struct {
		name string
		set  bool
	}{{"unit", p.Unit != ""}, {"container", p.Container != ""}, {"openclaw", p.OpenClaw}, {"traffic", p.Traffic}} {
		if kind.set {
			out = append(out, kind.name)
		}
	}
	return out
}

// Probe asks everything that the probe names: the agent is alive if all say so,
// gone if one says so with certainty. Processes that heartbeat itself started for
// a run are no independent sign and do not count.
func Probe(ctx context.Context, p fleet.Probe) Sign {
	var signs []livesign.Sign
	if p.Process.IsSet() {
		signs = append(signs, livesign.Process(p.Process, ours))
	}
	if p.Port != "" {
		signs = append(signs, livesign.Port(ctx, p.Port))
	}
	if missing := Unavailable(p); len(missing) > 0 {
		signs = append(signs, livesign.Sign{Detail: "not available in this version: " + strings.Join(missing, ", ")})
	}
	if len(signs) == 0 {
		return Sign{}
	}
	all := Sign{Asked: true, Sign: livesign.Sign{Alive: true}}
	var details []string
	for _, sign := range signs {
		all.Alive = all.Alive && sign.Alive
		all.Gone = all.Gone || sign.Gone
		details = append(details, sign.Detail)
	}
	all.Detail = strings.Join(details, "; ")
	return all
}
