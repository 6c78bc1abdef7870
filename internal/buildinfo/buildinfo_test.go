package buildinfo

import (
	"runtime"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestEveryBuildHasAName(t *testing.T) {
	got := Get()
	if got.Version == "" || got.Revision == "" || got.GoVersion != runtime.Version() {
		t.Errorf("got %+v, want no empty field and %s", got, runtime.Version())
	}
}

func TestLinkerWins(t *testing.T) {
	oldVersion, oldRevision := version, revision
	t.Cleanup(func() { version, revision = oldVersion, oldRevision })
	version, revision = "1.2.3", "abc"
	if got := Get(); got.Version != "1.2.3" || got.Revision != "abc" {
		t.Errorf("got %+v, want what the linker set", got)
	}
	want := `
# HELP fleetwatch_build_info The build of the program; always 1.
# TYPE fleetwatch_build_info gauge
fleetwatch_build_info{goversion="` + runtime.Version() + `",program="exporter",revision="abc",version="1.2.3"} 1
`
	if err := testutil.CollectAndCompare(Collector("exporter"), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
