// Command alertbridge shows Alertmanager's alerts as living cards in Feishu.
package main

import (
	"context"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

func main() {
	os.Exit(program.Main(context.Background(), alertbridge.Program(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
