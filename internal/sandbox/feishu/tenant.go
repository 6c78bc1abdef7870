package feishu

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Operations by which an app looks at what it may do, and at who is there.
const (
	OpScopes Op = "scopes"
	OpMember Op = "member"
	OpPerson Op = "person"
)

// Tenant is what the tenant's administrators decided about the app, and who is
// there. The zero value is a tenant that grants everything, whose every chat has the
// app's bot in it, and in which every id is somebody's.
type Tenant struct {
	// Scopes are the scopes that the app asked for, and whether they were granted.
	// Nil is every scope that the stand-in knows, granted.
	Scopes map[string]bool `json:"scopes,omitempty"`
	// Left are the chats (oc_...) that the app's bot is not in.
	Left []string `json:"left,omitempty"`
	// Unknown are ids of people and chats that do not exist.
	Unknown []string `json:"unknown,omitempty"`
	// Foreign are open ids that another app was given.
	Foreign []string `json:"foreign,omitempty"`
	// Hidden are people outside the app's contact range; they can be sent to.
	Hidden []string `json:"hidden,omitempty"`
	// NotInstalled is an app of which no version was published.
	NotInstalled bool `json:"not_installed,omitempty"`
}

func (t Tenant) clone() Tenant {
	t.Scopes = maps.Clone(t.Scopes)
	t.Left, t.Unknown, t.Foreign, t.Hidden = slices.Clone(t.Left), slices.Clone(t.Unknown), slices.Clone(t.Foreign), slices.Clone(t.Hidden)
	return t
}

// has reports whether any of the scopes is granted.
func (t Tenant) has(anyOf ...string) bool {
	return t.Scopes == nil || slices.ContainsFunc(anyOf, func(scope string) bool { return t.Scopes[scope] })
}

// tenants keeps the tenant in force.
type tenants struct {
	mu  sync.Mutex
	now Tenant
}

// SetTenant replaces what is decided about the app and who is there.
func (s *Server) SetTenant(t Tenant) {
	s.tenants.mu.Lock()
	defer s.tenants.mu.Unlock()
	s.tenants.now = t.clone()
}

// Tenant returns what is decided about the app and who is there.
func (s *Server) Tenant() Tenant {
	s.tenants.mu.Lock()
	defer s.tenants.mu.Unlock()
	return s.tenants.now.clone()
}

// tenantRoutes are those of the API that look at the tenant, and the stand-in's own.
func (s *Server) tenantRoutes() {
	s.router.Handle("/open-apis/application/v6/scopes", s.endpoint(OpScopes, s.withToken(s.scopes))).Methods(http.MethodGet)
	s.router.Handle("/open-apis/im/v1/chats/{chat_id}/members/is_in_chat", s.endpoint(OpMember, s.withToken(s.allowed(s.isInChat, chatScopes()...)))).Methods(http.MethodGet)
	s.router.Handle("/open-apis/contact/v3/users/{user_id}", s.endpoint(OpPerson, s.withToken(s.allowed(s.person, contactScopes()...)))).Methods(http.MethodGet)
	s.router.HandleFunc("/sandbox/tenant", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, http.StatusOK, s.Tenant()) }).Methods(http.MethodGet)
	s.router.HandleFunc("/sandbox/tenant", s.putTenant).Methods(http.MethodPut)
}

// putTenant takes a whole Tenant; {} is the one that grants everything.
func (s *Server) putTenant(w http.ResponseWriter, r *http.Request) {
	var t Tenant
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&t); err != nil {
		s.writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "bad_tenant", "message": err.Error()}})
		return
	}
	s.SetTenant(t)
	s.writeJSON(w, http.StatusOK, s.Tenant())
}

// allowed lets a call through for which one of the scopes is granted.
// https://open.feishu.cn/document/server-docs/api-call-guide/generic-error-code
func (s *Server) allowed(handle func(*call) answer, anyOf ...string) func(*call) answer {
	return func(c *call) answer {
		if !s.Tenant().has(anyOf...) {
			return answer{status: 400, code: 99991672, msg: "Access denied. One of the following scopes is required: [" + strings.Join(anyOf, ", ") + "]."}
		}
		return handle(c)
	}
}

// refuses returns why the receive id cannot be sent to, code 0 where it can.
func (t Tenant) refuses(receiveID string) answer {
	switch {
	case slices.Contains(t.Left, receiveID):
		return answer{status: 400, code: 230002, msg: "The bot can not be outside the group."}
	case slices.Contains(t.Unknown, receiveID):
		return invalidParam("invalid receive_id")
	case slices.Contains(t.Foreign, receiveID):
		return crossApp()
	}
	return answer{}
}

func crossApp() answer { return answer{status: 400, code: 99992361, msg: "open_id cross app"} }

// scopes answers GET application/v6/scopes, for which no scope is needed.
// https://open.feishu.cn/document/uAjLw4CM/ukTMukTMukTM/application-v6/scope/list
func (s *Server) scopes(*call) answer {
	t := s.Tenant()
	if t.NotInstalled {
		return answer{status: 400, code: 212100, msg: "app not install"}
	}
	if t.Scopes == nil {
		t.Scopes = map[string]bool{}
		for _, name := range knownScopes() {
			t.Scopes[name] = true
		}
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(t.Scopes)) {
		status := 2
		if t.Scopes[name] {
			status = 1
		}
		list = append(list, map[string]any{"scope_name": name, "grant_status": status, "scope_type": "tenant"})
	}
	return answer{data: map[string]any{"scopes": list}}
}

// isInChat answers GET im/v1/chats/:chat_id/members/is_in_chat about the app's bot.
// https://open.feishu.cn/document/server-docs/group/chat-member/is_in_chat
func (s *Server) isInChat(c *call) answer {
	t, chat := s.Tenant(), c.vars["chat_id"]
	c.rec.Chat = chat
	if !strings.HasPrefix(chat, "oc_") || slices.Contains(t.Unknown, chat) {
		return answer{status: 400, code: 232006, msg: "Your request specifies a chat_id which is invalid."}
	}
	return answer{data: map[string]any{"is_in_chat": !slices.Contains(t.Left, chat)}}
}

// person answers GET contact/v3/users/:user_id with the ids alone: a name needs a
// scope of its own.
// https://open.feishu.cn/document/server-docs/contact-v3/user/get
func (s *Server) person(c *call) answer {
	t, id, idType := s.Tenant(), c.vars["user_id"], c.r.URL.Query().Get("user_id_type")
	if idType == "" {
		idType = "open_id"
	}
	switch {
	case idType != "open_id" && idType != "union_id" && idType != "user_id":
		return answer{status: 400, code: 99992402, msg: "field validation failed"}
	case checkReceiver(idType, id) != "", slices.Contains(t.Unknown, id):
		// (unverified) which of several codes it is for an id that never was.
		return answer{status: 400, code: 99992351, msg: "The request you send is not a valid {" + idType + "} or not exists"}
	case slices.Contains(t.Foreign, id):
		return crossApp()
	case slices.Contains(t.Hidden, id):
		return answer{status: 403, code: 41050, msg: "no user authority error"}
	}
	return answer{data: map[string]any{"user": map[string]any{idType: id}}}
}
