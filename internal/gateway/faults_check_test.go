package gateway_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/fleetwatch/fleetwatch/internal/gateway/admin"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// outcome is what must have come of a request, in the five ways in which that is seen.
type outcome struct {
	// What the client sees.
	ending string
	status int    // 0 = 200, of one that left 0 too
	code   string // what an error of ours is called; "" = not looked at
	retry  int    // Retry-After is this or a little less; 0 = there is none, anyTime = any
	// The row in the ledger: its status, and its class where it has one; "" = there must
	// be none.
	row    string
	http   int    // its status code, where the client saw another
	usage  string // where its usage comes from; "" = reported of whole answers, else missing
	answer string // the backend that answered; "" = the first one of the attempts that succeeded
	client string // "" = coo
	// Its attempts in order, skips included, in words: "primary-1 failed timeout".
	attempts []string
	// Metrics by series, beside those that agree with the ledger anyway; "" = there must be none.
	metrics map[string]string
	// What the backends are afterwards; those that are not named must be healthy.
	states map[string]state
	// unrecorded says that rows were lost, so that ledger and metrics cannot agree.
	unrecorded bool
}

// state is what a backend is.
type state struct {
	status string // "" = healthy
	reason string
	left   float64 // seconds until its end, or a little less; 0 = it has none, anyTime = within a day
	level  int     // cooldowns in a row
	health string  // "" = not looked at
	away   bool    // the model is kept from it
	busy   int64   // calls under way
}

// check compares all of it.
func (s *scene) check(a answer, want outcome) {
	s.Helper()
	s.checkClient(a, &want)
	row, stored := s.row(want.row != "")
	if stored != (want.row != "") {
		s.Errorf("the ledger has a row: %t", stored)
	}
	if stored {
		s.checkRow(row, a, &want)
		s.checkAttempts(row, &want)
	}
	s.checkStates(&want)
	s.checkMetrics(a, &want)
}

func (s *scene) checkClient(a answer, want *outcome) {
	s.Helper()
	if got := s.w.ending(s.T, a, s.stream); got != want.ending {
		s.Errorf("the client saw %s, want %s: %d %s", got, want.ending, a.status, a.body)
	}
	status := want.status
	if status == 0 && want.ending != endLeft {
		status = http.StatusOK
	}
	if status != 0 && a.status != status {
		s.Errorf("status %d, want %d: %s", a.status, status, a.body)
	}
	if want.code != "" && !strings.Contains(a.body, `"code":"`+want.code+`"`) {
		s.Errorf("the client is not told of %s: %s", want.code, a.body)
	}
	wait, err := strconv.Atoi(a.header.Get("Retry-After"))
	if (err == nil) != (want.retry != 0) || want.retry > 0 && (wait < 1 || wait > want.retry || wait < want.retry-20) {
		s.Errorf("Retry-After %q, want %d", a.header.Get("Retry-After"), want.retry)
	}
	if want.ending == endWhole && s.stream && s.w.name != wireResp.name && strings.Contains(a.body, `"prompt_tokens"`) {
		s.Errorf("the usage report was not taken out: %s", a.body)
	}
	if strings.Contains(a.body, keyOf) || strings.Contains(fmt.Sprint(a.header), keyOf) {
		s.Errorf("the client is shown a provider's key: %s", a.body)
	}
}

// row returns the row of the request under test.
func (s *scene) row(wanted bool) (row admin.Timeline, stored bool) {
	s.Helper()
	if wanted {
		return s.timeline(underTest), true
	}
	return row, s.get("/api/admin/requests/"+underTest, nil).status == http.StatusOK
}

func (s *scene) checkRow(row admin.Timeline, a answer, want *outcome) {
	s.Helper()
	if got := strings.TrimSpace(string(row.Status) + " " + string(row.Class)); got != want.row {
		s.Errorf("the row is %q, want %q: %+v", got, want.row, row.Request)
	}
	answered, usage, client, code := want.answer, want.usage, want.client, want.http
	for _, x := range want.attempts {
		if name, how, _ := strings.Cut(x, " "); answered == "" && strings.HasPrefix(how, "succeeded") {
			answered = name
		}
	}
	if client == "" {
		client = "coo"
	}
	if usage == "" {
		if usage = "missing"; want.ending == endWhole {
			usage = "reported"
		}
	}
	if code == 0 {
		code = a.status
	}
	if row.Backend != answered || string(row.UsageSource) != usage || row.Client != client || row.HTTPStatus != code || row.DurationMS <= 0 || row.DurationMS > 120_000 {
		s.Errorf("want backend %q, usage %s, client %s, status %d; the row is %+v", answered, usage, client, code, row.Request)
	}
	if spent := row.Tokens.Output > 0 && row.Cost > 0; spent != (usage != "missing") || !spent && row.Tokens.Total != 0 {
		s.Errorf("usage is %s, tokens %+v, cost %g", usage, row.Tokens, row.Cost)
	}
	if a.header == nil || want.ending == endBare {
		return // its client saw no header
	}
	if got := a.header.Get("X-Gateway-Request"); got != row.ID {
		s.Errorf("x-gateway-request is %q, the row %s", got, row.ID)
	}
	if got := a.header.Get("X-Gateway-Backend"); got != answered && want.code != "stopping" {
		s.Errorf("x-gateway-backend is %q, want %q", got, answered)
	}
	if got := a.header.Get("X-Gateway-Attempts"); got != fmt.Sprint(row.AttemptCount) && (got != "" || row.AttemptCount > 0) {
		s.Errorf("x-gateway-attempts is %q, the row has %d", got, row.AttemptCount)
	}
}

// told is an attempt in words.
func told(x *admin.Attempt) string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s%s", x.Backend, x.Outcome, x.Class, x.SkipReason))
}

func (s *scene) checkAttempts(row admin.Timeline, want *outcome) {
	s.Helper()
	var got []string
	calls, failed := 0, 0
	for i := range row.Attempts {
		x := &row.Attempts[i]
		got = append(got, told(x))
		if x.Outcome != "skipped" {
			calls++
		}
		if x.Outcome == "failed" {
			failed++
		}
		if x.PrimaryRequestID != row.ID || x.Model != row.Model || x.NativeID != native || x.DurationMS < 0 || (x.Remedy == "") != (x.Class == "") {
			s.Errorf("attempt %+v", x)
		}
	}
	for _, x := range row.Attempts {
		if strings.Contains(x.Error, "routing.request_timeout") {
			s.Errorf("nothing but the request's own limit ended the attempt: %+v", x)
		}
	}
	if !slices.Equal(got, want.attempts) {
		s.Errorf("attempts %q, want %q", got, want.attempts)
	}
	if row.AttemptCount != calls || row.FailedAttempts != failed {
		s.Errorf("the row counts %d attempts, %d of them failed; they are %q", row.AttemptCount, row.FailedAttempts, got)
	}
}

func (s *scene) checkStates(want *outcome) {
	s.Helper()
	for _, name := range []string{"primary-1", "fallback-1"} {
		st := want.states[name]
		if st.status == "" {
			st.status = "healthy"
		}
		var b admin.Backend
		if !testtool.Eventually(s.T, func() bool { b = s.backend(name); return b.Inflight == st.busy }) {
			s.Errorf("%s has %d calls under way", name, b.Inflight)
		}
		if string(b.Status) != st.status || b.CooldownLevel != st.level || st.reason != "" && string(b.Reason) != st.reason || st.health != "" && string(b.Health) != st.health {
			s.Errorf("%s is %s (%s, level %d, %s), want %+v", name, b.Status, b.Reason, b.CooldownLevel, b.Health, st)
		}
		if (b.CooldownUntil != nil) != (st.left != 0) {
			s.Errorf("%s is left alone until %v, want %.0f s", name, b.CooldownUntil, st.left)
		} else if st.left != 0 && !within(b.CooldownUntil.Sub(s.clock.Now().Round(0)), st.left) {
			s.Errorf("%s is left alone until %s, at %s, want %.0f s", name, b.CooldownUntil, s.clock.Now(), st.left)
		}
		if away := b.Models[model].UnavailableUntil != nil; away != st.away {
			s.Errorf("the model is kept from %s: %t", name, away)
		}
		if strings.Contains(fmt.Sprintf("%+v", b), keyOf+name) {
			s.Errorf("the API shows the key of %s", name)
		}
	}
}

// within reports whether so many seconds are left, or a little less.
func within(left time.Duration, seconds float64) bool {
	if seconds == anyTime {
		return left > 0 && left <= 25*time.Hour
	}
	return left.Seconds() <= seconds+1 && left.Seconds() >= seconds-20
}

// checkMetrics compares what is counted and shown: with the expectation, with the
// states, and with all rows of the ledger.
func (s *scene) checkMetrics(a answer, want *outcome) {
	s.Helper()
	expected := maps.Clone(want.metrics)
	if expected == nil {
		expected = map[string]string{}
	}
	if want.ending != endLeft && want.ending != endBare {
		expected[fmt.Sprintf(`gateway_http_requests_total{method="POST",route=%q,service="data",status="%d"}`, s.w.path, a.status)] = "some"
	}
	for _, b := range [][2]string{{"primary-1", "primary"}, {"fallback-1", "fallback"}} {
		st := want.states[b[0]]
		if st.status == "" {
			st.status = "healthy"
		}
		expected[fmt.Sprintf(`gateway_backend_state{backend=%q,pool=%q,state=%q}`, b[0], b[1], st.status)] = "1"
		expected[fmt.Sprintf(`gateway_pool_backends{pool=%q,state=%q}`, b[1], st.status)] = "1"
		expected[fmt.Sprintf(`gateway_model_available_backends{model=%q,pool=%q}`, model, b[1])] = map[bool]string{true: "1", false: "0"}[st.status == "healthy" && !st.away]
	}
	if _, given := expected["gateway_ledger_failures_total"]; !given {
		expected["gateway_ledger_failures_total"] = "0"
	}
	if wrong := s.settled(func() []string { return s.miscounted(expected, want) }); len(wrong) > 0 {
		s.Errorf("the metrics, the ledger and the sums:\n%s", strings.Join(wrong, "\n"))
	}
}

// settleTime is how long after its answer a request may still be counted.
const settleTime = 5 * time.Second

// settled returns what is wrong, once nothing is or it has had its time. Where the
// scene has failed already, nothing is waited for.
func (s *scene) settled(look func() []string) []string {
	s.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	late := time.After(settleTime)
	for {
		wrong := look()
		if len(wrong) == 0 || s.Failed() {
			return wrong
		}
		select {
		case <-ticker.C:
		case <-late:
			return wrong
		}
	}
}

// miscounted is what the metrics say that is not as expected, or not as in the ledger.
func (s *scene) miscounted(expected map[string]string, want *outcome) []string {
	s.Helper()
	now := s.metrics()
	wrong := differences(expected, now)
	for name, st := range want.states {
		until := now[fmt.Sprintf(`gateway_backend_cooldown_until_timestamp_seconds{backend=%q}`, name)]
		if left := time.Duration((until - float64(s.clock.Now().Unix())) * float64(time.Second)); (until != 0) != (st.left != 0) || until != 0 && !within(left, st.left) {
			wrong = append(wrong, fmt.Sprintf("%s cools until %g by the metric, %s more", name, until, left))
		}
	}
	for name, n := range now {
		if n != 0 && want.ending != endBare && strings.HasPrefix(name, `gateway_http_requests_total{method="other",route="none",service="data"`) {
			wrong = append(wrong, fmt.Sprintf("%s is %g, and every request had a handler", name, n))
		}
	}
	if !want.unrecorded {
		wrong = append(wrong, s.disagreements(now)...)
	}
	return wrong
}

// differences are the series that are not as expected; "some" is any number but 0.
func differences(expected map[string]string, now map[string]float64) (wrong []string) {
	for series, value := range expected {
		got, there := now[series]
		text := ""
		if there {
			text = strconv.FormatFloat(got, 'g', -1, 64)
		}
		if text != value && (value != "some" || got == 0) {
			wrong = append(wrong, fmt.Sprintf("%s is %q, want %s", series, text, value))
		}
	}
	return wrong
}

// series writes a series as metrics has it: labels by name.
func series(name string, kv ...string) string {
	var labels []string
	for i := 0; i+1 < len(kv); i += 2 {
		labels = append(labels, fmt.Sprintf("%s=%q", kv[i], kv[i+1]))
	}
	slices.Sort(labels)
	if len(labels) == 0 {
		return name
	}
	return name + "{" + strings.Join(labels, ",") + "}"
}

// metrics are all counters and gauges of the process, and the counts of its histograms.
func (s *scene) metrics() map[string]float64 {
	s.Helper()
	if s.counted != nil {
		return s.counted
	}
	out := map[string]float64{}
	for line := range strings.Lines(s.get("/metrics", nil).body) {
		cut := strings.LastIndexByte(strings.TrimSpace(line), ' ')
		if strings.HasPrefix(line, "gateway_") && cut > 0 {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[cut+1:]), 64)
			if err != nil {
				s.Fatal(err)
			}
			out[line[:cut]] = value
		}
	}
	return out
}

// gathered are the same of a gateway that serves no more.
func (s *scene) gathered() map[string]float64 {
	s.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		s.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var kv []string
			for _, l := range m.GetLabel() {
				kv = append(kv, l.GetName(), l.GetValue())
			}
			switch f.GetType() {
			case dto.MetricType_COUNTER:
				out[series(f.GetName(), kv...)] = m.GetCounter().GetValue()
			case dto.MetricType_GAUGE:
				out[series(f.GetName(), kv...)] = m.GetGauge().GetValue()
			default:
				out[series(f.GetName()+"_count", kv...)] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

// same reports whether two sums of money or counts are equal.
func same(a, b float64) bool { return math.Abs(a-b) < 1e-9 }
