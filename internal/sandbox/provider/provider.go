// Package provider stands in for the providers of language models: it speaks the
// OpenAI and the Anthropic dialect, streamed and not, and answers and fails in scripted
// ways.
//
// One server plays several backends, told apart by the first part of the path:
// /primary-1/v1/chat/completions. What it answers is made up, and always of the same
// size where no script says otherwise; usage counts are plausible and add up. It keeps
// a journal of what it was asked, so that tests can see what a gateway really sent.
package provider

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"slices"
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
	faults  script[Fault]
	answers script[Answer]
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
	made     []string // responses that can be continued, oldest first: backend/id
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
	s := &Server{options: o, faults: script[Fault]{aim: (*Fault).aim}, answers: script[Answer]{aim: (*Answer).aim}, closing: make(chan struct{}), served: map[string]*tally{}, inflight: map[string]int{}, changed: make(chan struct{})}
	for _, b := range o.Backends {
		if !backendName.MatchString(b) || slices.Contains([]string{"sandbox", "assets", "backends", "health", "events", "fragment"}, b) || s.served[b] != nil {
			return nil, fmt.Errorf("backend %q: expected a name of its own of letters, digits, dots, - and _", b)
		}
		s.served[b] = &tally{}
	}
	r := mux.NewRouter()
	s.control(r)
	for _, e := range endpoints() {
		r.HandleFunc("/{backend}"+e.path, func(w http.ResponseWriter, r *http.Request) { s.ask(e, w, r) }).Methods(http.MethodPost)
	}
	r.HandleFunc("/{backend}"+modelsPath, s.models).Methods(http.MethodGet)
	r.HandleFunc("/{backend}"+modelsPath+"/{model:.+}", s.models).Methods(http.MethodGet)
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
	s.faults.add(f)
	s.touch()
	return nil
}

// AddAnswer appends to the script of answers.
func (s *Server) AddAnswer(a Answer) error {
	if err := a.validate(s.options.Backends); err != nil {
		return err
	}
	s.answers.add(a)
	return nil
}

// ClearAnswers forgets the answers of a backend, or all where it is empty.
func (s *Server) ClearAnswers(backend string) { s.answers.clear(backend) }

// ClearFaults forgets the faults of a backend, or all where it is empty.
func (s *Server) ClearFaults(backend string) {
	s.faults.clear(backend)
	s.touch()
}

// Faults returns the faults to come.
func (s *Server) Faults() []Fault { return s.faults.list() }

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
