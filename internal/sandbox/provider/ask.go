package provider

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/mux"
)

// endpoint is an address that models are asked at.
type endpoint struct {
	path    string
	dialect dialect
	prefix  string // of the ids of its answers
	form    func(*exchange) form
	streams bool // where that is asked for
}

func endpoints() []endpoint {
	return []endpoint{
		{"/v1/chat/completions", openai, "chatcmpl-", newChat, true},
		{"/v1/completions", openai, "cmpl-", newCompletions, true},
		{"/v1/embeddings", openai, "embd-", newEmbeddings, false},
		{"/v1/responses", openai, "resp_", newResponses, true},
		{"/v1/messages", anthropic, "msg_", newMessages, true},
		{"/v1/messages/count_tokens", anthropic, "count_", newCounting, false},
	}
}

// paths is where faults and answers can be aimed at.
func paths() []string {
	out := []string{modelsPath}
	for _, e := range endpoints() {
		out = append(out, e.path)
	}
	return out
}

// request is what the stand-in reads of one.
type request struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions *struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens *int `json:"max_tokens"`
	Thinking  *struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Input              json.RawMessage `json:"input"`
	EncodingFormat     string          `json:"encoding_format"`
	Dimensions         int             `json:"dimensions"`
	PreviousResponseID string          `json:"previous_response_id"`
	Store              *bool           `json:"store"`

	backend string
	body    []byte
}

// ask is a request to an endpoint.
func (s *Server) ask(e endpoint, w http.ResponseWriter, r *http.Request) {
	asked := request{backend: mux.Vars(r)["backend"]}
	if s.served[asked.backend] == nil {
		s.refuse(w, e.dialect, refusal{status: http.StatusNotFound, kind: "invalid_request_error", message: "there is no backend " + asked.backend})
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		s.refuse(w, e.dialect, e.dialect.refusals()[TooLarge])
		return
	}
	asked.body = body
	problem := json.Unmarshal(body, &asked)
	asked.Stream = asked.Stream && e.streams
	x := &exchange{Server: s, w: w, r: r, at: e, asked: asked, created: time.Now().Unix()}
	x.fault = s.faults.take(e.path, &asked)
	seq := s.seq.Add(1)
	x.id = fmt.Sprintf("%s%s-%d", e.prefix, asked.backend, seq)
	key := e.dialect.presented(r.Header)
	s.note(Request{Seq: seq, At: time.Now().UTC(), Backend: asked.backend, Path: e.path, Model: asked.Model, Stream: asked.Stream, Fault: x.fault.Kind, Key: key, Header: r.Header.Clone(), Body: body})
	defer s.done(asked.backend)
	if refused := s.objection(&x.asked, e, key, r.Header, problem); refused != nil {
		s.refuse(w, e.dialect, *refused)
		return
	}
	x.answer = s.answers.take(e.path, &asked)
	x.serve()
}

// objection is what is wrong with a request, if anything is.
func (s *Server) objection(asked *request, e endpoint, key string, h http.Header, problem error) *refusal {
	wrong := func(param, format string, args ...any) *refusal {
		return &refusal{status: http.StatusBadRequest, kind: "invalid_request_error", param: param, message: fmt.Sprintf(format, args...)}
	}
	want, guarded := s.options.Keys[asked.backend]
	switch {
	case key == "" || guarded && key != want:
		r := e.dialect.refusals()[Unauthorized]
		return &r
	case e.dialect == anthropic && h.Get("Anthropic-Version") == "":
		return wrong("", "anthropic-version: header is required")
	case problem != nil:
		return wrong("", "the body is not JSON as expected: %v", problem)
	case len(s.options.Models) > 0 && !slices.Contains(s.options.Models, asked.Model):
		return e.dialect.noModel(asked.Model)
	case e.path == "/v1/messages" && asked.MaxTokens == nil:
		return wrong("", "max_tokens: Field required")
	case asked.PreviousResponseID != "" && !s.continues(asked):
		r := wrong("previous_response_id", "Previous response with id '%s' not found.", asked.PreviousResponseID)
		r.code = "previous_response_not_found"
		return r
	default:
		return nil
	}
}

func (d dialect) noModel(model string) *refusal {
	r := d.refusals()[NoModel]
	r.message = "The model " + model + " does not exist"
	if d == anthropic {
		r.message = "model: " + model
	}
	return &r
}

// continues reports whether the backend made the response that the request goes on from.
func (s *Server) continues(asked *request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.made, asked.backend+"/"+asked.PreviousResponseID)
}

// remember lets a response be continued.
func (s *Server) remember(backend, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.made) >= keptRequests {
		s.made = slices.Delete(s.made, 0, keptRequests/2)
	}
	s.made = append(s.made, backend+"/"+id)
}

func (s *Server) refuse(w http.ResponseWriter, d dialect, e refusal) {
	s.json(w, e.status, e.body(d, w.Header().Get(d.requestIDHeader())))
}
