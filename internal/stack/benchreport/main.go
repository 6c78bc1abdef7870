// Command benchreport runs the benchmarks whose figures have a target, prints
// each with pass or miss, and writes docs/benchmarks.md with the machine's
// facts. A miss makes the exit code 1.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// benchmark is one `go test -bench` call.
type benchmark struct {
	name, pkg, benchtime string
}

// target is a figure that a benchmark reports, and its bound.
type target struct {
	benchmark, unit string // as b.ReportMetric names it
	what            string
	bound           float64
	atLeast         bool // the bound is a minimum
}

func benchmarks() []benchmark {
	return []benchmark{
		{"BenchmarkWebhookAccept", "./internal/alertbridge", "20000x"},
		{"BenchmarkQuietDelivery", "./internal/alertbridge", "1x"},
		{"BenchmarkStorm", "./internal/alertbridge", "1x"},
		{"BenchmarkScheduleDelay", "./internal/heartbeat", "1x"},
		{"BenchmarkGateway", "./internal/gateway", "1x"},
	}
}

func targets() []target {
	return []target{
		{"BenchmarkWebhookAccept", "accepts/s", "alertbridge: durable webhook accepts per second, deliveries going on beside", 2000, true},
		{"BenchmarkQuietDelivery", "p99-ms", "alertbridge: accepted to card accepted when it is quiet, p99 in ms", 300, false},
		{"BenchmarkStorm", "ack-p99-ms", "alertbridge: 10,000 alerts in 60 s, webhook answered, p99 in ms", 50, false},
		{"BenchmarkStorm", "critical-s", "alertbridge: the same, a critical on a card or in a digest, the slowest in s", 10, false},
		{"BenchmarkStorm", "refused", "alertbridge: the same, calls beyond Feishu's published limits", 0, false},
		{"BenchmarkStorm", "peak-MB", "alertbridge: the same, peak memory in MB", 150, false},
		{"BenchmarkScheduleDelay", "p99-ms", "heartbeat: lateness of 10,000 jobs at 1-10 min, p99 in ms", 100, false},
		{"BenchmarkScheduleDelay", "max-ms", "heartbeat: lateness of 10,000 jobs at 1-10 min, max in ms", 1000, false},
		{"BenchmarkScheduleDelay", "missed", "heartbeat: slots missed", 0, false},
		{"BenchmarkScheduleDelay", "twice", "heartbeat: slots started twice", 0, false},
		{"BenchmarkGateway", "cpu-1k-x", "gateway: CPU per request, 1 KB chat, c=16, times ReverseProxy (aim 1.5)", 1.8, false},
		{"BenchmarkGateway", "cpu-32k-x", "gateway: CPU per request, 32 KB prompt, times ReverseProxy (aim 1.3)", 1.5, false},
		{"BenchmarkGateway", "cpu-stream-x", "gateway: CPU per request, 64-chunk stream, times ReverseProxy (aim 1.5)", 2.0, false},
		{"BenchmarkGateway", "rps-x", "gateway: requests per second, c=16, times ReverseProxy (aim 0.75)", 0.65, true},
		{"BenchmarkGateway", "added-p50-ms", "gateway: added p50 at c=1 over direct, ms (aim 0.3)", 0.4, false},
		{"BenchmarkGateway", "added-p99-ms", "gateway: added p99 at c=1 over direct, ms (aim 0.9)", 1.5, false},
		{"BenchmarkGateway", "idle-MB", "gateway: idle RSS, MB (aim 30)", 35, false},
		{"BenchmarkGateway", "stream-KB", "gateway: per idle stream of 4,000, KB (aim 40)", 60, false},
		{"BenchmarkGateway", "failover-ms", "gateway: failover from a silent upstream beyond its limit, ms", 50, false},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ok, err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchreport:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(ctx context.Context) (bool, error) {
	root, err := stack.FindRoot(".")
	if err != nil {
		return false, err
	}
	measured := map[string]float64{}
	for _, b := range benchmarks() {
		fmt.Printf("running %s ...\n", b.name)
		if err := b.run(ctx, root, measured); err != nil {
			return false, err
		}
	}
	table, ok := render(measured)
	fmt.Print("\n" + table)
	file := filepath.Join(root, "docs", "benchmarks.md")
	text := "# Benchmarks\n\nWritten by `make bench` in one run, on " + machine() + ", " + time.Now().UTC().Format(time.DateOnly) + ".\n\n" + table
	return ok, os.WriteFile(file, []byte(text+written(file)), 0o644) //nolint:gosec // a document
}

// written is what people wrote below the table: everything from its first heading on.
func written(file string) string {
	before, err := os.ReadFile(filepath.Clean(file))
	if err != nil {
		return "" // there was none
	}
	if i := bytes.Index(before, []byte("\n## ")); i >= 0 {
		return string(before[i:])
	}
	return ""
}

// run adds the benchmark's figures to measured, under "NAME UNIT".
func (b benchmark) run(ctx context.Context, root string, measured map[string]float64) error {
	command := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^"+b.name+"$", "-benchtime", b.benchtime, "-timeout", "20m", b.pkg)
	command.Dir = root
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", b.name, err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], b.name) {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				measured[b.name+" "+fields[i+1]] = v
			}
		}
	}
	return nil
}

func render(measured map[string]float64) (string, bool) {
	var b strings.Builder
	b.WriteString("| figure | target | measured | |\n|---|---|---|---|\n")
	all := true
	for _, t := range targets() {
		value, there := measured[t.benchmark+" "+t.unit]
		sign, pass := "<=", there && value <= t.bound
		if t.atLeast {
			sign, pass = ">=", there && value >= t.bound
		}
		verdict, shown := "pass", strconv.FormatFloat(value, 'f', decimals(value), 64)
		if !pass {
			verdict, all = "MISS", false
		}
		if !there {
			shown = "not reported"
		}
		fmt.Fprintf(&b, "| %s | %s %g | %s | %s |\n", t.what, sign, t.bound, shown, verdict)
	}
	return b.String(), all
}

// decimals shows small figures, such as ratios, as exactly as their bounds are set.
func decimals(value float64) int {
	if value < 10 {
		return 2
	}
	return 1
}

func machine() string {
	model := "an unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores (%s), %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
