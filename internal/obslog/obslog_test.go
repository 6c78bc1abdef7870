package obslog_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

func TestRequestIDIsOnEveryLine(t *testing.T) {
	var out bytes.Buffer
	log, err := obslog.New(&out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	ctx := obslog.WithRequestID(context.Background(), "req_1")
	log.With("part", "a").InfoContext(ctx, "with attributes")
	log.WithGroup("g").InfoContext(ctx, "with group")
	log.DebugContext(ctx, "below the level")
	if n := strings.Count(out.String(), `"request_id":"req_1"`); n != 2 {
		t.Errorf("request_id on %d lines, want 2:\n%s", n, out.String())
	}
}

func TestNewNamesTheChoices(t *testing.T) {
	for _, c := range [][2]string{{"loud", "json"}, {"INFO+2", "json"}, {"info", "xml"}, {"", "text"}} {
		if _, err := obslog.New(&bytes.Buffer{}, c[0], c[1]); err == nil || !strings.Contains(err.Error(), "expected") {
			t.Errorf("New(%q, %q) = %v, want an error that names the choices", c[0], c[1], err)
		}
	}
}
