package feishu

// Documented limits of urgent messages.
const (
	maxUrgentUsers = 200
	maxUnread      = 200
)

// urgent answers PATCH im/v1/messages/:id/urgent_{app,sms,phone}.
func (s *Server) urgent(c *call) answer {
	c.rec.MessageID = c.vars["message_id"]
	var in struct {
		Users []string `json:"user_id_list"`
	}
	if !c.decode(&in) || len(in.Users) == 0 || len(in.Users) > maxUrgentUsers {
		return invalidParam("user_id_list must hold 1 to 200 ids")
	}
	m, ok := s.store.get(c.rec.MessageID)
	switch {
	case !ok:
		return noSuchMessage()
	case m.App != c.app:
		return answer{status: 400, code: 230012, msg: "Bot is not the sender of the message"}
	case m.Recalled:
		return recalled()
	case !s.store.countUnread(in.Users):
		return answer{status: 400, code: 230023, msg: "The number of unread urgent messages of a user reaches its limit."}
	}
	c.rec.Chat = m.Chat
	s.store.update(m.ID, func(m *Message) {
		m.Urgents = append(m.Urgents, Urgent{At: s.now(), Channel: c.vars["channel"], Users: in.Users})
	})
	return answer{data: map[string]any{"invalid_user_id_list": []string{}}}
}

// countUnread counts one more unread urgent for each user, or none at all when one
// of them has too many. Nobody reads in a stand-in.
func (s *store) countUnread(users []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, user := range users {
		if s.unread[user] >= maxUnread {
			return false
		}
	}
	for _, user := range users {
		s.unread[user]++
	}
	return true
}
