package alerting

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// promised are the names and labels that dashboards, rules and users of the
// predecessor rely on. A name here changes only together with them; labels are in
// alphabetical order.
const promised = `
agent_heartbeat_grace_seconds agent_label agent_name
agent_heartbeat_interval_seconds agent_label agent_name
agent_heartbeat_last_failure_timestamp_seconds agent_label agent_name
agent_heartbeat_last_start_timestamp_seconds agent_label agent_name
agent_heartbeat_last_success_timestamp_seconds agent_label agent_name
agent_heartbeat_reason agent_label agent_name reason
agent_heartbeat_state agent_label agent_name state
agent_heartbeat_status agent_label agent_name
agent_info agent_label agent_name class discovered host owner
agent_last_activity_timestamp_seconds agent_label agent_name source
agent_signal_conflict agent_label agent_name
agent_source_last_success_timestamp_seconds source
agent_source_scrape_seconds source
agent_source_up source
agent_task_last_progress_timestamp_seconds agent_label agent_name source
agent_task_round_limit agent_label agent_name
agent_task_rounds agent_label agent_name
agent_task_stagnation_seconds agent_label agent_name
agent_tasks agent_label agent_name source state
agent_up agent_label agent_name signal
alertbridge_alerts_total severity status
alertbridge_cards receiver state
alertbridge_config_last_reload_success_timestamp_seconds
alertbridge_config_last_reload_successful
alertbridge_dead_letters reason
alertbridge_deliveries_total kind receiver result
alertbridge_delivery_seconds receiver
alertbridge_feishu_up
alertbridge_pending_oldest_timestamp_seconds
alertbridge_rate_limited_total receiver
alertbridge_receiver_configured receiver
alertbridge_reconcile_last_success_timestamp_seconds
alertbridge_webhooks_total code receiver
exporter_config_last_reload_success_timestamp_seconds
exporter_config_last_reload_successful
fleetwatch_build_info goversion program revision version
heartbeat_check_up check
heartbeat_config_last_reload_success_timestamp_seconds
heartbeat_config_last_reload_successful
heartbeat_in_progress agent
heartbeat_interval_seconds agent
heartbeat_last_success_timestamp_seconds agent
heartbeat_next_run_timestamp_seconds agent
heartbeat_notifications_total result target
heartbeat_pings_total kind
heartbeat_run_deadline_timestamp_seconds agent
heartbeat_run_seconds agent
heartbeat_runs_total agent outcome
heartbeat_schedule_delay_seconds
heartbeat_skips_total agent reason
heartbeat_source_up source
http_requests_total status
`

func TestPromisedMetricsAreExposed(t *testing.T) {
	all := exposed(t, suite(t))
	for line := range strings.SplitSeq(strings.TrimSpace(promised), "\n") {
		name, _, _ := strings.Cut(line, " ")
		m, ok := all[name]
		if !ok {
			t.Errorf("%s: no program exposes it", name)
		} else if got := strings.Join(append([]string{name}, m.labels...), " "); got != line {
			t.Errorf("%s: its labels changed:\n  promised %s\n  exposed  %s", name, line, got)
		}
	}
}

// TestMetricsAreDocumented compares docs/metrics.md with the programs; -update
// writes it.
func TestMetricsAreDocumented(t *testing.T) {
	file := filepath.Join(testtool.Root(t), "docs", "metrics.md")
	want := document(exposed(t, suite(t)))
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), strings.Split(read(t, file), "\n")); diff != "" {
		t.Errorf("docs/metrics.md is not what the programs expose; go test ./internal/alerting -run Documented -update writes it (-want +got):\n%s", diff)
	}
}

const preface = `# Metrics

<!-- Written by go test ./internal/alerting -run Documented -update; edit the help texts in the code. -->

Every program serves these at ` + "`/metrics`" + `, beside the usual ` + "`go_*` and `process_*`" + ` of its own process.
Timestamps are Unix seconds, durations are seconds. A series that is absent means
that the value is not known: it is never a stale or an invented one.
`

func document(all map[string]metric) string {
	var b strings.Builder
	b.WriteString(preface)
	sections := map[string][]metric{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		section := all[name].programs[0]
		if len(all[name].programs) > 1 {
			section = "every program"
		}
		sections[section] = append(sections[section], all[name])
	}
	for _, section := range slices.Sorted(maps.Keys(sections)) {
		fmt.Fprintf(&b, "\n## %s\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n", section)
		for _, m := range sections[section] {
			names := make([]string, len(m.labels))
			for i, label := range m.labels {
				names[i] = "`" + label + "`"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(names, ", "), strings.ReplaceAll(m.help, "|", `\|`))
		}
	}
	return b.String()
}
