package front

import (
	"bytes"
	"net"
	"strconv"
)

// Refusals returns a listener that tells what the HTTP server refuses by itself, before
// there is a request that a handler could see: headers that are too large, lines that
// are no HTTP. refused is given the status of each such answer; it may be called from
// several goroutines.
func Refusals(l net.Listener, refused func(status int)) net.Listener {
	return &refusals{l, refused}
}

type refusals struct {
	net.Listener
	refused func(status int)
}

// Accept implements [net.Listener].
func (l *refusals) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok {
		return &watched{tcp, l.refused}, err
	}
	return c, err
}

// watched keeps all that a TCP connection can do: the server closes it half, so that
// what it refused can still read why.
type watched struct {
	*net.TCPConn
	refused func(status int)
}

// Write implements [net.Conn].
func (c *watched) Write(p []byte) (int, error) {
	if status := refusal(p); status != 0 {
		c.refused(status)
	}
	return c.TCPConn.Write(p)
}

const (
	statusLine = "HTTP/1.1 "
	// largestRefusal is more than the server ever says by itself.
	largestRefusal = 512
)

// refusal is the status of an error that the server answers by itself, in one write; 0
// of anything else. Every answer of a handler names its request.
func refusal(p []byte) int {
	if len(p) < len(statusLine)+3 || len(p) > largestRefusal || string(p[:len(statusLine)]) != statusLine || p[len(statusLine)] < '4' ||
		bytes.Contains(p, []byte("\r\nX-Request-Id: ")) || !bytes.Contains(p, []byte("\r\nConnection: close\r\n")) {
		return 0
	}
	status, err := strconv.Atoi(string(p[len(statusLine) : len(statusLine)+3]))
	if err != nil {
		return 0
	}
	return status
}
