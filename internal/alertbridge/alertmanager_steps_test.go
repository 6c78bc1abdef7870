package alertbridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// prometheus sends alerts the way Prometheus does: again and again to every
// Alertmanager, each to end by itself if it is not sent any more.
type prometheus struct {
	mu     sync.Mutex
	alerts map[string]alert // by key
	peers  map[string]bool  // base URLs, and whether they are reached
	down   bool
}

const (
	resend    = 250 * time.Millisecond
	alertLife = 4 * time.Second
)

func startPrometheus(t *testing.T, peers ...*realAlertmanager) *prometheus {
	t.Helper()
	p := &prometheus{alerts: map[string]alert{"watchdog": watchdog()}, peers: map[string]bool{}}
	for _, peer := range peers {
		p.peers[peer.url] = true
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() {
		ticker := time.NewTicker(resend)
		defer ticker.Stop()
		for ctx.Err() == nil {
			p.send(ctx)
			select {
			case <-ctx.Done():
			case <-ticker.C:
			}
		}
	})
	t.Cleanup(func() { stop(); running.Wait() })
	return p
}

// send sends what there is. Who does not take it is tried again the next time.
func (p *prometheus) send(ctx context.Context) {
	p.mu.Lock()
	var reached []string
	for url, ok := range p.peers {
		if ok && !p.down {
			reached = append(reached, url)
		}
	}
	out := []map[string]any{}
	for _, a := range p.alerts {
		ends := time.Now().Add(alertLife)
		if a.resolved {
			ends = a.ends
		}
		out = append(out, map[string]any{"labels": a.labels, "annotations": map[string]string{"summary": a.summary}, "startsAt": a.starts, "endsAt": ends})
	}
	p.mu.Unlock()
	body, err := json.Marshal(out)
	if err != nil {
		return
	}
	for _, url := range reached {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/v2/alerts", bytes.NewReader(body))
		if err != nil {
			return
		}
		r.Header.Set("Content-Type", "application/json")
		if response, err := http.DefaultClient.Do(r); err == nil {
			_ = response.Body.Close()
		}
	}
}

func (p *prometheus) change(do func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	do()
}

// fire has the alert fire from now on; end ends it, which is told for as long as it
// is not fired again.
func (p *prometheus) fire(key string, a alert) {
	p.change(func() { a.starts = time.Now(); p.alerts[key] = a })
}

func (p *prometheus) end(key string) {
	p.change(func() { p.alerts[key] = p.alerts[key].up(time.Now()) })
}

func (p *prometheus) stop(down bool)                 { p.change(func() { p.down = down }) }
func (p *prometheus) forget(key string)              { p.change(func() { delete(p.alerts, key) }) }
func (p *prometheus) reach(url string, reached bool) { p.change(func() { p.peers[url] = reached }) }

// stage is a bridge before one or two Alertmanagers. The bridge asks the first.
type stage struct {
	*prometheus
	t      *testing.T
	peers  []*realAlertmanager
	fs     *standIn
	bridge *bridge
	wires  []*wire // between the peers; of one peer, between it and the bridge
}

func onePeer(t *testing.T) *stage {
	t.Helper()
	binary(t, "alertmanager")
	fs, address := newFeishu(t, feishu.Options{}), freeAddress(t)
	api := newWire(t, address)
	b := startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + api.address})
	hook := newWire(t, b.Addr())
	am := startAlertmanagerRepeating(t, address, "http://"+hook.address+"/webhook", "500ms", "--cluster.listen-address=")
	return &stage{prometheus: startPrometheus(t, am), t: t, peers: []*realAlertmanager{am}, fs: fs, bridge: b, wires: []*wire{api, hook}}
}

func twoPeers(t *testing.T) *stage {
	t.Helper()
	return newTwoPeers(t, "500ms", "2500ms")
}

// quietPeers repeat nothing, and absence counts later than the watchdog ages, as in
// the shipped configuration.
func quietPeers(t *testing.T) *stage {
	t.Helper()
	return newTwoPeers(t, "1h", "3s")
}

func newTwoPeers(t *testing.T, repeat, minUptime string) *stage {
	t.Helper()
	binary(t, "alertmanager")
	fs := newFeishu(t, feishu.Options{})
	addresses, listens := []string{freeAddress(t), freeAddress(t)}, []string{freeAddress(t), freeAddress(t)}
	wires := []*wire{newWire(t, listens[0]), newWire(t, listens[1])}
	s := &stage{t: t, fs: fs, bridge: startBridge(t, settings{feishu: fs.url, alertmanager: "http://" + addresses[0], minUptime: minUptime}), wires: wires}
	for i, address := range addresses {
		s.peers = append(s.peers, startAlertmanagerRepeating(t, address, "http://"+s.bridge.Addr()+"/webhook", repeat,
			"--cluster.listen-address="+listens[i], "--cluster.advertise-address="+wires[i].address, "--cluster.peer="+wires[1-i].address,
			"--cluster.peer-timeout=50ms", "--cluster.settle-timeout=1s", "--cluster.gossip-interval=50ms", "--cluster.pushpull-interval=500ms",
			"--cluster.probe-interval=300ms", "--cluster.probe-timeout=100ms", "--cluster.tcp-timeout=300ms", "--cluster.reconnect-interval=300ms"))
	}
	s.waitPeers(2)
	s.prometheus = startPrometheus(t, s.peers...)
	return s
}

func (s *stage) cut() {
	for _, w := range s.wires {
		w.cut()
	}
	if len(s.peers) == 2 {
		s.waitPeers(1)
	}
}

func (s *stage) mend() {
	for _, w := range s.wires {
		w.mend()
	}
	if len(s.peers) == 2 {
		s.waitPeers(2)
	}
}

// waitPeers waits until each Alertmanager sees that many in its cluster.
func (s *stage) waitPeers(n int) {
	s.t.Helper()
	for _, p := range s.peers {
		var status struct {
			Cluster struct {
				Peers []struct{ Name string }
			}
		}
		eventually(s.t, func() bool {
			return json.Unmarshal([]byte(p.call(http.MethodGet, "/status", nil)), &status) == nil && len(status.Cluster.Peers) == n
		}, func() string { return fmt.Sprintf("%s sees %d peers: %+v", p.url, n, status) })
	}
}

// webhooks is how many the bridge has taken.
func (s *stage) webhooks() int {
	s.t.Helper()
	_, text := s.bridge.do(http.MethodGet, "/metrics", "", "")
	total := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "} ")
		if n, err := strconv.Atoi(value); err == nil && strings.HasPrefix(name, "alertbridge_webhooks_total{") && strings.Contains(name, `code="200"`) {
			total += n
		}
	}
	return total
}

// hear waits for as many further webhooks.
func (s *stage) hear(more int) {
	s.t.Helper()
	before := s.webhooks()
	eventually(s.t, func() bool { return s.webhooks() >= before+more }, func() string { return fmt.Sprintf("%d more webhooks", more) })
}

// listed waits until every Alertmanager lists an alert of the agent, muted or not.
func (s *stage) listed(agent string) {
	s.t.Helper()
	for _, p := range s.peers {
		eventually(s.t, func() bool {
			return strings.Contains(p.call(http.MethodGet, "/alerts", nil), `"agent_name":"`+agent+`"`)
		},
			func() string { return p.url + " lists " + agent })
	}
}

// cards are the cards as "template title", in the order of their creation.
func (s *stage) cards() []string {
	out := []string{}
	for _, v := range s.fs.views() {
		out = append(out, v.Template+" "+v.Title)
	}
	return out
}

// step is a change and the cards that it leads to: all there are since the steps
// began, in order.
type step struct {
	name string
	do   func(*stage)
	want []string
}

// part is one of several alerts of an agent's group.
func part(agent, name string) alert {
	a := down(agent, "critical", time.Now())
	a.labels = maps.Clone(a.labels)
	a.labels["part"] = name
	return a
}

func late(agent string) alert {
	a := down(agent, "warning", time.Now())
	a.labels["alertname"], a.summary = "AgentLate", agent+" is late"
	return a
}

const (
	red, green, muted, unknown = "red 🚨 [CRITICAL] ", "green ✅ [CRITICAL] ", "grey 🔕 [CRITICAL] ", "grey ❔ [CRITICAL] "
	isDown                     = "secretary is down"
)

// groupSteps are about one group, from its first alert to its second generation.
func groupSteps() []step {
	var silence string
	return []step{
		{"firing", func(s *stage) { s.fire("a", part("secretary", "a")) }, []string{red + isDown}},
		{"more alerts", func(s *stage) { s.fire("b", part("secretary", "b")) }, []string{red + isDown + " (+1)"}},
		{"repeat", func(s *stage) { s.hear(4) }, []string{red + isDown + " (+1)"}},
		{"partial resolve", func(s *stage) { s.end("b") }, []string{red + isDown}},
		// Prometheus tells of an end for a quarter of an hour, then no more.
		{"silence", func(s *stage) {
			s.forget("b")
			silence = s.peers[0].silence("agent_name", "secretary")
		}, []string{muted + isDown}},
		{"resolve under silence", func(s *stage) { s.end("a") }, []string{green + isDown + " (+1)"}},
		{"firing again under silence", func(s *stage) {
			s.fire("a", part("secretary", "a"))
			s.listed("secretary")
		}, []string{green + isDown + " (+1)"}},
		{"the silence ends", func(s *stage) { s.peers[0].call(http.MethodDelete, "/silence/"+silence, nil) }, []string{green + isDown + " (+1)", red + isDown}},
		{"resolve", func(s *stage) { s.end("a") }, []string{green + isDown + " (+1)", green + isDown}},
	}
}

// otherSteps are about inhibition, and Prometheus stopped.
func otherSteps() []step {
	const lateCard, downCard, coo = "lawyer is late", "lawyer is down", "coo is down"
	over := []string{green + isDown + " (+1)", green + isDown}
	then := func(more ...string) []string { return append(slices.Clone(over), more...) }
	done := []string{"green ✅ [WARNING] " + lateCard, green + downCard}
	return []step{
		{"a warning", func(s *stage) { s.fire("late", late("lawyer")) }, then("yellow ⚠️ [WARNING] " + lateCard)},
		{"inhibition", func(s *stage) { s.fire("d", down("lawyer", "critical", time.Now())) }, then("grey 🔕 [WARNING] "+lateCard, red+downCard)},
		{"what inhibited ends", func(s *stage) { s.end("d") }, then("yellow ⚠️ [WARNING] "+lateCard, green+downCard)},
		{"the warning ends", func(s *stage) { s.end("late") }, then(done...)},
		{"before Prometheus stops", func(s *stage) { s.fire("e", down("coo", "critical", time.Now())) }, then(append(done, red+coo)...)},
		{"Prometheus stopped", func(s *stage) { s.stop(true) }, then(append(done, unknown+coo)...)},
		{"Prometheus back, still firing", func(s *stage) { s.stop(false) }, then(append(done, red+coo)...)},
		{"Prometheus stopped again", func(s *stage) { s.stop(true) }, then(append(done, unknown+coo)...)},
		{"Prometheus back, no longer firing", func(s *stage) { s.forget("e"); s.stop(false) }, then(append(done, green+coo)...)},
	}
}

// cutOffSteps are those of one peer and the bridge that do not reach each other.
func cutOffSteps() []step {
	return []step{
		{"before the partition", func(s *stage) { s.fire("a", down("secretary", "critical", time.Now())) }, []string{red + isDown}},
		{"partition", func(s *stage) {
			s.cut()
			s.end("a")
			s.fire("b", down("coo", "critical", time.Now()))
			eventually(s.t, func() bool { return strings.Contains(s.bridge.logs.String(), "alertmanager does not answer") }, func() string { return "the bridge misses Alertmanager" })
		}, []string{red + isDown}},
		{"return", (*stage).mend, []string{green + isDown, red + "coo is down"}},
		{"resolve", func(s *stage) { s.end("b") }, []string{green + isDown, green + "coo is down"}},
	}
}

// partitionSteps are those of two peers that do not reach each other, so that both
// notify of everything and only one knows of a silence.
func partitionSteps() []step {
	var silence string
	coo := "coo is down"
	return []step{
		{"before the partition", func(s *stage) { s.fire("a", down("secretary", "critical", time.Now())) }, []string{red + isDown}},
		{"partition", func(s *stage) { s.cut(); s.hear(4) }, []string{red + isDown}},
		{"firing in the partition", func(s *stage) { s.fire("b", down("coo", "critical", time.Now())); s.hear(4) }, []string{red + isDown, red + coo}},
		{"silence on one side", func(s *stage) { silence = s.peers[0].silence("agent_name", "coo") }, []string{red + isDown, muted + coo}},
		{"the other side repeats", func(s *stage) { s.hear(6) }, []string{red + isDown, muted + coo}},
		{"resolve in the partition", func(s *stage) { s.end("a"); s.end("b") }, []string{green + isDown, green + coo}},
		{"firing again in the partition", func(s *stage) { s.fire("a", down("secretary", "critical", time.Now())); s.hear(4) }, []string{green + isDown, green + coo, red + isDown}},
		{"return", func(s *stage) { s.mend(); s.hear(4) }, []string{green + isDown, green + coo, red + isDown}},
		{"the silence holds on both sides", func(s *stage) {
			eventually(s.t, func() bool { return len(s.peers[1].silences("active")) == 1 }, func() string { return "the other peer has the silence" })
			s.fire("b", down("coo", "critical", time.Now()))
			s.hear(4)
		}, []string{green + isDown, green + coo, red + isDown}},
		{"the silence ends", func(s *stage) { s.peers[1].call(http.MethodDelete, "/silence/"+silence, nil) }, []string{green + isDown, green + coo, red + isDown, red + coo}},
		{"resolve", func(s *stage) { s.end("a"); s.end("b") }, []string{green + isDown, green + coo, green + isDown, green + coo}},
	}
}

// otherPeerSteps are those of a Prometheus that reaches only the peer that the bridge
// does not ask: what that one told is not over for being absent from the other.
func otherPeerSteps() []step {
	return []step{
		{"before", func(s *stage) { s.fire("a", down("coo", "critical", time.Now())) }, []string{red + "coo is down"}},
		{"Prometheus reaches the other peer only", func(s *stage) {
			s.reach(s.peers[0].url, false)
			s.fire("b", down("secretary", "critical", time.Now()))
		}, []string{unknown + "coo is down", unknown + isDown}},
		{"what ends then", func(s *stage) { s.end("a"); s.hear(1) }, []string{unknown + "coo is down", unknown + isDown}},
		{"and reaches both again", func(s *stage) { s.reach(s.peers[0].url, true) }, []string{green + "coo is down", red + isDown}},
		{"resolve", func(s *stage) { s.end("b") }, []string{green + "coo is down", green + isDown}},
	}
}

// TestRealSteps goes through the life of groups before one and two real peers: after
// each step every card is right, and there is one for each generation.
func TestRealSteps(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(*testing.T) *stage
		steps []step
	}{
		{"one peer", onePeer, slices.Concat(groupSteps(), otherSteps())},
		{"one peer, cut off", onePeer, cutOffSteps()},
		{"two peers", twoPeers, slices.Concat(groupSteps(), otherSteps())},
		{"two peers, parted", twoPeers, partitionSteps()},
		{"two peers, one reached", quietPeers, otherPeerSteps()},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.build(t)
			for _, x := range c.steps {
				x.do(s)
				eventually(t, func() bool { return slices.Equal(s.cards(), x.want) }, func() string {
					return fmt.Sprintf("%s:\nhave %q\nwant %q", x.name, s.cards(), x.want)
				})
			}
		})
	}
}
