package jsonscan

import (
	"io"
	"sync"
)

// maxEdits is how many places of a text can be replaced.
const maxEdits = 2

// Edit replaces a span of a text.
type Edit struct {
	At  Span
	New []byte
}

// Spliced is a text with edits, in parts that are shared with the original, not
// copied: the original must not change while it is used.
type Spliced struct {
	parts [2*maxEdits + 1][]byte
	size  int64
}

// Splice returns the text with one or two edits, which must be in order and apart.
func Splice(text []byte, edits ...Edit) Spliced {
	var s Spliced
	done, n := 0, 0
	for _, e := range edits {
		s.parts[n], s.parts[n+1] = text[done:e.At.Start], e.New
		done, n = e.At.End, n+2
	}
	s.parts[n] = text[done:]
	for _, p := range s.parts {
		s.size += int64(len(p))
	}
	return s
}

// Size is the number of bytes.
func (s *Spliced) Size() int64 { return s.size }

// Reader returns a new reader of the whole. Close waits for a Read under way and
// lets go of the text, of which closed, where set, is told once.
func (s *Spliced) Reader(closed func()) io.ReadCloser {
	return &reader{rest: s.parts, told: closed}
}

type reader struct {
	mu     sync.Mutex
	rest   [2*maxEdits + 1][]byte
	at     int
	closed bool
	told   func()
}

func (r *reader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, io.ErrClosedPipe
	}
	n := 0
	for r.at < len(r.rest) {
		k := copy(p[n:], r.rest[r.at])
		n += k
		if r.rest[r.at] = r.rest[r.at][k:]; len(r.rest[r.at]) > 0 {
			return n, nil
		}
		r.at++
	}
	return n, io.EOF
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed && r.told != nil {
		r.told()
	}
	r.closed, r.rest = true, [2*maxEdits + 1][]byte{}
	return nil
}
