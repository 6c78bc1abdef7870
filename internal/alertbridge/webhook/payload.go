// Package webhook is the endpoint that Alertmanager posts to.
//
// It promises that 200 means stored for good, 503 that nothing was stored, and
// that a payload that can be read is never refused for what it says. It never
// answers 429, which Alertmanager would not try again.
package webhook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
)

// version is the only version of the payload that Alertmanager has sent since
// 0.6. https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
const version = "4"

// payload is the envelope around Alertmanager's template data. Unknown fields
// are tolerated: later versions add some.
type payload struct {
	template.Data
	Version         string `json:"version"`
	GroupKey        string `json:"groupKey"`
	TruncatedAlerts int    `json:"truncatedAlerts"`
}

// Decode reads a payload that arrived at the given moment. Its error says what
// is wrong and what was expected.
func Decode(body []byte, at time.Time) (group map[string]string, n card.Notice, err error) {
	var p payload
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&p); err != nil {
		return nil, card.Notice{}, fmt.Errorf("the body is not an Alertmanager webhook in JSON: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, card.Notice{}, errors.New("more follows after the JSON object")
	}
	if p.Version != version {
		return nil, card.Notice{}, fmt.Errorf("version is %q, expected %q", p.Version, version)
	}
	n = card.Notice{At: at, ExternalURL: p.ExternalURL, Truncated: p.TruncatedAlerts}
	for i, a := range p.Alerts {
		converted, err := convert(a)
		if err != nil {
			return nil, card.Notice{}, fmt.Errorf("alerts[%d].%w", i, err)
		}
		n.Alerts = append(n.Alerts, converted)
	}
	if p.GroupLabels == nil {
		p.GroupLabels = template.KV{}
	}
	return p.GroupLabels, n, nil
}

func convert(a template.Alert) (card.Alert, error) {
	out := card.Alert{
		Fingerprint: a.Fingerprint, Labels: a.Labels, Annotations: a.Annotations, GeneratorURL: a.GeneratorURL,
		StartsAt: a.StartsAt.UTC(), EndsAt: a.EndsAt.UTC(),
	}
	switch model.AlertStatus(a.Status) {
	case model.AlertFiring:
		out.Status = card.Firing
	case model.AlertResolved:
		out.Status = card.Resolved
	default:
		return card.Alert{}, fmt.Errorf("status is %q, expected firing or resolved", a.Status)
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Fingerprint == "" {
		set := make(model.LabelSet, len(out.Labels))
		for name, value := range out.Labels {
			set[model.LabelName(name)] = model.LabelValue(value)
		}
		out.Fingerprint = set.Fingerprint().String()
	}
	return out, nil
}
