// Package sse cuts a stream of server-sent events into frames without changing a
// byte of it.
//
// Lines may end in LF, CR or CRLF. A frame is everything up to and including a
// blank line; its bytes are handed on as they came. Memory is bounded: a frame
// larger than the limit is an error. The format is that of
// https://html.spec.whatwg.org/multipage/server-sent-events.html.
package sse

import (
	"bytes"
	"errors"
	"io"
	"slices"
)

// ErrFrameTooLarge is returned for a frame beyond the reader's limit.
var ErrFrameTooLarge = errors.New("an event is larger than the limit")

const (
	// initialBuffer fits nearly every frame of a model's stream; idle streams, which are
	// many, keep it.
	initialBuffer = 512
	// busyBuffer is what a stream grows to that has more to say than fits, so that it
	// is read less often.
	busyBuffer = 8 << 10
)

// Frame is one event, or a comment. Its slices are valid until the next call.
type Frame struct {
	Raw   []byte // as it came, with the blank line that ends it
	Event string // of the event field; "" where there is none
	Data  []byte // the data lines, joined by \n; nil where there is none
}

// Reader reads frames. It is for one goroutine.
type Reader struct {
	from   io.Reader
	limit  int
	buffer []byte // buffer[start:end] is read and not handed out
	start  int
	end    int
	at     int    // where the line begins that was looked at last
	seen   int    // nothing before it ends that line
	behind bool   // the last read took all there was room for
	joined []byte // of frames with several data lines
	skipLF bool   // a CR ended the last line; an LF behind it belongs to it
	err    error  // of from, kept until what came before it is handed out
}

// NewReader returns a reader of frames of at most limit bytes.
func NewReader(from io.Reader, limit int) *Reader { return &Reader{from: from, limit: limit} }

// Buffered reports whether a whole frame is there without reading more.
func (r *Reader) Buffered() bool {
	_, ok := r.frameEnd()
	return ok
}

// Next returns the next frame. At the end of the stream it returns io.EOF; a last
// event that no blank line ended is handed out before, as browsers would not do
// but some providers need. Another error of the stream is returned after the
// whole frames before it; what it cut is dropped.
func (r *Reader) Next() (Frame, error) {
	for {
		if end, ok := r.frameEnd(); ok {
			raw := r.buffer[r.start:end]
			r.start, r.at, r.seen = end, end, end
			return r.parse(raw), nil
		}
		if r.err != nil {
			if errors.Is(r.err, io.EOF) && len(bytes.TrimSpace(r.buffer[r.start:r.end])) > 0 {
				raw := append(r.buffer[r.start:r.end:r.end], '\n', '\n')
				r.start, r.at, r.seen = r.end, r.end, r.end
				return r.parse(raw), nil
			}
			return Frame{}, r.err
		}
		if err := r.fill(); err != nil {
			return Frame{}, err
		}
	}
}

// fill reads once more. What is kept moves to the front of the buffer first.
func (r *Reader) fill() error {
	if r.start > 0 {
		copy(r.buffer, r.buffer[r.start:r.end])
		r.end, r.at, r.seen = r.end-r.start, r.at-r.start, r.seen-r.start
		r.start = 0
	}
	if r.end == len(r.buffer) && r.end >= r.limit {
		return ErrFrameTooLarge
	}
	if r.end == len(r.buffer) || r.behind && len(r.buffer) < min(busyBuffer, r.limit) {
		grown := make([]byte, min(max(2*len(r.buffer), initialBuffer), r.limit))
		copy(grown, r.buffer[:r.end])
		r.buffer = grown
	}
	room := len(r.buffer) - r.end
	n, err := r.from.Read(r.buffer[r.end:])
	r.behind = n == room
	if r.skipLF && n > 0 {
		if r.skipLF = false; r.buffer[r.end] == '\n' {
			copy(r.buffer[r.end:], r.buffer[r.end+1:r.end+n])
			n--
		}
	}
	r.end += n
	r.err = err
	return nil
}

// frameEnd returns the offset behind the next blank line. It goes on where it left off,
// so that a large frame that comes in small pieces is looked at once.
func (r *Reader) frameEnd() (int, bool) {
	for r.at < r.end {
		i := r.at
		content, next, ok := line(r.buffer[i:r.end], r.seen-i)
		if !ok {
			r.seen = r.end
			if r.buffer[r.end-1] == '\r' {
				r.seen-- // it may end the line, once it is known what follows
			}
			return 0, false
		}
		if content == 0 && i > r.start {
			if next == 1 && i+1 == r.end && r.buffer[i] == '\r' {
				r.skipLF = true // its LF may follow in the next read
			}
			return i + next, true
		}
		r.at, r.seen = i+next, i+next
		if content == 0 { // blank lines before a frame belong to no frame
			r.start = r.at
		}
	}
	return 0, false
}

// line returns the length of the first line without and with its ending, of which
// nothing stands before the offset from. A CR at the very end counts as an ending only
// of a blank line: otherwise an LF may follow.
func line(data []byte, from int) (content, next int, ok bool) {
	n := bytes.IndexByte(data[from:], '\n')
	scope := data[from:]
	if n >= 0 {
		n += from
		scope = data[from:n]
	}
	if c := bytes.IndexByte(scope, '\r'); c >= 0 {
		switch c += from; {
		case c+1 < len(data) && data[c+1] == '\n':
			return c, c + 2, true
		case c+1 < len(data) || c == 0:
			return c, c + 1, true
		default:
			return 0, 0, false
		}
	}
	return n, n + 1, n >= 0
}

func (r *Reader) parse(raw []byte) Frame {
	f := Frame{Raw: raw}
	for rest := raw; len(rest) > 0; {
		content, next, ok := line(rest, 0)
		if !ok {
			break
		}
		name, value, named := bytes.Cut(rest[:content], []byte{':'})
		if !named {
			value = rest[content:content] // empty, and there
		}
		rest = rest[next:]
		value = bytes.TrimPrefix(value, []byte{' '})
		name = bytes.TrimPrefix(name, []byte("\ufeff")) // some begin a stream with it
		switch string(name) {
		case "data":
			f.Data = r.join(f.Data, value)
		case "event":
			f.Event = string(value)
		}
	}
	return f
}

// join appends a data line; the usual single line is not copied.
func (r *Reader) join(data, line []byte) []byte {
	switch {
	case data == nil:
		r.joined = r.joined[:0]
		return slices.Clip(line)
	case len(r.joined) == 0: // the second line
		r.joined = append(r.joined, data...)
	}
	r.joined = append(append(r.joined, '\n'), line...) // data is the beginning of it
	return r.joined
}
