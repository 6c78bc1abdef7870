package collector

import (
	"context"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
)

// Beats is heartbeat's answer.
type Beats struct {
	Agents    map[string]*beat.Agent // by id
	generated time.Time              // by heartbeat's clock
	received  time.Time              // by ours, monotonic
}

// Now returns the present moment by heartbeat's clock, so that a difference
// between the two clocks makes no agent late.
func (b Beats) Now() time.Time { return b.generated.Add(time.Since(b.received)) }

// ReadHeartbeat reads the fleet's beats.
func ReadHeartbeat(ctx context.Context, client beat.Client) (Beats, error) {
	answer, err := client.Agents(ctx)
	if err != nil {
		return Beats{}, err
	}
	beats := Beats{Agents: make(map[string]*beat.Agent, len(answer.Agents)), generated: answer.GeneratedAt, received: time.Now()}
	for i := range answer.Agents {
		beats.Agents[answer.Agents[i].ID] = &answer.Agents[i]
	}
	return beats, nil
}
