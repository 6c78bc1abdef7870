package feishu_test

import (
	"net/http"
	"strings"
	"testing"

	larkcontact "github.com/larksuite/oapi-sdk-go/v3/service/contact/v3"
	larkim "github.com/larksuite/oapi-sdk-go/v3/service/im/v1"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu"
	"github.com/fleetwatch/fleetwatch/internal/testtool"
)

// statuses are the grant statuses by scope, as the SDK reads them.
func (f *fixture) statuses(t *testing.T) (map[string]int, int) {
	t.Helper()
	r, err := f.sdk.Application.V6.Scope.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	if r.Data != nil {
		for _, s := range r.Data.Scopes {
			all[*s.ScopeName] = *s.GrantStatus
		}
	}
	return all, r.Code
}

func TestScopes(t *testing.T) {
	f := start(t, nil)
	if all, code := f.statuses(t); code != 0 || all["im:message:send_as_bot"] != 1 || all["im:message.urgent:phone"] != 1 || len(all) < 10 {
		t.Errorf("at first: %d %v", code, all)
	}
	f.SetTenant(feishu.Tenant{Scopes: map[string]bool{"im:message:send_as_bot": true, "im:message.urgent": false}})
	if all, code := f.statuses(t); code != 0 || len(all) != 2 || all["im:message:send_as_bot"] != 1 || all["im:message.urgent"] != 2 {
		t.Errorf("asked for two, one granted: %d %v", code, all)
	}
	f.SetTenant(feishu.Tenant{NotInstalled: true})
	if _, code := f.statuses(t); code != 212100 {
		t.Errorf("not installed: %d", code)
	}
}

// TestCallsWithoutTheirScope are refused, and one of the scopes is enough.
func TestCallsWithoutTheirScope(t *testing.T) {
	f := start(t, nil)
	id := f.mustCreate(t, "ou_a", "u-1", cardJSON("red", "t", "x"))
	urgent := func(way string) func() int {
		return func() int {
			body := larkim.NewUrgentReceiversBuilder().UserIdList([]string{"ou_a"}).Build()
			if way == "phone" {
				r, err := f.sdk.Im.V1.Message.UrgentPhone(t.Context(), larkim.NewUrgentPhoneMessageReqBuilder().MessageId(id).UserIdType("open_id").UrgentReceivers(body).Build())
				return code(t, r.Code, err)
			}
			r, err := f.sdk.Im.V1.Message.UrgentApp(t.Context(), larkim.NewUrgentAppMessageReqBuilder().MessageId(id).UserIdType("open_id").UrgentReceivers(body).Build())
			return code(t, r.Code, err)
		}
	}
	for _, c := range []struct {
		name, scope string
		call        func() int
	}{
		{"create", "im:message:send_as_bot", func() int {
			r, err := f.create(t, "open_id", "ou_a", "", cardJSON("red", "t", "x"))
			return code(t, r.Code, err)
		}},
		{"patch", "im:message:update", func() int { return f.patch(t, id, cardJSON("green", "t", "x")).Code }},
		{"urgent app", "im:message.urgent", urgent("app")},
		{"urgent phone", "im:message.urgent:phone", urgent("phone")},
		{"in chat", "im:chat:readonly", func() int {
			r, err := f.sdk.Im.V1.ChatMembers.IsInChat(t.Context(), larkim.NewIsInChatChatMembersReqBuilder().ChatId("oc_a").Build())
			return code(t, r.Code, err)
		}},
		{"person", "contact:contact.base:readonly", func() int {
			r, err := f.sdk.Contact.V3.User.Get(t.Context(), larkcontact.NewGetUserReqBuilder().UserIdType("open_id").UserId("ou_a").Build())
			return code(t, r.Code, err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f.SetTenant(feishu.Tenant{Scopes: map[string]bool{c.scope: false}})
			if got := c.call(); got != 99991672 {
				t.Errorf("without %s: code %d", c.scope, got)
			}
			f.SetTenant(feishu.Tenant{Scopes: map[string]bool{c.scope: true}})
			if got := c.call(); got != 0 {
				t.Errorf("with %s: code %d", c.scope, got)
			}
		})
	}
}

func code(t *testing.T, code int, err error) int {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// TestHistoryOfAGroup needs a scope beside that for one's own chats.
func TestHistoryOfAGroup(t *testing.T) {
	f := start(t, nil)
	list := func(chat string) int {
		r, err := f.sdk.Im.V1.Message.List(t.Context(), larkim.NewListMessageReqBuilder().ContainerIdType("chat").ContainerId(chat).Build())
		return code(t, r.Code, err)
	}
	if r, err := f.create(t, "chat_id", "oc_group", "", cardJSON("red", "t", "x")); err != nil || !r.Success() {
		t.Fatal(r, err)
	}
	f.mustCreate(t, "ou_a", "", cardJSON("red", "t", "x"))
	own := feishu.AppChat("open_id", "ou_a")
	f.SetTenant(feishu.Tenant{Scopes: map[string]bool{"im:message:readonly": true}})
	if a, b := list("oc_group"), list(own); a != 230027 || b != 0 {
		t.Errorf("a group %d, a person's chat %d", a, b)
	}
	f.SetTenant(feishu.Tenant{Scopes: map[string]bool{"im:message:readonly": true, "im:message.group_msg": true}})
	if a := list("oc_group"); a != 0 {
		t.Errorf("a group %d", a)
	}
	f.SetTenant(feishu.Tenant{Scopes: map[string]bool{"im:message.group_msg": true}})
	if a := list("oc_group"); a != 99991672 {
		t.Errorf("with the scope for groups alone %d", a)
	}
}

func TestWhoIsThere(t *testing.T) {
	f := start(t, nil)
	f.SetTenant(feishu.Tenant{Left: []string{"oc_left"}, Unknown: []string{"oc_none", "ou_none"}, Foreign: []string{"ou_foreign"}, Hidden: []string{"ou_hidden"}})
	for chat, want := range map[string]struct {
		code int
		in   bool
	}{"oc_in": {0, true}, "oc_left": {0, false}, "oc_none": {232006, false}, "nonsense": {232006, false}} {
		r, err := f.sdk.Im.V1.ChatMembers.IsInChat(t.Context(), larkim.NewIsInChatChatMembersReqBuilder().ChatId(chat).Build())
		if got := code(t, r.Code, err); got != want.code || got == 0 && *r.Data.IsInChat != want.in {
			t.Errorf("%s: %d %+v", chat, got, r.Data)
		}
	}
	for id, want := range map[string]struct{ look, send int }{
		"ou_a": {0, 0}, "ou_none": {99992351, 230001}, "ou_foreign": {99992361, 99992361}, "ou_hidden": {41050, 0}, "nonsense": {99992351, 230001},
	} {
		r, err := f.sdk.Contact.V3.User.Get(t.Context(), larkcontact.NewGetUserReqBuilder().UserIdType("open_id").UserId(id).Build())
		if got := code(t, r.Code, err); got != want.look {
			t.Errorf("looking for %s: %d %s", id, got, r.Msg)
		}
		sent, err := f.create(t, "open_id", id, "", cardJSON("red", "t", "x"))
		if got := code(t, sent.Code, err); got != want.send {
			t.Errorf("sending to %s: %d %s", id, got, sent.Msg)
		}
	}
	sent, err := f.create(t, "chat_id", "oc_left", "", cardJSON("red", "t", "x"))
	if got := code(t, sent.Code, err); got != 230002 {
		t.Errorf("sending to a chat that the bot has left: %d", got)
	}
	f.Reset()
	if sent, err = f.create(t, "chat_id", "oc_left", "", cardJSON("red", "t", "x")); code(t, sent.Code, err) != 0 {
		t.Errorf("after a reset: %d", sent.Code)
	}
}

// TestTenantOverHTTP is how the demo and tests in other processes set it.
func TestTenantOverHTTP(t *testing.T) {
	f := start(t, nil)
	for body, want := range map[string]int{`{"left":["oc_a"],"scopes":{"im:message":false}}`: 200, `{"lefft":[]}`: 400, `[]`: 400} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.url+"/sandbox/tenant", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if got, text := testtool.Do(t, r); got != want {
			t.Errorf("%s: %d %s", body, got, text)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/sandbox/tenant", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, text := testtool.Do(t, r); got != 200 || !strings.Contains(string(text), `"left":["oc_a"]`) || !strings.Contains(string(text), `"im:message":false`) {
		t.Errorf("%d %s", got, text)
	}
}
