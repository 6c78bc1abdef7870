package attempt

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/backend"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect/openai"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/pool"
	"github.com/fleetwatch/fleetwatch/internal/gateway/queue"
	"github.com/fleetwatch/fleetwatch/internal/gateway/request"
)

// answering is a provider that answers, or panics where the request is for it.
type answering struct{ panics bool }

func (a answering) RoundTrip(*http.Request) (*http.Response, error) {
	if a.panics {
		panic("of the test")
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"choices":[{}]}`)),
	}, nil
}

type held struct{}

func (held) Hold() {}
func (held) Drop() {}

// one is a backend that takes one call at a time, and a request for it.
func one(t *testing.T, q *queue.Queue, observe func(*ledger.Attempt)) (*backend.State, *Call) {
	t.Helper()
	config := backend.Config{Name: "b", BaseURL: &url.URL{Scheme: "http", Host: "x"}, Key: "k", MaxInflight: 1, Timeout: time.Minute, Dialects: []dialect.Name{dialect.OpenAI}}
	state := backend.NewState(func() {}, q.Wake)
	state.Configure(backend.Policy{Base: time.Second, Max: time.Minute, FailuresBeforeError: 3, Zone: time.UTC}, &config)
	endpoint := openai.Endpoints()[0]
	body, err := request.Scan([]byte(`{"model":"m"}`), &endpoint.Reads)
	if err != nil {
		t.Fatal(err)
	}
	return state, &Call{
		Endpoint: endpoint, Body: body, Text: held{}, Model: "m", Line: queue.Line{Model: "m"}, Started: time.Now(),
		Candidates: []pool.Candidate{{Backend: &backend.Backend{Config: config, State: state}, Model: backend.Model{NativeID: "m"}}},
		Observe:    func(_ *pool.Candidate, a *ledger.Attempt) { observe(a) },
	}
}

var limits = Limits{MaxAttempts: 5, Request: time.Minute, Queue: 10 * time.Second}

// TestNoWakeIsLost: a place that becomes free between the look at it and the joining of
// the line is taken at once.
func TestNoWakeIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &queue.Queue{}
		q.Configure(10)
		var other backend.Permit
		state, call := one(t, q, func(a *ledger.Attempt) {
			if a.Outcome == ledger.OutcomeSkipped {
				other.Release() // the other request ends just now
			}
		})
		var skip backend.Skip
		if other, skip, _ = state.Acquire(backend.Ask{Model: "m", MaxInflight: 1}, time.Now()); skip != "" {
			t.Fatal(skip)
		}
		began := time.Now()
		r := (&Walker{Transport: answering{}, Queue: q, Now: time.Now}).Do(t.Context(), call, limits, nil)
		defer r.Close()
		if took := time.Since(began); took > 0 || r.Status != ledger.Completed {
			t.Errorf("%s after %s, refused: %v", r.Status, took, r.Refused)
		}
	})
}

// TestAPanicKeepsNothing: neither the place at the backend, nor that in the line.
func TestAPanicKeepsNothing(t *testing.T) {
	q := &queue.Queue{}
	q.Configure(10)
	state, call := one(t, q, func(*ledger.Attempt) {})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		(&Walker{Transport: answering{panics: true}, Queue: q, Now: time.Now}).Do(t.Context(), call, limits, nil)
	}()
	if n := state.Snapshot(time.Now()).Inflight; n != 0 || q.Depth() != 0 {
		t.Errorf("%d calls are under way, %d wait", n, q.Depth())
	}
}
