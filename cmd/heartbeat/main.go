// Command heartbeat is the cron heartbeat runner; see internal/heartbeat.
package main

import (
	"context"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

func main() {
	os.Exit(program.Main(context.Background(), heartbeat.Program(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
