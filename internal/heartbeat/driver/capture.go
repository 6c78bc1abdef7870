package driver

import (
	"fmt"
	"strings"
	"sync"

	"github.com/fleetwatch/fleetwatch/internal/redact"
)

// CaptureLimit is how much of a run's output is kept: the first half from its
// beginning, the second half from its end.
const CaptureLimit = 64 << 10

// capture keeps the head and the tail of what is written to it, in memory that
// does not grow beyond CaptureLimit.
type capture struct {
	mu    sync.Mutex
	head  []byte
	tail  []byte // ring, once full
	next  int    // where the ring is written next
	total int64
}

const captureHalf = CaptureLimit / 2

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(p)
	c.total += int64(n)
	if room := captureHalf - len(c.head); room > 0 {
		k := min(room, len(p))
		c.head = append(c.head, p[:k]...)
		p = p[k:]
	}
	if len(p) > captureHalf {
		p = p[len(p)-captureHalf:]
	}
	if room := captureHalf - len(c.tail); room > 0 {
		k := min(room, len(p))
		c.tail = append(c.tail, p[:k]...)
		p = p[k:]
	}
	for len(p) > 0 {
		k := copy(c.tail[c.next:], p)
		c.next = (c.next + k) % captureHalf
		p = p[k:]
	}
	return n, nil
}

// Text returns what was kept, as valid UTF-8, with secrets masked, also where
// the cut goes through one.
func (c *capture) Text(secrets []redact.Secret) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	tail := string(c.tail[c.next:]) + string(c.tail[:c.next])
	dropped := c.total - int64(len(c.head)) - int64(len(c.tail))
	if dropped == 0 {
		return clean(string(c.head)+tail, secrets)
	}
	head := string(c.head)
	for _, secret := range secrets {
		head = cutEnd(head, secret.Reveal())
		tail = cutBegin(tail, secret.Reveal())
	}
	return fmt.Sprintf("%s\n[... %d bytes left out ...]\n%s", clean(head, secrets), dropped, clean(tail, secrets))
}

func clean(text string, secrets []redact.Secret) string {
	return redact.Text(strings.ToValidUTF8(text, "\uFFFD"), secrets...)
}

// minPart is the shortest part of a secret that a cut may leave.
const minPart = 4

func cutEnd(text, secret string) string {
	for n := len(secret) - 1; n >= minPart; n-- {
		if rest, ok := strings.CutSuffix(text, secret[:n]); ok {
			return rest
		}
	}
	return text
}

func cutBegin(text, secret string) string {
	for n := 1; len(secret)-n >= minPart; n++ {
		if rest, ok := strings.CutPrefix(text, secret[n:]); ok {
			return rest
		}
	}
	return text
}
