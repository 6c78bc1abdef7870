// Command exporter tells healthy agents from stuck ones, for Prometheus.
package main

import (
	"context"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/exporter"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

func main() {
	os.Exit(program.Main(context.Background(), exporter.Program(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
