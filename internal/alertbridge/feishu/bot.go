package feishu

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
	"time"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// BotOptions is one custom bot.
type BotOptions struct {
	URL     redact.Secret // the hook's whole URL; its last part is a credential
	Secret  redact.Secret // signs each message, where set
	Timeout time.Duration
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// Bot sends through a custom bot. There is no idempotency: a message whose
// outcome is unknown and that is sent again may appear twice.
type Bot struct {
	options BotOptions
	client  *http.Client
}

// NewBot makes a bot. Nothing is sent yet.
func NewBot(o BotOptions) *Bot {
	return &Bot{options: o, client: newHTTPClient(o.Timeout, o.Transport)}
}

type botBody struct {
	Timestamp string            `json:"timestamp,omitempty"`
	Sign      string            `json:"sign,omitempty"`
	MsgType   string            `json:"msg_type"`
	Card      json.RawMessage   `json:"card,omitempty"`
	Content   map[string]string `json:"content,omitempty"`
}

// Send posts a message. HTTP 200 with a code other than 0 is a failure.
func (b *Bot) Send(ctx context.Context, m Message) error {
	body := botBody{MsgType: "interactive", Card: m.Card}
	if m.Card == nil {
		body.MsgType, body.Content = "text", map[string]string{"text": m.Text}
	}
	if b.options.Secret.IsSet() {
		body.Timestamp = strconv.FormatInt(time.Now().Unix(), 10)
		body.Sign = sign(body.Timestamp, b.options.Secret)
	}
	data, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("encoding a bot message: %w", err)
	}
	ctx, x := withExchange(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.options.URL.Reveal(), bytes.NewReader(data))
	if err != nil {
		return &Error{Class: Auth, Message: "the webhook's URL is not valid"}
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	response, err := noting{b.client}.Do(request)
	if err != nil {
		return x.failure(redact.Error(err, b.options.URL))
	}
	defer func() { _ = response.Body.Close() }()
	return b.outcome(response, x)
}

func (b *Bot) outcome(response *http.Response, x *exchange) error {
	data, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return unanswered(err, true)
	}
	var answer struct {
		Code *int   `json:"code"`
		Msg  string `json:"msg"`
	}
	if err := json.Unmarshal(data, &answer); err != nil || answer.Code == nil {
		return x.failure(errors.New("no code in the answer"))
	}
	if *answer.Code == 0 && response.StatusCode < http.StatusBadRequest {
		return nil
	}
	return answered(*answer.Code, response.StatusCode, redact.Text(answer.Msg, b.options.URL, b.options.Secret), response.Header)
}

// sign is Feishu's signature: the text to sign is the key, the message empty.
// https://open.feishu.cn/document/client-docs/bot-v3/add-custom-bot
func sign(timestamp string, secret redact.Secret) string {
	mac := hmac.New(sha256.New, []byte(timestamp+"\n"+secret.Reveal()))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
