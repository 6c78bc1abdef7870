package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/ledger"
	"github.com/fleetwatch/fleetwatch/internal/redact"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// receiver is a target's far side: it answers what it is told and notes bodies.
type receiver struct {
	mu     sync.Mutex
	status int
	answer string
	bodies []string
	auth   string
	*httptest.Server
}

func newReceiver(t *testing.T, answer string) *receiver {
	t.Helper()
	r := &receiver{status: 200, answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		raw, _ := io.ReadAll(req.Body)
		r.bodies = append(r.bodies, string(raw))
		r.auth = req.Header.Get("Authorization")
		w.WriteHeader(r.status)
		_, _ = io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) set(status int, answer string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.answer = status, answer
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.bodies...)
}

func newExec(t *testing.T) *driver.Exec {
	t.Helper()
	e, err := driver.NewExec(100 * time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var sample = Message{Check: "watchdog", State: "down", Reason: "missed", Title: "● watchdog 失联 / silent", Text: "no pings", At: time.Now()}

func TestFeishuBotGetsASignedCard(t *testing.T) {
	bot := newReceiver(t, `{"code":0,"msg":"success"}`)
	c := Config{FeishuWebhook: redact.Secret(bot.URL + "/hook/token-1"), FeishuSecret: "sign-secret"}
	if err := newSender(newExec(t)).send(t.Context(), c, sample); err != nil {
		t.Fatal(err)
	}
	var body struct {
		Timestamp, Sign string
		MsgType         string `json:"msg_type"`
		Card            struct {
			Schema string
			Header struct {
				Template string
				Title    struct{ Content string }
			}
		}
	}
	if err := json.Unmarshal([]byte(bot.got()[0]), &body); err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(body.Timestamp+"\nsign-secret"))
	if want := base64.StdEncoding.EncodeToString(mac.Sum(nil)); body.Sign != want {
		t.Errorf("sign %q, want %q", body.Sign, want)
	}
	if body.MsgType != "interactive" || body.Card.Header.Template != "red" || body.Card.Header.Title.Content != sample.Title {
		t.Errorf("got %+v", body)
	}
}

func TestAnUnsignedBotGetsNoSign(t *testing.T) {
	bot := newReceiver(t, `{"code":0}`)
	if err := newSender(newExec(t)).send(t.Context(), Config{FeishuWebhook: redact.Secret(bot.URL)}, sample); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(bot.got()[0], `"sign"`) {
		t.Errorf("got %s", bot.got()[0])
	}
}

func TestWhatCountsAsAFailure(t *testing.T) {
	bot := newReceiver(t, "")
	gone := httptest.NewServer(nil)
	gone.Close()
	redirecting := httptest.NewServer(http.RedirectHandler(bot.URL, http.StatusFound))
	defer redirecting.Close()
	feishu := Config{FeishuWebhook: redact.Secret(bot.URL + "/hook/secret-token")}
	tests := []struct {
		name   string
		config Config
		status int
		answer string
		want   string
	}{
		{"code in a 200", feishu, 200, `{"code":19001,"msg":"param invalid"}`, "19001"},
		{"no code", feishu, 200, `{"ok":true}`, "no code"},
		{"html", feishu, 502, `<html>`, "502"},
		{"http target", Config{URL: redact.Secret(bot.URL)}, 500, "", "500"},
		{"redirect", Config{URL: redact.Secret(redirecting.URL)}, 200, "", "302"},
		{"gone", Config{FeishuWebhook: redact.Secret(gone.URL + "/hook/secret-token")}, 0, "", "posting"},
		{"command", Config{Exec: []string{"sh", "-c", "exit 4"}}, 0, "", "exit status 4"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bot.set(max(200, test.status), test.answer)
			err := newSender(newExec(t)).send(t.Context(), test.config, sample)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret-token") {
				t.Errorf("got %v, want %q and no token", err, test.want)
			}
		})
	}
}

func TestACommandGetsTheText(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	c := Config{Exec: []string{"sh", "-c", `echo "$HEARTBEAT_AGENT $HEARTBEAT_MESSAGE" > ` + file}}
	if err := newSender(newExec(t)).send(t.Context(), c, sample); err != nil {
		t.Fatal(err)
	}
	raw, _ := os.ReadFile(file)
	if got := string(raw); got != "watchdog "+sample.Title+"\nno pings\n" {
		t.Errorf("got %q", got)
	}
}

type queueRig struct {
	*Queue
	record   *ledger.Ledger
	logs     *bytes.Buffer
	registry *prometheus.Registry
}

func newQueueRig(t *testing.T, targets map[string]Config) *queueRig {
	t.Helper()
	record, err := ledger.Open(t.Context(), sqlstore.URL("sqlite:"+filepath.Join(t.TempDir(), "h.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = record.Close() })
	r := &queueRig{record: record, logs: &bytes.Buffer{}, registry: prometheus.NewRegistry()}
	r.Queue = NewQueue(record, newExec(t), slog.New(slog.NewTextHandler(r.logs, nil)), r.registry)
	r.Set(targets)
	return r
}

func (r *queueRig) add(t *testing.T, text string, created time.Time, targets ...string) {
	t.Helper()
	m := sample
	m.Text = text
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var notices []ledger.Notice
	for _, target := range targets {
		notices = append(notices, ledger.Notice{Check: "watchdog", Target: target, Body: string(raw), CreatedAt: created})
	}
	if err := r.record.SaveCheck(t.Context(), "watchdog", "{}", notices); err != nil {
		t.Fatal(err)
	}
}

func (r *queueRig) count(target, result string) float64 {
	return testutil.ToFloat64(r.total.WithLabelValues(target, result))
}

func TestNoticesAreKeptUntilDeliveredInOrder(t *testing.T) {
	good, bad := newReceiver(t, "ok"), newReceiver(t, "no")
	bad.set(503, "")
	r := newQueueRig(t, map[string]Config{
		"good": {URL: redact.Secret(good.URL)}, "bad": {URL: redact.Secret(bad.URL + "/secret-path"), Token: "tok"},
	})
	r.add(t, "first", time.Now(), "good", "bad")
	r.add(t, "second", time.Now(), "good", "bad")
	for r.round(t.Context()) == 0 {
	}
	if got := good.got(); len(got) != 2 || !strings.Contains(got[0], "first") || !strings.Contains(got[1], "second") {
		t.Errorf("good got %v", got)
	}
	if got := bad.got(); len(got) != 1 || r.count("bad", resultFailed) != 1 {
		t.Errorf("bad got %v", got)
	}
	if r.round(t.Context()) > firstPause || len(bad.got()) != 1 {
		t.Error("tried again before the pause was over")
	}
	bad.set(200, "")
	notices, err := r.record.OpenNotices(t.Context())
	if err != nil || len(notices) != 1 {
		t.Fatalf("%v, %v", notices, err)
	}
	// The pause is over.
	if err := r.record.RetryNotice(t.Context(), notices[0].ID, time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	for r.round(t.Context()) == 0 {
	}
	if got := bad.got(); len(got) != 3 || !strings.Contains(got[1], "first") || !strings.Contains(got[2], "second") {
		t.Errorf("bad got %v", got)
	}
	if bad.auth != "Bearer tok" || r.count("bad", resultSent) != 2 {
		t.Errorf("auth %q, sent %v", bad.auth, r.count("bad", resultSent))
	}
	if strings.Contains(r.logs.String(), "secret-path") {
		t.Errorf("URL in the log: %s", r.logs)
	}
	if problems, err := testutil.GatherAndLint(r.registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestUnconfiguredAndOldNoticesAreGivenUpAloud(t *testing.T) {
	bad := newReceiver(t, "")
	bad.set(500, "")
	r := newQueueRig(t, map[string]Config{"empty": {}, "bad": {URL: redact.Secret(bad.URL)}})
	r.add(t, "x", time.Now(), "empty", "removed")
	r.add(t, "y", time.Now().Add(-maxAge-time.Minute), "bad")
	for r.round(t.Context()) == 0 {
	}
	if r.count("empty", resultUnconfigured) != 1 || r.count("removed", resultUnconfigured) != 1 || r.count("bad", resultGivenUp) != 1 {
		t.Errorf("log: %s", r.logs)
	}
	if open, err := r.record.OpenNotices(t.Context()); err != nil || len(open) != 0 {
		t.Errorf("%v, %v", open, err)
	}
}

func TestRunDeliversOnAKickAndEnds(t *testing.T) {
	good := newReceiver(t, "ok")
	r := newQueueRig(t, map[string]Config{"good": {URL: redact.Secret(good.URL)}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.add(t, "x", time.Now(), "good")
	r.Kick()
	for deadline := time.Now().Add(10 * time.Second); len(good.got()) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("not delivered")
		}
		<-time.After(time.Millisecond)
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("ended without the reason")
	}
}
