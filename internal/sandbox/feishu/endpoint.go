package feishu

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/gorilla/mux"
)

// Op names an operation of the API, for faults, counts and the request log.
type Op string

// The operations.
const (
	OpToken  Op = "token"
	OpCreate Op = "create"
	OpPatch  Op = "patch"
	OpReply  Op = "reply"
	OpRecall Op = "recall"
	OpUrgent Op = "urgent"
	OpList   Op = "list"
	OpBot    Op = "bot"
	OpOther  Op = "other"
	// OpConnect asks where to connect for events; OpEvent is the press of a button
	// on its way to the app.
	OpConnect Op = "connect"
	OpEvent   Op = "event"
)

// maxBody bounds what is read of a request; every documented limit is below it.
const maxBody = 1 << 20

// call is one API request on its way through the stand-in.
type call struct {
	op   Op
	r    *http.Request
	vars map[string]string
	body []byte
	app  string // set by withToken
	rec  Request
}

func (c *call) decode(into any) bool { return json.Unmarshal(c.body, into) == nil }

// answer is what Feishu would say.
type answer struct {
	status int // 0 means 200
	code   int
	msg    string
	data   any
	extra  map[string]any // members beside code, msg and data
	reset  int            // seconds for x-ogw-ratelimit-reset, when over 0
	raw    string         // an HTML page in place of JSON
}

// The codes that several endpoints share. HTTP status as documented.
func invalidParam(detail string) answer {
	return answer{status: 400, code: 230001, msg: "Your request contains an invalid request parameter, ext=" + detail}
}

func frequency(scope string) answer {
	return answer{status: 400, code: 230020, msg: "This operation triggers the frequency limit, ext=" + scope}
}

func gatewayLimit(status, reset int) answer {
	return answer{status: status, code: 99991400, msg: "request trigger frequency limit", reset: reset}
}

func cardRefused(err error) answer {
	return answer{status: 400, code: 230099, msg: "Failed to create card content, ext=" + err.Error()}
}

func noSuchMessage() answer {
	return answer{status: 400, code: 230001, msg: "Your request contains an invalid request parameter, ext=open_message_id does not exist"}
}

// endpoint reads a request, plays the fault it meets, lets handle answer it, and
// writes both into the request log.
func (s *Server) endpoint(op Op, handle func(*call) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			s.write(w, answer{status: http.StatusRequestEntityTooLarge, code: 230025, msg: "The length of the message content reaches its limit"})
			return
		}
		if err != nil {
			return // the client went away while sending
		}
		c := &call{op: op, r: r, vars: mux.Vars(r), body: body}
		c.rec = Request{At: s.now(), Op: op, Method: r.Method, Route: route(r)}
		fault := s.faults.take(op, r.URL.RequestURI()+"\n"+string(body), s.now())
		c.rec.Fault = fault.Kind
		if fault.before() {
			s.playBefore(w, c, fault)
			return
		}
		a := handle(c)
		s.record(c, a)
		if fault.Kind == FaultHangAfter {
			s.hang(r.Context())
		}
		if fault.Kind == FaultDropAfter || fault.Kind == FaultHangAfter {
			panic(http.ErrAbortHandler) // net/http closes the connection without an answer
		}
		s.write(w, a)
	})
}

func (s *Server) record(c *call, a answer) {
	c.rec.Status, c.rec.Code = a.status, a.code
	if c.rec.Status == 0 {
		c.rec.Status = http.StatusOK
	}
	s.journal.add(c.rec)
}

// route is the path template, so that no bot token gets into a log.
func route(r *http.Request) string {
	if current := mux.CurrentRoute(r); current != nil {
		if template, err := current.GetPathTemplate(); err == nil {
			return template
		}
	}
	return r.URL.Path
}

func (s *Server) write(w http.ResponseWriter, a answer) {
	w.Header().Set("X-Tt-Logid", newID(""))
	if a.reset > 0 {
		w.Header().Set("x-ogw-ratelimit-reset", strconv.Itoa(a.reset))
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	if a.raw != "" {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(a.status)
		s.send(w, []byte(a.raw))
		return
	}
	msg := a.msg
	if a.code == 0 && msg == "" {
		msg = "success"
	}
	body := map[string]any{"code": a.code, "msg": msg}
	if a.data != nil {
		body["data"] = a.data
	}
	maps.Copy(body, a.extra)
	raw, err := json.Marshal(body)
	if err != nil {
		s.log.Error("encoding an answer failed", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	s.send(w, raw)
}

func (s *Server) send(w io.Writer, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.log.Debug("client went away", "error", err)
	}
}

// newID returns prefix and 32 random hex digits.
func newID(prefix string) string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return prefix + hex.EncodeToString(b[:])
}

func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}
