package gateway

import (
	"context"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	quietEvery = 500 * time.Millisecond
	quietBelow = 1 << 20 // bytes allocated in that time
	// busyPercent lets the heap grow threefold under load before it is collected, since
	// what is not needed is given back when things are quiet.
	busyPercent = 200
	worthwhile  = 2 << 20 // bytes allocated since the last collection
)

// tidy gives memory back to the system when things are quiet. Streams leave garbage at
// their beginning; where thousands are open and say little, nothing would collect it
// for minutes, and the machine is shared with the agents.
func (a *App) tidy(ctx context.Context) error {
	if os.Getenv("GOGC") == "" {
		defer debug.SetGCPercent(debug.SetGCPercent(busyPercent))
	}
	ticker := time.NewTicker(quietEvery)
	defer ticker.Stop()
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	var before, atCycle, cycle uint64 // allocated a moment ago, and at the last collection; which that was
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		metrics.Read(sample)
		allocated, now := sample[0].Value.Uint64(), sample[1].Value.Uint64()
		if now != cycle {
			cycle, atCycle = now, allocated
		}
		if allocated-before < quietBelow && allocated-atCycle > worthwhile {
			debug.FreeOSMemory()
		}
		before = allocated
	}
}
