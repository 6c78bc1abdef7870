package httpserve

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"time"

	"github.com/gorilla/mux"
	"github.com/oklog/ulid/v2"

	"github.com/fleetwatch/fleetwatch/internal/obslog"
)

// RequestIDHeader carries the id of a request, both ways.
const RequestIDHeader = "X-Request-Id"

var acceptedID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// NewRequestID returns req_ and 26 characters that sort by time.
func NewRequestID() string { return "req_" + ulid.Make().String() }

type routeKey struct{}

// nameRoute tells the outermost handler which route matched. The template holds
// no secret, the path may.
func nameRoute(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, ok := r.Context().Value(routeKey{}).(*string); ok {
			if template, err := mux.CurrentRoute(r).GetPathTemplate(); err == nil {
				*name = template
			}
		}
		next.ServeHTTP(w, r)
	})
}

// root is outermost, so that it sees every response, 404 and panics included.
func (s *Server) root() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		id := r.Header.Get(RequestIDHeader)
		if !acceptedID.MatchString(id) {
			id = NewRequestID()
		}
		w.Header().Set(RequestIDHeader, id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		route := "none"
		ctx := context.WithValue(obslog.WithRequestID(r.Context(), id), routeKey{}, &route)
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(rec, r.Body, s.options.MaxBody)
		aborted := s.serve(rec, r)
		s.finished(ctx, r, rec, route, time.Since(started))
		if aborted {
			panic(http.ErrAbortHandler)
		}
	})
}

// serve runs the router; a panic becomes a 500, or an aborted connection where
// the response has begun.
func (s *Server) serve(rec *recorder, r *http.Request) (abort bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			abort = true
			return
		}
		s.options.Log.ErrorContext(r.Context(), "handler panicked", "panic", p, "stack", string(debug.Stack()))
		if abort = rec.status != 0; !abort {
			WriteError(rec, r, http.StatusInternalServerError, "internal", "an internal error; the log has the details under this request id")
		}
	}()
	s.router.ServeHTTP(rec, r)
	return false
}

func (s *Server) finished(ctx context.Context, r *http.Request, rec *recorder, route string, took time.Duration) {
	if rec.status == 0 {
		rec.status = http.StatusOK
	}
	level := slog.LevelInfo
	switch route {
	case "/health", "/ready", "/metrics":
		level = slog.LevelDebug
	}
	s.options.Log.Log(ctx, level, "request finished", "method", r.Method, "route", route, "status", rec.status,
		"bytes", rec.bytes, "duration_ms", float64(took.Microseconds())/1000, "remote", r.RemoteAddr)
	if s.options.Observe != nil {
		s.options.Observe(route, r.Method, rec.status, took)
	}
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach Flush and deadlines.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
