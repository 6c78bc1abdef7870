package feishu

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	lark "github.com/larksuite/oapi-sdk-go/v3"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// AppOptions says which app to speak as.
type AppOptions struct {
	ID      string
	Secret  redact.Secret
	BaseURL string        // without a trailing slash
	Timeout time.Duration // of one call
	Log     *slog.Logger
	// Transport carries the calls; nil is the network.
	Transport http.RoundTripper
}

// Message is what a message shows: a card (JSON 2.0) or plain text.
type Message struct {
	Card json.RawMessage // set, or
	Text string
}

// kind and content as the API takes them.
func (m Message) parts() (kind, content string, err error) {
	if m.Card != nil {
		return "interactive", string(m.Card), nil
	}
	text, err := json.Marshal(map[string]string{"text": m.Text})
	if err != nil {
		return "", "", fmt.Errorf("encoding a text message: %w", err)
	}
	return "text", string(text), nil
}

// Address is who a message is for.
type Address struct {
	Type string // open_id, union_id, user_id, email, chat_id
	ID   string
}

// Client sends messages as an app. It never retries by itself.
type Client struct {
	sdk    *lark.Client
	tokens *tokens
	secret redact.Secret
}

// NewClient makes a client. Nothing is sent yet.
func NewClient(o AppOptions) *Client {
	sdk := lark.NewClient(o.ID, o.Secret.Reveal(),
		lark.WithOpenBaseUrl(o.BaseURL),
		lark.WithEnableTokenCache(false),
		lark.WithReqTimeout(o.Timeout),
		lark.WithHttpClient(noting{newHTTPClient(o.Timeout, o.Transport)}),
		lark.WithLogger(sdkLog{o.Log, o.Secret}),
		lark.WithLogLevel(larkcore.LogLevelWarn))
	return &Client{sdk: sdk, tokens: newTokens(fetchToken(sdk, o.ID, o.Secret)), secret: o.Secret}
}

// Create sends a message and returns its id. Calls with the same uuid within
// an hour make one message.
func (c *Client) Create(ctx context.Context, to Address, m Message, uuid string) (id string, err error) {
	kind, content, err := m.parts()
	if err != nil {
		return "", err
	}
	err = c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Im.V1.Message.Create(ctx, larkim.NewCreateMessageReqBuilder().ReceiveIdType(to.Type).
			Body(larkim.NewCreateMessageReqBodyBuilder().ReceiveId(to.ID).MsgType(kind).Content(content).Uuid(uuid).Build()).Build(), token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		if r.Data != nil && r.Data.MessageId != nil {
			id = *r.Data.MessageId
		}
		return r.ApiResp, r.CodeError, nil
	})
	if err == nil && id == "" {
		err = &Error{Class: Unavailable, Status: http.StatusOK, Message: "accepted without a message id", InDoubt: true}
	}
	return id, err
}

// Patch replaces a card.
func (c *Client) Patch(ctx context.Context, messageID string, m Message) error {
	return c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Im.V1.Message.Patch(ctx, larkim.NewPatchMessageReqBuilder().MessageId(messageID).
			Body(larkim.NewPatchMessageReqBodyBuilder().Content(string(m.Card)).Build()).Build(), token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		return r.ApiResp, r.CodeError, nil
	})
}

// Reply answers a message in its thread; uuid as in [Client.Create].
func (c *Client) Reply(ctx context.Context, messageID string, m Message, uuid string) error {
	kind, content, err := m.parts()
	if err != nil {
		return err
	}
	return c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		r, err := c.sdk.Im.V1.Message.Reply(ctx, larkim.NewReplyMessageReqBuilder().MessageId(messageID).
			Body(larkim.NewReplyMessageReqBodyBuilder().MsgType(kind).Content(content).ReplyInThread(true).Uuid(uuid).Build()).Build(), token)
		if err != nil {
			return nil, larkcore.CodeError{}, err
		}
		return r.ApiResp, r.CodeError, nil
	})
}

// Urgents are the ways in which a message can be made urgent.
const (
	UrgentApp   = "app"
	UrgentSMS   = "sms"   // costs quota
	UrgentPhone = "phone" // costs quota
)

// Urgent buzzes people about a message of ours, in one of the ways. idType is that
// of the ids. Each call buzzes anew.
func (c *Client) Urgent(ctx context.Context, messageID, way, idType string, ids []string) error {
	return c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
		body := larkim.NewUrgentReceiversBuilder().UserIdList(ids).Build()
		switch way {
		case UrgentSMS:
			r, err := c.sdk.Im.V1.Message.UrgentSms(ctx, larkim.NewUrgentSmsMessageReqBuilder().MessageId(messageID).UserIdType(idType).UrgentReceivers(body).Build(), token)
			if err != nil {
				return nil, larkcore.CodeError{}, err
			}
			return r.ApiResp, r.CodeError, nil
		case UrgentPhone:
			r, err := c.sdk.Im.V1.Message.UrgentPhone(ctx, larkim.NewUrgentPhoneMessageReqBuilder().MessageId(messageID).UserIdType(idType).UrgentReceivers(body).Build(), token)
			if err != nil {
				return nil, larkcore.CodeError{}, err
			}
			return r.ApiResp, r.CodeError, nil
		default:
			r, err := c.sdk.Im.V1.Message.UrgentApp(ctx, larkim.NewUrgentAppMessageReqBuilder().MessageId(messageID).UserIdType(idType).UrgentReceivers(body).Build(), token)
			if err != nil {
				return nil, larkcore.CodeError{}, err
			}
			return r.ApiResp, r.CodeError, nil
		}
	})
}

// historyPages bounds how far back Find looks, at 50 messages a page.
const historyPages = 10

// Find looks in a chat's history since a moment for a message that contains the
// mark. It returns "" where there is none. Only chats have a history.
func (c *Client) Find(ctx context.Context, chat Address, since time.Time, mark string) (id string, err error) {
	page := ""
	for range historyPages {
		var more bool
		err := c.call(ctx, func(ctx context.Context, token larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error) {
			request := larkim.NewListMessageReqBuilder().ContainerIdType("chat").ContainerId(chat.ID).
				StartTime(strconv.FormatInt(since.Unix(), 10)).SortType("ByCreateTimeAsc").PageSize(50)
			if page != "" {
				request = request.PageToken(page)
			}
			r, err := c.sdk.Im.V1.Message.List(ctx, request.Build(), token)
			if err != nil {
				return nil, larkcore.CodeError{}, err
			}
			if r.Data != nil {
				id = holding(r.Data.Items, mark)
				more = r.Data.HasMore != nil && *r.Data.HasMore && r.Data.PageToken != nil
				if more {
					page = *r.Data.PageToken
				}
			}
			return r.ApiResp, r.CodeError, nil
		})
		if err != nil || id != "" || !more {
			return id, err
		}
	}
	return "", nil
}

func holding(messages []*larkim.Message, mark string) string {
	for _, m := range messages {
		if m.MessageId != nil && m.Body != nil && m.Body.Content != nil && (m.Deleted == nil || !*m.Deleted) && strings.Contains(*m.Body.Content, mark) {
			return *m.MessageId
		}
	}
	return ""
}

// Probe asks Feishu for a token, which proves address, id and secret.
func (c *Client) Probe(ctx context.Context) error {
	_, _, err := c.tokens.fetch(ctx)
	return err
}

// call runs one API call with a token, evicts the token where Feishu calls it
// stale, and classifies the outcome.
func (c *Client) call(ctx context.Context, do func(context.Context, larkcore.RequestOptionFunc) (*larkcore.ApiResp, larkcore.CodeError, error)) error {
	token, err := c.tokens.get(ctx)
	if err != nil {
		return err
	}
	ctx, x := withExchange(ctx)
	response, code, err := do(ctx, larkcore.WithTenantAccessToken(token))
	if err != nil {
		return x.failure(redact.Error(err, c.secret, redact.Secret(token)))
	}
	if code.Code == 0 && response.StatusCode < http.StatusBadRequest {
		return nil
	}
	e := answered(code.Code, response.StatusCode, code.Msg, response.Header)
	if e.Class == StaleToken {
		c.tokens.evict(token)
	}
	return e
}

// sdkLog passes the SDK's own log on, at debug: every failure it mentions comes
// back as an error as well.
type sdkLog struct {
	log    *slog.Logger
	secret redact.Secret
}

func (l sdkLog) Debug(ctx context.Context, args ...any) { l.line(ctx, args) }
func (l sdkLog) Info(ctx context.Context, args ...any)  { l.line(ctx, args) }
func (l sdkLog) Warn(ctx context.Context, args ...any)  { l.line(ctx, args) }
func (l sdkLog) Error(ctx context.Context, args ...any) { l.line(ctx, args) }

func (l sdkLog) line(ctx context.Context, args []any) {
	l.log.DebugContext(ctx, "feishu sdk", "text", redact.Text(fmt.Sprint(args...), l.secret))
}
