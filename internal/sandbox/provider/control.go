package provider

import (
	"encoding/json"
	"net/http"

	"github.com/gorilla/mux"
)

// control adds the way to the scripts and the journal.
func (s *Server) control(r *mux.Router) {
	r.HandleFunc("/health", s.health).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", s.showFaults).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", s.addFault).Methods(http.MethodPost)
	r.HandleFunc("/sandbox/faults", s.clearFaults).Methods(http.MethodDelete)
	r.HandleFunc("/sandbox/answers", s.showAnswers).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/answers", s.addAnswer).Methods(http.MethodPost)
	r.HandleFunc("/sandbox/answers", s.clearAnswers).Methods(http.MethodDelete)
	r.HandleFunc("/sandbox/requests", s.showRequests).Methods(http.MethodGet)
}

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) showFaults(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, s.Faults())
}

func (s *Server) clearFaults(w http.ResponseWriter, r *http.Request) {
	s.ClearFaults(r.URL.Query().Get("backend"))
	s.showFaults(w, r)
}

func (s *Server) addFault(w http.ResponseWriter, r *http.Request) {
	if added(s, w, r, "bad_fault", s.AddFault) {
		s.json(w, http.StatusCreated, s.Faults())
	}
}

func (s *Server) showAnswers(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, s.answers.list())
}

func (s *Server) clearAnswers(w http.ResponseWriter, r *http.Request) {
	s.ClearAnswers(r.URL.Query().Get("backend"))
	s.showAnswers(w, r)
}

func (s *Server) addAnswer(w http.ResponseWriter, r *http.Request) {
	if added(s, w, r, "bad_answer", s.AddAnswer) {
		s.json(w, http.StatusCreated, s.answers.list())
	}
}

// added reads a line of a script and adds it, or tells what is wrong with it.
func added[T any](s *Server, w http.ResponseWriter, r *http.Request, code string, add func(T) error) bool {
	var line T
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&line)
	if err == nil {
		err = add(line)
	}
	if err != nil {
		s.json(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": code, "message": err.Error()}})
	}
	return err == nil
}

func (s *Server) showRequests(w http.ResponseWriter, _ *http.Request) {
	s.json(w, http.StatusOK, s.Requests())
}

func (s *Server) json(w http.ResponseWriter, status int, v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		s.options.Log.Error("encoding an answer failed", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if _, err := w.Write(raw); err != nil {
		s.options.Log.Debug("client went away", "error", err)
	}
}
