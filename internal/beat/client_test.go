package beat

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAgentsReadsWhatIsThere(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/agents" || r.Header.Get("Authorization") != "Bearer t0ken" {
			t.Errorf("got %s with %q", r.URL.Path, r.Header.Get("Authorization"))
		}
		fleet := Fleet{GeneratedAt: at, Agents: []Agent{{ID: "coo", State: StateUp, Reason: ReasonBeating, LastBeat: at}}}
		if err := json.NewEncoder(w).Encode(fleet); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()

	fleet, err := Client{URL: server.URL + "/", Token: "t0ken"}.Agents(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := fleet.Agents[0]
	if got.ID != "coo" || got.State != StateUp || !got.LastBeat.Equal(at) || !got.LastFailure.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestAgentsNeverAnswersFromNothing(t *testing.T) {
	tests := map[string]struct {
		status int
		body   string
		want   string
	}{
		"unauthorised":  {401, `{"error":{"code":"unauthorized","message":"a token is needed"}}`, "401: a token is needed"},
		"not our error": {502, `<html>`, "heartbeat answered 502"},
		"garbage":       {200, `<html>`, "decoding the answer"},
		"cut off":       {200, `{"generated_at":"2026-11-22T10:00:00Z","agents":[{"id":`, "decoding the answer"},
		"empty object":  {200, `{}`, "no generated_at"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			fleet, err := Client{URL: server.URL, Token: "s3cret"}.Agents(t.Context())
			if fleet != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, %v; want an error with %q", fleet, err, test.want)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("token in error: %v", err)
			}
			var status *StatusError
			if test.status != 200 && (!errors.As(err, &status) || status.Status != test.status) {
				t.Errorf("got %v, want a StatusError with %d", err, test.status)
			}
		})
	}
}

func TestTimesThatNeverHappenedAreAbsent(t *testing.T) {
	raw, err := json.Marshal(Agent{ID: "coo"})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"last_beat", "last_success", "next_due", "running"} {
		if strings.Contains(string(raw), `"`+key+`"`) {
			t.Errorf("%s is in %s", key, raw)
		}
	}
}
