// Package reconcile compares open cards with Alertmanager.
//
// Webhooks are hints: they carry no silence, no inhibition and no resolve under
// a silence. Every open card is judged by what Alertmanager's API says, at an
// interval, and at once where a notification waits for a judgement.
package reconcile

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/alertmanager/api/v2/client"
	"github.com/prometheus/alertmanager/api/v2/client/alert"
	"github.com/prometheus/alertmanager/api/v2/client/general"
	"github.com/prometheus/alertmanager/api/v2/client/silence"
	"github.com/prometheus/alertmanager/api/v2/models"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/amapi"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// alertmanager asks one Alertmanager, through its own API client.
type alertmanager struct {
	api     *client.AlertmanagerAPI
	timeout time.Duration
}

// newAlertmanager makes a client of the Alertmanager at address, which may have
// a path prefix.
func newAlertmanager(address string, timeout time.Duration) (*alertmanager, error) {
	api, err := amapi.New(address, timeout)
	if err != nil {
		return nil, err
	}
	return &alertmanager{api: api, timeout: timeout}, nil
}

// heard is what Alertmanager says of all alerts and of itself.
type heard struct {
	alerts   map[string]card.Listing
	silences map[string]card.Silence
	upSince  time.Time
	watchdog time.Time // last update of the watchdog; zero where it is not listed
}

// ask asks for everything. With watchdogOnly, no other alerts are listed.
func (a *alertmanager) ask(ctx context.Context, watchdog string, watchdogOnly bool) (heard, error) {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	status, err := a.api.General.GetStatus(general.NewGetStatusParamsWithContext(ctx))
	if err != nil {
		return heard{}, fmt.Errorf("asking Alertmanager for its status: %w", redact.Error(err))
	}
	h := heard{alerts: map[string]card.Listing{}, silences: map[string]card.Silence{}}
	if up := status.Payload.Uptime; up != nil {
		h.upSince = time.Time(*up)
	}
	params := alert.NewGetAlertsParamsWithContext(ctx)
	if watchdogOnly {
		params.Filter = []string{fmt.Sprintf("alertname=%q", watchdog)}
	}
	list, err := a.api.Alert.GetAlerts(params)
	if err != nil {
		return heard{}, fmt.Errorf("asking Alertmanager for its alerts: %w", redact.Error(err))
	}
	muted := h.take(list.Payload, watchdog)
	if !muted {
		return h, nil
	}
	silences, err := a.api.Silence.GetSilences(silence.NewGetSilencesParamsWithContext(ctx))
	if err != nil {
		return heard{}, fmt.Errorf("asking Alertmanager for its silences: %w", redact.Error(err))
	}
	for _, s := range silences.Payload {
		if s.ID != nil && s.EndsAt != nil && s.CreatedBy != nil {
			h.silences[*s.ID] = card.Silence{Until: time.Time(*s.EndsAt).UTC(), By: *s.CreatedBy}
		}
	}
	return h, nil
}

// take notes the alerts and reports whether any is silenced.
func (h *heard) take(alerts models.GettableAlerts, watchdog string) (muted bool) {
	for _, a := range alerts {
		if a.Fingerprint == nil {
			continue
		}
		listing := card.Listing{}
		if s := a.Status; s != nil {
			listing.SilencedBy = s.SilencedBy
			listing.Inhibited = len(s.InhibitedBy) > 0 || len(s.MutedBy) > 0
		}
		muted = muted || len(listing.SilencedBy) > 0
		h.alerts[*a.Fingerprint] = listing
		if watchdog != "" && a.Labels["alertname"] == watchdog && a.UpdatedAt != nil {
			if updated := time.Time(*a.UpdatedAt).UTC(); updated.After(h.watchdog) {
				h.watchdog = updated
			}
		}
	}
	return muted
}
