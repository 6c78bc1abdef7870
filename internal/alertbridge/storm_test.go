package alertbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// storm is a flood of alerts, each a group of its own, every tenth critical, for
// one receiver and one person, over a while.
type storm struct {
	alerts int
	over   time.Duration
}

// outcome is what a storm came to.
type outcome struct {
	ackP99     time.Duration
	latest     time.Duration // from a critical's acceptance to its card or digest line, the longest
	refused    int           // calls that Feishu refused for its limits
	peakMemory int           // of the bridge, bytes
	text       string        // of the last digest of the criticals' receiver
}

const stormSettings = `
severity: {critical: [oncall], warning: [oncall], default: [oncall]}
routes: [{matchers: ['team="coo"'], receivers: [coo]}]
`

// run floods a bridge in a process of its own.
func (s storm) run(t testing.TB) outcome {
	t.Helper()
	fs := newFeishu(t, feishu.Options{Limits: feishu.PublishedLimits()})
	known := &knownAlerts{since: time.Now().Add(-time.Hour)}
	am := httptest.NewServer(known)
	t.Cleanup(am.Close)
	c := startChild(t, writeConfig(t, settings{feishu: fs.url, alertmanager: am.URL, dir: t.TempDir(), reconcile: "15s", severity: stormSettings}))
	criticals := &coverage{}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	watched := make(chan struct{})
	go func() { criticals.watch(ctx, fs); close(watched) }()
	acks := s.flood(t, c, known, criticals)
	criticals.wait(t, fs)
	out := outcome{ackP99: acks[len(acks)*99/100], peakMemory: c.peakMemory(t)}
	cancel()
	<-watched
	out.latest = criticals.latest
	for _, r := range fs.Requests() {
		if r.Code == 99991400 || r.Code == 230020 {
			out.refused++
		}
	}
	for _, v := range fs.views() {
		if strings.Contains(v.Title, "告警风暴") && v.To == "oc_oncall" {
			out.text = v.Title + "\n" + v.Text
		}
	}
	return out
}

// flood posts the alerts at an even pace and returns how long each answer took,
// sorted.
func (s storm) flood(t testing.TB, c *child, known *knownAlerts, criticals *coverage) []time.Duration {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	acks := make([]time.Duration, s.alerts)
	var wait sync.WaitGroup
	var failed atomic.Int64
	slots := make(chan struct{}, 64)
	pace := time.NewTicker(max(s.over/time.Duration(s.alerts), time.Microsecond))
	defer pace.Stop()
	for i := range s.alerts {
		<-pace.C
		slots <- struct{}{}
		wait.Go(func() {
			defer func() { <-slots }()
			x := down(fmt.Sprintf("agent-%05d", i), "warning", time.Now())
			x.labels["alertname"] = []string{"AgentHeartbeatMissed", "AgentErrorRatioHigh", "GatewayFirstByteSlow"}[i%3]
			switch {
			case i%10 == 0:
				x.labels["alertname"], x.labels["severity"] = "AgentDown", "critical"
			case i%2 == 0:
				x.labels["team"] = "coo"
			}
			known.add(x)
			begun := time.Now()
			status := c.post(ctx(t), client, payload(map[string]string{"alertname": x.labels["alertname"], "agent_name": x.labels["agent_name"]}, x))
			acks[i] = time.Since(begun)
			if status != http.StatusOK {
				failed.Add(1)
				return
			}
			if x.labels["severity"] == "critical" {
				criticals.accepted(time.Now())
			}
		})
	}
	wait.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d webhooks were not taken", n, s.alerts)
	}
	slices.Sort(acks)
	return acks
}

func ctx(t testing.TB) context.Context { return context.WithoutCancel(t.Context()) }

// post sends one webhook and returns the status, 0 for none.
func (c *child) post(ctx context.Context, client *http.Client, body string) int {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+"/webhook", strings.NewReader(body))
	if err != nil {
		return 0
	}
	r.Header.Set("Authorization", "Bearer hook-token-value")
	response, err := client.Do(r)
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// peakMemory is the most that the process has held in memory, in bytes.
func (c *child) peakMemory(t testing.TB) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("the system does not say how much memory the bridge holds")
	return 0
}

// coverage follows how many criticals are shown, by cards of their own and in
// digests.
type coverage struct {
	mu     sync.Mutex
	times  []time.Time // of acceptance
	shown  int
	latest time.Duration
}

func (c *coverage) accepted(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.times = append(c.times, at)
}

// watch counts with every look; criticals are shown in the order of acceptance,
// as far as counts tell.
func (c *coverage) watch(ctx context.Context, fs *standIn) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			n := criticalsShown(fs)
			c.mu.Lock()
			for ; c.shown < min(n, len(c.times)); c.shown++ {
				c.latest = max(c.latest, now.Sub(c.times[c.shown]))
			}
			c.mu.Unlock()
		}
	}
}

func (c *coverage) wait(t testing.TB, fs *standIn) {
	t.Helper()
	eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.shown == len(c.times)
	}, func() string {
		return fmt.Sprintf("all %d criticals are shown, have %d", len(c.times), criticalsShown(fs))
	})
}

// criticalsShown counts the criticals on cards and in digests.
func criticalsShown(fs *standIn) int {
	n := 0
	for _, v := range fs.views() {
		switch i := strings.Index(v.Title, "（严重 "); {
		case i >= 0:
			var more int
			if _, err := fmt.Sscanf(v.Title[i:], "（严重 %d）", &more); err == nil {
				n += more
			}
		case v.Template == "red":
			n++
		}
	}
	return n
}

// knownAlerts is the API of an Alertmanager to which all of the storm is known.
type knownAlerts struct {
	mu     sync.Mutex
	since  time.Time
	alerts []map[string]any
}

func (k *knownAlerts) add(a alert) {
	labels := model.LabelSet{}
	for name, value := range a.labels {
		labels[model.LabelName(name)] = model.LabelValue(value)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.alerts = append(k.alerts, map[string]any{
		"labels": a.labels, "annotations": map[string]string{"summary": a.summary}, "startsAt": a.starts, "endsAt": a.starts.Add(time.Hour), "updatedAt": time.Now(),
		"fingerprint": labels.Fingerprint().String(), "receivers": []map[string]string{{"name": "bridge"}}, "generatorURL": "",
		"status": map[string]any{"state": "active", "silencedBy": []string{}, "inhibitedBy": []string{}, "mutedBy": []string{}},
	})
}

func (k *knownAlerts) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var answer any = []any{}
	switch r.URL.Path {
	case "/api/v2/alerts":
		watchdog := map[string]any{
			"labels": map[string]string{"alertname": "Watchdog"}, "annotations": map[string]string{}, "startsAt": k.since, "endsAt": time.Now().Add(time.Hour), "updatedAt": time.Now(),
			"fingerprint": "watchdog", "receivers": []map[string]string{{"name": "bridge"}}, "generatorURL": "",
			"status": map[string]any{"state": "active", "silencedBy": []string{}, "inhibitedBy": []string{}, "mutedBy": []string{}},
		}
		answer = append([]map[string]any{watchdog}, k.alerts...)
	case "/api/v2/status":
		answer = map[string]any{
			"cluster": map[string]any{"status": "disabled", "peers": []any{}}, "config": map[string]string{"original": ""}, "uptime": k.since,
			"versionInfo": map[string]string{"branch": "", "buildDate": "", "buildUser": "", "goVersion": "", "revision": "", "version": "0.31.1"},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// TestStorm: whatever comes, no limit is exceeded, every critical is shown, and
// the digest can be read. ALERTBRIDGE_STORM=full is 10,000 alerts in a minute.
func TestStorm(t *testing.T) {
	s := storm{alerts: 600, over: 3 * time.Second}
	if os.Getenv("ALERTBRIDGE_STORM") == "full" {
		s = storm{alerts: 10000, over: time.Minute}
	}
	o := s.run(t)
	t.Logf("%d alerts in %s: webhooks answered within %s (p99), criticals shown within %s, peak memory %d MB", s.alerts, s.over, o.ackP99, o.latest, o.peakMemory>>20)
	if o.refused > 0 {
		t.Errorf("Feishu refused %d calls for its limits", o.refused)
	}
	down, missed := strings.Index(o.text, "AgentDown"), strings.Index(o.text, "AgentHeartbeatMissed")
	if down < 0 || missed < down {
		t.Errorf("the digest does not tell of criticals first:\n%s", o.text)
	}
}

// BenchmarkStorm is 10,000 alerts in a minute.
func BenchmarkStorm(b *testing.B) {
	var o outcome
	for range b.N {
		o = storm{alerts: 10000, over: time.Minute}.run(b)
	}
	b.ReportMetric(float64(o.ackP99.Microseconds())/1000, "ack-p99-ms")
	b.ReportMetric(o.latest.Seconds(), "critical-s")
	b.ReportMetric(float64(o.refused), "refused")
	b.ReportMetric(float64(o.peakMemory)/(1<<20), "peak-MB")
}

// TestCrashInAStorm kills the bridge at random moments of a storm: no group has
// two cards, none is forgotten, and each digest is one message.
func TestCrashInAStorm(t *testing.T) {
	fs := newFeishu(t, feishu.Options{})
	config := writeConfig(t, settings{feishu: fs.url, dir: t.TempDir(), extra: "storm: {per_receiver_per_minute: 4, digest_every: 1s}"})
	random := rand.New(rand.NewPCG(11, 11))
	told, posted, ended := &sync.Map{}, []string{}, map[string]bool{}
	for round := range crashRounds() {
		if err := fs.AddFault(feishu.Fault{Kind: feishu.FaultDropAfter, Ops: []feishu.Op{feishu.OpCreate, feishu.OpPatch}, Skip: random.IntN(3), Times: 2}); err != nil {
			t.Fatal(err)
		}
		c := startChild(t, config)
		killAt := fs.Counts().Requests + 1 + random.IntN(8)
		var due []string
		for i := range 12 {
			due = append(due, fmt.Sprintf("agent-%d-%d", round, i))
		}
		posted = append(posted, due...)
		left := postAll(t, c, due, ended, told, func() bool { return fs.Counts().Requests >= killAt })
		c.kill()
		fs.ClearFaults()
		c = startChild(t, config)
		if left := postAll(t, c, left, ended, told, func() bool { return false }); len(left) > 0 {
			t.Fatalf("not answered after the restart: %v", left)
		}
		c.kill()
	}
	c := startChild(t, config)
	eventually(t, func() bool { return criticalsShown(fs) >= len(posted) }, func() string { return fmt.Sprintf("%d groups are shown, have %d", len(posted), criticalsShown(fs)) })
	for _, agent := range posted {
		ended[agent] = true
	}
	told.Clear()
	if left := postAll(t, c, posted, ended, told, func() bool { return false }); len(left) > 0 {
		t.Fatalf("ends that were not answered: %v", left)
	}
	total := func() (own, digested int, open []string) {
		for _, v := range fs.views() {
			if v.Template != "green" {
				open = append(open, v.Title)
			}
			var n, carded int
			if _, err := fmt.Sscanf(v.Title, "✅ 告警风暴已结束：共 %d 组", &n); err == nil {
				if i := strings.Index(v.Text, "其中 "); i >= 0 {
					_, _ = fmt.Sscanf(v.Text[i:], "其中 %d 组", &carded)
				}
				digested += n - carded
				continue
			}
			own++
		}
		return own, digested, open
	}
	eventually(t, func() bool { _, _, open := total(); return len(open) == 0 }, func() string { _, _, open := total(); return fmt.Sprintf("all green, open: %q", open) })
	own, digested, _ := total()
	if own+digested != len(posted) {
		t.Errorf("%d cards and %d groups in digests, of %d", own, digested, len(posted))
	}
	seen := map[string]int{}
	for _, v := range fs.views() {
		seen[v.Title[max(strings.LastIndex(v.Title, "] "), 0):]+digestMark(v)]++
	}
	for _, title := range slices.Sorted(maps.Keys(seen)) {
		if seen[title] != 1 {
			t.Errorf("%d messages %q, want 1", seen[title], title)
		}
	}
	t.Logf("%d groups over %d kills: %d cards of their own, %d in digests", len(posted), crashRounds(), own, digested)
}

// digestMark is the id that a digest's footer names, "" for other cards.
func digestMark(v feishu.MessageView) string {
	if i := strings.LastIndex(v.Text, "#"); i >= 0 && strings.Contains(v.Title, "告警风暴") {
		return v.Text[i:]
	}
	return ""
}
