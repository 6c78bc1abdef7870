package feishu

import (
	"encoding/json"
	"net/http"
	"time"
)

// controlRoutes are the stand-in's own: what tests and the demo drive it by.
func (s *Server) controlRoutes() {
	r := s.router
	r.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		s.writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	}).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/messages", s.showMessages).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/requests", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, http.StatusOK, s.Requests()) }).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/counts", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, http.StatusOK, s.Counts()) }).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, http.StatusOK, s.Faults()) }).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", s.addFault).Methods(http.MethodPost)
	r.HandleFunc("/sandbox/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	}).Methods(http.MethodDelete)
	r.HandleFunc("/sandbox/presses", func(w http.ResponseWriter, _ *http.Request) { s.writeJSON(w, http.StatusOK, s.Presses()) }).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/connections", func(w http.ResponseWriter, _ *http.Request) {
		s.writeJSON(w, http.StatusOK, map[string]int{"connections": s.Connections()})
	}).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/connections", func(w http.ResponseWriter, _ *http.Request) {
		s.DropConnections()
		w.WriteHeader(http.StatusNoContent)
	}).Methods(http.MethodDelete)
	r.HandleFunc("/sandbox/reset", func(w http.ResponseWriter, _ *http.Request) {
		s.Reset()
		w.WriteHeader(http.StatusNoContent)
	}).Methods(http.MethodPost)
}

// MessageView is a message in GET /sandbox/messages.
type MessageView struct {
	MessageID string        `json:"message_id"`
	Chat      string        `json:"chat"`
	ChatName  string        `json:"chat_name"`
	To        string        `json:"to,omitempty"`
	Kind      Kind          `json:"kind"`
	Created   time.Time     `json:"created"`
	Updated   time.Time     `json:"updated"`
	Revisions int           `json:"revisions"`
	Template  string        `json:"template"`
	Title     string        `json:"title"`
	Text      string        `json:"text"`
	Recalled  bool          `json:"recalled,omitempty"`
	Urgents   []Urgent      `json:"urgents,omitempty"`
	Thread    []MessageView `json:"thread,omitempty"`
}

// Views returns the messages, oldest first, replies under what they reply to.
func (s Snapshot) Views() []MessageView {
	chats := map[string]Chat{}
	for _, c := range s.Chats {
		chats[c.ID] = c
	}
	views, at := []MessageView{}, map[string]int{}
	for _, m := range s.Messages {
		v := MessageView{MessageID: m.ID, Chat: m.Chat, ChatName: chats[m.Chat].Name, To: chats[m.Chat].To, Kind: m.Kind,
			Created: m.Created(), Updated: m.Updated(), Revisions: m.RevisionCount, Template: m.Now().Template,
			Title: m.Now().Title, Text: m.Now().Text, Recalled: m.Recalled, Urgents: m.Urgents}
		if i, ok := at[m.Parent]; ok {
			views[i].Thread = append(views[i].Thread, v)
			continue
		}
		at[m.ID] = len(views)
		views = append(views, v)
	}
	return views
}

// showMessages answers the messages, of one chat with ?chat=.
func (s *Server) showMessages(w http.ResponseWriter, r *http.Request) {
	views, chat := s.Snapshot().Views(), r.URL.Query().Get("chat")
	picked := []MessageView{}
	for _, v := range views {
		if chat == "" || v.Chat == chat || v.To == chat {
			picked = append(picked, v)
		}
	}
	s.writeJSON(w, http.StatusOK, picked)
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) {
	var fault Fault
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&fault)
	if err == nil {
		err = s.AddFault(fault)
	}
	if err != nil {
		s.writeJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "bad_fault", "message": err.Error()}})
		return
	}
	s.writeJSON(w, http.StatusCreated, s.Faults())
}

func (s *Server) writeJSON(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		s.log.Error("encoding an answer failed", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	s.send(w, raw)
}
