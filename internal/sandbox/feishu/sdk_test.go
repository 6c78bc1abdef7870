package feishu_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	lark "github.com/larksuite/oapi-sdk-go/v3"
	larkcore "github.com/larksuite/oapi-sdk-go/v3/core"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cache is a token cache of one client that a test can empty.
type cache struct {
	mu     sync.Mutex
	values map[string]string
}

func (c *cache) Set(_ context.Context, key, value string, _ time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.values[key] = value
	return nil
}

func (c *cache) Get(_ context.Context, key string) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.values[key], nil
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.values)
}

type fixture struct {
	*feishu.Server
	url    string
	sdk    *lark.Client
	tokens *cache
	clock  *clock
}

func start(t *testing.T, change func(*feishu.Options)) *fixture {
	t.Helper()
	f := &fixture{clock: newClock(), tokens: &cache{values: map[string]string{}}}
	opts := feishu.Options{Now: f.clock.Now}
	if change != nil {
		change(&opts)
	}
	server, err := feishu.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	f.Server, f.url = server, web.URL
	f.sdk = lark.NewClient("cli_test", "secret", lark.WithOpenBaseUrl(web.URL), lark.WithReqTimeout(10*time.Second),
		lark.WithTokenCache(f.tokens), lark.WithLogLevel(larkcore.LogLevelError))
	return f
}

func cardJSON(template, title, text string) string {
	return fmt.Sprintf(`{"schema":"2.0","config":{"update_multi":true},"header":{"title":{"tag":"plain_text","content":%q},"template":%q},"body":{"elements":[{"tag":"markdown","content":%q}]}}`, title, template, text)
}

func (f *fixture) create(t *testing.T, idType, id, uuid, content string) (*larkim.CreateMessageResp, error) {
	t.Helper()
	return f.sdk.Im.V1.Message.Create(t.Context(), larkim.NewCreateMessageReqBuilder().ReceiveIdType(idType).
		Body(larkim.NewCreateMessageReqBodyBuilder().ReceiveId(id).MsgType("interactive").Content(content).Uuid(uuid).Build()).Build())
}

func (f *fixture) mustCreate(t *testing.T, id, uuid, content string) string {
	t.Helper()
	resp, err := f.create(t, "open_id", id, uuid, content)
	if err != nil {
		t.Fatal(err)
	}
	if !resp.Success() {
		t.Fatalf("create: %d %s", resp.Code, resp.Msg)
	}
	return *resp.Data.MessageId
}

func (f *fixture) patch(t *testing.T, id, content string) *larkim.PatchMessageResp {
	t.Helper()
	resp, err := f.sdk.Im.V1.Message.Patch(t.Context(), larkim.NewPatchMessageReqBuilder().MessageId(id).
		Body(larkim.NewPatchMessageReqBodyBuilder().Content(content).Build()).Build())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func TestSDKCardLife(t *testing.T) {
	f := start(t, nil)
	id := f.mustCreate(t, "ou_a", "u1", cardJSON("red", "down", "coo"))
	if again := f.mustCreate(t, "ou_a", "u1", cardJSON("red", "down", "coo")); again != id {
		t.Errorf("a repeated uuid made %s beside %s", again, id)
	}
	if resp := f.patch(t, id, cardJSON("green", "up", "coo")); !resp.Success() {
		t.Fatalf("patch: %d %s", resp.Code, resp.Msg)
	}
	for range 2 {
		reply, err := f.sdk.Im.V1.Message.Reply(t.Context(), larkim.NewReplyMessageReqBuilder().MessageId(id).
			Body(larkim.NewReplyMessageReqBodyBuilder().MsgType("text").Content(`{"text":"resolved"}`).Uuid("u2").ReplyInThread(true).Build()).Build())
		if err != nil || !reply.Success() {
			t.Fatalf("reply: %v %+v", err, reply)
		}
	}
	urgent, err := f.sdk.Im.V1.Message.UrgentApp(t.Context(), larkim.NewUrgentAppMessageReqBuilder().MessageId(id).UserIdType("open_id").
		UrgentReceivers(larkim.NewUrgentReceiversBuilder().UserIdList([]string{"ou_a"}).Build()).Build())
	if err != nil || !urgent.Success() {
		t.Fatalf("urgent: %v %+v", err, urgent)
	}
	messages := f.Messages("ou_a")
	if len(messages) != 1 {
		t.Fatalf("%d messages, want 1", len(messages))
	}
	m := messages[0]
	if m.ID != id || m.RevisionCount != 2 || m.Revisions[0].Template != "red" || m.Now().Template != "green" || len(m.Urgents) != 1 {
		t.Errorf("message: %+v", m)
	}
	if thread := f.Snapshot().Thread(id); len(thread) != 1 || thread[0].Now().Text != "resolved" {
		t.Errorf("thread: %+v", thread)
	}
	want := feishu.Counts{Tokens: 1, Creates: 1, Replies: 1, Patches: 1, Urgents: 1, Duplicates: 2, Requests: 7}
	if got := f.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestSDKHistory(t *testing.T) {
	f := start(t, nil)
	resp, err := f.create(t, "chat_id", "oc_room", "", cardJSON("red", "one", "first line\nsecond"))
	if err != nil || !resp.Success() {
		t.Fatalf("create: %v %+v", err, resp)
	}
	f.clock.add(time.Minute)
	if resp, err = f.create(t, "chat_id", "oc_room", "", cardJSON("red", "two", "x")); err != nil || !resp.Success() {
		t.Fatalf("create: %v %+v", err, resp)
	}
	list, err := f.sdk.Im.V1.Message.List(t.Context(), larkim.NewListMessageReqBuilder().ContainerIdType("chat").ContainerId("oc_room").
		SortType("ByCreateTimeDesc").PageSize(1).Build())
	if err != nil || !list.Success() {
		t.Fatalf("list: %v %+v", err, list)
	}
	if len(list.Data.Items) != 1 || !*list.Data.HasMore || !strings.Contains(*list.Data.Items[0].Body.Content, `"title":"two"`) {
		t.Errorf("first page: %+v", list.Data)
	}
	next, err := f.sdk.Im.V1.Message.List(t.Context(), larkim.NewListMessageReqBuilder().ContainerIdType("chat").ContainerId("oc_room").
		SortType("ByCreateTimeDesc").PageSize(1).PageToken(*list.Data.PageToken).Build())
	if err != nil || !next.Success() || *next.Data.HasMore {
		t.Fatalf("second page: %v %+v", err, next)
	}
	if got := *next.Data.Items[0].Body.Content; !strings.Contains(got, "first line") || !strings.Contains(got, `"title":"one"`) {
		t.Errorf("content %s", got)
	}
}

func TestSDKRefusals(t *testing.T) {
	f := start(t, nil)
	id := f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	refused := func(resp *larkim.CreateMessageResp, err error) (int, string) {
		if err != nil {
			t.Fatal(err)
		}
		return resp.Code, resp.Msg
	}
	if code, msg := refused(f.create(t, "open_id", "ou_a", "", strings.Replace(cardJSON("red", "t", "x"), `"update_multi":true`, `"wide_screen_mode":true`, 1))); code != 230099 ||
		!strings.Contains(msg, "ErrCode: 200621") {
		t.Errorf("unknown property: %d %s", code, msg)
	}
	if code, _ := refused(f.create(t, "open_id", "ou_a", "", cardJSON("red", "t", strings.Repeat("x", 31<<10)))); code != 230025 {
		t.Errorf("too long: %d", code)
	}
	if code, _ := refused(f.create(t, "open_id", "someone", "", cardJSON("red", "t", "x"))); code != 230001 {
		t.Errorf("bad receive id: %d", code)
	}
	if resp := f.patch(t, "om_none", cardJSON("red", "t", "x")); resp.Code != 230001 {
		t.Errorf("no such message: %d", resp.Code)
	}
	if resp := f.patch(t, id, strings.Replace(cardJSON("red", "t", "x"), `"update_multi":true`, "", 1)); resp.Code == 0 {
		t.Error("a card that is not shared was updated")
	}
	f.clock.add(14*24*time.Hour + time.Second)
	if resp := f.patch(t, id, cardJSON("red", "t", "x")); resp.Code != 99991663 {
		t.Errorf("expired token: %d", resp.Code)
	}
	f.tokens.clear()
	if resp := f.patch(t, id, cardJSON("red", "t", "x")); resp.Code != 230031 {
		t.Errorf("after 14 days: %d", resp.Code)
	}
	fresh := f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	f.Recall(fresh)
	if resp := f.patch(t, fresh, cardJSON("red", "t", "x")); resp.Code != 230011 {
		t.Errorf("recalled: %d", resp.Code)
	}
}

func TestUUIDIsForgottenAfterAnHour(t *testing.T) {
	f := start(t, nil)
	first := f.mustCreate(t, "ou_a", "u1", cardJSON("red", "t", "x"))
	f.clock.add(time.Hour)
	if second := f.mustCreate(t, "ou_a", "u1", cardJSON("red", "t", "x")); second == first {
		t.Error("the uuid was remembered for longer than an hour")
	}
}

func TestTokenIsRenewedBelowHalfAnHour(t *testing.T) {
	f := start(t, nil)
	f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	first, _ := f.tokens.Get(t.Context(), tokenKey(f))
	for _, step := range []struct {
		wait time.Duration
		same bool
	}{{89 * time.Minute, true}, {2 * time.Minute, false}} {
		f.clock.add(step.wait)
		f.tokens.clear()
		f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
		now, _ := f.tokens.Get(t.Context(), tokenKey(f))
		if (now == first) != step.same {
			t.Errorf("after %v: same token %v, want %v", step.wait, now == first, step.same)
		}
	}
}

func tokenKey(f *fixture) string {
	f.tokens.mu.Lock()
	defer f.tokens.mu.Unlock()
	for key := range f.tokens.values {
		return key
	}
	return ""
}

func TestLimits(t *testing.T) {
	f := start(t, func(o *feishu.Options) { o.Limits = feishu.PublishedLimits() })
	for range 5 {
		f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	}
	resp, err := f.create(t, "open_id", "ou_a", "", cardJSON("red", "t", "x"))
	if err != nil || resp.Code != 230020 || resp.StatusCode != 400 {
		t.Fatalf("sixth in a second: %v %+v", err, resp)
	}
	for i := range 44 {
		f.mustCreate(t, fmt.Sprintf("ou_%d", i), "", cardJSON("red", "t", "x"))
	}
	resp, err = f.create(t, "open_id", "ou_z", "", cardJSON("red", "t", "x"))
	if err != nil || resp.Code != 99991400 || resp.StatusCode != 429 || resp.Header.Get("x-ogw-ratelimit-reset") != "1" {
		t.Fatalf("51st in a second: %v %+v", err, resp)
	}
	f.clock.add(time.Second)
	f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
}

func TestSnapshotKeepsChatsAndUUIDs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "feishu.json")
	opts := func(o *feishu.Options) { o.SnapshotPath = path }
	f := start(t, opts)
	id := f.mustCreate(t, "ou_a", "u1", cardJSON("red", "t", "x"))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, opts)
	if known := again.mustCreate(t, "ou_a", "u1", cardJSON("red", "t", "x")); known != id {
		t.Errorf("the uuid was forgotten: %s beside %s", known, id)
	}
	if resp := again.patch(t, id, cardJSON("green", "t", "x")); !resp.Success() {
		t.Errorf("patch after restart: %d %s", resp.Code, resp.Msg)
	}
}

func TestWaitFor(t *testing.T) {
	f := start(t, nil)
	done := make(chan error, 1)
	go func() {
		_, err := f.WaitFor(t.Context(), func(s feishu.Snapshot) bool {
			return len(s.In("ou_a")) == 1 && s.In("ou_a")[0].Now().Template == "green"
		})
		done <- err
	}()
	f.patch(t, f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x")), cardJSON("green", "t", "x"))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.WaitFor(ended, func(feishu.Snapshot) bool { return false }); err == nil {
		t.Error("waiting with an ended context succeeded")
	}
}
