// Command gateway routes calls to language models around failing keys and providers.
package main

import (
	"context"
	"os"

	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

func main() {
	os.Exit(program.Main(context.Background(), gateway.Program(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
