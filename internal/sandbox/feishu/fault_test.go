package feishu_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

func TestFaults(t *testing.T) {
	cases := []struct {
		fault   feishu.Fault
		code    int // 0 with err means no answer
		status  int
		err     bool
		created int
	}{
		{fault: feishu.Fault{Kind: feishu.FaultDropAfter}, err: true, created: 1},
		{fault: feishu.Fault{Kind: feishu.FaultDropBefore}, err: true},
		{fault: feishu.Fault{Kind: feishu.FaultOutage}, err: true},
		{fault: feishu.Fault{Kind: feishu.FaultRateLimit, Reset: 7}, code: 99991400, status: 429},
		{fault: feishu.Fault{Kind: feishu.FaultRateLimit400}, code: 99991400, status: 400},
		{fault: feishu.Fault{Kind: feishu.FaultBadRequest}, code: 9499, status: 400},
		{fault: feishu.Fault{Kind: feishu.FaultTooMany}, code: 9499, status: 400},
		{fault: feishu.Fault{Kind: feishu.FaultChatLimit}, code: 230020, status: 400},
		{fault: feishu.Fault{Kind: feishu.FaultHTML502}, err: true},
		{fault: feishu.Fault{Kind: feishu.FaultCode, Code: 230049, Msg: "The message is being sent."}, code: 230049, status: 400},
	}
	for _, c := range cases {
		t.Run(string(c.fault.Kind), func(t *testing.T) {
			f := start(t, nil)
			c.fault.Ops, c.fault.Times = []feishu.Op{feishu.OpCreate}, 1
			if err := f.AddFault(c.fault); err != nil {
				t.Fatal(err)
			}
			resp, err := f.create(t, "open_id", "ou_a", "u1", cardJSON("red", "t", "x"))
			if (err != nil) != c.err {
				t.Fatalf("err %v", err)
			}
			if err == nil && (resp.Code != c.code || resp.StatusCode != c.status) {
				t.Errorf("got %d/%d, want %d/%d", resp.StatusCode, resp.Code, c.status, c.code)
			}
			if c.fault.Reset > 0 && resp.Header.Get("x-ogw-ratelimit-reset") != fmt.Sprint(c.fault.Reset) {
				t.Errorf("reset header %q", resp.Header.Get("x-ogw-ratelimit-reset"))
			}
			if got := len(f.Messages("ou_a")); got != c.created {
				t.Errorf("%d messages after the fault, want %d", got, c.created)
			}
			f.mustCreate(t, "ou_a", "u1", cardJSON("red", "t", "x"))
			if got := len(f.Messages("ou_a")); got != 1 {
				t.Errorf("%d messages after the retry, want 1", got)
			}
		})
	}
}

func TestHangAnswersNobody(t *testing.T) {
	f := start(t, nil)
	if err := f.AddFault(feishu.Fault{Kind: feishu.FaultHangAfter, Ops: []feishu.Op{feishu.OpBot}, Times: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		// The request is worked on and hangs; then the client gives up.
		if _, err := f.WaitFor(t.Context(), func(s feishu.Snapshot) bool { return len(s.Messages) == 1 }); err == nil {
			cancel()
		}
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/open-apis/bot/v2/hook/t", strings.NewReader(`{"msg_type":"text","content":{"text":"a"}}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		resp.Body.Close()
		t.Fatal("a hanging request was answered")
	}
}

func TestStaleTokenIsRefusedUntilANewOneIsTaken(t *testing.T) {
	f := start(t, nil)
	f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	if err := f.AddFault(feishu.Fault{Kind: feishu.FaultStaleToken, Times: 1, Ops: []feishu.Op{feishu.OpCreate}}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		resp, err := f.create(t, "open_id", "ou_a", "", cardJSON("red", "t", "x"))
		if err != nil || resp.Code != 99991663 {
			t.Fatalf("stale token: %v %+v", err, resp)
		}
	}
	f.tokens.clear()
	f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
}

func TestFaultScript(t *testing.T) {
	f := start(t, nil)
	post := func(body string) int {
		resp, err := http.Post(f.url+"/sandbox/faults", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	for body, want := range map[string]int{
		`{"kind":"chat_limit_230020","contains":"ou_b","skip":1,"times":1}`: 201,
		`{"kind":"html_502","ops":["patch"],"seconds":60}`:                  201,
		`{"kind":"nonsense"}`:              400,
		`{"kind":"code"}`:                  400,
		`{"kind":"outage","unknown":true}`: 400,
	} {
		if got := post(body); got != want {
			t.Errorf("%s: %d, want %d", body, got, want)
		}
	}
	id := f.mustCreate(t, "ou_b", "", cardJSON("red", "t", "x"))
	if resp, err := f.create(t, "open_id", "ou_b", "", cardJSON("red", "t", "x")); err != nil || resp.Code != 230020 {
		t.Errorf("second to ou_b: %v %+v", err, resp)
	}
	f.mustCreate(t, "ou_b", "", cardJSON("red", "t", "x"))
	f.clock.add(time.Minute)
	if resp := f.patch(t, id, cardJSON("green", "t", "x")); !resp.Success() {
		t.Errorf("the fault outlived its time: %d", resp.Code)
	}
	if left := f.Faults(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

type botAnswer struct {
	Code int    `json:"code"`
	Msg  string `json:"msg"`
}

func (f *fixture) hook(t *testing.T, token string, body map[string]any) (int, botAnswer) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(f.url+"/open-apis/bot/v2/hook/"+token, "application/json", bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a botAnswer
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &a); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return resp.StatusCode, a
}

func TestCustomBot(t *testing.T) {
	f := start(t, func(o *feishu.Options) {
		o.KnownBotsOnly = true
		o.Limits = feishu.PublishedLimits()
		o.Bots = map[string]feishu.Bot{"open": {}, "strict": {Secret: "s3cret", Keyword: "告警"}}
	})
	now := f.clock.Now().Unix()
	card := json.RawMessage(cardJSON("red", "告警", "x"))
	signed := func(at int64, secret string, card json.RawMessage) map[string]any {
		return map[string]any{"timestamp": fmt.Sprint(at), "sign": feishu.Sign(at, secret), "msg_type": "interactive", "card": card}
	}
	cases := []struct {
		name, token string
		body        map[string]any
		code        int
	}{
		{"signed", "strict", signed(now, "s3cret", card), 0},
		{"unknown token", "nobody", signed(now, "s3cret", card), 19001},
		{"wrong secret", "strict", signed(now, "other", card), 19021},
		{"old", "strict", signed(now-3601, "s3cret", card), 19021},
		{"unsigned", "strict", map[string]any{"msg_type": "interactive", "card": card}, 19021},
		{"no keyword", "strict", signed(now, "s3cret", json.RawMessage(cardJSON("red", "t", "x"))), 19024},
		{"bad card", "open", map[string]any{"msg_type": "interactive", "card": map[string]any{"schema": "2.0", "body": map[string]any{}}}, 11246},
		{"too long", "open", map[string]any{"msg_type": "text", "content": map[string]string{"text": strings.Repeat("x", 20<<10)}}, 19036},
		{"text", "open", map[string]any{"msg_type": "text", "content": map[string]string{"text": "hello"}}, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if status, a := f.hook(t, c.token, c.body); status != 200 || a.Code != c.code {
				t.Errorf("got %d %+v, want 200 and %d", status, a, c.code)
			}
		})
	}
	if got := len(f.Messages(feishu.BotChat("strict"))); got != 1 {
		t.Errorf("%d messages in the strict bot's chat, want 1", got)
	}
	for range 4 {
		f.hook(t, "open", map[string]any{"msg_type": "text", "content": map[string]string{"text": "hello"}})
	}
	if status, a := f.hook(t, "open", map[string]any{"msg_type": "text", "content": map[string]string{"text": "hello"}}); status != 200 || a.Code != 11232 {
		t.Errorf("sixth in a second: %d %+v", status, a)
	}
	for _, r := range f.Requests() {
		if strings.Contains(r.Route, "strict") {
			t.Errorf("the bot token is in the request log: %+v", r)
		}
	}
}
