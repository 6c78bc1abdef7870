// Package provider stands in for the providers of language models: it speaks the
// OpenAI dialect, streamed and not, and fails in scripted ways.
//
// One server plays several backends, told apart by the first part of the path:
// /primary-1/v1/chat/completions. What it answers is made up, and always of the same
// size; usage counts are plausible and add up. It keeps a journal of what it was asked,
// so that tests can see what a gateway really sent.
package provider

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
)

const (
	defaultWords = 12
	maxBody      = 64 << 20
	keptRequests = 5000
)

// Options says what to play.
type Options struct {
	Backends []string          // names; at least one
	Keys     map[string]string // by backend: the key that it wants; none wants any
	Models   []string          // native ids that are offered; none offers any
	Words    int               // of an answer; 0 = 12
	Pace     time.Duration     // between the words of a stream
	Log      *slog.Logger
}

// Request is one line of the journal.
type Request struct {
	Seq     int64       `json:"seq"`
	At      time.Time   `json:"at"`
	Backend string      `json:"backend"`
	Path    string      `json:"path"` // below the backend's name
	Model   string      `json:"model,omitempty"`
	Stream  bool        `json:"stream,omitempty"`
	Fault   Kind        `json:"fault,omitempty"`
	Key     string      `json:"-"` // as presented
	Header  http.Header `json:"-"`
	Body    []byte      `json:"-"`
}

// Server is the stand-in.
type Server struct {
	options Options
	script  script
	page    *page
	root    http.Handler
	seq     atomic.Int64
	closing chan struct{}
	once    sync.Once

	mu       sync.Mutex
	journal  []Request
	served   map[string]*tally
	changed  chan struct{}
	inflight map[string]int
}

// tally counts what a backend was asked.
type tally struct{ Requests, Faults int }

var backendName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// New returns a server that plays the backends.
func New(o Options) (*Server, error) {
	if len(o.Backends) == 0 {
		return nil, errors.New("no backend to play: name at least one")
	}
	if o.Words == 0 {
		o.Words = defaultWords
	}
	s := &Server{options: o, closing: make(chan struct{}), served: map[string]*tally{}, inflight: map[string]int{}, changed: make(chan struct{})}
	for _, b := range o.Backends {
		if !backendName.MatchString(b) || slices.Contains([]string{"sandbox", "assets", "backends", "health", "events", "fragment"}, b) || s.served[b] != nil {
			return nil, fmt.Errorf("backend %q: expected a name of its own of letters, digits, dots, - and _", b)
		}
		s.served[b] = &tally{}
	}
	r := mux.NewRouter()
	r.HandleFunc("/health", s.health).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", s.showFaults).Methods(http.MethodGet)
	r.HandleFunc("/sandbox/faults", s.addFault).Methods(http.MethodPost)
	r.HandleFunc("/sandbox/faults", s.clearFaults).Methods(http.MethodDelete)
	r.HandleFunc("/sandbox/requests", s.showRequests).Methods(http.MethodGet)
	r.HandleFunc("/{backend}/v1/chat/completions", s.chat).Methods(http.MethodPost)
	r.HandleFunc("/{backend}/v1/models", s.models).Methods(http.MethodGet)
	var err error
	if s.page, err = newPage(s, r); err != nil {
		return nil, err
	}
	s.root = r
	return s, nil
}

// ServeHTTP answers as the provider, or shows the page.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.root.ServeHTTP(w, r) }

// Close lets go of everything that hangs.
func (s *Server) Close() error {
	s.once.Do(func() { close(s.closing) })
	return nil
}

// AddFault appends to the script.
func (s *Server) AddFault(f Fault) error {
	if err := f.validate(s.options.Backends); err != nil {
		return err
	}
	s.script.add(f)
	s.touch()
	return nil
}

// ClearFaults forgets the faults of a backend, or all where it is empty.
func (s *Server) ClearFaults(backend string) {
	s.script.clear(backend)
	s.touch()
}

// Faults returns the faults to come.
func (s *Server) Faults() []Fault { return s.script.list() }

// Requests returns the newest requests in order of arrival.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.journal)
}

// Inflight is how many requests the backend is answering.
func (s *Server) Inflight(backend string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inflight[backend]
}

// touch tells open pages that something has changed.
func (s *Server) touch() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func (s *Server) note(r Request) {
	s.mu.Lock()
	if len(s.journal) >= keptRequests {
		s.journal = slices.Delete(s.journal, 0, keptRequests/2)
	}
	s.journal = append(s.journal, r)
	s.served[r.Backend].Requests++
	if r.Fault != "" {
		s.served[r.Backend].Faults++
	}
	s.inflight[r.Backend]++
	s.mu.Unlock()
	s.touch()
}

func (s *Server) done(backend string) {
	s.mu.Lock()
	s.inflight[backend]--
	s.mu.Unlock()
	s.touch()
}

// chatRequest is what the stand-in reads of a request.
type chatRequest struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Messages []json.RawMessage `json:"messages"`
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	backend := mux.Vars(r)["backend"]
	if s.served[backend] == nil {
		s.refuse(w, refusal{http.StatusNotFound, "invalid_request_error", "", "there is no backend " + backend})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.refuse(w, refusal{http.StatusRequestEntityTooLarge, "invalid_request_error", "", "the body could not be read"})
		return
	}
	var asked chatRequest
	problem := json.Unmarshal(body, &asked)
	fault := s.script.take(backend, asked.Model, string(body))
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	seq := s.seq.Add(1)
	s.note(Request{Seq: seq, At: time.Now().UTC(), Backend: backend, Path: "/v1/chat/completions", Model: asked.Model, Stream: asked.Stream, Fault: fault.Kind, Key: key, Header: r.Header.Clone(), Body: body})
	defer s.done(backend)
	want, guarded := s.options.Keys[backend]
	switch {
	case key == "" || guarded && key != want:
		s.refuse(w, refusal{http.StatusUnauthorized, "invalid_request_error", "invalid_api_key", "Incorrect API key provided"})
	case problem != nil:
		s.refuse(w, refusal{http.StatusBadRequest, "invalid_request_error", "", "the body is not JSON"})
	case len(s.options.Models) > 0 && !slices.Contains(s.options.Models, asked.Model):
		s.refuse(w, refusal{http.StatusNotFound, "invalid_request_error", "model_not_found", "The model " + asked.Model + " does not exist"})
	default:
		a := &answer{Server: s, w: w, r: r, asked: asked, fault: fault, id: fmt.Sprintf("chatcmpl-%s-%d", backend, seq), created: time.Now().Unix(), size: len(body)}
		a.serve()
	}
}

func (s *Server) models(w http.ResponseWriter, r *http.Request) {
	backend := mux.Vars(r)["backend"]
	if s.served[backend] == nil {
		s.refuse(w, refusal{http.StatusNotFound, "invalid_request_error", "", "there is no backend " + backend})
		return
	}
	data := []map[string]any{}
	for _, m := range s.options.Models {
		data = append(data, map[string]any{"id": m, "object": "model", "created": 0, "owned_by": backend})
	}
	s.json(w, http.StatusOK, map[string]any{"object": "list", "data": data})
}

func (s *Server) refuse(w http.ResponseWriter, e refusal) {
	var code any
	if e.code != "" {
		code = e.code
	}
	s.json(w, e.status, map[string]any{"error": map[string]any{"message": e.message, "type": e.kind, "param": nil, "code": code}})
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
	var fault Fault
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&fault)
	if err == nil {
		err = s.AddFault(fault)
	}
	if err != nil {
		s.json(w, http.StatusBadRequest, map[string]any{"error": map[string]string{"code": "bad_fault", "message": err.Error()}})
		return
	}
	s.json(w, http.StatusCreated, s.Faults())
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
