package feishu

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"
	"time"
)

// Kind says who sent a message.
type Kind string

// The senders.
const (
	KindApp Kind = "app" // an app, through im/v1/messages
	KindBot Kind = "bot" // a custom bot, through its hook
)

// Revision is one state of a message.
type Revision struct {
	At      time.Time `json:"at"`
	Type    string    `json:"type"`    // interactive or text
	Content string    `json:"content"` // card JSON, or the text
	// What a person sees of it:
	Template string `json:"template"` // header colour, "" for a text
	Title    string `json:"title"`
	Text     string `json:"text"`
}

// Urgent is one "buzz" on a message.
type Urgent struct {
	At      time.Time `json:"at"`
	Channel string    `json:"channel"` // app, sms or phone
	Users   []string  `json:"users"`
}

// Message is one message with its history.
type Message struct {
	ID       string `json:"message_id"`
	Chat     string `json:"chat"`
	Kind     Kind   `json:"kind"`
	App      string `json:"app,omitempty"`
	UUID     string `json:"uuid,omitempty"`
	Parent   string `json:"parent,omitempty"` // message this one replies to
	Recalled bool   `json:"recalled,omitempty"`
	// Revisions holds the first and the newest states, oldest first; RevisionCount
	// counts all of them.
	Revisions     []Revision `json:"revisions"`
	RevisionCount int        `json:"revision_count"`
	Urgents       []Urgent   `json:"urgents,omitempty"`
}

// Now returns the present state.
func (m Message) Now() Revision { return m.Revisions[len(m.Revisions)-1] }

// Created returns when the message came to be.
func (m Message) Created() time.Time { return m.Revisions[0].At }

// Updated returns when the present state came to be.
func (m Message) Updated() time.Time { return m.Now().At }

// Chat is a conversation: of a person with the app, a group, or a custom bot's.
type Chat struct {
	ID   string `json:"id"`   // oc_... ; bot_... for a custom bot's group
	To   string `json:"to"`   // receive id the chat was made for; empty for a bot's group
	Name string `json:"name"` // for people
	Kind Kind   `json:"kind"`
}

// keptRevisions bounds the history of one message.
const keptRevisions = 200

// uuidLife is how long a uuid is remembered.
const uuidLife = time.Hour

type sent struct {
	Message string    `json:"message"`
	At      time.Time `json:"at"`
}

// state is everything that survives a restart.
type state struct {
	Chats    []Chat          `json:"chats"`
	Messages []*Message      `json:"messages"` // in order of creation
	UUIDs    map[string]sent `json:"uuids"`
}

// store owns the state. Its methods are safe for concurrent use.
type store struct {
	mu      sync.Mutex
	state   state
	byID    map[string]*Message
	unread  map[string]int // unread urgents by person
	most    int
	version uint64
	changed chan struct{} // closed and replaced at every change
}

func newStore(most int) *store {
	return &store{state: state{UUIDs: map[string]sent{}}, byID: map[string]*Message{}, unread: map[string]int{},
		most: most, changed: make(chan struct{})}
}

// restore replaces the state; for use before the store is shared.
func (s *store) restore(from state) {
	if from.UUIDs == nil {
		from.UUIDs = map[string]sent{}
	}
	s.state = from
	for _, m := range from.Messages {
		s.byID[m.ID] = m
	}
}

// touch announces a change; the caller holds mu.
func (s *store) touch() {
	s.version++
	close(s.changed)
	s.changed = make(chan struct{})
}

// announce tells open pages of a change outside the state.
func (s *store) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.touch()
}

// watch returns the version and a channel that closes at the next change.
func (s *store) watch() (uint64, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version, s.changed
}

// ensureChat returns the chat with that id, made when it is new.
func (s *store) ensureChat(chat Chat) Chat {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, known := range s.state.Chats {
		if known.ID == chat.ID {
			s.state.Chats[i].Name = chat.Name
			return s.state.Chats[i]
		}
	}
	s.state.Chats = append(s.state.Chats, chat)
	s.touch()
	return chat
}

// hasChat tells whether the chat exists.
func (s *store) hasChat(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.state.Chats, func(c Chat) bool { return c.ID == id })
}

// isGroup tells whether the chat was sent to by its own id, not by a person's.
func (s *store) isGroup(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.state.Chats, func(c Chat) bool { return c.ID == id && c.To == id })
}

// remembered returns the message that a uuid already made within its life.
func (s *store) remembered(app, uuid string, now time.Time) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rememberedLocked(app, uuid, now)
}

func (s *store) rememberedLocked(app, uuid string, now time.Time) (Message, bool) {
	done, ok := s.state.UUIDs[app+"\n"+uuid]
	if uuid == "" || !ok || now.Sub(done.At) >= uuidLife {
		return Message{}, false
	}
	m, ok := s.byID[done.Message]
	if !ok {
		return Message{}, false
	}
	return m.clone(), true
}

// add stores a new message, or returns the one that its uuid made before.
func (s *store) add(m Message, first Revision) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.rememberedLocked(m.App, m.UUID, first.At); ok {
		return known, true
	}
	m.ID = newID("om_")
	m.Revisions, m.RevisionCount = []Revision{first}, 1
	s.state.Messages = append(s.state.Messages, &m)
	s.byID[m.ID] = &m
	if m.UUID != "" {
		s.state.UUIDs[m.App+"\n"+m.UUID] = sent{Message: m.ID, At: first.At}
	}
	s.trim(first.At)
	s.touch()
	return m.clone(), false
}

// trim forgets the oldest messages beyond the bound and uuids past their life.
func (s *store) trim(now time.Time) {
	if len(s.state.Messages) <= s.most {
		return
	}
	drop := len(s.state.Messages) - s.most + s.most/10
	for _, m := range s.state.Messages[:drop] {
		delete(s.byID, m.ID)
	}
	s.state.Messages = slices.Delete(s.state.Messages, 0, drop)
	for key, done := range s.state.UUIDs {
		if now.Sub(done.At) >= uuidLife {
			delete(s.state.UUIDs, key)
		}
	}
}

func (s *store) get(id string) (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.byID[id]
	if !ok {
		return Message{}, false
	}
	return m.clone(), true
}

// update changes a message in place; it reports false when there is none.
func (s *store) update(id string, change func(*Message)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.byID[id]
	if !ok {
		return false
	}
	change(m)
	s.touch()
	return true
}

// revise appends a state, keeping the first one and the newest.
func (m *Message) revise(r Revision) {
	m.RevisionCount++
	m.Revisions = append(m.Revisions, r)
	if len(m.Revisions) > keptRevisions {
		// A new array: copies of the message still look at the old one.
		m.Revisions = slices.Concat(m.Revisions[:1], m.Revisions[1+keptRevisions/2:])
	}
}

// clone returns a copy that later changes do not reach. Revisions and urgents are
// only ever appended to, so the copy shares what there is and no more.
func (m *Message) clone() Message {
	c := *m
	c.Revisions = slices.Clip(m.Revisions)
	c.Urgents = slices.Clip(m.Urgents)
	return c
}

// chatID derives the chat of a person, so that it stays the same for ever.
func chatID(prefix, of string) string {
	sum := sha256.Sum256([]byte(of))
	return prefix + hex.EncodeToString(sum[:16])
}

// BotChat returns the id of the chat that the custom bot with this token posts to.
func BotChat(token string) string { return chatID("bot_", token) }

// AppChat returns the id of the chat behind a receive id.
func AppChat(receiveIDType, receiveID string) string {
	if receiveIDType == "chat_id" {
		return receiveID
	}
	return chatID("oc_", receiveID)
}
