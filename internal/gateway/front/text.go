package front

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
)

// maxKept is the largest buffer that is used again.
const maxKept = 256 << 10

// text is the text of a request's body. Its buffer is used again once nobody holds
// it: the exchange that read it, or a transport that is still sending it.
type text struct {
	pool    *sync.Pool
	buffer  []byte
	holders atomic.Int32
}

// newText returns a text that is held once; length is what is announced, -1 = nothing.
func newText(pool *sync.Pool, length int64) *text {
	t, ok := pool.Get().(*text)
	if !ok {
		t = &text{pool: pool}
	}
	if int64(cap(t.buffer)) < length {
		t.buffer = make([]byte, 0, length)
	}
	t.holders.Store(1)
	return t
}

// read reads a body to its end. What it returns is valid while the text is held.
func (t *text) read(from io.Reader, length int64) ([]byte, error) {
	if length >= 0 {
		t.buffer = t.buffer[:length]
		_, err := io.ReadFull(from, t.buffer)
		return t.buffer, err
	}
	grown := bytes.NewBuffer(t.buffer[:0])
	_, err := grown.ReadFrom(from)
	t.buffer = grown.Bytes()
	return t.buffer, err
}

// Hold implements [attempt.Holder].
func (t *text) Hold() { t.holders.Add(1) }

// Drop implements [attempt.Holder].
func (t *text) Drop() {
	if t.holders.Add(-1) == 0 && cap(t.buffer) <= maxKept {
		t.pool.Put(t)
	}
}
