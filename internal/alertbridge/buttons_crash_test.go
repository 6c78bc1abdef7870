package alertbridge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/alertbridge/card"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/silence"
	"github.com/fleetwatch/fleetwatch/internal/alertbridge/store"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/sqlstore"
)

// heldCard is a store with one card on which a silence was asked for,
// and its end where one is given.
func heldCard(t *testing.T, hold card.Hold, end *card.Mark) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: sqlstore.URL("sqlite:" + filepath.Join(t.TempDir(), "cards.db"))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	at := time.Now().UTC()
	if _, err := s.Accept(t.Context(), store.Intake{
		Group:     group("coo"),
		Notice:    card.Notice{At: at, Alerts: []card.Alert{{Fingerprint: "f", Status: card.Firing, StartsAt: at, Labels: down("coo", "critical", at).labels}}},
		Receivers: func(map[string]string) []string { return []string{"oncall"} },
		Channels:  func(string) store.Channels { return store.Channels{Ways: []store.Channel{store.App}} },
	}); err != nil {
		t.Fatal(err)
	}
	hold.At, hold.Until = at, at.Add(time.Hour)
	apply := func(c *card.Card) string {
		if !c.Silence(hold) || (end != nil && !c.EndSilence(*end)) {
			t.Error("the card does not take it")
		}
		return "asked"
	}
	if _, _, err := s.Press(t.Context(), store.Press{EventID: "e", At: at, CardID: onlyCard(t, s).ID, Apply: apply}); err != nil {
		t.Fatal(err)
	}
	return s
}

func onlyCard(t *testing.T, s *store.Store) *card.Card {
	t.Helper()
	cards, err := s.Cards(t.Context(), store.Filter{Limit: 2})
	if err != nil || len(cards) != 1 {
		t.Fatalf("%d cards, %v", len(cards), err)
	}
	return cards[0]
}

// TestSilenceMadeBeforeACrash is a process that was killed after Alertmanager had
// the silence and before the store had its id.
func TestSilenceMadeBeforeACrash(t *testing.T) {
	binary(t, "alertmanager")
	for _, c := range []struct {
		name   string
		end    *card.Mark
		phase  card.Phase
		active int
	}{
		{"and goes on", nil, card.HoldMade, 1},
		{"and is to end", &card.Mark{By: "ou_ben", At: time.Now()}, card.HoldEnded, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			am := startAlertmanager(t, freeAddress(t), "http://127.0.0.1:9/webhook", "--cluster.listen-address=")
			s := heldCard(t, card.Hold{ID: "01TESTHOLD", By: "ou_ana"}, c.end)
			before := am.silenceWith("agent_name", "coo", "made before the crash [fleetwatch 01TESTHOLD/1]")
			am.silenceWith("agent_name", "coo", "another's [fleetwatch 01TESTHOLD2/1]")
			results := make(chan string, 8)
			keeper, err := silence.New(s, slog.New(slog.DiscardHandler), func() {}, func(_ bool, r string) { results <- r },
				silence.Options{URL: am.url, Timeout: 5 * time.Second, Comment: func(*card.Card) string { return "a card" }})
			if err != nil {
				t.Fatal(err)
			}
			var running sync.WaitGroup
			ctx, cancel := context.WithCancel(t.Context())
			running.Go(func() { keeper.Run(ctx) })
			if r := <-results; r != silence.ResultDone {
				t.Error(r)
			}
			cancel()
			running.Wait()
			h := onlyCard(t, s).Hold
			if h.Phase() != c.phase || (c.active == 1 && h.Parts[0].Silence != before) {
				t.Errorf("the hold is %+v, want %s with %s", h, c.phase, before)
			}
			if n := len(am.silences("active")); n != c.active+1 {
				t.Errorf("%d silences, want %d and another's", n, c.active)
			}
		})
	}
}

// cardsOf are the cards of a child by its API.
func (c *child) cardsOf(t *testing.T) []*card.Card {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.address+"/api/cards?limit=1000", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer admin-token-value")
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct{ Cards []*card.Card }
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return answer.Cards
}

// assassin stands before an Alertmanager and ends the caller when it makes its
// nth silence: before Alertmanager has it, or after, without an answer.
type assassin struct {
	proxy *httputil.ReverseProxy
	mu    sync.Mutex
	calls int
	after bool
	kill  func()
}

func (a *assassin) arm(calls int, after bool, kill func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls, a.after, a.kill = calls, after, kill
}

func (a *assassin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	hit := false
	if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/silences") {
		a.calls--
		hit = a.calls == 0
	}
	after, kill := a.after, a.kill
	a.mu.Unlock()
	if hit && !after {
		kill()
		panic(http.ErrAbortHandler)
	}
	if hit {
		a.proxy.ServeHTTP(httptest.NewRecorder(), r)
		kill()
		panic(http.ErrAbortHandler)
	}
	a.proxy.ServeHTTP(w, r)
}

// TestCrashWhileSilencing kills the bridge at random calls while people silence
// cards. Each press that was told to have been taken makes one silence.
func TestCrashWhileSilencing(t *testing.T) {
	binary(t, "alertmanager")
	fs, am := newFeishu(t, feishu.Options{}), startAlertmanager(t, freeAddress(t), "http://127.0.0.1:9/webhook", "--cluster.listen-address=")
	target, err := url.Parse(am.url)
	if err != nil {
		t.Fatal(err)
	}
	killer := &assassin{proxy: httputil.NewSingleHostReverseProxy(target)}
	server := httptest.NewServer(killer)
	t.Cleanup(server.Close)
	config := writeConfig(t, settings{feishu: fs.url, dir: t.TempDir(), receivers: manyReceivers, extra: crashRoutes, alertmanager: server.URL, operators: "ou_ana"})
	random := rand.New(rand.NewPCG(11, 11))
	const perRound = 8
	taken, total := map[string]bool{}, 0         // messages whose press was told to be taken
	for round := range min(crashRounds(), 100) { // so that one list of the API holds all cards
		c := startChild(t, config)
		for i := range perRound {
			agent := fmt.Sprintf("agent-%d-%d", round, i)
			x := down(agent, "critical", time.Now())
			am.tell(time.Hour, x)
			if !c.offer(t.Context(), payload(group(agent), x)) {
				t.Fatal("an alert was not taken")
			}
		}
		total += perRound
		eventually(t, func() bool { return len(fs.views()) == total && fs.Connections() == 1 }, func() string { return "the cards and the connection" })
		var messages []string
		for _, v := range fs.views()[total-perRound:] {
			messages = append(messages, v.MessageID)
		}
		var once sync.Once
		dead := make(chan struct{})
		killer.arm(1+random.IntN(perRound), round%2 == 0, func() { once.Do(func() { c.kill(); close(dead) }) })
		pressAll(t, fs, messages, taken, dead)
		c = startChild(t, config)
		checkSilences(t, am, c, taken)
		c.kill()
	}
	t.Logf("%d of %d presses told to be taken, %d silences", len(taken), total, len(am.silences("active")))
}

// pressAll presses on all the messages at once, and returns once the bridge is
// dead.
func pressAll(t *testing.T, fs *standIn, messages []string, taken map[string]bool, dead <-chan struct{}) {
	t.Helper()
	var mu sync.Mutex
	var wait sync.WaitGroup
	for _, m := range messages {
		wait.Go(func() {
			p, err := fs.Press(t.Context(), m, "静默 1 小时", "ou_ana")
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if p.Kind == "success" {
				taken[m] = true
			}
		})
	}
	wait.Wait()
	select {
	case <-dead:
	case <-time.After(30 * time.Second):
		t.Fatal("nobody made the silence that ends the bridge")
	}
}

// checkSilences waits until the child has nothing left to do and compares its
// cards with Alertmanager.
func checkSilences(t *testing.T, am *realAlertmanager, c *child, taken map[string]bool) {
	t.Helper()
	held := func() (made, waiting int) {
		for _, x := range c.cardsOf(t) {
			switch {
			case x.Hold.Phase() == card.HoldMade:
				made++
			case x.Acting():
				waiting++
			}
		}
		return made, waiting
	}
	eventually(t, func() bool { _, waiting := held(); return waiting == 0 }, func() string { return "nothing is left to be made" })
	made, _ := held()
	marks := map[string]int{}
	for _, s := range am.silences("active") {
		marks[s.Comment[strings.LastIndex(s.Comment, "["):]]++
	}
	for mark, n := range marks {
		if n != 1 {
			t.Errorf("%d silences of %s", n, mark)
		}
	}
	if len(marks) != made || made < len(taken) {
		t.Errorf("%d presses told to be taken, %d cards held, %d silences", len(taken), made, len(marks))
	}
}
