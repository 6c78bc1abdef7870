package gateway_test

import (
	"context"
	"flag"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/gateway"
	"github.com/fleetwatch/fleetwatch/internal/program"
)

// childConfig names, in the environment of a child, the configuration that it is to
// serve: the test binary is the program as well.
const childConfig = "GATEWAY_TEST_SERVE"

func TestMain(m *testing.M) {
	if file := os.Getenv(childConfig); file != "" {
		os.Exit(program.Main(context.Background(), gateway.Program(), []string{"serve", "-config", file, "-log.format", "json"}, nil, os.Stdout, os.Stderr))
	}
	if part := os.Getenv(childPart); part != "" {
		playPart(part)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given { // most of what tests do is wait: for timeouts, and for each other
		if err := flag.Set("test.parallel", "6"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// lockedWriter lets a log and a test share a buffer.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.to.Write(p)
}
