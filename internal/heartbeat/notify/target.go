// Package notify raises heartbeat's own alarms, past Prometheus, Alertmanager
// and the alertbridge: through a Feishu custom bot, a command, or an HTTP POST.
//
// It promises: a notice that is in the record is delivered at least once, also
// over kill -9 and restarts, in order for each target, until it is given up
// after a day, which is counted and logged. Targets' URLs and keys appear in no
// error and no log.
package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/beat"
	"github.com/fleetwatch/fleetwatch/internal/confload"
	"github.com/fleetwatch/fleetwatch/internal/fleet"
	"github.com/fleetwatch/fleetwatch/internal/heartbeat/driver"
	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// Config is one target of `notify:`. Exactly one of FeishuWebhook, Exec and URL
// makes it configured; a target with none of them is unconfigured, which is
// allowed, and said wherever people look.
type Config struct {
	FeishuWebhook redact.Secret `yaml:"feishu_webhook"`
	FeishuSecret  redact.Secret `yaml:"feishu_secret"` // signs, where the bot asks for it
	Exec          []string      `yaml:"exec"`          // gets the text in HEARTBEAT_MESSAGE
	URL           redact.Secret `yaml:"url"`           // gets the notice as JSON
	Token         redact.Secret `yaml:"token"`         // bearer token for URL
	Timeout       time.Duration `yaml:"timeout"`
}

// Configured reports whether the target can be used.
func (c Config) Configured() bool {
	return c.FeishuWebhook.IsSet() || len(c.Exec) > 0 || c.URL.IsSet()
}

// Check reports what is wrong with the target at path.
func (c Config) Check(r *confload.Report, path string) {
	n := 0
	for _, set := range []bool{c.FeishuWebhook.IsSet(), len(c.Exec) > 0, c.URL.IsSet()} {
		if set {
			n++
		}
	}
	if n > 1 {
		r.Errorf(path, "expected one of feishu_webhook, exec and url, got %d of them", n)
	}
	for key, secret := range map[string]redact.Secret{"feishu_webhook": c.FeishuWebhook, "url": c.URL} {
		if u := secret.Reveal(); u != "" && !strings.HasPrefix(u, "https://") && !strings.HasPrefix(u, "http://") {
			r.Errorf(path+"."+key, "expected a URL that begins with https:// or http://")
		}
	}
	if c.Timeout < 0 {
		r.Errorf(path+".timeout", "expected a duration of 0 (10s) or more")
	}
}

const defaultTimeout = 10 * time.Second

// Message is what a target is told.
type Message struct {
	Check   string    `json:"check"`
	State   string    `json:"state"` // down or up
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	Title   string    `json:"title"`
	Text    string    `json:"text"`
	Repeats bool      `json:"repeats"` // more of what was told before
}

type permanentError struct{ error }

func (p permanentError) Unwrap() error { return p.error }

// sender delivers to targets.
type sender struct {
	client *http.Client
	exec   *driver.Exec
}

func newSender(exec *driver.Exec) *sender {
	return &sender{exec: exec, client: &http.Client{
		// A redirect of a POST would be followed as a GET.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// send delivers one message; a nil error means that the target took it.
func (s *sender) send(ctx context.Context, c Config, m Message) error {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch {
	case c.FeishuWebhook.IsSet():
		return s.feishu(ctx, c, m)
	case len(c.Exec) > 0:
		return s.command(ctx, c, m)
	default:
		_, err := s.post(ctx, c.URL, c.Token, m)
		return err
	}
}

func (s *sender) command(ctx context.Context, c Config, m Message) error {
	call := driver.Call{RunID: "notice-" + m.Check, Attempt: 1, Agent: m.Check, Trigger: "notify", Reason: m.State, Message: m.Title + "\n" + m.Text, Slot: m.At}
	result := s.exec.Run(ctx, fleet.Driver{Type: "exec", Argv: c.Exec}, call, func(driver.Process) {})
	if result.Outcome != beat.OutcomeOK {
		return fmt.Errorf("command: %s: %s", result.Outcome, result.Detail)
	}
	return nil
}

// feishu posts a card to a custom bot. HTTP 200 with a code other than 0 is a
// failure (https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot).
func (s *sender) feishu(ctx context.Context, c Config, m Message) error {
	colour := map[string]string{"down": "red", "up": "green"}[m.State]
	text := func(content string) map[string]any { return map[string]any{"tag": "plain_text", "content": content} }
	body := map[string]any{
		"msg_type": "interactive",
		"card": map[string]any{
			"schema": "2.0",
			"header": map[string]any{"title": text(m.Title), "template": colour},
			"body":   map[string]any{"elements": []any{map[string]any{"tag": "div", "text": text(m.Text)}}},
		},
	}
	if c.FeishuSecret.IsSet() {
		timestamp := strconv.FormatInt(time.Now().Unix(), 10)
		mac := hmac.New(sha256.New, []byte(timestamp+"\n"+c.FeishuSecret.Reveal()))
		body["timestamp"], body["sign"] = timestamp, base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	raw, err := s.post(ctx, c.FeishuWebhook, "", body)
	if err != nil {
		return err
	}
	var answer struct {
		Code *int   `json:"code"`
		Msg  string `json:"msg"`
	}
	if json.Unmarshal(raw, &answer) != nil || answer.Code == nil {
		return errors.New("the bot's answer has no code")
	}
	if *answer.Code != 0 {
		return botError(*answer.Code, redact.Text(answer.Msg, c.FeishuWebhook, c.FeishuSecret))
	}
	return nil
}

// botError tells what a person must mend from what passes.
func botError(code int, message string) error {
	err := fmt.Errorf("the bot refused: code %d: %s", code, message)
	switch code {
	case 11232, 11233, 9499, 19021: // rate limits; the clock
		return err
	}
	return permanentError{err}
}

func (s *sender) post(ctx context.Context, url, token redact.Secret, body any) ([]byte, error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encoding a notice: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url.Reveal(), bytes.NewReader(raw))
	if err != nil {
		return nil, permanentError{errors.New("the target's URL is not valid")}
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	if token.IsSet() {
		req.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("posting: %w", redact.Error(err, url, token))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", redact.Error(err, url, token))
	}
	if resp.StatusCode >= 300 {
		return nil, fmt.Errorf("the target answered %d", resp.StatusCode)
	}
	return answer, nil
}
