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
	"maps"
	"reflect"
	"strings"
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
// is wrong, where, and what was expected.
//
// An alert that stands twice is one: firing, if it is so anywhere. Two alerts of one
// fingerprint whose labels differ are two. A time before 1970 is none.
func Decode(body []byte, at time.Time) (group map[string]string, n card.Notice, err error) {
	var p payload
	d := json.NewDecoder(bytes.NewReader(body))
	if err := d.Decode(&p); err != nil {
		return nil, card.Notice{}, unreadable(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, card.Notice{}, errors.New("more follows after the JSON object")
	}
	if p.Version != version {
		return nil, card.Notice{}, fmt.Errorf("version is %q, expected %q", clipped(p.Version), version)
	}
	n = card.Notice{At: at, ExternalURL: p.ExternalURL, Truncated: max(p.TruncatedAlerts, 0), Alerts: make([]card.Alert, 0, len(p.Alerts))}
	seen := make(map[string]int, len(p.Alerts))
	for i, a := range p.Alerts {
		converted, err := convert(a)
		if err != nil {
			return nil, card.Notice{}, fmt.Errorf("alerts[%d].%w", i, err)
		}
		n.Alerts = merge(n.Alerts, seen, converted)
	}
	if p.GroupLabels == nil {
		p.GroupLabels = template.KV{}
	}
	return p.GroupLabels, n, nil
}

// unreadable says in which key what was expected, where the decoder knows.
func unreadable(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		key := strings.TrimPrefix(wrong.Field, "Data.")
		if key == "" {
			return fmt.Errorf("the body is not an Alertmanager webhook in JSON: expected an object, got %s", wrong.Value)
		}
		return fmt.Errorf("%s: expected %s, got %s (before byte %d)", key, kind(wrong.Type), clipped(wrong.Value), wrong.Offset)
	}
	return fmt.Errorf("the body is not an Alertmanager webhook in JSON: %s", clipped(err.Error()))
}

// kind is a type in the words of JSON.
func kind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "text"
	case reflect.Int:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// merge adds an alert, or takes it over into the one that it repeats. seen are the
// indexes of fingerprints.
func merge(alerts []card.Alert, seen map[string]int, a card.Alert) []card.Alert {
	i, known := seen[a.Fingerprint]
	if known && !maps.Equal(alerts[i].Labels, a.Labels) {
		a.Fingerprint = fingerprint(a.Labels)
		i, known = seen[a.Fingerprint]
	}
	switch {
	case !known:
		seen[a.Fingerprint] = len(alerts)
		return append(alerts, a)
	case a.Status == card.Firing || alerts[i].Status == card.Resolved:
		alerts[i] = a
	}
	return alerts
}

func convert(a template.Alert) (card.Alert, error) {
	out := card.Alert{
		Fingerprint: a.Fingerprint, Labels: a.Labels, Annotations: a.Annotations, GeneratorURL: a.GeneratorURL,
		StartsAt: plausible(a.StartsAt), EndsAt: plausible(a.EndsAt),
	}
	switch model.AlertStatus(a.Status) {
	case model.AlertFiring:
		out.Status = card.Firing
	case model.AlertResolved:
		out.Status = card.Resolved
	default:
		return card.Alert{}, fmt.Errorf("status is %q, expected firing or resolved", clipped(a.Status))
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	if out.Fingerprint == "" || len(out.Fingerprint) > maxFingerprint {
		out.Fingerprint = fingerprint(out.Labels)
	}
	return out, nil
}

// maxFingerprint is longer than any fingerprint that is one.
const maxFingerprint = 64

// fingerprint is Alertmanager's own of these labels.
func fingerprint(labels map[string]string) string {
	set := make(model.LabelSet, len(labels))
	for name, value := range labels {
		set[model.LabelName(name)] = model.LabelValue(value)
	}
	return set.Fingerprint().String()
}

// plausible is the moment in UTC, or zero for one that no monitoring has seen. The
// zone of a time of the first or the last year may lead out of what can be stored.
func plausible(t time.Time) time.Time {
	if t.Unix() <= 0 {
		return time.Time{}
	}
	return t.UTC()
}
