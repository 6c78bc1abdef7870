package gateway_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// raw sends bytes as they are, and returns what is answered: trickle, where there is
// any, comes a byte at a time after text, for as long as nothing is.
func (s *scene) raw(text, trickle string) answer {
	s.Helper()
	c, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", s.Addr())
	if err != nil {
		s.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.Fatal(err)
	}
	var group sync.WaitGroup
	defer group.Wait()
	answered := make(chan struct{})
	defer close(answered)
	group.Go(func() {
		if _, err := io.WriteString(c, text); err != nil {
			return // it is refused before it has been read to its end
		}
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for i := range trickle {
			select {
			case <-ticker.C:
				if _, err := io.WriteString(c, trickle[i:i+1]); err != nil {
					return
				}
			case <-answered:
				return
			}
		}
	})
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		s.Fatalf("the connection ended without an answer: %v", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(body), err: err}
}

// head is the beginning of the request under test, to which a length and a body are to
// be added.
func (s *scene) head() string {
	text := "POST " + s.w.path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + clientKey + "\r\nX-Request-Id: " + underTest + "\r\n"
	for i := 0; i+1 < len(s.w.header); i += 2 {
		text += s.w.header[i] + ": " + s.w.header[i+1] + "\r\n"
	}
	return text
}

// bare is what must come of what is no request at all.
func bare(status int) outcome {
	return outcome{ending: endBare, status: status, metrics: map[string]string{
		series("gateway_http_requests_total", "method", "other", "route", "none", "service", "data", "status", fmt.Sprint(status)): "1",
		series("gateway_client_requests_total", "client", "coo", "outcome", "failed"):                                              "0",
	}}
}

// sending sends bytes after the head.
func sending(rest func(s *scene) (text, trickle string)) func(*scene) answer {
	return func(s *scene) answer {
		text, trickle := rest(s)
		a := s.raw(s.head()+text, trickle)
		if n := len(s.p.Requests()); n != 0 {
			s.Errorf("backends were asked %d times", n)
		}
		return a
	}
}

// hostileCells are what clients may cost, on purpose or not: bounded, and counted.
func hostileCells() []cell {
	small := settings{server: "max_body: 64KiB, max_buffered: 128KiB, body_timeout: 300ms"}
	overloaded := refusal(503, "overloaded")
	overloaded.row = "failed"
	overloaded.metrics = map[string]string{series("gateway_requests_total", "model", "other", "outcome", "failed", "pool", "none"): "some"}
	text := func(text string) func(*scene) (string, string) {
		return func(*scene) (string, string) { return text, "" }
	}
	return []cell{
		{name: "header bomb", modes: "plain", wires: both(), play: sending(text("X-Bomb: " + strings.Repeat("x", 200<<10) + "\r\n\r\n")), want: bare(431)},
		{name: "header bomb of many", modes: "plain", wires: both(), play: sending(text(strings.Repeat("X-Bomb: x\r\n", 20<<10) + "\r\n")), want: bare(431)},
		{name: "no HTTP", modes: "plain", wires: both(), play: sending(text("no header\r\n\r\n")), want: bare(400)},
		{name: "two lengths", modes: "plain", wires: both(), play: sending(text("Content-Length: 50\r\nContent-Length: 60\r\n\r\n")), want: bare(400)},
		{name: "body announced too large", settings: small, play: sending(text("Content-Length: 999999999\r\n\r\n")), want: refusal(413, "body_too_large")},
		{
			name: "body grows too large", settings: small, want: refusal(413, "body_too_large"),
			play: sending(text("Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1000\r\n"+strings.Repeat(" ", 0x1000)+"\r\n", 40) + "0\r\n\r\n")),
		},
		{
			name: "body that trickles", settings: small, want: refusal(408, "body_timeout"),
			play: sending(func(s *scene) (string, string) {
				return "Content-Length: 50000\r\n\r\n", strings.Repeat(" ", 49999)
			}),
		},
		{name: "body that does not come", settings: small, play: sending(text("Content-Length: 50\r\n\r\n{")), want: refusal(408, "body_timeout")},
		{
			name: "packed body", settings: small, want: refusal(415, "unsupported_encoding"),
			play: func(s *scene) answer {
				a := s.say(packed(s), "Content-Encoding", "gzip")
				if n := len(s.p.Requests()); n != 0 {
					s.Errorf("backends were asked %d times", n)
				}
				return a
			},
		},
		{name: "more bodies than are held", settings: settings{server: "max_body: 64KiB, max_buffered: 128KiB, body_timeout: 20s"}, play: crowded, want: overloaded},
	}
}

// crowded has two bodies that do not come hold all that may be held, so that a third is
// refused at once; what they held is given back.
func crowded(s *scene) answer {
	var slow []net.Conn
	for range 2 {
		c, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", s.Addr())
		if err != nil {
			s.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, strings.Replace(s.head(), underTest, "slow", 1)+"Content-Length: 61440\r\nExpect: 100-continue\r\n\r\n"); err != nil {
			s.Fatal(err)
		}
		// The body is asked for once there is a place for it.
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") {
			s.Fatalf("%v, %q", err, line)
		}
		slow = append(slow, c)
	}
	large := strings.TrimSuffix(s.w.body(s.stream), "}") + `,"user":"` + strings.Repeat("x", 30<<10) + `"}`
	a := s.send(s.w.path, large, append([]string{"X-Request-Id", underTest}, s.w.header...)...)
	for _, c := range slow {
		c.Close()
	}
	eventually(s.T, "what they held is given back", func() bool {
		return s.send(s.w.path, large, s.w.header...).status == http.StatusOK
	})
	return a
}
