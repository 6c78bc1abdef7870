package feishu

import (
	"context"
	"fmt"
	"slices"
)

// Snapshot is a consistent copy of the chats.
type Snapshot struct {
	Version  uint64    `json:"version"` // grows with every change
	Chats    []Chat    `json:"chats"`
	Messages []Message `json:"messages"` // in order of creation, replies included
}

// Roots returns the messages that are no replies, in order of creation.
func (s Snapshot) Roots() []Message {
	return slices.DeleteFunc(slices.Clone(s.Messages), func(m Message) bool { return m.Parent != "" })
}

// Thread returns the replies to a message, in order of creation.
func (s Snapshot) Thread(id string) []Message {
	return slices.DeleteFunc(slices.Clone(s.Messages), func(m Message) bool { return m.Parent != id })
}

// In returns the messages of a chat that are no replies. The chat is named by its
// id or by the receive id it belongs to; "" is every chat.
func (s Snapshot) In(chat string) []Message {
	id := chat
	for _, c := range s.Chats {
		if chat != "" && c.To == chat {
			id = c.ID
		}
	}
	return slices.DeleteFunc(s.Roots(), func(m Message) bool { return id != "" && m.Chat != id })
}

// Snapshot returns a copy of everything.
func (s *Server) Snapshot() Snapshot { return s.store.snapshot() }

func (s *store) snapshot() Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := Snapshot{Version: s.version, Chats: slices.Clone(s.state.Chats), Messages: make([]Message, 0, len(s.state.Messages))}
	for _, m := range s.state.Messages {
		out.Messages = append(out.Messages, m.clone())
	}
	return out
}

// Messages returns the messages of a chat that are no replies; see Snapshot.In.
func (s *Server) Messages(chat string) []Message { return s.Snapshot().In(chat) }

// Message returns one message.
func (s *Server) Message(id string) (Message, bool) { return s.store.get(id) }

// WaitFor returns the first snapshot that satisfies the condition, or an error
// with what there was when ctx ended.
func (s *Server) WaitFor(ctx context.Context, condition func(Snapshot) bool) (Snapshot, error) {
	for {
		_, changed := s.store.watch()
		now := s.store.snapshot()
		if condition(now) {
			return now, nil
		}
		select {
		case <-ctx.Done():
			return now, fmt.Errorf("waiting for chats (%d messages in %d chats): %w", len(now.Messages), len(now.Chats), ctx.Err())
		case <-changed:
		}
	}
}

// Reset forgets chats, messages, uuids, faults and the tenant; tokens stay in force.
func (s *Server) Reset() {
	s.ClearFaults()
	s.SetTenant(Tenant{})
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.store.state = state{UUIDs: map[string]sent{}}
	clear(s.store.byID)
	clear(s.store.unread)
	s.store.touch()
}

// Recall takes a message back, as its sender can in the client.
func (s *Server) Recall(id string) bool {
	return s.store.update(id, func(m *Message) { m.Recalled = true })
}
