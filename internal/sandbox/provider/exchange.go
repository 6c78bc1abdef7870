package provider

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// bytesPerToken is what the stand-in's tokenizer makes of a body.
const bytesPerToken = 4

// bombSize is what the gzip bomb unpacks to.
const bombSize = 100 << 20

// exchange is one answer under way.
type exchange struct {
	*Server
	w       http.ResponseWriter
	r       *http.Request
	at      endpoint
	asked   request
	fault   Fault
	answer  Answer
	id      string
	created int64
}

// form is how an endpoint says what it has to say.
type form interface {
	// whole is a plain answer.
	whole() map[string]any
	// stream is a streamed one. It is asked only of endpoints that stream.
	stream() frames
	// errorFrame is an error in the midst of a stream.
	errorFrame(refusal) string
}

// frames is a stream, cut where something can go wrong.
type frames struct {
	opening []string // before any content
	content []string // a chunk each
	ending  []string // the last of them is the end marker
	alive   string   // says nothing, and may stand anywhere
}

func (x *exchange) serve() {
	h := x.w.Header()
	h.Set(x.at.dialect.requestIDHeader(), "up-"+x.id)
	x.fault.limits(x.at.dialect, h, time.Now())
	for k, v := range x.fault.Headers {
		h.Set(k, v)
	}
	if x.fault.Delay > 0 && x.fault.Kind != Drip && !x.wait(seconds(x.fault.Delay)) {
		return
	}
	if e, ok := x.fault.refusal(x.at.dialect); ok {
		x.refuse(x.w, x.at.dialect, e)
		return
	}
	switch x.fault.Kind {
	case HTML502:
		h.Set("Content-Type", "text/html")
		x.w.WriteHeader(http.StatusBadGateway)
		x.say("<html><body><h1>502 Bad Gateway</h1></body></html>")
	case Redirect:
		x.w.WriteHeader(http.StatusFound)
	case BadJSON:
		h.Set("Content-Type", "application/json")
		x.say(`{"id":"x","choices":[`)
	case GzipBomb:
		x.bomb()
	case Drop:
		panic(http.ErrAbortHandler)
	case Hang:
		x.hang()
	default:
		if x.asked.Stream {
			x.relate(x.at.form(x))
			return
		}
		x.plain(x.at.form(x))
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// wait pauses, and reports whether the caller is still there.
func (x *exchange) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-x.r.Context().Done():
		return false
	case <-x.closing:
		return false
	}
}

// hang does nothing until the caller, or the stand-in, gives up.
func (x *exchange) hang() {
	select {
	case <-x.r.Context().Done():
	case <-x.closing:
	}
}

func (x *exchange) say(text string) {
	if _, err := io.WriteString(x.w, text); err != nil {
		x.options.Log.Debug("client went away", "error", err)
	}
}

func (x *exchange) flush() {
	if err := http.NewResponseController(x.w).Flush(); err != nil {
		x.options.Log.Debug("client went away", "error", err)
	}
}

func (x *exchange) frame(text string) {
	x.say(text)
	x.flush()
}

func (x *exchange) bomb() {
	x.w.Header().Set("Content-Type", "application/json")
	x.w.Header().Set("Content-Encoding", "gzip")
	x.w.WriteHeader(http.StatusOK)
	x.flush()
	packed := gzip.NewWriter(x.w)
	zeros := make([]byte, 1<<16)
	for range bombSize / len(zeros) {
		if _, err := packed.Write(zeros); err != nil {
			return // the caller has had enough
		}
	}
	_ = packed.Close() // the caller may have gone, and nobody else minds
}

func (x *exchange) plain(f form) {
	if x.fault.Kind == Silence || x.fault.Kind == Stall || x.fault.Kind == Drip {
		x.w.Header().Set("Content-Type", "application/json")
		x.w.WriteHeader(http.StatusOK)
		x.flush()
		x.hang()
		return
	}
	body := f.whole()
	switch x.fault.Kind {
	case NoUsage:
		delete(body, "usage")
	case Cut, NoEnd:
		raw := marshal(body)
		x.w.Header().Set("Content-Type", "application/json")
		x.say(raw[:len(raw)/2])
		x.flush()
		if x.fault.Kind == Cut {
			panic(http.ErrAbortHandler)
		}
		return
	case EarlyError, ErrorFrame, Failed, BadFrame:
		body = x.fault.inStream(x.at.dialect).body(x.at.dialect, "up-"+x.id)
	default:
	}
	x.json(x.w, http.StatusOK, body)
}

func (x *exchange) relate(f form) {
	x.w.Header().Set("Content-Type", "text/event-stream")
	x.w.WriteHeader(http.StatusOK)
	x.flush()
	if x.fault.Kind == Silence {
		x.hang()
		return
	}
	s := f.stream()
	for _, text := range s.opening {
		x.frame(text)
	}
	if x.fault.Kind == EarlyError {
		x.frame(f.errorFrame(x.fault.inStream(x.at.dialect)))
		return
	}
	pace := x.options.Pace
	if x.answer.Pace > 0 {
		pace = seconds(x.answer.Pace)
	}
	for i, text := range s.content {
		if x.fault.breaksOff() && i == x.fault.Chunks {
			x.breakOff(f, s)
			return
		}
		if i > 0 && pace > 0 && !x.wait(pace) {
			return
		}
		x.frame(text)
	}
	x.end(s)
}

// breakOff ends a stream in the fault's way.
func (x *exchange) breakOff(f form, s frames) {
	switch x.fault.Kind {
	case ErrorFrame, Failed:
		x.frame(f.errorFrame(x.fault.inStream(x.at.dialect)))
	case BadFrame:
		x.frame("data: {\"id\":\"x\",\n\n")
	case Cut:
		panic(http.ErrAbortHandler)
	case Stall:
		x.hang()
	case Drip:
		for x.wait(seconds(x.fault.Delay)) {
			x.frame(s.alive)
		}
	default: // NoEnd just ends
	}
}

func (x *exchange) end(s frames) {
	for i, text := range s.ending {
		if x.fault.Kind != NoDone || i < len(s.ending)-1 {
			x.frame(text)
		}
	}
	if x.fault.Kind == HangAfterDone {
		x.hang()
	}
}

// spoken is the answer's blocks and what they cost. thinks says whether thoughts are
// seen where no script says so.
func (x *exchange) spoken(thinks bool) ([]block, Tokens) {
	blocks := x.answer.blocks(x.options.Words, thinks)
	return blocks, x.answer.tokens(len(x.asked.body), blocks)
}

// usage is the last usage report: the script's, or the one made here.
func (x *exchange) usage(made any) any {
	if n := len(x.answer.Usage); n > 0 {
		return x.answer.Usage[n-1]
	}
	return made
}

func marshal(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("provider: %v", err)) // plain values, and JSON that was checked
	}
	return string(raw)
}

// event is a frame with a name.
func event(name string, data any) string {
	return "event: " + name + "\ndata: " + marshal(data) + "\n\n"
}

// data is a frame without one.
func data(v any) string { return "data: " + marshal(v) + "\n\n" }
