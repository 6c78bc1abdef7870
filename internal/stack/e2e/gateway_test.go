//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/provider"
	"github.com/fleetwatch/fleetwatch/internal/stack"
)

const sandboxModel = "deepseek-v4-pro"

// refusedProbe is how often the gateway probes a backend that refuses its key.
const refusedProbe = 5 * time.Minute / 30

// fault makes a simulated backend fail until faults are cleared.
func (r *running) fault(t *testing.T, backend, kind string) {
	t.Helper()
	r.do(t, r.BackendFault(t.Context(), backend, kind))
}

// client sums the outcomes of requests that the gateway saw.
func (r *running) requests(t *testing.T, outcome string) float64 {
	t.Helper()
	n, err := r.Requests(t.Context(), outcome)
	r.do(t, err)
	return n
}

// pools plays the providers: the primary fails, then all fail, then all are well.
func pools(t *testing.T, r *running) {
	failed := r.requests(t, "failed")
	r.fault(t, "primary-1", "rate_limit")
	r.within(t, "primary answers 429", "a yellow card: on fallback", interval+bound(0, 30*time.Second), r.card(sandboxModel, "yellow", 1))
	r.stays(t, "primary answers 429", "no other card, and clients see only successes", 15*time.Second, func(ctx context.Context) error {
		if err := r.card(sandboxModel, "yellow", 1)(ctx); err != nil {
			return err
		}
		now, err := r.Requests(ctx, "failed")
		if err == nil && now != failed {
			return fmt.Errorf("%g requests failed, want %g", now, failed)
		}
		return err
	})
	r.fault(t, "fallback-1", "rate_limit")
	r.within(t, "fallback answers 429 too", "a red card: no backend left", interval+bound(0, 15*time.Second), func(ctx context.Context) error {
		cards, err := r.Cards(ctx, "GatewayPoolsExhausted")
		if err != nil {
			return err
		}
		if len(cards) != 1 || cards[0].Template != "red" {
			return fmt.Errorf("%d cards about GatewayPoolsExhausted, want one red", len(cards))
		}
		return nil
	})
	// The queue and the emergency channel hide nothing of it; both have cards of their own trouble.
	r.within(t, "all backends answer 429", "a yellow card: the emergency channel is in use", bound(interval, 0), r.card("GatewayEmergencyInUse", "yellow", 1))
	r.within(t, "all backends answer 429", "a red card: the error budget burns", bound(3*interval, 0), r.card("GatewayErrorBudgetBurn", "red", 1))
	r.do(t, r.ClearBackendFaults(t.Context()))
	r.within(t, "providers well again", "both cards green", 2*interval+30*time.Second, func(ctx context.Context) error {
		cards, err := r.Cards(ctx, sandboxModel)
		if err != nil {
			return err
		}
		for _, c := range cards {
			if c.Template != "green" {
				return fmt.Errorf("%s is %s", c.Title, c.Template)
			}
		}
		if len(cards) != 2 {
			return fmt.Errorf("%d cards about the model, want two", len(cards))
		}
		return nil
	})
	// The slow burn rate looks back half an hour.
	r.within(t, "providers well again", "no alert left", bound(interval, 45*time.Minute), r.well)
	r.recovered(t, "providers failed")
}

// keyRevoked: the provider refuses the primary's key, for requests and probes alike,
// and then takes it again.
func keyRevoked(t *testing.T, r *running) {
	failed := r.requests(t, "failed")
	r.script(t, "faults", provider.Fault{Backend: "primary-1", Kind: provider.Unauthorized})
	r.script(t, "faults", provider.Fault{Backend: "primary-1", Kind: provider.Unauthorized, Path: "/v1/models"})
	const subject = "GatewayBackendAuthFailed"
	r.within(t, "backend key revoked", "a yellow card about the backend", bound(interval, 0), r.card(subject, "yellow", 1))
	r.stays(t, "backend key revoked", "one card, and clients see only successes", 15*time.Second, func(ctx context.Context) error {
		now, err := r.Requests(ctx, "failed")
		if err == nil && now != failed {
			return fmt.Errorf("%g requests failed, want %g", now, failed)
		}
		return errors.Join(err, r.card(subject, "yellow", 1)(ctx))
	})
	r.do(t, r.ClearBackendFaults(t.Context()))
	// A free probe finds out, and a request is its trial.
	r.within(t, "the key is taken again", "the same card green", bound(refusedProbe+interval, 0), r.card(subject, "green", 1))
	r.recovered(t, "backend key revoked")
}

// crawls: the primary answers, but its first byte takes longer than the rule allows
// and shorter than the gateway waits.
func crawls(t *testing.T, r *running) {
	const delay = 22 * time.Second
	failed := r.requests(t, "failed")
	r.script(t, "faults", provider.Fault{Backend: "primary-1", Kind: provider.Slow, Delay: delay.Seconds()})
	r.within(t, "first byte crawls", "a yellow card about the backend", bound(interval+delay, 5*time.Minute), r.card("GatewayFirstByteSlow", "yellow", 1))
	r.do(t, r.ClearBackendFaults(t.Context()))
	r.within(t, "first bytes come at once", "the same card green", bound(delay, 15*time.Minute), r.card("GatewayFirstByteSlow", "green", 1))
	if now := r.requests(t, "failed"); now != failed {
		t.Errorf("%g requests failed, want %g", now, failed)
	}
	r.recovered(t, "first byte crawls")
}

// budgetSpent: one answer of the lawyer's costs more than its budget; an operator
// raises it.
func budgetSpent(t *testing.T, r *running) {
	before := r.cards(t)
	r.script(t, "answers", provider.Answer{Contains: "I am lawyer", Times: 1, Tokens: &provider.Tokens{Input: 1000, Output: 10_000_000}})
	r.within(t, "budget spent", "a red card about the client", bound(interval, 0), r.card("GatewayBudgetSpent", "red", 1))
	r.stays(t, "budget spent", "the client is refused; no other card", 2*interval, r.noNewCards(before+1))
	text, err := os.ReadFile(gatewayFile(r.Layout))
	r.do(t, err)
	raised := bytes.Replace(text, []byte("daily_budget: 20"), []byte("daily_budget: 1000"), 1)
	if bytes.Equal(raised, text) {
		t.Fatal("the sandbox's configuration has no daily_budget: 20 to raise")
	}
	r.do(t, os.WriteFile(gatewayFile(r.Layout), raised, 0o600))
	reload, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Layout.URL(stack.Gateway)+"/-/reload", nil)
	r.do(t, err)
	token, err := r.Layout.Secret("gateway_admin_token")
	r.do(t, err)
	reload.Header.Set("Authorization", "Bearer "+token)
	r.do(t, answered(reload, nil))
	r.within(t, "budget raised, configuration reloaded", "the same card green", bound(0, 0)+groupInterval, r.card("GatewayBudgetSpent", "green", 1))
	r.recovered(t, "budget spent")
}

// script adds a line to what the simulated providers do: one of their faults or answers.
func (r *running) script(t *testing.T, list string, line any) {
	t.Helper()
	body, err := json.Marshal(line)
	r.do(t, err)
	r.do(t, request(t.Context(), http.MethodPost, r.Layout.URL(stack.SandboxProvider)+"/sandbox/"+list, body, nil))
}

// gatewayStopped ends the gateway; it is missed, and only it.
func gatewayStopped(t *testing.T, r *running) {
	r.do(t, r.supervisor.Kill(stack.Gateway))
	r.within(t, "gateway killed -9", "a red card", bound(0, time.Minute)+2*time.Second, r.card("GatewayDown", "red", 1))
	r.do(t, r.supervisor.Start(t.Context(), stack.Gateway))
	r.within(t, "gateway back", "the same card green", 30*time.Second, r.card("GatewayDown", "green", 1))
	token, err := r.Layout.Secret("gateway_read_token")
	r.do(t, err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Layout.URL(stack.Gateway)+"/api/admin/requests?limit=1", nil)
	r.do(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(req)
	r.do(t, err)
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("the ledger after kill -9: %s", response.Status)
	}
	r.recovered(t, "gateway killed")
}
