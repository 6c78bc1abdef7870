package metrics

import (
	"errors"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestRegistryIsClean(t *testing.T) {
	r := NewRegistry("exporter")
	NewReload(r, "exporter")
	problems, err := testutil.GatherAndLint(r)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds", "fleetwatch_build_info",
		"exporter_config_last_reload_successful", "exporter_config_last_reload_success_timestamp_seconds"} {
		if n, err := testutil.GatherAndCount(r, name); n != 1 || err != nil {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
}

func TestReload(t *testing.T) {
	m := NewReload(NewRegistry("exporter"), "exporter")
	if testutil.ToFloat64(m.successful) != 0 || testutil.ToFloat64(m.timestamp) != 0 {
		t.Error("says that a configuration was loaded before one was")
	}
	before := time.Now().Unix()
	m.Observe(nil)
	loaded := testutil.ToFloat64(m.timestamp)
	if testutil.ToFloat64(m.successful) != 1 || int64(loaded) < before {
		t.Errorf("after a load: successful %v at %v", testutil.ToFloat64(m.successful), loaded)
	}
	m.Observe(errors.New("bad file"))
	if testutil.ToFloat64(m.successful) != 0 || testutil.ToFloat64(m.timestamp) != loaded {
		t.Error("after a failed load: want not successful, and the time of the configuration in force")
	}
}
