//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

// TestChain plays every cause in turn on one suite; after each the fleet must be
// well again before the next.
func TestChain(t *testing.T) {
	r := start(t)
	defer r.report(t)
	for _, s := range []struct {
		name string
		play func(*testing.T, *running)
	}{
		{"quiet", quiet},
		{"agent killed", killed},
		{"agent gone while the runner is healthy", gone},
		{"agent hangs", hangs},
		{"exporter stopped mid-firing", exporterStopped},
		{"silence and its end", silenced},
		{"silence by the card and its end", silencedByButton},
		{"providers fail", pools},
		{"backend key revoked", keyRevoked},
		{"first byte crawls", crawls},
		{"budget spent", budgetSpent},
		{"gateway stopped", gatewayStopped},
		{"Feishu down for a while", feishuDown},
		{"Prometheus stopped", prometheusStopped},
		{"bridge stopped", bridgeStopped},
		{"bridge refuses", bridgeRefuses},
		{"callback connection lost", callbackLost},
		{"bridge killed mid-delivery", bridgeKilled},
		{"heartbeat killed mid-run", heartbeatKilled},
	} {
		if !t.Run(s.name, func(t *testing.T) { s.play(t, r) }) {
			t.Fatal("the suite is not as the next scenario needs it")
		}
	}
}

// recovered waits until the fleet is well and then asks for some quiet.
func (r *running) recovered(t *testing.T, cause string) {
	t.Helper()
	before := r.cards(t)
	if _, err := stack.Await(t.Context(), 90*time.Second, r.well); err != nil {
		t.Fatalf("after %s: %v", cause, err)
	}
	r.stays(t, cause, "and then no other card", 10*time.Second, r.noNewCards(before))
}

func quiet(t *testing.T, r *running) {
	r.stays(t, "nothing happens (an accelerated hour)", "no card at all", 120*time.Second, r.noNewCards(0))
}

func killed(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "opengineer", "kill"))
	r.within(t, "agent killed (watched process)", "one red card", bound(minTime, 15*time.Second), r.card("opengineer", "red", 1))
	r.stays(t, "agent stays dead", "one red card, no second for its missed beats", interval+grace+5*time.Second, r.card("opengineer", "red", 1))
	r.do(t, r.Agent(t.Context(), "opengineer", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("opengineer", "green", 1))
	r.recovered(t, "agent killed")
}

func gone(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "lawyer", "kill"))
	r.within(t, "agent killed (known by its beats only)", "one red card", bound(interval+grace, 30*time.Second), r.card("lawyer", "red", 1))
	r.do(t, r.Agent(t.Context(), "lawyer", "revive"))
	r.within(t, "agent revived", "the same card green", bound(minTime, 30*time.Second)+2*time.Second, r.card("lawyer", "green", 1))
	r.recovered(t, "agent gone")
}

func hangs(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "designer", "stall"))
	r.within(t, "agent hangs (process alive, no beat)", "one red card", bound(interval+grace, 30*time.Second), r.card("designer", "red", 1))
	r.do(t, r.Agent(t.Context(), "designer", "resume"))
	r.within(t, "agent goes on", "the same card green", bound(interval, 30*time.Second)+2*time.Second, r.card("designer", "green", 1))
	r.recovered(t, "agent hangs")
}

func exporterStopped(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "architect", "kill"))
	r.within(t, "agent killed", "one red card", bound(minTime, 15*time.Second), r.card("architect", "red", 1))
	r.do(t, r.supervisor.Stop(stack.Exporter))
	r.within(t, "exporter stopped", "a yellow card about the target", bound(0, 2*time.Minute)+30*time.Second/30, r.card("agent-health", "yellow", 1))
	r.stays(t, "exporter stopped mid-firing", "the agent's card does not turn green", 20*time.Second, r.card("architect", "red", 1))
	r.do(t, r.supervisor.Start(t.Context(), stack.Exporter))
	r.do(t, r.Agent(t.Context(), "architect", "revive"))
	r.within(t, "exporter and agent back", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("architect", "green", 1))
	r.within(t, "exporter back", "the target's card green", 30*time.Second, r.card("agent-health", "green", 1))
	r.recovered(t, "exporter stopped")
}

func silenced(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "cvexpert", "kill"))
	r.within(t, "agent killed", "one red card", bound(minTime, 15*time.Second), r.card("cvexpert", "red", 1))
	id := silence(t, r, "cvexpert")
	r.within(t, "silenced in Alertmanager", "the card grey", slack, r.card("cvexpert", "grey", 1))
	r.do(t, r.Agent(t.Context(), "prompt-engineer", "kill"))
	r.within(t, "another agent killed", "one red card", bound(minTime, 15*time.Second), r.card("prompt-engineer", "red", 1))
	r.picture(t) // a red, a grey and, from before, green cards
	r.do(t, r.Agent(t.Context(), "prompt-engineer", "revive"))
	r.do(t, unsilence(t, r, id))
	r.within(t, "silence ended", "the card red again", slack, r.card("cvexpert", "red", 1))
	r.do(t, r.Agent(t.Context(), "cvexpert", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("cvexpert", "green", 1))
	r.recovered(t, "silence")
}

func silence(t *testing.T, r *running, agent string) string {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"matchers":  []map[string]any{{"name": "agent_name", "value": agent, "isRegex": false, "isEqual": true}},
		"startsAt":  time.Now().UTC().Format(time.RFC3339),
		"endsAt":    time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		"createdBy": "e2e", "comment": "end-to-end test",
	})
	r.do(t, err)
	var answer struct{ SilenceID string }
	r.do(t, request(t.Context(), http.MethodPost, r.Layout.URL(stack.Alertmanager)+"/api/v2/silences", body, &answer))
	return answer.SilenceID
}

func unsilence(t *testing.T, r *running, id string) error {
	return request(t.Context(), http.MethodDelete, r.Layout.URL(stack.Alertmanager)+"/api/v2/silence/"+id, nil, nil)
}

func request(ctx context.Context, method, url string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	return answered(request, into)
}

func answered(request *http.Request, into any) error {
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", request.Method, request.URL, response.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

func feishuDown(t *testing.T, r *running) {
	r.do(t, r.supervisor.Stop(stack.SandboxFeishu))
	r.do(t, r.Agent(t.Context(), "secretary", "kill"))
	// The alert reaches the bridge while Feishu is away.
	if _, err := stack.Await(t.Context(), 30*time.Second, func(ctx context.Context) error {
		alerts, err := r.Alerts(ctx)
		for _, a := range alerts {
			if a.Labels["agent_name"] == "secretary" {
				return nil
			}
		}
		return fmt.Errorf("no alert about secretary yet: %w", err)
	}); err != nil {
		t.Fatal(err)
	}
	r.do(t, r.supervisor.Start(t.Context(), stack.SandboxFeishu))
	r.within(t, "Feishu back after an outage", "one red card", 30*time.Second, r.card("secretary", "red", 1))
	r.do(t, r.Agent(t.Context(), "secretary", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("secretary", "green", 1))
	r.recovered(t, "Feishu down")
}

func prometheusStopped(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "mediaspecialist", "kill"))
	r.within(t, "agent killed", "one red card", bound(minTime, 15*time.Second), r.card("mediaspecialist", "red", 1))
	bots, err := r.Bots(t.Context())
	r.do(t, err)
	r.do(t, r.supervisor.Stop(stack.Prometheus))
	r.within(t, "Prometheus stopped", "heartbeat's own bot speaks (Watchdog path)", watchdogBound(), r.BotSays("prometheus-watchdog", len(bots)))
	r.within(t, "Prometheus stopped", "the open card grey, not green", 30*time.Second, r.card("mediaspecialist", "grey", 1))
	bots, err = r.Bots(t.Context())
	r.do(t, err)
	r.do(t, r.supervisor.Start(t.Context(), stack.Prometheus))
	r.within(t, "Prometheus back", "heartbeat's bot reports it", 30*time.Second, r.BotSays("prometheus-watchdog", len(bots)))
	r.within(t, "Prometheus back, agent still dead", "the same card red", bound(minTime, 15*time.Second)+10*time.Second, r.card("mediaspecialist", "red", 1))
	r.do(t, r.Agent(t.Context(), "mediaspecialist", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("mediaspecialist", "green", 1))
	r.recovered(t, "Prometheus stopped")
}

func bridgeStopped(t *testing.T, r *running) {
	bots, err := r.Bots(t.Context())
	r.do(t, err)
	r.do(t, r.supervisor.Stop(stack.AlertBridge))
	r.within(t, "bridge stopped", "heartbeat's own bot speaks (out of band)", bound(0, time.Minute)+2*time.Second, r.BotSays("BridgeDown", len(bots)))
	// What happens meanwhile is not lost.
	r.do(t, r.Agent(t.Context(), "taobaospecialist", "kill"))
	if _, err := stack.Await(t.Context(), 30*time.Second, func(ctx context.Context) error {
		alerts, err := r.Alerts(ctx)
		for _, a := range alerts {
			if a.Labels["agent_name"] == "taobaospecialist" {
				return nil
			}
		}
		return fmt.Errorf("no alert yet: %w", err)
	}); err != nil {
		t.Fatal(err)
	}
	bots, err = r.Bots(t.Context())
	r.do(t, err)
	r.do(t, r.supervisor.Start(t.Context(), stack.AlertBridge))
	r.within(t, "bridge back", "one red card about what happened meanwhile", 30*time.Second, r.card("taobaospecialist", "red", 1))
	r.within(t, "bridge back", "heartbeat's bot reports the recovery", memory+clearAfter+bound(0, 0), r.BotSays("alertbridge", len(bots)))
	r.do(t, r.Agent(t.Context(), "taobaospecialist", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("taobaospecialist", "green", 1))
	r.recovered(t, "bridge stopped")
}

// bridgeKilled ends the bridge between accepting an alert and delivering it:
// Feishu hangs meanwhile.
func bridgeKilled(t *testing.T, r *running) {
	fault := []byte(`{"kind":"hang","ops":["create"],"times":1,"seconds":5}`)
	r.do(t, request(t.Context(), http.MethodPost, r.Layout.URL(stack.SandboxFeishu)+"/sandbox/faults", fault, nil))
	r.do(t, r.Agent(t.Context(), "contentspecialist", "kill"))
	if _, err := stack.Await(t.Context(), 30*time.Second, func(ctx context.Context) error {
		var faults []json.RawMessage
		if err := request(ctx, http.MethodGet, r.Layout.URL(stack.SandboxFeishu)+"/sandbox/faults", nil, &faults); err != nil {
			return err
		}
		if len(faults) > 0 && !bytes.Contains(faults[0], []byte(`"times":0`)) {
			return fmt.Errorf("the create has not met its fault yet: %s", faults)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.do(t, r.supervisor.Kill(stack.AlertBridge))
	r.do(t, r.supervisor.Start(t.Context(), stack.AlertBridge))
	r.within(t, "bridge killed -9 mid-delivery and started", "exactly one red card", 60*time.Second, r.card("contentspecialist", "red", 1))
	r.stays(t, "bridge killed -9 mid-delivery", "no second card", 10*time.Second, r.card("contentspecialist", "red", 1))
	r.do(t, r.Agent(t.Context(), "contentspecialist", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("contentspecialist", "green", 1))
	r.recovered(t, "bridge killed")
}

// heartbeatKilled ends heartbeat while a run is open: the run becomes
// interrupted, its process is gone, and no agent's card is sent for the gap.
func heartbeatKilled(t *testing.T, r *running) {
	before := r.cards(t)
	r.do(t, r.Agent(t.Context(), "opengineer", "stall")) // its next run hangs
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	run := exec.CommandContext(ctx, filepath.Join(r.Layout.Dir, "bin", "heartbeat"), "run", "opengineer")
	run.Env = []string{} // as little as cron gives
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("heartbeat run: %v: %s", err, out)
	}
	r.do(t, r.supervisor.Kill(stack.Heartbeat))
	r.do(t, r.Agent(t.Context(), "opengineer", "resume"))
	r.do(t, r.supervisor.Start(t.Context(), stack.Heartbeat))
	r.within(t, "heartbeat killed -9 mid-run and started", "all agents up", interval+grace+slack, r.AllUp)
	token, err := r.Layout.Secret("heartbeat_read_token")
	r.do(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Layout.URL(stack.Heartbeat)+"/api/runs?job=opengineer&outcome=interrupted", nil)
	r.do(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(req)
	r.do(t, err)
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	r.do(t, err)
	if n := strings.Count(string(text), `"interrupted"`); n < 1 {
		t.Errorf("no interrupted run after the kill: %s", text)
	}
	r.stays(t, "heartbeat killed -9 mid-run", "no card for it", 10*time.Second, r.noNewCards(before))
}
