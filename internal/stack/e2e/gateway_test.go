//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/stack"
)

const sandboxModel = "deepseek-v4-pro"

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
	r.recovered(t, "providers failed")
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
