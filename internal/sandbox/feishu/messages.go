package feishu

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/sandbox/feishu/card"
)

// Documented limits of app messages.
const (
	maxCardBytes = 30 << 10
	maxTextBytes = 150 << 10
	maxUUID      = 50
	patchLife    = 14 * 24 * time.Hour
)

// create answers POST im/v1/messages.
func (s *Server) create(c *call) answer {
	var in struct {
		ReceiveID string `json:"receive_id"`
		MsgType   string `json:"msg_type"`
		Content   string `json:"content"`
		UUID      string `json:"uuid"`
	}
	if !c.decode(&in) {
		return invalidParam("body is not JSON")
	}
	idType := c.r.URL.Query().Get("receive_id_type")
	if detail := checkReceiver(idType, in.ReceiveID); detail != "" {
		return invalidParam(detail)
	}
	if refused := s.Tenant().refuses(in.ReceiveID); refused.code != 0 {
		return refused
	}
	chat := s.store.ensureChat(Chat{ID: AppChat(idType, in.ReceiveID), To: in.ReceiveID, Name: s.name(in.ReceiveID), Kind: KindApp})
	return s.post(c, Message{Chat: chat.ID, UUID: in.UUID}, in.MsgType, in.Content)
}

// reply answers POST im/v1/messages/:id/reply.
func (s *Server) reply(c *call) answer {
	var in struct {
		MsgType string `json:"msg_type"`
		Content string `json:"content"`
		UUID    string `json:"uuid"`
	}
	if !c.decode(&in) {
		return invalidParam("body is not JSON")
	}
	parent, ok := s.store.get(c.vars["message_id"])
	if !ok {
		return noSuchMessage()
	}
	if parent.Recalled {
		return recalled()
	}
	if parent.Parent != "" { // a thread has one root
		parent.ID = parent.Parent
	}
	return s.post(c, Message{Chat: parent.Chat, UUID: in.UUID, Parent: parent.ID}, in.MsgType, in.Content)
}

// post adds a message. A uuid that is remembered answers before the limits and the
// content are looked at: the first send was the one that counted.
func (s *Server) post(c *call, m Message, msgType, content string) answer {
	m.Kind, m.App = KindApp, c.app
	c.rec.Chat, c.rec.UUID = m.Chat, m.UUID
	if len(m.UUID) > maxUUID {
		return invalidParam("uuid is longer than 50")
	}
	if known, ok := s.store.remembered(m.App, m.UUID, s.now()); ok {
		c.rec.MessageID, c.rec.Duplicate = known.ID, true
		return messageAnswer(known)
	}
	if _, ok := s.limiter.allow("chat:"+m.Chat, s.now(), s.opts.Limits.chat()...); !ok {
		return frequency("chat rate limit")
	}
	first, refused := s.revision(msgType, content)
	if refused.code != 0 {
		return refused
	}
	added, duplicate := s.store.add(m, first)
	c.rec.MessageID, c.rec.Duplicate = added.ID, duplicate
	return messageAnswer(added)
}

// patch answers PATCH im/v1/messages/:id, which replaces a card.
func (s *Server) patch(c *call) answer {
	id := c.vars["message_id"]
	c.rec.MessageID = id
	var in struct {
		Content string `json:"content"`
	}
	if !c.decode(&in) {
		return invalidParam("body is not JSON")
	}
	m, ok := s.store.get(id)
	if !ok {
		return noSuchMessage()
	}
	c.rec.Chat = m.Chat
	if refused := s.patchable(m, c.app, in.Content); refused.code != 0 {
		return refused
	}
	if _, ok := s.limiter.allow("message:"+id, s.now(), s.opts.Limits.message()...); !ok {
		return frequency("message rate limit")
	}
	next, refused := s.revision("interactive", in.Content)
	if refused.code != 0 {
		return refused
	}
	s.store.update(id, func(m *Message) { m.revise(next) })
	return answer{data: map[string]any{}}
}

func (s *Server) patchable(m Message, app, content string) answer {
	switch {
	case m.Kind != KindApp || m.App != app:
		return answer{status: 400, code: 230027, msg: "Lack of necessary permissions, ext=the operator is not the sender"}
	case m.Now().Type != "interactive":
		return answer{status: 400, code: 230001, msg: "Your request contains an invalid request parameter, ext=This message is NOT a card."}
	case m.Recalled:
		return recalled()
	case s.now().Sub(m.Created()) > patchLife:
		return answer{status: 400, code: 230031, msg: "The message is too old to be updated, ext=more than 14 days"}
	case !shared(m.Now().Content) || !shared(content):
		// (unverified) the code; the rule is documented.
		return invalidParam("config.update_multi must be true before and after the update")
	}
	return answer{}
}

func recalled() answer {
	return answer{status: 400, code: 230011, msg: "The message was withdrawn."}
}

// shared tells whether a card says update_multi: true in so many words.
func shared(content string) bool {
	var c struct {
		Config struct {
			UpdateMulti bool `json:"update_multi"`
		} `json:"config"`
	}
	return json.Unmarshal([]byte(content), &c) == nil && c.Config.UpdateMulti
}

// recall answers DELETE im/v1/messages/:id.
func (s *Server) recall(c *call) answer {
	c.rec.MessageID = c.vars["message_id"]
	m, ok := s.store.get(c.rec.MessageID)
	switch {
	case !ok:
		return noSuchMessage()
	case m.App != c.app:
		return answer{status: 400, code: 230026, msg: "No permission to recall this message."}
	}
	s.Recall(m.ID)
	return answer{data: map[string]any{}}
}

// revision checks content and makes a state of it.
func (s *Server) revision(msgType, content string) (Revision, answer) {
	switch msgType {
	case "interactive":
		if len(content) > maxCardBytes {
			return Revision{}, answer{status: 400, code: 230025, msg: "The length of the message content reaches its limit."}
		}
		if err := s.checker.Check([]byte(content)); err != nil {
			return Revision{}, cardRefused(err)
		}
		return s.cardRevision(content), answer{}
	case "text":
		if len(content) > maxTextBytes {
			return Revision{}, answer{status: 400, code: 230025, msg: "The length of the message content reaches its limit."}
		}
		var body struct {
			Text string `json:"text"`
		}
		if json.Unmarshal([]byte(content), &body) != nil || body.Text == "" {
			return Revision{}, invalidParam("content is not in the format of msg_type text")
		}
		return Revision{At: s.now(), Type: "text", Content: body.Text, Text: body.Text}, answer{}
	}
	return Revision{}, invalidParam("this stand-in does not model msg_type " + strconv.Quote(msgType))
}

// cardRevision reads a card that has been checked.
func (s *Server) cardRevision(content string) Revision {
	view, err := card.Parse([]byte(content))
	if err != nil {
		s.log.Error("reading a checked card failed", "error", err)
	}
	return Revision{At: s.now(), Type: "interactive", Content: content, Template: view.Template, Title: view.Title, Text: view.Text()}
}

// checkReceiver returns what is wrong with a receive id, or "".
func checkReceiver(idType, id string) string {
	prefixes := map[string]string{"open_id": "ou_", "union_id": "on_", "chat_id": "oc_", "user_id": "", "email": ""}
	prefix, known := prefixes[idType]
	switch {
	case !known:
		return "receive_id_type " + strconv.Quote(idType) + " is none of open_id, union_id, user_id, email, chat_id"
	case id == "":
		return "receive_id is empty"
	case !strings.HasPrefix(id, prefix):
		return "receive_id is not a valid " + idType
	case idType == "email" && !strings.Contains(id, "@"):
		return "receive_id is not a valid email"
	}
	return ""
}

func (s *Server) name(receiveID string) string {
	if name := s.opts.Names[receiveID]; name != "" {
		return name
	}
	return receiveID
}

func messageAnswer(m Message) answer {
	return answer{data: messageData(m, m.Now().Content)}
}

// messageData is a message as the API words it; times are milliseconds as text.
func messageData(m Message, content string) map[string]any {
	now := m.Now()
	if now.Type == "text" {
		raw, _ := json.Marshal(map[string]string{"text": now.Content}) // a map of strings always encodes
		content = string(raw)
	}
	data := map[string]any{
		"message_id": m.ID, "msg_type": now.Type, "chat_id": m.Chat, "deleted": m.Recalled, "updated": m.RevisionCount > 1,
		"create_time": strconv.FormatInt(m.Created().UnixMilli(), 10),
		"update_time": strconv.FormatInt(m.Updated().UnixMilli(), 10),
		"sender":      map[string]string{"id": m.App, "id_type": "app_id", "sender_type": "app", "tenant_key": "sandbox"},
		"body":        map[string]string{"content": content},
	}
	if m.Parent != "" {
		data["parent_id"], data["root_id"] = m.Parent, m.Parent
	}
	return data
}
