package attempt

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/fleetwatch/fleetwatch/internal/gateway/dialect"
	"github.com/fleetwatch/fleetwatch/internal/gateway/ledger"
	"github.com/fleetwatch/fleetwatch/internal/gateway/llm"
	"github.com/fleetwatch/fleetwatch/internal/gateway/sse"
)

const (
	maxHeld  = 64 << 10 // of frames before the first meaningful one
	maxFrame = 8 << 20
)

// flow is the state of one stream.
type flow struct {
	*try
	body    io.ReadCloser
	frames  *sse.Reader
	reader  dialect.Stream
	held    []byte // frames before the first meaningful one
	began   bool
	writing atomic.Bool // the client is being sent something
	content int64
}

// stream reads a stream up to its first meaningful frame, and reports whether the
// request ends with it. What follows is left to [Result.Finish].
func (t *try) stream(body io.ReadCloser) (ends bool) {
	f := &flow{try: t, body: body, frames: sse.NewReader(body, maxFrame), reader: t.call.Endpoint.Stream(t.call.Body.AddsUsage())}
	last, fault := f.relay(true)
	switch {
	case fault != nil && !f.began:
		return t.failed(fault, nil, body)
	case fault == nil && f.began && last == nil:
		t.result.flow = f
	default:
		f.end(last, fault)
	}
	return true
}

// Finish hands on the rest of a stream that has begun, and returns at its end. It is
// called once, right after Do: a stream that lasts then stands on few frames, and with
// thousands of them the size of each one's stack is what counts.
func (r *Result) Finish() {
	f := r.flow
	if f == nil {
		return
	}
	r.flow = nil
	whole := false
	defer func() {
		if !whole {
			f.permit.Release() // a panic must not keep a place, or the one trial, for ever
		}
	}()
	last, fault := f.relay(false)
	f.end(last, fault)
	whole = true
}

// end notes how the stream ended.
func (f *flow) end(last []byte, fault *llm.Fault) {
	if fault != nil {
		f.cut(fault)
	} else {
		f.completed(last)
	}
	f.keep(f.body)
}

// relay hands frames on until the stream ends, or, where only its beginning is wanted,
// has begun. What it returns is what remains to be sent, or why the stream is no whole
// answer; nothing of both where it has begun.
func (f *flow) relay(beginning bool) (last []byte, fault *llm.Fault) {
	for !beginning || !f.began {
		frame, err := f.frames.Next()
		if err != nil {
			if fault = f.ended(err); fault == nil {
				last = []byte{}
			}
			return last, fault
		}
		step, fault := f.reader.Frame(frame)
		switch {
		case fault != nil:
			return nil, fault
		case step.End && f.reader.Complete():
			return frame.Raw, nil
		case step.End:
			return nil, &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "the stream says that it is done, without an answer"}
		case step.Drop:
			continue
		}
		f.content += int64(step.Content)
		if fault := f.pass(frame.Raw, step.Content > 0); fault != nil {
			return nil, fault
		}
	}
	return nil, nil
}

// pass hands one frame on, or holds it back while nothing meaningful has come.
func (f *flow) pass(raw []byte, meaningful bool) *llm.Fault {
	if !f.began {
		f.held = append(f.held, raw...)
		if !meaningful && len(f.held) < maxHeld {
			return nil
		}
		raw, f.held = f.held, nil
		f.begin()
	}
	if meaningful {
		f.timer.Reset(f.limits.Idle)
	}
	f.writing.Store(true)
	defer f.writing.Store(false)
	if err := f.sink.Write(raw); err != nil {
		return f.gone()
	}
	if f.frames.Buffered() {
		return nil // the frames that are there already go out together
	}
	if err := f.sink.Flush(); err != nil {
		return f.gone()
	}
	return nil
}

func (f *flow) begin() {
	f.began = true
	f.firstByte()
	f.result.Began = true
	f.timer.Stop()
	f.timer = time.AfterFunc(time.Hour, f.idle)
	f.timer.Reset(f.limits.Idle)
	chosen := *f.candidate
	f.candidate = &chosen
	f.call.Body, f.call.Header, f.call.Candidates, f.header = nil, nil, nil, nil // no other attempt will need them
	f.sink.Begin(f.candidate, f.result.Calls)
}

// idle ends the attempt where the backend says nothing more. While it is the client that
// takes nothing, the backend is not to blame, and the client has limits of its own.
func (f *flow) idle() {
	if f.writing.Load() {
		f.timer.Reset(f.limits.Idle)
		return
	}
	f.cancel(errIdle)
}

func (f *flow) gone() *llm.Fault {
	return &llm.Fault{Class: llm.ClientCancelled, Message: "the client went away"}
}

// ended judges the end of the bytes. Where the answer was whole, a missing marker, or
// an error after it, is no harm.
func (f *flow) ended(err error) *llm.Fault {
	switch {
	case f.reader.Complete() && f.client.Err() == nil:
		return nil
	case errors.Is(err, io.EOF):
		return &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: "the stream ended without its end marker"}
	case errors.Is(err, sse.ErrFrameTooLarge):
		return &llm.Fault{Class: llm.Malformed, Status: http.StatusOK, Message: err.Error()}
	default:
		return f.broken(err)
	}
}

// completed notes a whole stream. One without any content is whole too: all of it is
// still held, and begins now.
func (f *flow) completed(last []byte) {
	if !f.began {
		held := f.held
		f.begin()
		last = append(held, last...)
	}
	answer := f.reader.Answer()
	f.answered(f.usage(answer.Usage, f.content), nil)
	f.result.AnswerID = answer.ID
	f.result.Status, f.result.Tail = ledger.Completed, last
}

// cut notes a stream that broke after the client has seen a part of it.
func (f *flow) cut(fault *llm.Fault) {
	f.settle(fault)
	f.answered(f.usage(f.reader.Answer().Usage, f.content), fault)
	if fault.Class == llm.ClientCancelled {
		f.result.Status = ledger.Cancelled
	}
	f.cancel(nil) // the backend need not go on
}
