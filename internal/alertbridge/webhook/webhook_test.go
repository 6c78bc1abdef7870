package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/webhook"
)

type failing struct{ err error }

func (f failing) Accept(context.Context, store.Intake) (store.Accepted, error) {
	return store.Accepted{}, f.err
}

type everybody struct{}

func (everybody) Receivers(map[string]string, time.Time) []string { return []string{"r"} }
func (everybody) Has(string) bool                                 { return true }

func TestStoreFailureIs503(t *testing.T) {
	for code, err := range map[string]error{"store_failed": errors.New("disk I/O error"), "too_many_cards": store.ErrTooManyCards} {
		told := false
		h := &webhook.Handler{
			Store: failing{err}, Metrics: webhook.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
			Config:   func() (webhook.Router, func(string) store.Channels) { return everybody{}, nil },
			Accepted: func(store.Accepted) { told = true },
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/webhook", strings.NewReader(`{"version":"4","alerts":[]}`)))
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), code) || told {
			t.Errorf("%d %s, told %v", w.Code, w.Body, told)
		}
	}
}

func TestDecode(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	group, n, err := webhook.Decode([]byte(`{"version":"4","groupKey":"{}:{}","truncatedAlerts":3,"status":"firing","receiver":"team\\.x",
		"externalURL":"http://am","groupLabels":{"alertname":"A"},"notification_reason":"x","routeLabels":{},"alerts":[
		{"status":"firing","labels":{"alertname":"A"},"annotations":{"summary":"s"},"startsAt":"2026-11-22T19:59:00+08:00","endsAt":"0001-01-01T00:00:00Z","fingerprint":"f1"},
		{"status":"resolved","labels":{"alertname":"A","i":"2"},"startsAt":"2026-11-22T11:00:00Z","endsAt":"2026-11-22T11:30:00Z"}]}`), at)
	if err != nil {
		t.Fatal(err)
	}
	if group["alertname"] != "A" || n.Truncated != 3 || n.ExternalURL != "http://am" || len(n.Alerts) != 2 {
		t.Errorf("%v %+v", group, n)
	}
	if a := n.Alerts[0]; a.Status != card.Firing || a.Fingerprint != "f1" || !a.StartsAt.Equal(at.Add(-time.Minute)) {
		t.Errorf("%+v", a)
	}
	// Without a fingerprint, it is that of the labels.
	if a := n.Alerts[1]; a.Status != card.Resolved || len(a.Fingerprint) != 16 {
		t.Errorf("%+v", a)
	}
}

// TestDecodeTwins is what becomes of alerts that share a fingerprint.
func TestDecodeTwins(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	alert := func(status, labels, ends string) string {
		return `{"status":"` + status + `","fingerprint":"f","labels":{` + labels + `},"endsAt":"` + ends + `"}`
	}
	firing, early, late := alert("firing", `"a":"1"`, "0001-01-01T00:00:00Z"), alert("resolved", `"a":"1"`, "2026-11-22T10:00:00Z"), alert("resolved", `"a":"1"`, "2026-11-22T11:00:00Z")
	other := alert("firing", `"a":"2"`, "0001-01-01T00:00:00Z")
	for name, c := range map[string]struct {
		alerts []string
		want   []card.Status
	}{
		"resolved, then firing": {[]string{early, firing}, []card.Status{card.Firing}},
		"firing, then resolved": {[]string{firing, early}, []card.Status{card.Firing}},
		"resolved twice":        {[]string{early, late}, []card.Status{card.Resolved}},
		"long fingerprints":     {[]string{strings.Replace(early, `"f"`, `"`+strings.Repeat("f", 65)+`"`, 1), firing}, []card.Status{card.Resolved, card.Firing}},
		"of other labels":       {[]string{early, other, other}, []card.Status{card.Resolved, card.Firing}},
	} {
		_, n, err := webhook.Decode([]byte(`{"version":"4","alerts":[`+strings.Join(c.alerts, ",")+`]}`), at)
		if err != nil || len(n.Alerts) != len(c.want) {
			t.Errorf("%s: %+v, %v", name, n.Alerts, err)
			continue
		}
		for i, want := range c.want {
			if n.Alerts[i].Status != want || (i > 0 && n.Alerts[i].Fingerprint == "f" && name == "of other labels") || len(n.Alerts[i].Fingerprint) > 16 {
				t.Errorf("%s: alert %d is %+v", name, i, n.Alerts[i])
			}
		}
		if name == "resolved twice" && n.Alerts[0].EndsAt.Hour() != 11 {
			t.Errorf("the earlier end counts: %+v", n.Alerts[0])
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":"4","alerts":[{"status":"firing","labels":{"a":"b"}}],"groupLabels":{"a":"b"}}`))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"resolved","labels":null,"endsAt":"9999-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"version":"4","alerts":[{"status":"firing","startsAt":"0000-01-01T00:00:00+08:00"},{"status":"resolved","startsAt":"9999-12-31T23:59:59-08:00","fingerprint":"f"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		group, n, err := webhook.Decode(body, at)
		if err != nil {
			return
		}
		c := card.Open("r", group, n, nil)
		if c == nil {
			return
		}
		c.Apply(n, nil)
		c.Judge(card.Snapshot{Began: at.Add(time.Second), Reachable: true, Settled: true})
		for _, a := range c.Alerts {
			if a.Fingerprint == "" || a.StartsAt.After(at) {
				t.Errorf("%+v", a)
			}
		}
		// What cannot be stored would be answered 503, and sent again for ever.
		if _, err := json.Marshal(c); err != nil {
			t.Error(err)
		}
	})
}
