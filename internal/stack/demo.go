package stack

import (
	"context"
	"fmt"
	"io"
	"time"
)

// Demo is the scripted incident: an agent dies, the exporter stops while its
// card is red, the agent comes back, and at last the alert path itself breaks.
type Demo struct {
	Suite      Suite
	Supervisor *Supervisor
	Out        io.Writer
	step       int
}

// demoAgent is known by its process and its beats.
const demoAgent = "opengineer"

// demoModel is what the simulated agents ask for.
const demoModel = "deepseek-v4-pro"

// longest any step may take; the e2e tests hold each against its own bound.
const demoWait = 90 * time.Second

// Run plays it. Its error names the step that did not happen.
func (d *Demo) Run(ctx context.Context) error {
	l := d.Suite.Layout
	d.say("All fifteen simulated agents beat every ten seconds.", "Look: %s (agents), %s (the team's Feishu: empty)", l.URL(SandboxAgents), l.URL(SandboxFeishu))
	if err := d.await(ctx, "all agents up and no alert", func(ctx context.Context) error {
		if err := d.Suite.AllUp(ctx); err != nil {
			return err
		}
		return d.Suite.Quiet(ctx)
	}); err != nil {
		return err
	}

	d.say("Killing "+demoAgent+" with SIGKILL, as the kernel does when memory runs out.", "Look: one red card in %s", l.URL(SandboxFeishu))
	if err := d.Suite.Agent(ctx, demoAgent, "kill"); err != nil {
		return err
	}
	if err := d.await(ctx, "exactly one red card about "+demoAgent, d.Suite.OneCard(demoAgent, "red")); err != nil {
		return err
	}

	d.say("Stopping the exporter: Prometheus now knows nothing of the agents. That is no recovery.", "Look: the card stays red for the next 20 s")
	if err := d.Supervisor.Stop(Exporter); err != nil {
		return err
	}
	if err := Hold(ctx, 20*time.Second, d.Suite.OneCard(demoAgent, "red")); err != nil {
		return fmt.Errorf("the card did not stay red while the exporter was stopped: %w", err)
	}
	d.done("the card stayed red", 20*time.Second)

	d.say("Starting the exporter and reviving "+demoAgent+".", "Look: the same card turns green")
	if err := d.Supervisor.Start(ctx, Exporter); err != nil {
		return err
	}
	if err := d.Suite.Agent(ctx, demoAgent, "revive"); err != nil {
		return err
	}
	if err := d.await(ctx, "the same card green", d.Suite.OneCard(demoAgent, "green")); err != nil {
		return err
	}
	if err := d.providers(ctx); err != nil {
		return err
	}
	return d.alertPath(ctx)
}

// providers lets the LLM backends fail, one pool after the other.
func (d *Demo) providers(ctx context.Context) error {
	l := d.Suite.Layout
	d.say("The primary LLM backend answers 429 to everything.", "Look: agents go on (%s), one yellow card says that the model is on fallback", l.URL(SandboxAgents))
	if err := d.Suite.BackendFault(ctx, "primary-1", "rate_limit"); err != nil {
		return err
	}
	if err := d.await(ctx, "one yellow card: on fallback, and no other about the model", d.Suite.OneCard(demoModel, "yellow")); err != nil {
		return err
	}
	d.say("The fallback answers 429 too: nothing is left.", "Look: a red card, GatewayPoolsExhausted; the emergency channel and the error budget get cards of their own")
	if err := d.Suite.BackendFault(ctx, "fallback-1", "rate_limit"); err != nil {
		return err
	}
	if err := d.await(ctx, "a red card: no backend left", d.Suite.OneCard("GatewayPoolsExhausted", "red")); err != nil {
		return err
	}
	d.say("Both are well again.", "Look: the cards turn green")
	if err := d.Suite.ClearBackendFaults(ctx); err != nil {
		return err
	}
	if err := d.await(ctx, "GatewayPoolsExhausted green", d.Suite.OneCard("GatewayPoolsExhausted", "green")); err != nil {
		return err
	}
	return d.await(ctx, "GatewayModelOnFallback green", d.Suite.OneCard("GatewayModelOnFallback", "green"))
}

// alertPath breaks the alert path itself.
func (d *Demo) alertPath(ctx context.Context) error {
	said, err := d.Suite.Bots(ctx)
	if err != nil {
		return err
	}
	d.say("Stopping Prometheus: no alert can come any more, so its silence must be heard.",
		"Look: heartbeat's own bot speaks in %s, past Alertmanager and the bridge", d.Suite.Layout.URL(SandboxFeishu))
	if err := d.Supervisor.Stop(Prometheus); err != nil {
		return err
	}
	if err := d.await(ctx, "heartbeat's bot says that Watchdog is silent", d.Suite.BotSays("prometheus-watchdog", len(said))); err != nil {
		return err
	}
	if said, err = d.Suite.Bots(ctx); err != nil {
		return err
	}
	d.say("Starting Prometheus again.", "Look: heartbeat's bot reports the recovery")
	if err := d.Supervisor.Start(ctx, Prometheus); err != nil {
		return err
	}
	if err := d.await(ctx, "heartbeat's bot reports the recovery", d.Suite.BotSays("prometheus-watchdog", len(said))); err != nil {
		return err
	}
	_, _ = fmt.Fprintln(d.Out, "\nThe demo is over: every step was seen.")
	return nil
}

func (d *Demo) say(what, look string, args ...any) {
	d.step++
	_, _ = fmt.Fprintf(d.Out, "\n%d. %s\n   %s\n", d.step, what, fmt.Sprintf(look, args...))
}

func (d *Demo) await(ctx context.Context, what string, check func(context.Context) error) error {
	took, err := Await(ctx, demoWait, check)
	if err != nil {
		return fmt.Errorf("step %d, %s: %w", d.step, what, err)
	}
	d.done(what, took)
	return nil
}

func (d *Demo) done(what string, took time.Duration) {
	_, _ = fmt.Fprintf(d.Out, "   ✓ %s (%s)\n", what, took.Round(100*time.Millisecond))
}
