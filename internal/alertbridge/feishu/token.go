package feishu

import (
	"context"
	"net/http"
	"sync"
	"time"

	lark "github.com/larksuite/oapi-sdk-go/v3"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// renewBefore is how long before its end a token is renewed. Feishu issues a
// new one only when less than 30 minutes remain.
const renewBefore = 10 * time.Minute

// tokens keeps the tenant token. The SDK's own cache is a package global that
// keeps a stale token until its end, so it is switched off.
type tokens struct {
	fetch func(context.Context) (token string, life time.Duration, err error)
	turn  chan struct{} // holds one slot: who has it fetches

	mu    sync.Mutex
	token string
	until time.Time
}

func newTokens(fetch func(context.Context) (string, time.Duration, error)) *tokens {
	return &tokens{fetch: fetch, turn: make(chan struct{}, 1)}
}

func (t *tokens) cached() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.token, t.token != "" && time.Now().Before(t.until)
}

// get returns a token, with one fetch at a time however many callers wait.
func (t *tokens) get(ctx context.Context) (string, error) {
	if token, ok := t.cached(); ok {
		return token, nil
	}
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return "", unanswered(ctx.Err(), false)
	}
	if token, ok := t.cached(); ok {
		return token, nil
	}
	token, life, err := t.fetch(ctx)
	if err != nil {
		return "", err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.token, t.until = token, time.Now().Add(max(life-renewBefore, life/2))
	return token, nil
}

// evict forgets the token, unless a newer one has taken its place.
func (t *tokens) evict(stale string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == stale {
		t.token = ""
	}
}

// fetchToken asks Feishu for the tenant token. Whatever happens here, the call
// that needed the token was not sent.
func fetchToken(client *lark.Client, appID string, secret redact.Secret) func(context.Context) (string, time.Duration, error) {
	return func(ctx context.Context) (string, time.Duration, error) {
		ctx, x := withExchange(ctx)
		response, err := client.GetTenantAccessTokenBySelfBuiltApp(ctx, &larkcore.SelfBuiltTenantAccessTokenReq{AppID: appID, AppSecret: secret.Reveal()})
		var failure *Error
		switch {
		case err != nil:
			failure = x.failure(redact.Error(err, secret))
		case !response.Success():
			failure = answered(response.Code, response.StatusCode, response.Msg, response.Header)
			if !failure.Retry() {
				failure.Class = Auth
			}
		default:
			return response.TenantAccessToken, time.Duration(response.Expire) * time.Second, nil
		}
		failure.InDoubt = false
		return "", 0, failure
	}
}

// failure classifies an error of the SDK by what was seen on the wire.
func (x *exchange) failure(err error) *Error {
	status := int(x.status.Load())
	if status == 0 {
		return unanswered(err, x.connected.Load())
	}
	var header http.Header
	if h := x.header.Load(); h != nil {
		header = *h
	}
	e := answered(0, status, "the answer was not JSON", header)
	if e.Class == Refused {
		// A page in place of the API: a proxy or a wrong address.
		e.Class, e.InDoubt = Unavailable, true
	}
	e.cause = err
	return e
}
