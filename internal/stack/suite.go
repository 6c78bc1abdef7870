package stack

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// Suite looks at a running suite from outside, as a person would: at the cards
// in the sandbox's Feishu, at Alertmanager, at the agents. The demo and the
// end-to-end tests use it.
type Suite struct {
	Layout Layout
	client *http.Client
}

// NewSuite returns the suite of a layout.
func NewSuite(l Layout) Suite {
	return Suite{Layout: l, client: &http.Client{Timeout: 5 * time.Second}}
}

func (s Suite) call(ctx context.Context, method, url string, into any) error {
	return s.send(ctx, method, url, nil, into)
}

func (s Suite) send(ctx context.Context, method, url string, body []byte, into any) error {
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := s.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: %s: %s", method, url, response.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// Messages returns the messages in the sandbox's Feishu, oldest first.
func (s Suite) Messages(ctx context.Context) ([]feishu.MessageView, error) {
	var all []feishu.MessageView
	return all, s.call(ctx, http.MethodGet, s.Layout.URL(SandboxFeishu)+"/sandbox/messages", &all)
}

// Cards returns the app cards whose title or text holds subject.
func (s Suite) Cards(ctx context.Context, subject string) ([]feishu.MessageView, error) {
	all, err := s.Messages(ctx)
	var cards []feishu.MessageView
	for _, m := range all {
		if m.Kind == feishu.KindApp && (strings.Contains(m.Title, subject) || strings.Contains(m.Text, subject)) {
			cards = append(cards, m)
		}
	}
	return cards, err
}

// Bots returns what custom bots said, heartbeat's own notifier among them.
func (s Suite) Bots(ctx context.Context) ([]feishu.MessageView, error) {
	all, err := s.Messages(ctx)
	var bots []feishu.MessageView
	for _, m := range all {
		if m.Kind == feishu.KindBot {
			bots = append(bots, m)
		}
	}
	return bots, err
}

// Agent kills, stalls, resumes or revives a simulated agent.
func (s Suite) Agent(ctx context.Context, id, action string) error {
	return s.call(ctx, http.MethodPost, s.Layout.URL(SandboxAgents)+"/api/agents/"+id+"/"+action, nil)
}

// Beats returns the fleet as heartbeat sees it.
func (s Suite) Beats(ctx context.Context) (*beat.Fleet, error) {
	token, err := s.Layout.Secret("heartbeat_read_token")
	if err != nil {
		return nil, err
	}
	return beat.Client{URL: s.Layout.URL(Heartbeat), Token: token, HTTP: s.client}.Agents(ctx)
}

// AllUp returns nil once every agent is up.
func (s Suite) AllUp(ctx context.Context) error {
	fleet, err := s.Beats(ctx)
	if err != nil {
		return err
	}
	if len(fleet.Agents) == 0 {
		return errors.New("heartbeat knows no agents")
	}
	for _, a := range fleet.Agents {
		if a.State != beat.StateUp {
			return fmt.Errorf("agent %s is %s (%s)", a.ID, a.State, a.Reason)
		}
	}
	return nil
}

// Alert is an alert of Alertmanager or Prometheus.
type Alert struct {
	Labels map[string]string `json:"labels"`
	State  string            `json:"state"`
	Status struct {
		State string `json:"state"`
	} `json:"status"`
}

// Alerts returns what Alertmanager holds.
func (s Suite) Alerts(ctx context.Context) ([]Alert, error) {
	var all []Alert
	return all, s.call(ctx, http.MethodGet, s.Layout.URL(Alertmanager)+"/api/v2/alerts", &all)
}

// Rules returns the alerts that Prometheus holds, pending ones included.
func (s Suite) Rules(ctx context.Context) ([]Alert, error) {
	var answer struct {
		Data struct {
			Alerts []Alert `json:"alerts"`
		} `json:"data"`
	}
	return answer.Data.Alerts, s.call(ctx, http.MethodGet, s.Layout.URL(Prometheus)+"/api/v1/alerts", &answer)
}

// Quiet returns nil while no alert but Watchdog fires or waits to.
func (s Suite) Quiet(ctx context.Context) error {
	alerts, err := s.RulesFiring(ctx)
	if err == nil && len(alerts) > 0 {
		return fmt.Errorf("firing or pending: %s", strings.Join(alerts, ", "))
	}
	return err
}

// RulesFiring names the alerts but Watchdog that fire or wait to.
func (s Suite) RulesFiring(ctx context.Context) ([]string, error) {
	all, err := s.Rules(ctx)
	var names []string
	for _, a := range all {
		if a.Labels["alertname"] != "Watchdog" {
			names = append(names, a.Labels["alertname"]+" "+a.Labels["agent_name"]+a.Labels["job"]+" "+a.State)
		}
	}
	return names, err
}

// Await asks check again and again until it returns nil, and returns how long
// that took. Its error holds check's last one.
func Await(ctx context.Context, within time.Duration, check func(context.Context) error) (time.Duration, error) {
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return time.Since(started), nil
		}
		select {
		case <-ctx.Done():
			return time.Since(started), fmt.Errorf("not within %s: %w", within, err)
		case <-ticker.C:
		}
	}
}

// Hold asks check again and again for the whole time and returns its first
// error.
func Hold(ctx context.Context, during time.Duration, check func(context.Context) error) error {
	deadline := time.NewTimer(during)
	defer deadline.Stop()
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		if err := check(ctx); err != nil {
			return err
		}
		select {
		case <-deadline.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// OneCard returns a check that there is exactly one card about the subject and
// that its header has the colour.
func (s Suite) OneCard(subject, colour string) func(context.Context) error {
	return func(ctx context.Context) error {
		cards, err := s.Cards(ctx, subject)
		if err != nil {
			return err
		}
		if len(cards) != 1 {
			return fmt.Errorf("%d cards about %s, want one", len(cards), subject)
		}
		if cards[0].Template != colour {
			return fmt.Errorf("the card about %s is %s, want %s: %s", subject, cards[0].Template, colour, cards[0].Title)
		}
		return nil
	}
}

// BotSays returns a check that a custom bot has said something that holds text,
// after the first skip messages.
func (s Suite) BotSays(text string, skip int) func(context.Context) error {
	return func(ctx context.Context) error {
		bots, err := s.Bots(ctx)
		if err != nil {
			return err
		}
		for _, m := range bots[min(skip, len(bots)):] {
			if strings.Contains(m.Title+m.Text, text) {
				return nil
			}
		}
		return fmt.Errorf("no bot said %q", text)
	}
}

// BackendFault makes a simulated LLM backend fail in the way kind names until
// ClearBackendFaults.
func (s Suite) BackendFault(ctx context.Context, backend, kind string) error {
	body, err := json.Marshal(map[string]string{"backend": backend, "kind": kind})
	if err != nil {
		return err
	}
	return s.send(ctx, http.MethodPost, s.Layout.URL(SandboxProvider)+"/sandbox/faults", body, nil)
}

// ClearBackendFaults makes every simulated backend well.
func (s Suite) ClearBackendFaults(ctx context.Context) error {
	return s.call(ctx, http.MethodDelete, s.Layout.URL(SandboxProvider)+"/sandbox/faults", nil)
}

// Requests returns how many requests of clients ended with the outcome since the
// gateway started.
func (s Suite) Requests(ctx context.Context, outcome string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Layout.URL(Gateway)+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	total := 0.0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		if !strings.HasPrefix(name, "gateway_client_requests_total{") || !strings.Contains(name, `outcome="`+outcome+`"`) {
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("reading the gateway's metrics: %w", err)
		}
		total += n
	}
	return total, lines.Err()
}
