//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/stack"
)

const (
	operator = "ou_sandbox_oncall" // whose chat the critical cards are in
	stranger = "ou_sandbox_stranger"
	// longestReconnect is how long the bridge waits at most before it connects again;
	// it is not divided.
	longestReconnect = time.Minute
	// clearAfter is how long heartbeat's check of the bridge needs to be left alone
	// before it is well, and memory how long failed notifications keep it from that.
	clearAfter = 5 * time.Minute / 30
	memory     = 10 * time.Minute / 30
)

// press presses a button of the newest card about the subject, as its page does.
func (r *running) press(t *testing.T, subject, button, who string) feishu.Press {
	t.Helper()
	cards, err := r.Cards(t.Context(), subject)
	r.do(t, err)
	if len(cards) == 0 {
		t.Fatalf("no card about %s to press %s on", subject, button)
	}
	form := url.Values{"message": {cards[len(cards)-1].MessageID}, "button": {button}, "operator": {who}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Layout.URL(stack.SandboxFeishu)+"/press", strings.NewReader(form.Encode()))
	r.do(t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	var p feishu.Press
	r.do(t, answered(request, &p))
	return p
}

// silences returns who made the silences that are in force, and what they comment.
func (r *running) silences(t *testing.T) []string {
	t.Helper()
	var all []struct {
		CreatedBy, Comment string
		Status             struct{ State string }
	}
	r.do(t, request(t.Context(), http.MethodGet, r.Layout.URL(stack.Alertmanager)+"/api/v2/silences", nil, &all))
	var active []string
	for _, s := range all {
		if s.Status.State == "active" {
			active = append(active, s.CreatedBy+": "+s.Comment)
		}
	}
	return active
}

// silencedByButton goes from the card's button to a silence in Alertmanager, and back.
func silencedByButton(t *testing.T, r *running) {
	r.do(t, r.Agent(t.Context(), "productmanager", "kill"))
	r.within(t, "agent killed", "one red card", bound(minTime, 15*time.Second), r.card("productmanager", "red", 1))
	if p := r.press(t, "productmanager", "静默 1 小时", stranger); p.Kind != "warning" || len(r.silences(t)) != 0 {
		t.Errorf("a stranger's press: %s %s, %q", p.Kind, p.Text, r.silences(t))
	}
	if p := r.press(t, "productmanager", "静默 1 小时", operator); p.Kind != "success" {
		t.Fatalf("an operator's press: %s %s", p.Kind, p.Text)
	}
	r.within(t, "silenced by the card's button", "the card grey", slack, r.card("productmanager", "grey", 1))
	if made := r.silences(t); len(made) != 1 || !strings.HasPrefix(made[0], operator+": ") {
		t.Errorf("silences in force: %q", made)
	}
	r.stays(t, "silenced by the card's button", "the card grey, while the agent is still dead", 10*time.Second, r.card("productmanager", "grey", 1))
	if p := r.press(t, "productmanager", "结束静默", operator); p.Kind != "success" {
		t.Fatalf("ending it: %s %s", p.Kind, p.Text)
	}
	r.within(t, "silence ended by the card's button", "the card red again", slack, r.card("productmanager", "red", 1))
	if left := r.silences(t); len(left) != 0 {
		t.Errorf("silences still in force: %q", left)
	}
	r.do(t, r.Agent(t.Context(), "productmanager", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, time.Minute+15*time.Second)+2*time.Second, r.card("productmanager", "green", 1))
	r.recovered(t, "silence by button")
}

// connections is how many long connections the stand-in has.
func (r *running) connections(want int) func(context.Context) error {
	return func(ctx context.Context) error {
		var answer struct{ Connections int }
		if err := request(ctx, http.MethodGet, r.Layout.URL(stack.SandboxFeishu)+"/sandbox/connections", nil, &answer); err != nil {
			return err
		}
		if answer.Connections != want {
			return fmt.Errorf("%d long connections, want %d", answer.Connections, want)
		}
		return nil
	}
}

// bots counts what custom bots have said so far.
func (r *running) bots(t *testing.T) int {
	t.Helper()
	all, err := r.Bots(t.Context())
	r.do(t, err)
	return len(all)
}

// callbackLost takes the long connection away, on which presses come, while
// everything else of Feishu works.
func callbackLost(t *testing.T, r *running) {
	before, said := r.cards(t), r.bots(t)
	control := r.Layout.URL(stack.SandboxFeishu) + "/sandbox"
	body, err := json.Marshal(feishu.Fault{Kind: feishu.FaultOutage, Ops: []feishu.Op{feishu.OpConnect}})
	r.do(t, err)
	r.do(t, request(t.Context(), http.MethodPost, control+"/faults", body, nil))
	r.do(t, request(t.Context(), http.MethodDelete, control+"/connections", nil, nil))
	r.within(t, "callback connection lost", "heartbeat's own bot speaks (out of band)", bound(0, 5*time.Minute)+2*time.Second, r.BotSays("BridgeCallbackDisconnected", said))
	r.stays(t, "callback connection lost", "no card about it", 10*time.Second, r.noNewCards(before))
	said = r.bots(t)
	r.do(t, request(t.Context(), http.MethodDelete, control+"/faults", nil, nil))
	r.within(t, "callback connection possible again", "it is there", longestReconnect+slack, r.connections(1))
	r.within(t, "callback connection back", "heartbeat's bot reports the recovery", clearAfter+bound(0, 0)+2*time.Second, r.BotSays("alertbridge", said))
	r.recovered(t, "callback connection lost")
}

// bridgeRefuses gives Alertmanager another token than the bridge has: nothing is down,
// and nothing gets through.
func bridgeRefuses(t *testing.T, r *running) {
	said := r.bots(t)
	file := filepath.Join(r.Layout.Dir, "secrets", "alertbridge_webhook_token")
	right, err := os.ReadFile(file)
	r.do(t, err)
	r.do(t, os.WriteFile(file, []byte("another-token-than-the-bridge-has"), 0o600)) // Alertmanager reads it for each call
	defer func() { r.do(t, os.WriteFile(file, right, 0o600)) }()
	r.do(t, r.Agent(t.Context(), "costcodev", "kill"))
	r.within(t, "agent killed while the bridge answers 401", "heartbeat's own bot speaks (out of band)",
		bound(minTime, 15*time.Second)+bound(0, 0), r.BotSays("AlertmanagerNotificationsFailing", said))
	said = r.bots(t)
	r.do(t, os.WriteFile(file, right, 0o600))
	r.within(t, "the bridge takes the token again", "one red card about what happened meanwhile", groupInterval+slack, r.card("costcodev", "red", 1))
	r.do(t, r.Agent(t.Context(), "costcodev", "revive"))
	r.within(t, "agent revived", "the same card green", bound(interval, 30*time.Second)+2*time.Second, r.card("costcodev", "green", 1))
	r.within(t, "the bridge takes the token again", "heartbeat's bot reports the recovery", memory+clearAfter+bound(0, 0), r.BotSays("alertbridge", said))
	r.recovered(t, "bridge refused")
}
