package feishu_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	"github.com/larksuite/oapi-sdk-go/v3/event/dispatcher"
	"github.com/larksuite/oapi-sdk-go/v3/event/dispatcher/callback"
	larkws "github.com/larksuite/oapi-sdk-go/v3/ws"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/webui/browsertest"
)

// app is an app behind the SDK's own long connection.
type app struct {
	mu     sync.Mutex
	events []*callback.CardActionTriggerEvent
}

func (a *app) heard() []*callback.CardActionTriggerEvent {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]*callback.CardActionTriggerEvent(nil), a.events...)
}

func (a *app) handle(_ context.Context, e *callback.CardActionTriggerEvent) (*callback.CardActionTriggerResponse, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
	return &callback.CardActionTriggerResponse{Toast: &callback.Toast{Type: "success", Content: fmt.Sprintf("heard %d", len(a.events))}}, nil
}

// connect runs the SDK's client against the stand-in until the test ends, and
// returns once it is connected.
func (f *fixture) connect(t *testing.T) *app {
	t.Helper()
	a, ready, before := &app{}, make(chan struct{}, 8), f.Connections()
	client := larkws.NewClient("cli_test", "secret", larkws.WithDomain(f.url), larkws.WithLogLevel(larkcore.LogLevelError), larkws.WithOnReady(func() { ready <- struct{}{} }),
		larkws.WithEventHandler(dispatcher.NewEventDispatcher("", "").OnP2CardActionTrigger(a.handle)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- client.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Logf("the client ended: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("the client did not connect: %v", err)
	}
	// The client knows of it a moment earlier than the server does.
	within, done := context.WithTimeout(t.Context(), 10*time.Second)
	defer done()
	if _, err := f.WaitFor(within, func(feishu.Snapshot) bool { return f.Connections() > before }); err != nil {
		t.Fatal(err)
	}
	return a
}

func buttonCard(value string) string {
	return fmt.Sprintf(`{"schema":"2.0","config":{"update_multi":true},"header":{"title":{"tag":"plain_text","content":"down"},"template":"red"},"body":{"elements":[
	{"tag":"column_set","columns":[{"tag":"column","elements":[{"tag":"button","text":{"tag":"plain_text","content":"Acknowledge"},"behaviors":[{"type":"callback","value":{"v":%q}}]}]}]}]}}`, value)
}

func (f *fixture) press(t *testing.T, message, operator string) feishu.Press {
	t.Helper()
	p, err := f.Press(t.Context(), message, "Acknowledge", operator)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPressReachesTheSDK(t *testing.T) {
	f := start(t, nil)
	id := f.mustCreate(t, "ou_oncall", "", buttonCard("one"))
	if p := f.press(t, id, "ou_oncall"); p.Code != 200340 || p.Kind != "error" {
		t.Errorf("without a connection: %+v", p)
	}
	a := f.connect(t)
	p := f.press(t, id, "ou_oncall")
	if p.Code != 0 || p.Kind != "success" || p.Text != "heard 1" {
		t.Errorf("the toast: %+v", p)
	}
	m, _ := f.Message(id)
	e := a.heard()[0]
	if e.Event.Operator.OpenID != "ou_oncall" || e.Event.Action.Value["v"] != "one" || e.Event.Context.OpenMessageID != id ||
		e.Event.Context.OpenChatID != m.Chat || e.EventV2Base.Header.EventID != p.Event || e.Event.Token == "" || e.EventV2Base.Header.AppID != "cli_test" {
		t.Errorf("the event: %+v", e.Event)
	}
	if _, err := f.Press(t.Context(), id, "Other", "ou_oncall"); !errors.Is(err, feishu.ErrNoButton) {
		t.Errorf("a button that is not there: %v", err)
	}
	if f.Counts().Events != 1 || len(f.Presses()) != 2 {
		t.Errorf("counted %d, logged %d", f.Counts().Events, len(f.Presses()))
	}
}

func TestFaultsOfPresses(t *testing.T) {
	f := start(t, nil)
	id := f.mustCreate(t, "ou_oncall", "", buttonCard("old"))
	f.patch(t, id, buttonCard("new"))
	a := f.connect(t)
	for _, c := range []struct {
		fault  feishu.Fault
		code   int
		values []string // that the app hears
	}{
		{feishu.Fault{Kind: feishu.FaultTwice}, 0, []string{"new", "new"}},
		{feishu.Fault{Kind: feishu.FaultReplay}, 0, []string{"old"}},
		{feishu.Fault{Kind: feishu.FaultForged}, 0, []string{"nev"}},
		{feishu.Fault{Kind: feishu.FaultLate, Reset: 1}, 0, []string{"new"}},
		{feishu.Fault{Kind: feishu.FaultDropAfter}, 200341, []string{"new"}},
	} {
		t.Run(string(c.fault.Kind), func(t *testing.T) {
			before := len(a.heard())
			c.fault.Times = 1
			if err := f.AddFault(c.fault); err != nil {
				t.Fatal(err)
			}
			p := f.press(t, id, "ou_oncall")
			if p.Code != c.code || p.Fault != c.fault.Kind {
				t.Errorf("%+v, want code %d", p, c.code)
			}
			heard := a.heard()[before:]
			if len(heard) != len(c.values) {
				t.Fatalf("heard %d events, want %d", len(heard), len(c.values))
			}
			for i, e := range heard {
				if e.Event.Action.Value["v"] != c.values[i] || e.EventV2Base.Header.EventID != p.Event {
					t.Errorf("event %d: %v of %s, want %s of %s", i, e.Event.Action.Value, e.EventV2Base.Header.EventID, c.values[i], p.Event)
				}
			}
		})
	}
}

func TestConnectIsRefused(t *testing.T) {
	f := start(t, func(o *feishu.Options) { o.Apps = map[string]string{"cli_test": "secret"} })
	ask := func(secret string) larkws.EndpointResp {
		body, err := json.Marshal(larkws.BootstrapRequest{AppID: "cli_test", AppSecret: secret})
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.Post(f.url+larkws.GenEndpointUri, "application/json", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		var out larkws.EndpointResp
		if err := json.NewDecoder(r.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if got := ask("wrong"); got.Code == 0 || got.Data != nil {
		t.Errorf("a wrong secret: %+v", got)
	}
	good := ask("secret")
	if good.Code != 0 || good.Data.ClientConfig.PingInterval == 0 {
		t.Fatalf("the right secret: %+v", good)
	}
	where, err := url.Parse(good.Data.Url)
	if err != nil {
		t.Fatal(err)
	}
	where.Scheme = "http"
	for _, name := range []string{"access_key"} { // a ticket that was never given
		q := where.Query()
		q.Set(name, "other")
		where.RawQuery = q.Encode()
	}
	r, err := http.Get(where.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	if r.StatusCode != http.StatusForbidden || r.Header.Get(larkws.HeaderHandshakeStatus) != "403" {
		t.Errorf("another ticket: %d %v", r.StatusCode, r.Header)
	}
}

func TestButtonsOnThePage(t *testing.T) {
	f := pageFixture(t)
	a := f.connect(t)
	id := f.mustCreate(t, "ou_oncall", "", buttonCard("one"))
	ctx := browsertest.Open(t, browsertest.View{Width: 1280, Height: 900})
	button := chromedp.CSS(`[data-card="` + id + `"] button[name="button"]`)
	if err := chromedp.Do(ctx, chromedp.Navigate(f.url+"/"), chromedp.WaitVisible(chromedp.CSS(`[data-linked="1"]`)), chromedp.Click(button),
		chromedp.WaitVisible(chromedp.CSS(`.toast.success`)), chromedp.WaitVisible(chromedp.CSS(`[data-card="`+id+`"] [data-toast="success"]`))); err != nil {
		t.Fatal(err)
	}
	if text := look(t, ctx, chromedp.Text(chromedp.CSS(`.toast`))); text != "heard 1" {
		t.Errorf("the toast says %q", text)
	}
	browsertest.Screenshot(t, ctx, *screenshots, "feishu-buttons")
	// As another person.
	if err := chromedp.Do(ctx, chromedp.Click(chromedp.CSS(`[data-person="ou_sandbox_stranger"]`)),
		chromedp.WaitVisible(chromedp.CSS(`[data-person="ou_sandbox_stranger"][aria-current="true"]`)), chromedp.Click(button),
		chromedp.WaitVisible(chromedp.CSS(`.toast.success`))); err != nil {
		t.Fatal(err)
	}
	if heard := a.heard(); len(heard) != 2 || heard[0].Event.Operator.OpenID != "ou_oncall" || heard[1].Event.Operator.OpenID != "ou_sandbox_stranger" {
		t.Errorf("heard %d presses, of the wrong persons", len(heard))
	}
}

// TestPressWithoutScript is the form as a browser without script sends it.
func TestPressWithoutScript(t *testing.T) {
	f := start(t, nil)
	f.connect(t)
	id := f.mustCreate(t, "ou_oncall", "", buttonCard("one"))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, c := range []struct {
		form   url.Values
		status int
		says   string
	}{
		{url.Values{"message": {id}, "button": {"Acknowledge"}, "operator": {"ou_x"}, "back": {"as=ou_x&chat=oc_1"}}, http.StatusSeeOther, ""},
		{url.Values{"message": {id}, "button": {"Acknowledge"}, "operator": {"x"}}, http.StatusBadRequest, "bad_operator"},
		{url.Values{"message": {id}, "button": {"None"}, "operator": {"ou_x"}}, http.StatusNotFound, "no_button"},
	} {
		r, err := client.PostForm(f.url+"/press", c.form)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err := errors.Join(err, r.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if r.StatusCode != c.status || !strings.Contains(string(body), c.says) {
			t.Errorf("%v: %d %s, want %d", c.form, r.StatusCode, body, c.status)
		}
		if c.status == http.StatusSeeOther && r.Header.Get("Location") != "/?as=ou_x&chat=oc_1" {
			t.Errorf("leads to %q", r.Header.Get("Location"))
		}
	}
}

// TestConnectionsAreCounted waits for the SDK's client to be let go and noticed.
func TestConnectionsAreCounted(t *testing.T) {
	f := start(t, nil)
	f.connect(t)
	if n := f.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	f.DropConnections()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := f.WaitFor(ctx, func(feishu.Snapshot) bool { return f.Connections() == 0 }); err != nil {
		t.Error(err)
	}
}
