package httpserve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/buildinfo"
	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code      string `json:"code"`
	Message   string `json:"message"`
	RequestID string `json:"request_id"`
}

// WriteError answers with the shared error body. message is for the client and
// holds no secret.
func WriteError(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	WriteJSON(w, status, errorBody{errorDetail{Code: code, Message: message, RequestID: obslog.RequestID(r.Context())}})
}

// WriteJSON answers with v as JSON. A v that cannot be marshalled is a bug and
// panics, before anything is written.
func WriteJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("httpserve: marshalling a response: %v", err))
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// ReadBody reads the request's body within the server's limit. On failure it
// has answered 413 or 400 and returns false.
func ReadBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	body, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		WriteError(w, r, http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit))
		return nil, false
	case err != nil:
		WriteError(w, r, http.StatusBadRequest, "bad_body", "the body could not be read: "+err.Error())
		return nil, false
	}
	return body, true
}

// ReadJSON reads the body as JSON into v, refusing unknown fields; an empty
// body leaves v as it is. On failure it has answered and returns false.
func ReadJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	body, ok := ReadBody(w, r)
	if !ok || len(body) == 0 {
		return ok
	}
	if err := strictJSON(body, v); err != nil {
		WriteError(w, r, http.StatusBadRequest, "bad_json", "the body is not the JSON expected: "+err.Error())
		return false
	}
	return true
}

func notFound(w http.ResponseWriter, r *http.Request) {
	WriteError(w, r, http.StatusNotFound, "not_found", "there is nothing at this path")
}

func methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	WriteError(w, r, http.StatusMethodNotAllowed, "method_not_allowed", "this path does not know the method "+r.Method)
}

// health says that the process lives.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	body := map[string]any{}
	if s.extraHealth != nil {
		body = s.extraHealth()
	}
	body["status"], body["version"] = "ok", buildinfo.Get().Version
	body["uptime_seconds"] = int64(time.Since(s.started).Seconds())
	WriteJSON(w, http.StatusOK, body)
}

// ExtendHealth adds what extra returns to the body of /health. It is called
// before Start.
func (s *Server) ExtendHealth(extra func() map[string]any) { s.extraHealth = extra }

type readyCheck struct {
	name string
	run  func(context.Context) error
}

// Degraded marks an error of a readiness check that people should see but that
// does not make the program unready.
func Degraded(err error) error { return degraded{err} }

type degraded struct{ error }

func (d degraded) Unwrap() error { return d.error }

// Ready adds a check to /ready. It must be shallow and quick; its error's text
// is shown to anyone, so it holds no secret.
func (s *Server) Ready(name string, check func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, readyCheck{name, check})
}

func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	checks := s.checks
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(r.Context(), readyCheckTimeout)
	defer cancel()
	status, text := http.StatusOK, "ok"
	results := make(map[string]string, len(checks))
	for _, c := range checks {
		results[c.name] = "ok"
		if err := c.run(ctx); err != nil {
			results[c.name] = err.Error()
			if d := (degraded{}); !errors.As(err, &d) {
				status, text = http.StatusServiceUnavailable, "unavailable"
			}
		}
	}
	select {
	case <-s.draining:
		status, text = http.StatusServiceUnavailable, "stopping"
	default:
	}
	WriteJSON(w, status, map[string]any{"status": text, "checks": results})
}

func (s *Server) reload(w http.ResponseWriter, r *http.Request) {
	if err := s.options.Reload(r.Context()); err != nil {
		WriteError(w, r, http.StatusUnprocessableEntity, "reload_failed", "nothing was changed: "+err.Error())
		return
	}
	WriteJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func strictJSON(body []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows after the first value")
	}
	return nil
}
