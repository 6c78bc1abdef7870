//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// offset keeps the tests away from the ports of a suite and of a demo.
const offset = 20000

// Waits of the fast pace; see stack.FastPace and the shipped rules.
const (
	interval      = 10 * time.Second // of the sandbox's agents
	grace         = 10 * time.Second
	minTime       = time.Second // exporter's min_interval
	scrape        = time.Second
	evaluate      = time.Second
	groupWait     = 10 * time.Second / 30
	groupInterval = time.Minute / 30
	slack         = 5 * time.Second
	resend        = time.Second
)

// bounds of stack.md: how old the signal may be, then scrape, evaluation, the
// rule's own wait, Alertmanager's, and five seconds.
func bound(signal, wait time.Duration) time.Duration {
	return signal + scrape + evaluate + wait/30 + groupWait + slack
}

// watchdogBound is that of the second path.
func watchdogBound() time.Duration {
	return 4*resend + 50*time.Second/30 + 4*time.Minute/30 + time.Minute/30 + slack
}

type running struct {
	stack.Suite
	supervisor *stack.Supervisor
	rows       []row
}

// row is a line of the report.
type row struct {
	cause, effect string
	took, bound   time.Duration
}

func start(t *testing.T) *running {
	t.Helper()
	root, err := stack.FindRoot(".")
	if err != nil {
		t.Fatal(err)
	}
	l := stack.NewLayout(root, "e2e", "127.0.0.1", offset)
	if err := os.RemoveAll(l.Dir); err != nil {
		t.Fatal(err)
	}
	plan := stack.NewPlan(l, stack.NoSettings(), stack.FastPace())
	if err := plan.CheckPorts(); err != nil {
		t.Fatal(err)
	}
	if _, err := stack.Prepare(l, plan.Pace); err != nil {
		t.Fatal(err)
	}
	plan = stack.NewPlan(l, stack.NoSettings(), plan.Pace) // with the secrets that Prepare made
	if err := plan.WriteWrappers(); err != nil {
		t.Fatal(err)
	}
	ownGateway(t, plan)
	supervisor := stack.NewSupervisor(plan)
	t.Cleanup(func() {
		if err := supervisor.StopAll(); err != nil {
			t.Error(err)
		}
	})
	if err := supervisor.StartAll(t.Context(), testWriter{t}); err != nil {
		t.Fatal(err)
	}
	r := &running{Suite: stack.NewSuite(l), supervisor: supervisor}
	r.within(t, "the suite starts", "all agents up, no alert", 60*time.Second, r.well)
	return r
}

// gatewayFile is the gateway's configuration, a copy that a scenario may change.
func gatewayFile(l stack.Layout) string { return filepath.Join(l.Dir, "gateway.yaml") }

// ownGateway has the gateway read its copy.
func ownGateway(t *testing.T, plan stack.Plan) {
	t.Helper()
	service, ok := plan.Service(stack.Gateway)
	i := slices.Index(service.Argv, "-config")
	if !ok || i < 0 {
		t.Fatalf("the gateway is called without -config: %q", service.Argv)
	}
	text, err := os.ReadFile(service.Argv[i+1])
	if err == nil {
		err = os.WriteFile(gatewayFile(plan.Layout), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	service.Argv[i+1] = gatewayFile(plan.Layout)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (r *running) well(ctx context.Context) error {
	if err := r.AllUp(ctx); err != nil {
		return err
	}
	return r.Quiet(ctx)
}

// within awaits an effect and records how long it took against its bound.
func (r *running) within(t *testing.T, cause, effect string, bound time.Duration, check func(context.Context) error) {
	t.Helper()
	took, err := stack.Await(t.Context(), bound, check)
	if err != nil {
		// How late it came, if it came, tells a slow machine from a lost card.
		late, lateErr := stack.Await(t.Context(), bound+60*time.Second, check)
		t.Fatalf("%s: %s: %v (afterwards: %s, %v)", cause, effect, err, (took + late).Round(time.Millisecond), lateErr)
	}
	r.rows = append(r.rows, row{cause, effect, took, bound})
	t.Logf("%s -> %s: %s (bound %s)", cause, effect, took.Round(10*time.Millisecond), bound)
}

// stays checks that something holds for a while and records it.
func (r *running) stays(t *testing.T, cause, effect string, during time.Duration, check func(context.Context) error) {
	t.Helper()
	if err := stack.Hold(t.Context(), during, check); err != nil {
		t.Fatalf("%s: %s for %s: %v", cause, effect, during, err)
	}
	r.rows = append(r.rows, row{cause, effect + " for " + during.String(), 0, 0})
}

func (r *running) do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// cards counts the cards there are, so that a test can ask that no other came.
func (r *running) cards(t *testing.T) int {
	t.Helper()
	all, err := r.Cards(t.Context(), "")
	r.do(t, err)
	return len(all)
}

func (r *running) noNewCards(before int) func(context.Context) error {
	return func(ctx context.Context) error {
		all, err := r.Cards(ctx, "")
		if err != nil {
			return err
		}
		if len(all) != before {
			var titles []string
			for _, c := range all {
				titles = append(titles, c.Title)
			}
			return fmt.Errorf("%d cards, want %d: %s", len(all), before, strings.Join(titles, " | "))
		}
		return nil
	}
}

// card returns a check that the newest card about subject has the colour and
// that there are count cards about it in all.
func (r *running) card(subject, colour string, count int) func(context.Context) error {
	return func(ctx context.Context) error {
		cards, err := r.Cards(ctx, subject)
		if err != nil {
			return err
		}
		if len(cards) != count {
			return fmt.Errorf("%d cards about %s, want %d", len(cards), subject, count)
		}
		if last := cards[len(cards)-1]; last.Template != colour {
			return fmt.Errorf("the card about %s is %s, want %s: %s", subject, last.Template, colour, last.Title)
		}
		return nil
	}
}

func (r *running) report(t *testing.T) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# End-to-end report\n\nWritten by `make e2e`: the real programs, Prometheus 3.15.0 and Alertmanager 0.31.1, the sandbox as Feishu and as\nthe fifteen agents, every wait divided by thirty. Bound: signal age + scrape + evaluation + `for` + group wait + 5 s;\nfor the Watchdog path 4 x resend delay + repeat + grace + interval + 5 s.\n\n| cause | effect | took | bound |\n|---|---|---|---|\n")
	for _, row := range r.rows {
		took, limit := "held", "-"
		if row.bound > 0 {
			took, limit = row.took.Round(10*time.Millisecond).String(), row.bound.Round(10*time.Millisecond).String()
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", row.cause, row.effect, took, limit)
	}
	if err := os.WriteFile(filepath.Join(r.Layout.Root, "docs", "e2e-report.md"), []byte(b.String()), 0o644); err != nil {
		t.Error(err)
	}
}
