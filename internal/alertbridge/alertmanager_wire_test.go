package alertbridge_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// wire carries TCP and UDP from an address of its own to a target, until it is cut.
type wire struct {
	address, target string
	tcp             net.Listener
	udp             net.PacketConn
	running         sync.WaitGroup

	mu     sync.Mutex
	broken bool
	open   map[net.Conn]bool   // both ends of what is under way
	back   map[string]net.Conn // towards the target, by who sent from
}

// newWire starts a wire that ends with the test.
func newWire(t *testing.T, target string) *wire {
	t.Helper()
	w := &wire{target: target, open: map[net.Conn]bool{}, back: map[string]net.Conn{}}
	for w.udp == nil { // a port that is free for both
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if w.udp, err = net.ListenPacket("udp", tcp.Addr().String()); err != nil {
			_ = tcp.Close()
			continue
		}
		w.tcp = tcp
	}
	w.address = w.tcp.Addr().String()
	w.running.Go(w.accept)
	w.running.Go(w.receive)
	t.Cleanup(func() {
		_, _ = w.tcp.Close(), w.udp.Close()
		w.cut()
		w.running.Wait()
	})
	return w
}

// cut ends what is under way and lets nothing pass.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = true
	for c := range w.open {
		_ = c.Close()
	}
	clear(w.open)
	clear(w.back)
}

// mend lets everything pass again.
func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = false
}

// hold notes connections that a cut has to end; false where there is one already.
func (w *wire) hold(conns ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range conns {
		if w.broken {
			_ = c.Close()
			continue
		}
		w.open[c] = true
	}
	return !w.broken
}

func (w *wire) accept() {
	for {
		in, err := w.tcp.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", w.target)
		if err != nil {
			_ = in.Close()
			continue
		}
		if !w.hold(in, out) {
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			w.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1]) // ends with either side, or by a cut
				_, _ = pair[0].Close(), pair[1].Close()
			})
		}
	}
}

// receive passes packets on, and each answer back to who it is for.
func (w *wire) receive() {
	buffer := make([]byte, 64<<10)
	for {
		n, from, err := w.udp.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		if out := w.towards(from); out != nil {
			_, _ = out.Write(buffer[:n]) // packets may be lost
		}
	}
}

// towards is the connection to the target for packets from there; nil while cut.
func (w *wire) towards(from net.Addr) net.Conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken {
		return nil
	}
	if out := w.back[from.String()]; out != nil {
		return out
	}
	out, err := net.Dial("udp", w.target)
	if err != nil {
		return nil
	}
	w.back[from.String()], w.open[out] = out, true
	w.running.Go(func() {
		answer := make([]byte, 64<<10)
		for {
			n, err := out.Read(answer)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = w.udp.WriteTo(answer[:n], from)
			}
		}
	})
	return out
}
